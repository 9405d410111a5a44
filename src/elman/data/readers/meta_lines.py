"""Lines that Messenger and Instagram write in a person's name, and marks of what was edited.

Nothing but their words tells these lines from what people write, so the words are known here: all
kinds of them in English, and what Instagram writes for likes and reactions in other languages.

Words: Messenger's own English texts (its module `MAWLocalizationType`); on edits, issue 114 of
mlomb/chat-analytics. Likes in German, Spanish, French, Italian and Portuguese stand in public
parsers; the wording in other languages is unconfirmed, and surely not complete.
"""

# ruff: noqa: RUF001, for letters of other alphabets and the quotation marks of Meta

import re
import unicodedata
from collections.abc import Iterable

_POLL_OPTION = r'".*"(?: and \d+ other options?)?'
_ANYBODY = re.compile(
    r"(?P<who>.{1,120}?)(?:"
    rf" (?:voted for {_POLL_OPTION} in|added {_POLL_OPTION} to|removed .{{2,8}}vote for "
    rf"{_POLL_OPTION} (?:in|from)|changed .{{2,8}}vote to {_POLL_OPTION} in) the poll"
    r"|'s poll has multiple updates|’s poll has multiple updates"
    r"| (?:created|started|ended|closed) (?:a|the) poll(?:: .*)?"
    r"| missed (?:your|a|an|the) (?:audio |video |voice |group )*(?:call|chat)(?: from .*)?"
    r")\.?"
)
"""What is said of whoever did it, in any person's name."""

_THEIR = r"(?:his|her|their|your)(?: own)?"
_CALL = r"(?:audio |video |voice |group )*(?:call|chat)"
_AUTHOR = re.compile(
    r"(?P<who>.{1,120}?) (?:"
    r"(?:pinned|unpinned|unsent|deleted|forwarded) (?:a|the) message"
    r"|(?:changed|set|removed|reset) the (?:chat |group )?(?:theme|colou?rs?|word effects?)"
    r"(?: (?:to|using) .*)?"
    r"|(?:changed|set|removed) the (?:group )?(?:photo|description|name)(?: to .*)?"
    r"|named the group .*"
    r"|(?:set|removed|changed) the (?:emoji|quick reaction)(?: to .*)?"
    rf"|(?:set|cleared|removed|changed) (?:the nicknames? for .*|{_THEIR} nicknames?(?: to .*)?)"
    rf"|(?:started|joined|left|ended) (?:an? |the ){_CALL}"
    r"|(?:joined|left) (?:the|this) (?:group|conversation)(?: (?:using|via|by) .*)?"
    r"|created (?:the|this|a) group(?: .*)?"
    r"|added .* to the (?:group|chat|conversation)"
    r"|removed .* from the (?:group|chat|conversation)"
    r"|(?:added|removed|made) .* (?:as )?(?:an? )?(?:group |chat )?admin"
    r"|(?:is|are) (?:now|no longer) (?:an? )?(?:group |chat )?admin"
    r"|changed who can (?:add people|send messages)\b.*"
    r"|(?:liked|loved|disliked|laughed at|emphasi[sz]ed) a message"
    r"|reacted .{1,20} to .{1,80} message"
    r"|sent (?:an? (?:attachment|link|photo|video|sticker|GIF|voice message|voice clip|audio"
    r"|live location|location|file|post|reel|story)|\d+ (?:photos|videos|attachments))"
    r"|shared (?:an? )?(?:.{0,40} )?(?:post|story|reel|photo|video|link|location|live location)"
    r"|(?:started|stopped) sharing .{0,20}location"
    r"|turned (?:on|off) (?:vanish mode|disappearing messages|message sharing|approval)\b.*"
    r"|waved at .*"
    r"|took a screenshot(?: of .*)?"
    r"|(?:mentioned you in|replied to|reacted to) .{1,30} story"
    r"|(?:created|started) (?:a|an) (?:plan|event|reminder)(?:: .*)?"
    r"|responded (?:Going|Maybe|Can't [Gg]o|Not [Gg]oing|Interested) to .*"
    r"|set messages to disappear\b.*"
    r")\.?"
)
"""What is said of the person in whose name it stands, or of `You`."""

_ALONE = re.compile(
    r"(?:Liked|Loved|Disliked|Laughed at|Emphasi[sz]ed) a message"
    r"|Reacted .{1,20} to (?:your|a|their|his|her) message"
    r"|(?:This poll is no longer available|A poll has been unsent|Your poll has multiple updates)"
    rf"|(?:The |An? )?{_CALL} (?:has )?(?:ended|started)|Missed {_CALL}"
    r"|A (?:contact|chat admin) (?:started|missed|changed) .*"
    r"|Your other chat with .* was archived"
    r"|You are now connected on Messenger"
    r"|You can now (?:message and call each other|call each other|chat)\b.*"
    r"|Say hi to your new Facebook friend, .*"
    r"|(?:Messages and calls|New messages and calls|This chat is) .*end-to-end encrypt.*"
    r"|You're messaging .* for the first time\..*",
    re.IGNORECASE,
)

# What stands between the words is the emoji.
_LIKED_AND_REACTED_BY_LANGUAGE = {
    "de": (
        r"Gefällt (?:eine|deine) Nachricht|Hat (?:mit )?.{0,20}auf (?:deine|eine) Nachricht"
        r"(?: mit .{0,20})? ?reagiert"
    ),
    "es": (
        r"(?:Le ha gustado|Le gustó|Le gusta|Indicó que le gusta) un mensaje"
        r"|(?:Ha reaccionado|Reaccionó) (?:con )?.{0,20}a (?:tu|un) mensaje(?: con .{0,20})?"
    ),
    "fr": (
        r"(?:A aimé|Aime) un message|A réagi (?:avec )?.{0,20}à (?:votre|ton|un) message"
        r"(?: avec .{0,20})?"
    ),
    "it": (
        r"Ha messo [\"“«]?Mi piace[\"”»]? a un messaggio|(?:Ha reagito|Ha aggiunto la reazione)"
        r" (?:con )?.{0,20}al (?:tuo )?messaggio|Ha reagito al tuo messaggio con .{0,20}"
    ),
    "pt": r"(?:Curtiu|Gostou de) uma mensagem|Reagiu (?:com )?.{0,20}à (?:sua|tua) mensagem",
    "nl": (
        r"(?:Vindt|Vond) een bericht leuk"
        r"|(?:Reageerde|Heeft) (?:met )?.{0,20}op (?:je|een) bericht(?: gereageerd)?"
    ),
    "sv": r"Gillade ett meddelande|Reagerade (?:med )?.{0,20}på ditt meddelande",
    "da": r"(?:Synes|Syntes) godt om en besked|Reagerede (?:med )?.{0,20}på din besked",
    "no": r"Likte en melding|Reagerte (?:med )?.{0,20}på meldingen din",
    "fi": r"Tykkäsi viestistä|Reagoi .{0,20}viestiisi.{0,20}",
    "pl": (
        r"(?:Polubił|Polubiła|Polubił\(a\)|Polubiono) wiadomość|Lubi wiadomość"
        r"|(?:Zareagował|Zareagowała|Zareagował\(a\)) .{0,20}na (?:Twoją|twoją) wiadomość"
    ),
    "tr": r"Bir mesajı beğendi|Mesajın[ıa] .{0,20}(?:ifadesini bıraktı|tepkisini verdi)",
    "ru": (
        r"(?:Понравилось сообщение|Нравится сообщение|Поставил\(-а\) отметку .* сообщению)"
        r"|(?:Отреагировал|Отреагировала|Отреагировал\(-а\)|Отреагировал\(а\)) .{0,20}"
        r"на ваше сообщение|Реакция .{0,20}на ваше сообщение"
    ),
    "uk": r"(?:Вподобав|Вподобала|Вподобав\(-ла\)) повідомлення",
    "id": r"Menyukai pesan|(?:Menanggapi|Bereaksi) .{0,20}(?:untuk|ke|terhadap|pada) pesan Anda",
    "vi": r"Đã thích (?:một )?tin nhắn|Đã bày tỏ cảm xúc .{0,20}về tin nhắn của bạn",
    "ja": (
        r"メッセージに「?いいね.?」?しました"
        r"|(?:あなたの)?メッセージに.{0,20}(?:と|で)リアクションしました"
    ),
    "ko": r"메시지를 좋아합니다|회원님의 메시지에 .{0,20}공감했습니다",
    "zh": (
        r"赞了一条消息|說一則訊息讚|对你的消息(?:作|做)出了.{0,20}(?:反应|回应)"
        r"|對你的訊息傳達.{0,20}心情"
    ),
}
_LIKED_AND_REACTED = re.compile("|".join(_LIKED_AND_REACTED_BY_LANGUAGE.values()), re.IGNORECASE)

_EDIT_MARK = re.compile(
    r"\s*\((?:edited|bearbeitet|editado|editada|modifié|modificato|bewerkt|redigerad|redigeret"
    r"|redigert|muokattu|edytowano|edytowane|upraveno|szerkesztve|editat|düzenlendi|diedit"
    r"|изменено|отредактировано|змінено|đã chỉnh sửa|編集済み|수정됨|已编辑|已編輯|تم التعديل"
    r"|נערך)\)\s*\Z",
    re.IGNORECASE,
)


def is_by_meta(text: str, author: str, people: Iterable[str]) -> bool:
    """Say whether a message was not written by its author.

    "Ann named the group Tea." was not; but somebody called Will may well say "Will do."

    Args:
        people: the names of all that may be in the chat.
    """
    line = unicodedata.normalize("NFC", text).strip()
    if _ALONE.fullmatch(line.removesuffix(".")) or _LIKED_AND_REACTED.fullmatch(line):
        return True
    own = {unicodedata.normalize("NFC", author), "You"}
    if (found := _AUTHOR.fullmatch(line)) and found["who"] in own:
        return True
    found = _ANYBODY.fullmatch(line)
    return found is not None and (found["who"] in own or found["who"] in people)


def without_edit_mark(text: str) -> str | None:
    """Return the text of an edited message; None for one that bears no mark of it."""
    unmarked, marks = _EDIT_MARK.subn("", text)
    return unmarked if marks and unmarked.strip() else None
