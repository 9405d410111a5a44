"""WhatsApp's "Export chat": `31/12/2023, 23:59 - Name: text`, or in brackets from an iPhone.

The text of an export follows the phone's language and region, and nothing in it says which they
are. So a file's first line shows how its dates are written, and the dates of the file in what
order their numbers stand: the order in which the fewest are impossible and the fewest go back in
time. Where both agree (all in one day, say), months come first if the clock says AM or PM,
years have two digits and no zero fills a number up, as in America; else days.

On an iPhone, U+200E before a text marks it as WhatsApp's own words, whatever the language; that,
and `<...>` and `(...)` where Android writes about media, says more than a list of phrases could.

Shape: github.com/linuswillner/whatsapp-export-inconsistencies, and the parsers
github.com/Pustur/whatsapp-chat-parser and github.com/joweich/chat-miner.
"""

import re
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from itertools import pairwise
from operator import add
from pathlib import PurePosixPath

from elman.data.conversation import Chat, Message
from elman.data.document import Document, Notes
from elman.data.readers.reader import Reader

_MEDIA = "a photo, voice message or other media without text"
_DELETED = "deleted by its author"
_SYSTEM = "a system line"
_BEFORE = "no date before them"
_CAPTION = "what stands for their photo or other media taken out"
_EDITED = "what says that they were edited taken out"

_LONGEST_NAME = 100
_LONGEST_PIECE = 1 << 20
"""Characters of one message that are kept while reading; fewer are, in the end."""
_MOST_KNOWN = 200_000
"""Dates, clocks and names that are remembered."""
_FAST_SIZE = 1 << 16
"""Bytes that fit into a processor's cache, with all that is made of them."""

# Marks of direction, which people do not see; some stand within dates.
_MARKS = "\u200e\u200f\u061c\u202a-\u202e\u2066-\u2069\ufeff"
_ANY_MARK = re.compile(f"[{_MARKS}]")
_UNSEEN = dict.fromkeys(map(ord, "\u200e\u202a\u202b\u202c\u2066\u2067\u2068\u2069"))


_MARKED = f"[{_MARKS}]*"
_END = r"[^\d\n\[\]:]{0,20}?"
_STAMP = (
    rf"(?P<date>\d{{1,4}}{_MARKED}(?P<gap>[./年-] ?)\d{{1,2}}{_MARKED}(?P<gap2>[./月-] ?)\d{{1,4}})"
    rf"(?P<clock>(?P<before>[^\d\n\[\]]{{1,24}})\d{{1,2}}(?P<colon> ?[:.h] ?)\d\d(?:[:.]\d\d)?"
    rf"(?P<after>{_END}))"
)


def _header(bracketed: bool, stamp: str) -> re.Pattern[str]:
    """From a newline to a name, around a date and a clock."""
    if bracketed:
        return re.compile(rf"\n{_MARKED}\[{_MARKED}{stamp}\] ?")
    return re.compile(rf"\n{_MARKED}{stamp} [-–—] ")  # noqa: RUF001


def _like(found: re.Match[str]) -> str:
    """The pattern of stamps like this one; the less it allows for, the faster it is.

    Its groups are the date, and the clock with what stands around it.
    """
    marked = _MARKED if _ANY_MARK.search(found["date"]) else ""
    gap, gap2, before, colon, after = (
        re.escape(found[part]) for part in ("gap", "gap2", "before", "colon", "after")
    )
    if any(_halves(found["clock"])):
        before, after = r"[^\d\n\[\]]{1,24}", _END
    return (
        rf"(\d{{1,4}}{marked}{gap}\d{{1,2}}{marked}{gap2}\d{{1,4}})"
        rf"({before}\d{{1,2}}{colon}\d\d(?:[:.]\d\d)?{after})"
    )


_ANY_HEADER = {bracketed: _header(bracketed, _STAMP) for bracketed in (True, False)}

# Halves of the day, as clocks of twelve hours name them, without spaces and dots.
_GLUE = str.maketrans("", "", " \t\u00a0\u2009\u202f.,،'\"׳״`’\u200e\u200f")  # noqa: RUF001
_AM = """
am matin vorm пп дп sa pg dop öö πμ ap de fm pagi
ص قظ לפנהצ ก่อนเที่ยง पूर्वाह्न পূর্বাহ্ণ முற்பகல்
오전 午前 上午 凌晨 清晨 早上
"""
_PM = """
pm soir nachm рп пп ch ptg odp ös μμ ip du em petang malam
م بظ אחהצ หลังเที่ยง अपराह्न অপরাহ্ণ பிற்பகல்
오후 午後 下午 中午 晚上
"""
_AM_WORDS, _PM_WORDS = frozenset(_AM.split()), frozenset(_PM.split())

_DELETED_PHRASES = """
This message was deleted|You deleted this message|Message deleted
Diese Nachricht wurde gelöscht|Du hast diese Nachricht gelöscht
Ce message a été supprimé|Vous avez supprimé ce message
Se eliminó este mensaje|Este mensaje fue eliminado|Eliminaste este mensaje
Esta mensagem foi apagada|Mensagem apagada|Você apagou esta mensagem|Apagou esta mensagem
Questo messaggio è stato eliminato|Hai eliminato questo messaggio
Dit bericht is verwijderd|U hebt dit bericht verwijderd|Je hebt dit bericht verwijderd
Ta wiadomość została usunięta|Usunięto tę wiadomość
Tato zpráva byla smazána|Tato zpráva byla odstraněna|Táto správa bola odstránená
Acest mesaj a fost șters|Ați șters acest mesaj
Det här meddelandet raderades|Du raderade det här meddelandet
Denne meldingen ble slettet|Du slettet denne meldingen
Denne besked blev slettet|Denne besked er blevet slettet|Du slettede denne besked
Tämä viesti poistettiin|Poistit tämän viestin
Ez az üzenet törlésre került|Törölted ezt az üzenetet
Aquest missatge s'ha suprimit|Has suprimit aquest missatge
Bu mesaj silindi|Bu mesajı sildiniz
Pesan ini dihapus|Pesan ini telah dihapus|Anda menghapus pesan ini|Anda telah menghapus pesan ini
Mesej ini telah dipadam|Anda telah memadamkan mesej ini
Tin nhắn này đã bị xóa|Tin nhắn này đã bị xoá|Bạn đã xóa tin nhắn này|Bạn đã xoá tin nhắn này
Данное сообщение удалено|Это сообщение было удалено
Вы удалили данное сообщение|Вы удалили это сообщение
Це повідомлення було видалено|Ви видалили це повідомлення
Αυτό το μήνυμα διαγράφηκε|Διαγράψατε αυτό το μήνυμα|Διαγράψατε το μήνυμα
הודעה זו נמחקה|מחקת את ההודעה הזו|מחקת הודעה זו
تم حذف هذه الرسالة|لقد حذفت هذه الرسالة|لقد حذَفت هذه الرسالة|أنت حذفت هذه الرسالة
این پیام حذف شد|این پیام حذف شده است|شما این پیام را حذف کردید
یہ میسج حذف کر دیا گیا ہے|آپ نے یہ میسج حذف کر دیا ہے
यह मैसेज डिलीट कर दिया गया है|यह संदेश मिटाया गया
आपने यह मैसेज डिलीट किया|आपने यह संदेश मिटाया
এই মেসেজটি বাদ দেওয়া হয়েছে|এই বার্তাটি মুছে ফেলা হয়েছে
ข้อความนี้ถูกลบแล้ว|คุณได้ลบข้อความนี้
このメッセージは削除されました|このメッセージを削除しました
此訊息已刪除|您已刪除此訊息|这条消息已被删除|此消息已删除|您已删除这条消息
이 메시지는 삭제되었습니다|삭제된 메시지입니다|삭제한 메시지입니다|이 메시지를 삭제했습니다
"""  # noqa: RUF001
_DELETED_TEXTS = frozenset(
    text + end
    for text in re.split(r"[|\n]", _DELETED_PHRASES.strip())
    for end in ("", ".", "。", "।", "\u06d4")
)

# Whole texts that stand for media where no mark says so. "null" and nothing at all are what Android
# writes for what could be seen once.
_MEDIA_KINDS = "image|video|audio|sticker|GIF|document|Contact card|video note|voice message"
_MEDIA_TEXTS = frozenset({"", "null", *(f"{what} omitted" for what in _MEDIA_KINDS.split("|"))})
_OWN_TEXTS = frozenset(
    ("Waiting for this message", "Waiting for this message. This may take a while.")
)
_WHOLE_TEXTS = _DELETED_TEXTS | _MEDIA_TEXTS | _OWN_TEXTS

_OMITTED = re.compile(
    r"omitted|weggelassen|ausgeschlossen|omitid[oa]|ocultad[oa]|omess[aeio]|omis|absent|manquant"
    r"|weggelaten|pominię|vyn[ei]ch|izostavlj|kihagy|udelad|utel[aä]|uteslut|\bpois\b|dahil edil"
    r"|atlan|disertakan|dimasukkan|bỏ qua|пропущен|отсутств|відсутн|παραλ|הושמט|נכלל|استبعاد|إدراج"
    r"|مشمول|حذف شد|छोड़|বাদ|省略|略去|忽略|含まれ|생략|제외|ละเว้น"
)
_ENCRYPTED = re.compile(
    r"encrypt|Ende-zu-Ende|chiffr|cifrad|criptograf|crittograf|versleutel|шифрован|şifre|szyfr"
    r"|šifr|krypter|salataan|enkripsi|mã hóa|暗号化|加密|암호화|مشفر|مشفّر|التشفير|מוצפנ|एन्क्रिप्"
)
# "<Media omitted>" in Latin letters has a word that begins so; in others, few write in <>.
_ANDROID_MEDIA = re.compile(
    r"<[^<>\n]{0,40}?(?:[Mm][eéèíi]+[dy][iíyj]|[Mm]ulti[mv]|[Mm]itjans|[Ff]ichier|[Ff]icheiro"
    r"|[Aa]r[cq][hu]ivo|[Ff]ayl|[Vv]edlegg|[Dd]atotek|[Pp]liki|omitted|[\u0370-\u1fff\u3040-\ud7ff])"
    r"[^<>\n]{0,60}>"
)
_ANDROID_FILE = re.compile(  # "IMG-20231231-WA0001.jpg (file attached)"
    rf"(?P<mark>[{_MARKS}]{{0,4}})(?P<name>[^\n]{{1,255}}?\.\w{{0,5}})"
    r" \((?P<words>[^()\n]{3,40})\)(?=\s*(?:\n|$))"
)
_IPHONE_FILE = re.compile(rf"[{_MARKS}]{{0,4}}<[^<>:：\n]{{1,40}}[:：][^<>\n]{{1,255}}>")  # noqa: RUF001
_NAMED_BY_WHATSAPP = re.compile(r"[A-Z]{3}-\d{8}-WA\d+\.")
_ATTACHED = re.compile(
    r"attached|adjunto|angehäng|Anhang|joint|anexad|allegato|bijgevoegd|bifog|vedlag|vedlegg|vedhæft|liite"
    r"|załącz|přilo|prilo|priv|csatol|atașat|ataşat|ekli|terlampir|dilampirkan|đính kèm|добавлен"
    r"|прикреплен|додано|συνημ|מצורף|מצורפת|مرفق|پیوست|منسلک|संलग्न|अटैच|সংযুক্ত|แนบ|添付|附件|附加|첨부"
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
_QUOTES = re.compile('["“”„«»「」]')


class _Header:
    """How the messages of one file begin: a pattern, learnt from the first of them."""

    def __init__(self, head: str) -> None:
        first = "\n" + head.lstrip("\ufeff \t\r\n").partition("\n")[0]
        for self.bracketed, pattern in _ANY_HEADER.items():
            if found := pattern.match(first):
                break
        else:
            raise ValueError
        self.pattern = _header(self.bracketed, _like(found))
        date, clock = found["date"], found["clock"]
        days = [_day(order, _numbers(date)) for order in _orders(date, clock)]
        if not any(days) or _clock(clock) is None:
            raise ValueError

    def order(self, document: Document) -> str:
        """In what order the numbers of the file's dates stand: a permutation of "dmy"."""
        dates: dict[str, None] = {}
        orders: list[str] = []
        costs: list[tuple[int, int]] = []
        for chunk in _chunks(document, 1 << 20):
            stamps = self.pattern.findall(chunk)
            if stamps and not orders:
                orders = _orders(*stamps[0])
            dates.update(dict.fromkeys(date for date, _ in stamps))
            costs = [_cost(order, dates) for order in orders]
            # Enough is read where one order alone makes all dates real, or real and in order.
            if [gone for gone, _ in costs].count(0) == 1 or costs.count((0, 0)) == 1:
                break
        return orders[costs.index(min(costs))] if orders else "dmy"

    def raw(self, date: str, clock: str, body: str) -> str:
        """A line that looked as if it began a message."""
        return f"\n[{date}{clock}] {body}" if self.bracketed else f"\n{date}{clock} - {body}"


def _numbers(text: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", text)]


def _orders(date: str, clock: str) -> list[str]:
    """The orders in which the numbers of a date may stand; the likeliest first."""
    first, second, last = re.findall(r"\d+", date)
    if len(first) > 2:
        return ["ymd"]
    orders = ["dmy", "mdy"]
    american = not any(number.startswith("0") for number in (first, second))
    if "/" in date and len(last) < 3 and american and any(_halves(clock)):
        orders.reverse()
    return orders if len(last) > 2 else [*orders, "ymd"]


def _day(order: str, numbers: list[int]) -> datetime | None:
    """Its midnight; None where there is no such day."""
    parts = dict(zip(order, numbers, strict=True))
    year, month, day = parts["y"], parts["m"], parts["d"]
    try:
        if 1300 < year < 1500 and 1 <= month <= 12 and 1 <= day <= 31:
            # Persian years begin in March, with six months of 31 days. Right to a day or so.
            return datetime(year + 621, 3, 21) + timedelta(
                30 * (month - 1) + min(month - 1, 6) + day - 1
            )
        if 2400 < year < 2700:
            year -= 543  # the Buddhist era
        return datetime(year + 2000 if year < 100 else year, month, day)
    except ValueError:
        return None


def _cost(order: str, dates: dict[str, None]) -> tuple[int, int]:
    """How many of the dates there never were, and how often time goes back from one to the next."""
    days = [_day(order, _numbers(date)) for date in dates]
    real = [day for day in days if day is not None]
    return len(days) - len(real), sum(after < before for before, after in pairwise(real))


def _halves(clock: str) -> tuple[bool, bool]:
    """Whether it says that it is before noon, and whether it says that it is after noon."""
    words = [word.translate(_GLUE).lower() for word in re.split(r"[\d:]+", clock)]
    return any(word in _AM_WORDS for word in words), any(word in _PM_WORDS for word in words)


def _clock(clock: str) -> timedelta | None:
    """Since midnight; None where there is no such time."""
    hour, minute, second = [*_numbers(clock), 0][:3]
    if hour > 24 or minute > 59 or second > 59:
        return None
    before, after = _halves(clock)
    if (before or after) and hour <= 12:
        hour = hour % 12 + 12 * after
    return timedelta(hours=hour % 24, minutes=minute, seconds=second)


def _chunks(document: Document, size: int) -> Iterator[str]:
    """Pieces of the text in which a newline stands before, not after, every line."""
    for number, chunk in enumerate(document.chunks(size)):
        if number == 0:
            chunk = chunk.removeprefix("\ufeff")
        if "\r" in chunk:
            chunk = chunk.replace("\r\n", "\n")
        yield "\n" + (chunk[:-1] if chunk.endswith("\n") else chunk)


def _batches(
    document: Document, header: _Header
) -> Iterator[tuple[int, list[datetime | None], list[str]]]:
    """The number of the first line; the time of every message; what follows the time.

    What stands before the first message has no time.
    """
    order = header.order(document)
    days: dict[str, datetime | None] = {}
    clocks: dict[str, timedelta | None] = {}
    line = 0  # what stands before the first message takes none of its own
    time: datetime | None = None
    body = ""
    for chunk in _chunks(document, _FAST_SIZE):
        before, *parts = header.pattern.split(chunk)
        dates, stamps, bodies = parts[::3], parts[1::3], parts[2::3]
        if len(body) < _LONGEST_PIECE:
            body += before
        if len(clocks) + len(days) > _MOST_KNOWN:
            clocks.clear()
            days.clear()
        for date in set(dates).difference(days):
            days[date] = _day(order, _numbers(date))
        for stamp in set(stamps).difference(clocks):
            clocks[stamp] = _clock(stamp)
        times: list[datetime | None] = [time]
        try:
            times += map(add, map(days.__getitem__, dates), map(clocks.__getitem__, stamps))
            bodies.insert(0, body)
        except TypeError:  # one of them is None: a line that somebody quoted begins no message
            times, pieces = [time], [[body]]
            for date, stamp, said in zip(dates, stamps, bodies, strict=True):
                day, since = days[date], clocks[stamp]
                if day is None or since is None:
                    pieces[-1].append(header.raw(date, stamp, said))
                else:
                    times.append(day + since)
                    pieces.append([said])
            bodies = ["".join(each) for each in pieces]
        time, body = times.pop(), bodies.pop()
        yield line, times, bodies
        line += sum(each.count("\n") for each in bodies) + len(bodies)
    yield line, [time], [body.rstrip("\n")]


def _messages(document: Document, header: _Header, notes: Notes) -> Iterator[Message]:
    bracketed = header.bracketed
    new = tuple.__new__  # twice as fast as Message(...)
    authors: dict[str, str] = {}
    line = 0
    bodies: list[str] = []

    def tell(about: Callable[[str, str], None], reason: str, at: int) -> None:
        where = ""
        if reason not in notes.first:
            lines = at + sum(each.count("\n") for each in bodies[:at])
            where = f"{document.name}: line {max(1, line + lines)}"
        about(reason, where)

    for batch in _batches(document, header):
        line, times, bodies = batch
        for at, (time, body) in enumerate(zip(times, bodies, strict=True)):
            name, colon, text = body.partition(": ")
            author = authors.get(name) if colon else None
            if author is None:
                if time is None:
                    for _ in filter(str.strip, body.split("\n")):
                        tell(notes.leave_out, _BEFORE, at)
                    continue
                if not colon:
                    name, colon, text = body.partition(":")
                    if text.strip():
                        colon = ""
                author = (_author(name) if colon else None) or ""
                if not author:
                    tell(notes.leave_out, _SYSTEM, at)
                    continue
                if len(authors) > _MOST_KNOWN:
                    authors.clear()
                authors[name] = author
            if (
                "<" in text
                or "(" in text
                or text in _WHOLE_TEXTS
                or (not text.isascii() and _is_marked(text))
            ):
                text, changes, reason = _said(text, bracketed)
                if reason:
                    tell(notes.leave_out, reason, at)
                    continue
                for change in changes:
                    tell(notes.change, change, at)
            yield new(Message, (author, text, time))


def _is_marked(text: str) -> bool:
    """Faster than a pattern, which would look at every character several times."""
    return "\u200e" in text or "\u200f" in text or "\u202a" in text or "\u2068" in text


def _said(text: str, iphone: bool) -> tuple[str, list[str], str]:
    """What the person wrote; what was taken out of it; why it is left out, if it is."""
    changes = []
    text, edited = _without_edited(text)
    if edited:
        changes.append(_EDITED)
    bare = _ANY_MARK.sub("", text).strip()
    if bare in _DELETED_TEXTS:
        return "", [], _DELETED
    if bare in _OWN_TEXTS:
        return "", [], _SYSTEM
    if bare in _MEDIA_TEXTS and not (iphone and bare == "null"):
        return "", [], _MEDIA
    caption = _iphone_caption(text)
    if caption is None:
        caption = _android_caption(text)
    if caption is not None:
        if not _ANY_MARK.sub("", caption).strip():
            return "", [], _MEDIA
        text = caption.strip()
        changes.append(_CAPTION)
    elif iphone and _is_own(text, bare):
        return "", [], _SYSTEM
    return text.translate(_UNSEEN), changes, ""


def _without_edited(text: str) -> tuple[str, bool]:
    bare = text.rstrip("\u200e\u200f \n")
    start = bare.rfind("<")
    if bare.endswith(">") and 0 <= len(bare) - start <= 80 and start >= 0:
        marked = start > 1 and bare[start - 1] in "\u200e\u200f" and ":" not in bare[start:]
        if (marked and not _OMITTED.search(bare, start)) or _EDITED_WORDS.search(bare, start):
            return bare[:start].rstrip("\u200e\u200f \n"), True
    return text, False


def _iphone_caption(text: str) -> str | None:
    """What is said about a file that is attached, or was left out; None where there is none."""
    file = _IPHONE_FILE.search(text)
    if file and ("\u200e" in file[0] or "\u200f" in file[0] or _ATTACHED.search(file[0])):
        caption = text[: file.start()] + text[file.end() :]
    else:
        at = max(text.rfind("\u200e"), text.rfind("\u200f"))
        own, newline, after = text[at + 1 :].partition("\n")
        if at < 0 or len(own) > 80 or not _OMITTED.search(own):
            return None
        caption = text[:at] + newline + after
    return "" if _TITLE.fullmatch(_ANY_MARK.sub("", caption).strip()) else caption


def _android_caption(text: str) -> str | None:
    if found := _ANDROID_MEDIA.match(text.lstrip("\u200e\u200f")):
        caption = text.lstrip("\u200e\u200f")[found.end() :]
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
    """Whether WhatsApp, not a person, wrote it on an iPhone.

    Polls and places, which people made, are theirs; so are numbers and names that they pasted.
    """
    if text[:1] == "\u200f":
        return _ENCRYPTED.search(text) is not None
    return (
        text[:1] == "\u200e"
        and "://" not in text
        and "\n\u200e" not in text
        and not (bare[0] in "+@" or bare[0].isdigit())
    )


def _author(name: str) -> str | None:
    """The name as people know it; None where it is the beginning of a system line."""
    if len(name) > _LONGEST_NAME or "\n" in name or _ENCRYPTED.search(name):
        return None
    if len(re.findall('["“”„«»「」]', name)) % 2:
        return None  # 'Ann changed the subject to "Rome: day one"'
    name = _ANY_MARK.sub("", name).replace("\u202f", " ").replace("\u00a0", " ").strip()
    return name.removeprefix("~").strip() or name or None  # "~" stands before unsaved contacts


def _matches(head: str) -> bool:
    try:
        header = _Header(head)
    except ValueError:
        return False
    bodies = header.pattern.split("\n" + head)[3::3]
    return any(": " in body and _author(body.partition(": ")[0]) for body in bodies)


def _read(document: Document, notes: Notes) -> Iterator[Chat]:
    header = _Header(document.head())
    path = PurePosixPath(document.name)
    if path.name == "_chat.txt" and path.parent.name:  # as it is called in an iPhone's archive
        path = path.parent
    name = path.name.removesuffix(".txt").removesuffix(".zip")
    yield Chat(name, _messages(document, header, notes))


READER = Reader(_matches, _read)
