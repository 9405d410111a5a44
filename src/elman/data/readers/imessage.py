"""iMessage as imessage-exporter writes it in plain text, one chat a file.

    May 17, 2022  5:29:42 PM (Read by you after 1 hour, 49 seconds)
    Mira
    Is the kettle on?

Below the text may stand paths of attachments, reactions (`Tapbacks:`, before 2024 `Reactions:`),
effects, and what was answered in a thread, indented by four spaces. Such an answer stands again
in its own place. A message that was edited shows all that it said, the last one at its end. What
happened to the chat is in one line with its time.

Shape: `exporters/txt.rs` and `exporters/txt/mod.rs` of ReagentX/imessage-exporter.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import chain, pairwise

from elman.data.conversation import Chat, Message
from elman.data.document import Document
from elman.data.notes import NoteReason, Notes
from elman.data.readers.dates import Dates
from elman.data.readers.reader import Reader

_TIME = (
    r"(?P<time>(?:[A-Z][a-z]{2,8}\.? \d{1,2},? \d{4}|\d{1,2}\.? [A-Z][a-z]{2,8}\.? \d{4}"
    r"|\d{1,4}([-/.])\d{1,2}\2\d{1,4}),?(?: at)?[ \u202f]+"
    r"\d{1,2}:\d\d(?::\d\d)?(?:[ \u202f]?[AaPp]\.?[Mm]\.?)?)"
)
_HEADER = re.compile(rf"{_TIME}(?: \(Read by .+ after .+\))?")
_TIMED_LINE = re.compile(rf"{_TIME} (?P<text>.+)")
_NO_ANNOUNCEMENT = "Unable to format announcement!"
_INDENT = "    "

_REPLIED = "This message responded to an earlier message."
_DELETED = "This message was deleted from the conversation!"
_UNSENT = re.compile(
    r".{1,100} unsent (?:this message part|a message)\b.*!|(?:You|They) deleted a message\."
)
_REACTIONS = ("Tapbacks:", "Reactions:")
_REACTION = re.compile(
    r" +\S.* by .+|(?:Loved|Liked|Disliked|Laughed|Emphasized|Questioned) by .+| *.*Sticker from .+"
)
_EFFECT = re.compile(
    r"Sent with (?:Confetti|Echo|Fireworks|Balloons|Heart|Lasers|Shooting Start?|Sparkles"
    r"|Spotlight|Slam|Loud|Gentle|Invisible Ink)"
)
_EDITED = re.compile(r"Edited .*?later: (?P<text>.*)")
_TRANSLATED = "Translated from:"
_SPOKEN = "Transcription: "
_SHARED = ("SharePlay Message", "Started sharing location!", "Stopped sharing location!")
_MEDIA_LINE = re.compile(
    r"(?!.*://)(?:Attachment missing!|Unable to format app message: .+|(?:\w+ )?Sticker from .+: .+"
    r"|(?:~|\.{0,2}/|[A-Z]:\\).*[/\\](?:Attachments|attachments|StickerCache|Backup)[/\\].+"
    r"|attachments/\S.*"
    r"|[^/\s]*/(?:[^/\s]+/)+[^/\s]*\.(?:\w{2,5}|pluginPayloadAttachment)"
    r"|\S+\.(?:heic|jpe?g|png|gif|webp|tiff|mov|mp4|m4v|3gpp?|caf|m4a|mp3|amr|vcf|pdf|vlocation))",
    re.IGNORECASE,
)
_PLACEHOLDER = "\ufffc"
"""Stands in a text where a picture was."""

_EDITED_NOTE = "edited: only what they said last kept"
_EXTRAS = "reactions, effects and other remarks taken out"


@dataclass
class _Record:
    where: str
    time: str
    author: str = ""
    lines: list[str] = field(default_factory=list)
    answers: list["_Record"] = field(default_factory=list)

    @property
    def key(self) -> tuple[str, str]:
        return self.time, self.author


def _matches(head: str) -> bool:
    lines = head.removeprefix("\ufeff").lstrip("\r\n").splitlines()
    first = lines[0] if lines else ""
    if not (_HEADER.fullmatch(first) or _TIMED_LINE.fullmatch(first) or first == _NO_ANNOUNCEMENT):
        return False
    return any(
        not above.strip() and _HEADER.fullmatch(line) and below.strip()
        for above, line, below in zip(["", *lines], lines, lines[1:], strict=False)
    )


def _read(document: Document, notes: Notes) -> Iterator[Chat]:
    yield Chat(document.filename.removesuffix(".txt"), _messages(document, notes))


def _messages(document: Document, notes: Notes) -> Iterator[Message]:
    in_place = dict.fromkeys(record.key for record in _records(document, Notes()))
    dates = Dates(time for time, _ in in_place)
    for record in _records(document, notes):
        answers = (each for each in record.answers if each.key not in in_place)
        for each in (record, *answers):
            text = _Text(each.lines)
            if not text.text:
                notes.leave_out(text.instead, each.where)
                continue
            for what in text.changes:
                notes.change(what, each.where)
            yield Message(each.author, text.text, dates.time(each.time))


def _records(document: Document, notes: Notes) -> Iterator[_Record]:
    """Yield the messages that stand in their own place, with what was answered to them."""
    record: _Record | None = None
    answer: _Record | None = None
    unnamed: _Record | None = None
    after_blank = True
    for (number, line), (_, below) in pairwise(chain(document.lines(), [(0, "")])):
        where = f"{document.name}: line {number}"
        indented = line.removeprefix(_INDENT)
        if unnamed is not None:
            unnamed.author, unnamed = line.strip(), None
        elif after_blank and below.strip() and (found := _HEADER.fullmatch(line)):
            if record:
                yield record
            record = unnamed = _Record(where, found["time"])
            answer = None
        elif after_blank and not below.strip() and _is_announcement(line):
            notes.leave_out(NoteReason.SYSTEM_LINE, where)
            if record:
                yield record
            record = answer = None
        elif (
            record
            and indented != line
            and below.startswith(_INDENT)
            and (found := _HEADER.fullmatch(indented))
        ):
            answer = unnamed = _Record(where, found["time"])
            record.answers.append(answer)
        elif record is None:
            if line.strip():
                notes.leave_out("no time and name before them", where)
        else:
            if answer and after_blank and line.strip() and indented == line:
                answer = None  # another part of what was answered
            (answer or record).lines.append(indented if answer else line)
        after_blank = not line.strip()
    if record:
        yield record


def _is_announcement(line: str) -> bool:
    return line == _NO_ANNOUNCEMENT or _TIMED_LINE.fullmatch(line) is not None


class _Text:
    """What somebody wrote, of all lines of a message; `instead` says what it is without text."""

    def __init__(self, lines: list[str]) -> None:
        self.changes: list[str] = []
        self.instead = NoteReason.NO_TEXT
        self._kept: list[str] = []
        self._edits_from: int | None = None
        rest = iter(lines)
        for line in rest:
            if line in _REACTIONS:
                self._pass_reactions(rest)
            else:
                self._add(line.replace(_PLACEHOLDER, ""))
        if _DELETED in lines:
            self._kept.clear()
            self.instead = NoteReason.DELETED
        self.text = "\n".join(self._kept).strip()
        if self.instead == NoteReason.VOICE_ALONE:
            self._change(NoteReason.CAPTION_KEPT)

    def _add(self, line: str) -> None:
        if line == _REPLIED or _EFFECT.fullmatch(line):
            self._change(_EXTRAS)
        elif _UNSENT.fullmatch(line):
            self._change(_EXTRAS)
            self.instead = NoteReason.DELETED
        elif line in _SHARED:
            self.instead = NoteReason.SYSTEM_LINE
        elif line == "Ended" and self.instead == NoteReason.SYSTEM_LINE:
            return
        elif _MEDIA_LINE.fullmatch(line):
            self.instead = NoteReason.VOICE_ALONE
        elif self.instead == NoteReason.VOICE_ALONE and line.startswith(_SPOKEN):
            self._kept.append(line.removeprefix(_SPOKEN))
        elif line == _TRANSLATED and self._kept:
            self._kept.clear()
            self._change("their translation taken out")
        elif self._edits_from is not None and (found := _EDITED.fullmatch(line)):
            self._kept[self._edits_from :] = [found["text"]]
            self._change(_EDITED_NOTE)
        else:
            if _TIMED_LINE.fullmatch(line):
                self._edits_from = len(self._kept)
            self._kept.append(line)

    def _pass_reactions(self, rest: Iterator[str]) -> None:
        """Pass over the lines below `Tapbacks:`, up to a blank line or one that is no reaction."""
        self._change(_EXTRAS)
        for line in rest:
            if not line.strip():
                return
            if not _REACTION.fullmatch(line):
                self._add(line)
                return

    def _change(self, what: str) -> None:
        if what not in self.changes:
            self.changes.append(what)


READER = Reader(_matches, _read)
