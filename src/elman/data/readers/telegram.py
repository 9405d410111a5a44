"""Telegram Desktop's JSON export, `result.json`: one chat, or all chats of an account.

One chat is `{"name", "type", "id", "messages": [...]}`; an account is `{"about", ..., "chats":
{"about", "list": [chat, ...]}, "left_chats": {...}}`. A message is `{"type": "message", "date",
"date_unixtime", "from", "from_id", "text", ...}`, whose text is a string or a list of strings and,
for what is marked up, of `{"type", "text"}`.

Shape: `Telegram/SourceFiles/export/output/export_output_json.cpp` of telegramdesktop/tdesktop. It
writes control characters as `\\x0C`, which is not JSON (issue 27571 there) but is read here. So are
the values of `document_id` that versions of 2022 wrote without quotation marks, up to the end of
their line.
"""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from functools import partial
from itertools import groupby
from typing import IO, Any, Protocol, cast

from elman.data.conversation import Chat, Message
from elman.data.document import Document
from elman.data.notes import NoteReason, Notes
from elman.data.readers.json_text import items, json_start
from elman.data.readers.reader import Reader
from elman.data.readers.records import expect, kept, texts_of
from elman.data.readers.timestamps import TAKEN_OFF, timestamp

_STRING = r'"(?:[^"\\]|\\.)*"'
_CHAT = re.compile(
    rf'\{{(?:\s*"(?:name|type|id)"\s*:\s*(?:null|-?\d+|{_STRING})\s*,)+\s*"messages"\s*:\s*\['
)
_TYPE = re.compile(
    r'"type"\s*:\s*"(?:saved_messages|replies|verif\w+|\w+_(?:chat|group|supergroup|channel))"'
)
_ACCOUNT = re.compile(rf'\{{\s*"about"\s*:\s*{_STRING}\s*,')
_PART = re.compile(r'"(?:personal_information|contacts|sessions|chats|left_chats)"\s*:\s*\{')

_KEYS = ("name", "type", "id")

_INSTEAD_OF_TEXT = {
    "photo": NoteReason.VOICE_ALONE,
    "file": NoteReason.VOICE_ALONE,
    "media_type": NoteReason.VOICE_ALONE,
    "paid_stars_amount": NoteReason.VOICE_ALONE,
    "location_information": "a place on the map",
    "place_name": "a place on the map",
    "contact_information": "somebody's contact",
    "poll": "a poll",
}


def _matches(head: str) -> bool:
    start = json_start(head)
    if _is_account(start):
        return True
    chat = _CHAT.match(start)
    return chat is not None and _TYPE.search(chat[0]) is not None


def _is_account(start: str) -> bool:
    return _ACCOUNT.match(start) is not None and _PART.search(start) is not None


def _read(document: Document, notes: Notes) -> Iterator[Chat]:
    source = _Lenient(
        document.name, document.path, document.encoding, document.owner, document.member
    )
    account = _is_account(json_start(document.head()))
    places = ("chats.list.item.", "left_chats.list.item.") if account else ("",)
    people: dict[str, str] = {}
    empty = True
    for place in places:
        # What stands around an item changes with the next one, so the key copies it.
        for (name, kind, number), records in groupby(
            items(source, f"{place}messages.item", notes),
            key=lambda record: tuple(record[1].get(f"{place}{key}") for key in _KEYS),
        ):
            empty = False
            title = str(name or kind or "chat")  # saved messages have no name
            chat = title if number is None else f"{title} {number}"
            yield Chat(chat, _messages(records, title, people, notes))
    if empty:
        notes.leave_out_file("a Telegram export without messages", document.name)


def _messages(
    records: Iterator[tuple[str, Any, Any]], chat: str, people: dict[str, str], notes: Notes
) -> Iterator[Message]:
    found = ((where, record) for where, _, record in records)
    return kept(found, partial(_message, chat, people), notes)


def _message(
    chat: str, people: dict[str, str], record: Any, where: str, notes: Notes
) -> Message | None:
    record = expect(record, dict, where, "each message")
    kind = expect(record.get("type", "message"), str, where, "'type'")
    reason = None
    if kind == "service":
        reason = NoteReason.SYSTEM_LINE
    elif kind != "message":
        reason = f"of type {kind[:40]!r}"
    elif "forwarded_from" in record:
        reason = NoteReason.FORWARDED
    if reason is not None:
        notes.leave_out(reason, where)
        return None
    other = next((_INSTEAD_OF_TEXT[key] for key in _INSTEAD_OF_TEXT if key in record), None)
    parts = _parts(record, where, other is not None)
    texts, odd = texts_of(parts, _marked_up, where)
    text = "".join(texts)
    mended = any(isinstance(part, dict) and _MENDED_ID in part for part in parts)
    if mended and all(map(_is_custom_emoji, parts)):
        other, text = other or "nothing but a custom emoji whose 'document_id' is broken", ""
    if not text.strip():
        notes.leave_out(other or NoteReason.NO_TEXT, where)
        return None
    author = _author(record, where, chat, people)
    if other:
        notes.change("the caption kept of a photo, file or other media", where)
    if odd:
        notes.change(NoteReason.PARTS_TAKEN_OUT, where)
    if mended:
        notes.change("a 'document_id' without quotation marks mended", where)
    return Message(author, text, _time(record, where, notes))


def _parts(record: dict[str, Any], where: str, media: bool) -> list[Any]:
    found = [record.get(key) for key in ("text", "text_entities")]
    text = next((each for each in found if isinstance(each, str | list)), None)
    if text is None and media:
        return []
    return [text] if isinstance(text, str) else list(expect(text, list, where, "'text'"))


def _is_custom_emoji(part: Any) -> bool:
    """Say whether it is one, or nothing beside one."""
    if isinstance(part, str):
        return not part.strip()
    return isinstance(part, dict) and part.get("type") == "custom_emoji"


def _marked_up(part: Any, where: str) -> str:
    text = expect(part, dict, where, "each part of 'text'").get("text")
    return cast(str, expect(text, str, where, "the 'text' of each part"))


def _author(record: dict[str, Any], where: str, chat: str, people: dict[str, str]) -> str:
    """Return the name, with the id where somebody else had it first; the id of who is gone."""
    person, name = record.get("from_id"), record.get("from")
    if isinstance(person, int):  # before 2021
        person = f"user{person}"
    if name is not None:
        expect(name, str, where, "'from'")
    if not name:
        return person if isinstance(person, str) and person else chat
    if isinstance(person, str) and person and people.setdefault(name, person) != person:
        return f"{name} ({person})"
    return cast(str, name)


def _time(record: dict[str, Any], where: str, notes: Notes) -> datetime | None:
    """Return the time in UTC; in old exports, that of the clock where it was exported."""
    given = [record[key] for key in ("date_unixtime", "date") if record.get(key) is not None]
    time = next(filter(None, map(timestamp, given)), None)
    if given and time is None:
        notes.change(TAKEN_OFF, where)
    return time


class _Lenient(Document):
    """A document in which what Telegram alone writes is made JSON."""

    @contextmanager
    def stream(self) -> Iterator[IO[bytes]]:
        with super().stream() as stream:
            yield cast(IO[bytes], _mended_escapes(_mended_ids(stream)))


_ESCAPE = re.compile(rb"\\(?:x([0-9A-Fa-f]{2})|.)", re.DOTALL)
_UNFINISHED = re.compile(rb"(?<!\\)(?:\\\\)*(\\(?:x[0-9A-Fa-f]?)?)\Z")


class _Readable(Protocol):
    def read(self, size: int = -1, /) -> bytes: ...


class _Mended:
    """Mends a stream, and holds back what is unfinished until more of it is read.

    unfinished: returns where in the bytes that begins; None where there is none.
    """

    def __init__(
        self,
        stream: _Readable,
        unfinished: Callable[[bytes], int | None],
        mend: Callable[[bytes], bytes],
    ) -> None:
        self._stream, self._unfinished, self._mend = stream, unfinished, mend
        self._rest = b""

    def read(self, size: int = -1) -> bytes:
        new = self._stream.read(size)
        data, self._rest = self._rest + new, b""
        if new and (start := self._unfinished(data)) is not None:
            data, self._rest = data[:start], data[start:]
            if not data:  # which would say that the file ends
                return self.read(size)
        return self._mend(data)


def _mended_escapes(stream: _Readable) -> _Mended:
    return _Mended(stream, _unfinished_escape, _mend_escapes)


def _unfinished_escape(data: bytes) -> int | None:
    cut = _UNFINISHED.search(data) if b"\\" in data[-3:] else None
    return cut.start(1) if cut else None


def _mend_escapes(data: bytes) -> bytes:
    if b"\\x" not in data:
        return data
    return _ESCAPE.sub(lambda m: b"\\u00" + m[1] if m[1] else m[0], data)


_MENDED_ID = "document_id without quotation marks"
_ID_KEY = b'"document_id"'
_BARE_ID = re.compile(
    rb'"document_id"(\s*:[ \t]*)(?!(?:null|true|false|-?\d+)\s*[,}\r\n])([^\s"\[{][^\r\n]*?)'
    rb"(?=[ \t]*,?[ \t]*\r?\n)"
)
_MAX_ID_BYTES = 1 << 14


def _mended_ids(stream: _Readable) -> _Mended:
    return _Mended(stream, _unfinished_id, _mend_ids)


def _unfinished_id(data: bytes) -> int | None:
    """Return where a key begins whose line may not have ended."""
    start = data.find(_ID_KEY, data.rfind(b"\n") + 1)
    if start >= 0 and len(data) - start < _MAX_ID_BYTES:
        return start
    quote = data.rfind(b'"', -len(_ID_KEY))
    return quote if quote >= 0 and _ID_KEY.startswith(data[quote:]) else None


def _mend_ids(data: bytes) -> bytes:
    """Put quotation marks around a bare `document_id`, and mark it by another key."""
    return _BARE_ID.sub(_quoted, data) if _ID_KEY in data else data


def _quoted(found: re.Match[bytes]) -> bytes:
    value = found[2].replace(b"\\", b"\\\\").replace(b'"', b'\\"')
    return b'"' + _MENDED_ID.encode() + b'"' + found[1] + b'"' + value + b'"'


READER = Reader(_matches, _read, keys=("name", "type", "id", "messages"))
