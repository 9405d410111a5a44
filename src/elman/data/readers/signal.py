r"""Signal as signal-export writes it: `chat.md` and `data.json`, both in a folder for each chat.

The Markdown has `[2021-03-01 10:00:00] Mira: text` for each message (`[2021-03-01, 10:00]` before
2023), where the text may follow what it answers, in lines that begin with `>`, and may end in
reactions `(- Mira: 👍 -)`, a sticker `(( 🙂 ))` and links to files. The JSON is one object a line,
`{"date", "sender", "body", "quote", "sticker", "reactions", "attachments"}`, and later `deleted`,
`call` and `missed`. Of a chat that is there as both, the JSON is read.

Shape: `models.py`, `create.py` and `main.py` of carderne/signal-export.
"""

import re
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import PurePosixPath
from typing import Any

from elman.data.conversation import Chat, Message
from elman.data.document import Document
from elman.data.notes import NoteReason, Notes
from elman.data.readers.json_text import objects
from elman.data.readers.reader import FolderReader
from elman.data.readers.records import expect, kept
from elman.data.readers.rows import fields_of
from elman.data.readers.timestamps import time_or_note

_HEADER = re.compile(
    r"\[(?P<date>\d{4}-\d\d-\d\d(?:, \d\d:\d\d| \d\d:\d\d(?::\d\d)?))\] "
    r"(?P<name>[^:]{1,100}?):(?: (?P<text>.*))?"
)
# WhatsApp writes dates so as well, in some countries; but nobody is called "Me" there, and no text
# ends in the two spaces by which Markdown ends a line.
_OF_SIGNAL = re.compile(r"^\[[^\]\n]+\] (?:(?:Me|No-Sender):|.*  \r?$)", re.M)
_LEFT_TO_RIGHT = "\u200e"

_REACTIONS = ("(- ", " -)")
_STICKER = ("(( ", " ))")
_LINK = re.compile(r"!?\[[^\n]*\]\(\.{1,2}/\S*\)")
_DELETED = "(This message was deleted)"
_CALL = re.compile(
    r"(?:Incoming|Outgoing|Missed)(?: (?:voice|video|group|adhoc))? call(?: \([^()\n]*\))?"
)
_KEYS = {"date", "sender", "body"}

_MEDIA = "a photo, voice message, sticker or other media without text"
_EXTRAS = "quotes and reactions taken out"


def _matches(head: str) -> bool:
    if _is_json(head):
        return True
    head = head.removeprefix("\ufeff").lstrip()
    first = head.partition("\n")[0].rstrip("\r")
    return (
        _HEADER.fullmatch(first) is not None
        and _LEFT_TO_RIGHT not in head
        and _OF_SIGNAL.search(head) is not None
    )


def _is_json(head: str) -> bool:
    fields = fields_of(head).keys()
    return fields >= _KEYS and bool({"quote", "sticker", "reactions", "attachments"} & fields)


def _read(documents: Sequence[Document], notes: Notes) -> Iterator[Chat]:
    begun: dict[tuple[str, str, str], str] = {}
    markdown = []
    for document in documents:
        if not _is_json(document.head()):
            markdown.append(document)
            continue
        begun[document.folder, *_beginning(document)] = document.filename
        yield Chat(_name(document), _from_json(document, notes))
    for document in markdown:
        twin = begun.get((document.folder, *_beginning(document)))
        if twin is not None:
            notes.leave_out_file("a chat of Signal that is there as JSON as well", document.name)
            continue
        yield Chat(_name(document), _from_markdown(document, notes))


def _name(document: Document) -> str:
    path = PurePosixPath(document.name)
    generic = path.name in ("chat.md", "index.md", "data.json") and path.parent.name
    return path.parent.name if generic else path.stem


def _beginning(document: Document) -> tuple[str, str]:
    """Return the minute and the sender of the first message, as far as there is one."""
    if _is_json(document.head()):
        first = next((row for _, row in objects(document, Notes())), {})
        return str(first.get("date")).replace("T", " ")[:16], str(first.get("sender"))
    headers = (_HEADER.fullmatch(line) for _, line in document.lines())
    found = next(filter(None, headers), None)
    return (found["date"].replace(",", "")[:16], found["name"]) if found else ("", "")


def _from_json(document: Document, notes: Notes) -> Iterator[Message]:
    return kept(objects(document, notes), _of_row, notes)


def _of_row(row: dict[str, Any], where: str, notes: Notes) -> Message | None:
    sender = expect(row.get("sender"), str, where, "'sender'")
    body = row.get("body")
    text = "" if body is None else expect(body, str, where, "'body'").strip()
    call = row.get("call")
    reason = ""
    if row.get("deleted") is True:
        reason = NoteReason.DELETED
    elif call is True or (call is None and _CALL.fullmatch(text)):
        reason = NoteReason.SYSTEM_LINE
    if reason:
        notes.leave_out(reason, where)
        return None
    media = bool(row.get("attachments") or row.get("sticker"))
    extras = bool(row.get("quote") or row.get("reactions"))
    return _message(sender, text, row.get("date"), (media, extras), where, notes)


def _from_markdown(document: Document, notes: Notes) -> Iterator[Message]:
    header: re.Match[str] | None = None
    begun = ""
    lines: list[str] = []
    for number, line in chain(document.lines(), [(0, None)]):
        found = _HEADER.fullmatch(line) if line is not None else None
        if line is not None and found is None:
            if header:
                lines.append(line)
            elif line.strip():
                notes.leave_out("no date before them", f"{document.name}: line {number}")
            continue
        if header:
            text, beside = _parted([header["text"] or "", *lines])
            if text == _DELETED:
                notes.leave_out(NoteReason.DELETED, begun)
            elif _CALL.fullmatch(text):
                notes.leave_out(NoteReason.SYSTEM_LINE, begun)
            elif message := _message(header["name"], text, header["date"], beside, begun, notes):
                yield message
        header, begun, lines = found, f"{document.name}: line {number}", []


def _parted(lines: list[str]) -> tuple[str, tuple[bool, bool]]:
    """Return a message's text; whether media stood beside it; whether quotes or reactions."""
    text, extras = _unquoted(lines)
    media = False
    end = len(text)
    while (start := _last_extra(text, end)) is not None:
        if text.startswith(_REACTIONS[0], start):
            extras = True
        else:
            media = True
        end = start
        while end and text[end - 1].isspace():
            end -= 1
    return text[:end], (media, extras)


def _last_extra(text: str, end: int) -> int | None:
    """Find where the reactions, sticker or link begin with which a text up to `end` ends."""
    for (opening, closing), within in ((_REACTIONS, ": "), (_STICKER, "")):
        if text.endswith(closing, 0, end):
            start = text.rfind(opening, 0, end)
            one_line = text.find("\n", max(start, 0), end) < 0
            if start >= 0 and one_line and text.find(within, start, end) >= 0:
                return start
    if not text.endswith(")", 0, end):
        return None
    start = text.rfind("[", 0, max(text.rfind("](.", 0, end), 0))
    start -= start > 0 and text[start - 1] == "!"
    return start if start >= 0 and _LINK.fullmatch(text, start, end) else None


def _unquoted(lines: list[str]) -> tuple[str, bool]:
    """Return the text of a message without what it answers, and whether it answered anything."""
    start = next((at for at, line in enumerate(lines) if line.strip()), 0)
    end = start
    while end < len(lines) and (lines[end].startswith(">") or (end > start and not lines[end])):
        end += 1
    kept = lines[end:] if end > start else lines
    return "\n".join(line.rstrip(" ") for line in kept).strip(), end > start


def _message(
    sender: str, text: str, date: object, beside: tuple[bool, bool], where: str, notes: Notes
) -> Message | None:
    """Return the message, if it is one.

    Args:
        beside: whether there are media beside the text; whether quotes or reactions.
    """
    media, extras = beside
    if not text:
        notes.leave_out(_MEDIA if media else NoteReason.NO_TEXT, where)
        return None
    if media:
        notes.change(NoteReason.CAPTION_KEPT, where)
    if extras:
        notes.change(_EXTRAS, where)
    # Of the clock where it was exported, if the source says no zone.
    return Message(sender, text, time_or_note(str(date).replace(", ", " "), where, notes))


READER = FolderReader(_matches, _read, keys=("date", "sender", "body"))
