"""What WhatsApp itself writes: which messages are none of a person, and what a person wrote in others.

Whole lines are compared with `phrases.txt`, so that somebody's own sentence with the same words in
it stays. On an iPhone, U+200E before a text marks it as WhatsApp's own words, whatever the language;
that, and `<...>` and `(...)` where Android writes about media, says more than a list could.
"""  # noqa: E501

import re
import unicodedata
from collections.abc import Iterator
from functools import cache, lru_cache
from importlib.resources import files
from itertools import product

from elman.data.notes import NoteReason
from elman.data.readers.whatsapp.headers import MARKS

MEDIA, DELETED = NoteReason.VOICE_ALONE, NoteReason.DELETED
SYSTEM_LINE = NoteReason.SYSTEM_LINE
CAPTION = "what stands for their photo or other media taken out"
EDITED = "what says that they were edited taken out"

_START_CHARS = 6
"""Of a phrase, by which a text that may be one is found at once."""
_MAX_PHRASE_CHARS = 600

ANY_MARK = re.compile(f"[{MARKS}]")
_UNSEEN = dict.fromkeys(map(ord, "\u200e\u202a\u202b\u202c\u2066\u2067\u2068\u2069"))
_REASONS = {
    "deleted": DELETED,
    "omitted": MEDIA,
    "document omitted": MEDIA,
    "live location": MEDIA,
    "call": SYSTEM_LINE,
    "system": SYSTEM_LINE,
}
_PLAIN = str.maketrans(
    {**dict.fromkeys("“”„«»”", '"'), **dict.fromkeys("’‘ʻʼ", "'"), "ş": "ș", "ţ": "ț"}  # noqa: RUF001
)
"""Quotes, and the two ways in which Romanian is written."""
_UNIT = (
    r"(?:h|std|hrs?|hours?|heures?|horas?|ore|ora|u|uur|godz|tim|t|timer?|saat|jam|giờ|час[а-я]*|ч|год"  # noqa: RUF001
    r"|小時|小时|時間|시간|घंट[ाे]|ساعات?|שעות"
    r"|m|mins?|minut\w*|minuut|minuti|dk|dakika|menit|phút|мин[а-я]*|хв|λεπτ?ά?|分鐘|分钟|分|분|मिनट|دقائق|دقيقة|דקות"  # noqa: RUF001
    r"|s|secs?|seconds?|sek|sekund\w*|seg|segundos?|secondi|sn|saniye|detik|giây|сек[а-я]*|с|秒鐘|秒|초|सेकंड|ثوان|ثانية|שניות"  # noqa: RUF001
    r"|joined)"
)
_VALUES = {"%s": r"[^\n]{1,120}?", "%d": rf"\d{{1,4}} ?{_UNIT}\.?(?: \d{{1,2}} ?{_UNIT}\.?)?"}
"""What a name, a number or a time, and how long a call took, look like within a phrase."""

_OMITTED = re.compile(
    r"omitted|weggelassen|ausgeschlossen|ausgelassen|omitid[oa]|ocultad[oa]|omess[aeio]|omis|absent|manquant"
    r"|weggelaten|pominię|vyn[ei]ch|izostavlj|kihagy|udelad|utel[aä]|uteslut|\bpois\b|dahil edil"
    r"|atlan|disertakan|dimasukkan|bỏ qua|пропущен|отсутств|відсутн|παραλ|הושמט|נכלל|استبعاد|إدراج"
    r"|مشمول|حذف شد|छोड़|বাদ|省略|略去|忽略|含まれ|생략|제외|ละเว้น"
)
# "<Media omitted>" has a word that begins so, whatever the language, and another one.
_ANDROID_MEDIA = re.compile(
    r"<(?=[^<>\n]* |[^<>\n]*[\u0370-\ud7ff])[^<>\n]{0,40}?(?:[Mm][eéèíi]+[dy][iíyj]|[Mm]ulti[mv]|[Mm]itjans|[Ff]ichier|[Ff]icheiro"  # noqa: E501
    r"|[Aa]r[cq][hu]ivo|[Ff]ayl|[Vv]edlegg|[Dd]atotek|[Pp]liki|omitted|weggelassen"
    r"|[Мм](?:уль)?(?:ти)?мед[иі]|[Мм]ед[иі]|[Фф]а[йј]л|πολυμέσ|μέσων|מדיה|وسائط|وسائل|رسانه|ميديا|پيوست|پیوست|میڈیا"  # noqa: RUF001
    r"|म[ीि]डिया|मिडीया|पीडीएफ|মিডিয়া|মিডিয়া|মাধ্যম|ஊடக|மீடியா|మీడియా|మాధ్యమ|മീഡിയ|ಮೀಡಿಯಾ|મ[ીિ]ડિયા|ਮੀਡੀਆ|මාධ්"
    r"|媒[体體]|メディア|미디어|สื่อ|ສື່|မီဒီယာ|មេឌៀ|მედია|մեդիա|ሚዲያ)[^<>\n]{0,60}>"
)
_ANGLED = re.compile(r"<([^<>\n]{3,60})>")
_ANDROID_FILE = re.compile(  # "IMG-20231231-WA0001.jpg (file attached)"
    rf"(?P<mark>[{MARKS}]{{0,4}})(?P<name>[^\n]{{1,255}}?\.\w{{0,5}})"
    r" \((?P<words>[^()\n]{3,40})\)(?=\s*(?:\n|$))"
)
_IPHONE_FILE = re.compile(rf"[{MARKS}]{{0,4}}<[^<>:：\n]{{1,40}}[:：][^<>\n]{{1,255}}>")  # noqa: RUF001
_NAMED_BY_WHATSAPP = re.compile(r"[A-Z]{3}-\d{8}-WA\d+\.")
_ATTACHED = re.compile(
    r"attached|adjunto|angehäng|Anhang|joint|anexad|allegato|bijgevoegd|bifog|vedlag|vedlegg|vedhæft|liite"
    r"|załącz|přilo|prilo|priv|csatol|atașat|ataşat|ekli|terlampir|dilampirkan|đính kèm|добавлен"
    r"|прикреплен|прикачен|додано|συνημ|מצורף|מצורפת|مرفق|پیوست|منسلک|संलग्न|अटैच|সংযুক্ত|แนบ|添付|附件|附加|첨부"
    r"|adjunt|nakalakip|pievienots|қосымша|જોડાયેલ|biriktiril|ngjitur|priložen|pripojen|limeambatanishwa"
    r"|prisegta|lisatud|privitku|aangeheg|əlavə|ചേർത്തു|ಸೇರಿಸಲಾಯಿತು|ਅਟੈਚ"
)
_TITLE = re.compile(
    r"[^\n]{1,255} • [^\n]{1,255}"
)  # "report.pdf • 2 pages", before what was left out
_FILE_NAME = re.compile(r"[^\n]*[^\s.]\.(?!(?:com|de|org|net)$)[A-Za-z0-9]{2,5}")
_EDITED_WORDS = re.compile(
    r"edited|bearbeitet|edit(?:ó|ad)|modifi|bewerkt|zmienion|edytowan|uprav|redig|redak|muokat"
    r"|szerkeszt|düzenle|diedit|disunting|chỉnh sửa|изменен|отредактир|змінен|відредагован|επεξεργ"
    r"|נערכ|تعديل|ویرایش|संपादित|एडिट|সম্পাদ|แก้ไข|編集|编辑|編輯|수정|편집"
)
_MESSAGE_WORDS = re.compile(
    r"messag|nachricht|mensaj|mensag|mensax|missatg|bericht|melding|besked|meddeland|viesti|skilabo"
    r"|wiadomo|zpráv|správ|üzenet|mesaj|ileti|poruk|sporoč|sõnum|žinut|ziņ|mesazh|boodskap|ujumbe|xabar"
    r"|mesej|pesan|mensahe|tin nhắn|порук|порак|съобщ|сообщ|повідом|паведам|хабар|μήνυμα|הודעה|رسالة|پیام"  # noqa: E501, RUF001
    r"|پیغام|میسج|संदेश|मैसेज|मेसेज|বার্তা|মেসেজ|செய்தி|సందేశ|മെസേജ്|സന്ദേശ|ಸಂದೇಶ|સંદેશ|મેસેજ|ਸੁਨੇਹ|ข้อความ"
    r"|訊息|消息|信息|メッセージ|메시지",
    re.IGNORECASE,
)
ENCRYPTED = re.compile(
    r"encrypt|Ende-zu-Ende|chiffr|cifrad|criptograf|crittograf|versleutel|шифрован|şifre|szyfr"
    r"|šifr|krypter|salataan|enkripsi|mã hóa|暗号化|加密|암호화|مشفر|مشفّر|التشفير|מוצפנ|एन्क्रिप्"
)


def _table() -> dict[str, list[str]]:
    """Return the phrases of each kind."""
    text = files("elman.data.readers.whatsapp").joinpath("phrases.txt").read_text("utf-8")
    kinds: dict[str, list[str]] = {}
    for line in text.split("\n"):
        if line.startswith("["):
            phrases = kinds.setdefault(line.strip("[]"), [])
        elif line and not line.startswith("#"):
            phrases.extend(_spelled_out(line))
    return kinds


def _spelled_out(line: str) -> Iterator[str]:
    """Return every phrase that a line with alternative words stands for."""
    for words in product(*(word.split("|") for word in line.split(" "))):
        yield " ".join(filter(None, words)).replace("_", " ")


def _folded(text: str) -> str:
    """Return a phrase as it is compared: without case, marks, kinds of spaces and quotes, a final
    stop.
    """
    text = unicodedata.normalize("NFKC", ANY_MARK.sub("", text)).casefold().translate(_PLAIN)
    return " ".join(text.replace("\u200c", "").split()).strip("🔒 ").rstrip(".。।۔!").rstrip()  # noqa: RUF001


class Phrases:
    """Which texts WhatsApp writes."""

    def __init__(self) -> None:
        kinds = _table()
        self._whole = {"": MEDIA}
        self._media = {_folded(phrase) for kind in ("media", "omitted") for phrase in kinds[kind]}
        self.documents = {_folded(phrase) for phrase in kinds["document omitted"]}
        starts, named = [], []
        self._encrypted = tuple(map(_folded, kinds["encrypted"]))
        starts += kinds["encrypted"]
        self._patterns: dict[str, list[tuple[str, str]]] = {}
        for kind, reason in _REASONS.items():
            for phrase in kinds[kind]:
                if "%" not in phrase:
                    self._whole[_folded(phrase)] = reason
                    starts.append(phrase)
                    continue
                pattern = re.escape(_folded(phrase))
                for value, like in _VALUES.items():
                    pattern = pattern.replace(value, like)
                if phrase.startswith("%s"):
                    named.append(pattern.removeprefix(_VALUES["%s"]))
                else:
                    start = phrase.partition("%")[0]
                    found = self._patterns.setdefault(_folded(start + "x")[:_START_CHARS], [])
                    found.append((reason, pattern))
                    starts.append(start)
        self._after_name = re.compile("|".join(named))
        self.starts = _spellings(starts, slice(_START_CHARS)) | {"", "null"}
        """The first six characters of every phrase that does not begin with a name."""
        self.ends = _spellings([*kinds["omitted"], *kinds["document omitted"]], slice(-6, None))
        """The last six characters of what stands for media."""

    def reason(self, text: str, author: str, iphone: bool) -> str:
        """Why it is left out, if it is WhatsApp's own: whole, or after the name of its author."""
        if len(text) > _MAX_PHRASE_CHARS:
            return ""
        text = _folded(text)
        if text in self._whole:
            return self._whole[text]
        if text == "null" and not iphone:  # what could be seen once
            return MEDIA
        if text.startswith(self._encrypted):
            return SYSTEM_LINE
        for reason, pattern in self._patterns.get(text[:_START_CHARS], ()):
            if re.fullmatch(pattern, text):
                return reason
        name = _folded(author)
        if name and text.startswith(name) and self._after_name.fullmatch(text, len(name)):
            return SYSTEM_LINE
        if iphone and any(text.endswith(f" {phrase}") for phrase in self.documents):
            document = next(
                text[: -len(each)] for each in self.documents if text.endswith(f" {each}")
            )
            if _FILE_NAME.fullmatch(document.strip()) or _TITLE.fullmatch(document.strip()):
                return MEDIA
        return ""

    def after_name(self, text: str, name_chars: int = 60) -> bool:
        """Say whether it tells what somebody did to a group, whoever that is.

        Args:
            text: a whole line.
            name_chars: how long the name may be.
        """
        found = _folded(text)
        spaces = re.finditer(r" |$", found[:name_chars])
        return any(self._after_name.fullmatch(found, at.start()) for at in spaces)

    def has_no_author(self, line: str, name: str) -> bool:
        """Say whether a line is WhatsApp's own, though a colon stands where a name would end."""
        return self.after_name(line, len(name)) or self.reason(line, "", False) == SYSTEM_LINE

    def stands_for_media(self, text: str) -> bool:
        """Say whether it tells that media were left out."""
        return _folded(text) in self._media


def _spellings(phrases: list[str], part: slice) -> frozenset[str]:
    """Return a part of phrases in the ways in which it is written."""
    found = set()
    for phrase in phrases:
        for lock in ("", "🔒 "):
            for text in {unicodedata.normalize(form, lock + phrase) for form in ("NFC", "NFD")}:
                for each in (text, text[:1].upper() + text[1:], text[:1].lower() + text[1:]):
                    found |= {each[part], f"{each}."[part], f"{each}。"[part]}
    return frozenset(found)


@cache
def phrases() -> Phrases:
    """Read from their file once."""
    return Phrases()


@lru_cache(maxsize=1024)  # most of what it is asked about is always the same
def own_words(text: str, author: str, iphone: bool) -> tuple[str, list[str], str]:
    """Return what the person wrote; what was taken out of it; why it is left out, if it is."""
    changes = []
    text, edited = _without_edited(text)
    if edited:
        changes.append(EDITED)
    bare = ANY_MARK.sub("", text).strip()
    if reason := phrases().reason(bare, author, iphone):
        return "", [], reason
    caption = _iphone_caption(text)
    if caption is None:
        caption = _android_caption(text)
    if caption is not None:
        if not ANY_MARK.sub("", caption).strip():
            return "", [], MEDIA
        text = caption.strip()
        changes.append(CAPTION)
    elif iphone and _is_own(text, bare):
        return "", [], SYSTEM_LINE
    return text.translate(_UNSEEN), changes, ""


def _without_edited(text: str) -> tuple[str, bool]:
    bare = text.rstrip("\u200e\u200f \n")
    start = bare.rfind("<")
    if bare.endswith(">") and 0 <= len(bare) - start <= 80 and start >= 0:
        marked = start > 1 and bare[start - 1] in "\u200e\u200f" and ":" not in bare[start:]
        said = _EDITED_WORDS.search(bare, start) and _MESSAGE_WORDS.search(bare, start)
        if (marked and not _OMITTED.search(bare, start)) or said:
            return bare[:start].rstrip("\u200e\u200f \n"), True
    return text, False


def _iphone_caption(text: str) -> str | None:
    """Return what is said about a file that is attached, or was left out; None: there is none."""
    file = _IPHONE_FILE.search(text)
    own = ""
    if file and ("\u200e" in file[0] or "\u200f" in file[0] or _ATTACHED.search(file[0])):
        caption = text[: file.start()] + text[file.end() :]
    else:
        at = max(text.rfind("\u200e"), text.rfind("\u200f"))
        own, newline, after = text[at + 1 :].partition("\n")
        known = _folded(own) in phrases().documents
        if at < 0 or len(own) > 80 or not (known or _OMITTED.search(own)):
            return None
        caption = text[:at] + newline + after
    bare = ANY_MARK.sub("", caption).strip()
    if own and (_folded(own) in phrases().documents or _FILE_NAME.fullmatch(bare)):
        return "" if "\n" not in bare else caption  # the name of what was left out
    return "" if _TITLE.fullmatch(bare) else caption


def _android_caption(text: str) -> str | None:
    start = text.lstrip("\u200e\u200f")
    found = _ANDROID_MEDIA.match(start)
    if not found and (angled := _ANGLED.match(start)):
        words = angled[1]
        found = angled if phrases().stands_for_media(words) or _OMITTED.search(words) else None
    if found:
        caption = start[found.end() :]
        return "" if _FILE_NAME.fullmatch(caption.strip()) else caption
    found = _ANDROID_FILE.match(text)
    if not found:
        return None
    name = found["name"]
    if not (found["mark"] or _NAMED_BY_WHATSAPP.match(name) or _ATTACHED.search(found["words"])):
        return None
    caption = text[found.end() :].strip()
    return "" if caption in (name, name.rpartition(".")[0]) else caption


def _is_own(text: str, bare: str) -> bool:
    """Say whether WhatsApp, not a person, wrote it on an iPhone.

    Polls and places, which people made, are theirs; so are numbers and names that they pasted.
    """
    if text[:1] == "\u200f":
        return ENCRYPTED.search(text) is not None
    return (
        text[:1] == "\u200e"
        and "://" not in text
        and "\n\u200e" not in text
        and not (bare[0] in "+@" or bare[0].isdigit())
    )
