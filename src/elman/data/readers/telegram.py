"""Telegram Desktop's JSON export, `result.json`: one chat, or all chats of an account.

One chat is `{"name", "type", "id", "messages": [...]}`; an account is `{"about", ..., "chats":
{"about", "list": [chat, ...]}, "left_chats": {...}}`. A message is `{"type": "message", "date",
"date_unixtime", "from", "from_id", "text", ...}`, whose text is a string or a list of strings and,
for what is marked up, of `{"type", "text"}`.

Shape: `Telegram/SourceFiles/export/output/export_output_json.cpp` of telegramdesktop/tdesktop. It
writes control characters as `\\x0C`, which is not JSON (issue 27571 there) but is read here.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import groupby
from typing import IO, Any, cast

from elman.data.conversation import Chat, Message
from elman.data.document import Document, Notes
from elman.data.readers.reader import Reader, expect, items, json_start
from elman.errors import ElmanError

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

_MEDIA = "a photo, voice message or other media without text"
_INSTEAD_OF_TEXT = {
    "photo": _MEDIA,
    "file": _MEDIA,
    "media_type": _MEDIA,
    "paid_stars_amount": _MEDIA,
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
            items(source, f"{place}messages.item"),
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
    for where, _, record in records:
        record = expect(record, dict, where, "each message")
        kind = expect(record.get("type"), str, where, "'type'")
        if kind == "service":
            notes.leave_out("a system line", where)
            continue
        if kind != "message":
            notes.leave_out(f"of type {kind[:40]!r}", where)
            continue
        if "forwarded_from" in record:
            notes.leave_out("forwarded, so written by somebody else", where)
            continue
        text = _text(record, where)
        other = next((_INSTEAD_OF_TEXT[key] for key in _INSTEAD_OF_TEXT if key in record), None)
        if not text.strip():
            notes.leave_out(other or "without text", where)
            continue
        if other:
            notes.change("the caption kept of a photo, file or other media", where)
        yield Message(_author(record, where, chat, people), text, _time(record, where))


def _text(record: dict[str, Any], where: str) -> str:
    text = record.get("text", record.get("text_entities"))
    if isinstance(text, str):
        return text
    return "".join(
        part if isinstance(part, str) else _marked_up(part, where)
        for part in expect(text, list, where, "'text'")
    )


def _marked_up(part: Any, where: str) -> str:
    text = expect(part, dict, where, "each part of 'text'").get("text")
    return cast(str, expect(text, str, where, "the 'text' of each part"))


def _author(record: dict[str, Any], where: str, chat: str, people: dict[str, str]) -> str:
    """The name; with the id where somebody else had that name first; the id of who is gone."""
    person, name = record.get("from_id"), record.get("from")
    if isinstance(person, int):  # before 2021
        person = f"user{person}"
    elif person is not None:
        expect(person, str, where, "'from_id'")
    if name is not None:
        expect(name, str, where, "'from'")
    if not name:
        return person or chat
    if person and people.setdefault(name, person) != person:
        return f"{name} ({person})"
    return cast(str, name)


def _time(record: dict[str, Any], where: str) -> datetime:
    """In UTC; in old exports, which say no more, that of the clock where it was exported."""
    seconds, date = record.get("date_unixtime"), record.get("date")
    try:
        if seconds is not None:
            return datetime.fromtimestamp(int(seconds), UTC)
        return datetime.fromisoformat(expect(date, str, where, "'date'"))
    except (ValueError, TypeError, OverflowError, OSError):
        key, got = ("date", date) if seconds is None else ("date_unixtime", seconds)
        raise ElmanError(f"{where}: expected {key!r} to be a time, got {str(got)[:60]}") from None


class _Lenient(Document):
    """A document with Telegram's own escapes made those of JSON."""

    @contextmanager
    def stream(self) -> Iterator[IO[bytes]]:
        with super().stream() as stream:
            yield cast(IO[bytes], _Escapes(stream))


_ESCAPE = re.compile(rb"\\(?:x([0-9A-Fa-f]{2})|.)", re.DOTALL)
_UNFINISHED = re.compile(rb"(?<!\\)(?:\\\\)*(\\(?:x[0-9A-Fa-f]?)?)\Z")


class _Escapes:
    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._rest = b""

    def read(self, size: int = -1) -> bytes:
        new = self._stream.read(size)
        data, self._rest = self._rest + new, b""
        if new and b"\\" in data[-3:] and (cut := _UNFINISHED.search(data)):
            data, self._rest = data[: cut.start(1)], data[cut.start(1) :]
            if not data:  # which would say that the file ends
                return self.read(size)
        if b"\\x" in data:
            data = _ESCAPE.sub(lambda m: b"\\u00" + m[1] if m[1] else m[0], data)
        return data


READER = Reader(_matches, _read, keys=("name", "type", "id", "messages"))
