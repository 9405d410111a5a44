"""Messenger and Instagram, in the JSON of Meta's "download your information".

Each chat is a folder, such as `messages/inbox/ann_1234`, of files `message_1.json` (the newest),
`message_2.json` and so on: `{"participants": [{"name"}, ...], "messages": [{"sender_name",
"timestamp_ms", "content", "photos", "share", ...}, ...], "title", "thread_path", ...}`, newest
message first. Its text is UTF-8 of which each byte is written as a character of its own.

A message that was edited stands there once for each version, the later ones with "(edited)" behind
them; it is read as one message, in its first place and with its last text.

End-to-end encrypted chats are another download, one file each and in true UTF-8:
`{"participants": [name, ...], "threadName", "messages": [{"senderName", "timestamp", "text",
"type", "media", "isUnsent", ...}, ...]}`.

Shape: Meta documents none of it; public parsers show it: timelinize/timelinize
(`datasources/facebook/messages.go`), joweich/chat-miner (`chatminer/chatparsers.py`) and
NaphatPi/ig_dm_scraper (`formatter.py`); encrypted chats: nikbpetrov/timelinize
(`datasources/facebook/e2ee.go`).
"""

import json
import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from pathlib import PurePosixPath
from typing import Any

from elman.data.conversation import Chat, Message
from elman.data.document import Document
from elman.data.notes import NoteReason, Notes
from elman.data.readers.json_text import items, json_start
from elman.data.readers.meta_lines import is_by_meta, without_edit_mark
from elman.data.readers.reader import FolderReader
from elman.data.readers.records import expect, kept
from elman.data.readers.timestamps import time_or_note, timestamp

_SHARE = "a shared link or post without text"

_MEDIA_KEYS = ("photos", "videos", "audio_files", "gifs", "files", "sticker")
_SAID = (None, "Generic", "Share")
_SAID_ENCRYPTED = (None, "text", "media", "link")

_EDITED = "edited: only the last version kept, without its mark"
_EARLIER = "an earlier version of an edited message"
_MAX_EDIT_SECONDS = 15 * 60
"""A message can be edited for so long after it was sent."""
_MAX_EDIT_DISTANCE = 50
"""Messages among which the earlier version of one is looked for."""
_MAX_COMPARED = 500
"""Characters."""
_MIN_LIKENESS = 0.4
"""Of two versions, as `difflib` has it, unless one contains the other; less is another message."""

_NAME = re.compile(r'"name"\s*:\s*("(?:[^"\\]|\\.)*")')


def _matches(head: str) -> bool:
    start = json_start(head)
    return (
        start.startswith("{")
        and all(f'"{key}"' in start for key in ("participants", "messages"))
        and (
            _is_encrypted(start)
            or '"thread_path"' in start
            or ('"sender_name"' in start and '"timestamp_ms"' in start)
        )
    )


def _is_encrypted(start: str) -> bool:
    return '"threadName"' in start


def _read(documents: Sequence[Document], notes: Notes) -> Iterator[Chat]:
    chats: defaultdict[tuple[str, str], list[tuple[float, Document]]] = defaultdict(list)
    for document in documents:
        if next(items(document, "messages.item"), None) is None:
            notes.leave_out_file("a chat of Messenger or Instagram without messages", document.name)
            continue
        start = json_start(document.head())
        # All files of a chat begin with the same people, and only those of one chat should.
        key = document.name if _is_encrypted(start) else start.partition('"messages"')[0]
        chats[document.folder, key].append((_newest(document), document))
    for files in chats.values():
        ordered = [document for _, document in sorted(files, key=lambda file: file[0])]
        yield Chat(_id(ordered[0]), _messages(ordered, notes))


def _id(document: Document) -> str:
    if _is_encrypted(json_start(document.head())):
        return _value(document, "threadName") or document.filename
    title, _ = _mended(_value(document, "title"))
    return f"{title} {PurePosixPath(document.folder).name}".strip() or document.filename


def _value(document: Document, path: str) -> str:
    found = next((value for _, _, value in items(document, path)), "")
    return found if isinstance(found, str) else ""


def _newest(document: Document) -> float:
    """When the first message with a time was sent, in seconds since 1970: it is the newest."""
    times = (_seconds(item) for _, _, item in items(document, "messages.item"))
    return next((time for time in times if time is not None), 0.0)


def _messages(documents: list[Document], notes: Notes) -> Iterator[Message]:
    for document in documents:
        start = json_start(document.head())
        records = ((where, item) for where, _, item in items(document, "messages.item"))
        held = list(kept(records, _reader(start), notes))
        held.reverse()
        before = next((each.seconds for each in held if each.seconds is not None), 0.0)
        for each in held:
            each.seconds = before = before if each.seconds is None else each.seconds
        held.sort(key=lambda each: each.seconds or 0.0)
        yield from _last_versions(held, notes)


@dataclass
class _Sent:
    """A message, and when it, or where that is unknown the one before it, was sent (since 1970)."""

    where: str
    message: Message
    seconds: float | None


def _reader(start: str) -> Callable[[Any, str, Notes], _Sent | None]:
    encrypted = _is_encrypted(start)
    people = set() if encrypted else _people(start)

    def read(item: Any, where: str, notes: Notes) -> _Sent | None:
        item = expect(item, dict, where, "each message")
        said = _encrypted(item, where, notes) if encrypted else _plain(item, where, people, notes)
        if said is None:
            return None
        time = time_or_note(_timestamp(item), where, notes)
        return _Sent(where, Message(*said, time), _seconds(item))

    return read


def _people(start: str) -> set[str]:
    found = (match[1] for match in _NAME.finditer(start.partition('"messages"')[0]))
    return {_mended(json.loads(name, strict=False))[0] for name in found}


def _last_versions(sent: list[_Sent], notes: Notes) -> Iterator[Message]:
    """Return the messages; those that were edited stand once."""
    versions: list[_Sent] = []
    for each in sent:
        text = without_edit_mark(each.message.text)
        if text is None:
            versions.append(each)
            continue
        message = each.message._replace(text=text)
        notes.change(_EDITED, each.where)
        earlier = _earlier(versions, message, each.seconds or 0.0)
        if earlier is None:
            versions.append(_Sent(each.where, message, each.seconds))
        else:
            notes.leave_out(_EARLIER, earlier.where)
            earlier.message = message._replace(time=earlier.message.time)
    return (each.message for each in versions)


def _earlier(versions: list[_Sent], message: Message, seconds: float) -> _Sent | None:
    """Find the version before: what is most like it of all that its author said shortly before."""
    candidates = [
        each
        for each in versions[-_MAX_EDIT_DISTANCE:]
        if each.message.author == message.author
        and seconds - (each.seconds or 0.0) <= _MAX_EDIT_SECONDS
    ]
    likeness = SequenceMatcher(b=message.text[:_MAX_COMPARED], autojunk=False)

    def alike(each: _Sent) -> float:
        likeness.set_seq1(each.message.text[:_MAX_COMPARED])
        return likeness.ratio()

    best = max(reversed(candidates), key=alike, default=None)
    if best is None:
        return None
    one, other = sorted((best.message.text, message.text), key=len)
    return best if one in other or alike(best) >= _MIN_LIKENESS else None


_Said = tuple[str, str]


def _plain(item: dict[str, Any], where: str, people: set[str], notes: Notes) -> _Said | None:
    author, doubtful = _mended(_text(item, "sender_name", where))
    text, garbled = _mended(_text(item, "content", where))
    kind, media, share = item.get("type"), any(map(item.get, _MEDIA_KEYS)), item.get("share")
    # What Meta writes about its own, such as "Ann Lee sent an attachment.", is in many languages.
    about = author != "" and text.startswith(author) and (media or bool(share))
    reason = ""
    if item.get("is_unsent"):
        reason = NoteReason.DELETED
    elif item.get("is_taken_down"):
        reason = "taken down by Meta"
    elif kind == "Call" or "call_duration" in item:
        reason = "a call"
    elif kind not in _SAID or item.get("users"):
        reason = NoteReason.SYSTEM_LINE
    elif about or not text.strip() or _is_by_meta(text, author, people):
        words = NoteReason.SYSTEM_LINE if text.strip() else NoteReason.NO_TEXT
        reason = NoteReason.FILE_ALONE if media else (_SHARE if share else words)
    elif not author.strip():
        reason = NoteReason.NO_AUTHOR
    if reason:
        notes.leave_out(reason, where)
        return None
    if media:
        notes.change(NoteReason.CAPTION_KEPT, where)
    if doubtful or garbled:
        notes.change("kept though its letters may be garbled", where)
    return author, text


def _is_by_meta(text: str, author: str, people: set[str]) -> bool:
    if is_by_meta(text, author, people):
        return True
    # In any language: "Ann Lee named the group Tea."; but Will may well say "Will do."
    line = " " in author and text.startswith(f"{author} ") and text.endswith(".")
    return line and "\n" not in text


def _encrypted(item: dict[str, Any], where: str, notes: Notes) -> _Said | None:
    author, text = _text(item, "senderName", where), _text(item, "text", where)
    kind, media = item.get("type"), item.get("media")
    reason = ""
    if item.get("isUnsent"):
        reason = NoteReason.DELETED
    elif kind not in _SAID_ENCRYPTED:
        reason = NoteReason.SYSTEM_LINE
    elif not text.strip():
        reason = (
            NoteReason.FILE_ALONE
            if media or kind == "media"
            else (_SHARE if kind == "link" else NoteReason.NO_TEXT)
        )
    elif not author.strip():
        reason = NoteReason.NO_AUTHOR
    if reason:
        notes.leave_out(reason, where)
        return None
    if media:
        notes.change(NoteReason.CAPTION_KEPT, where)
    return author, text


def _text(item: dict[str, Any], key: str, where: str) -> str:
    value = item.get(key)
    text: str = "" if value is None else expect(value, str, where, repr(key))
    return text


def _mended(text: str) -> tuple[str, bool]:
    """Put the bytes of a text together; say also whether it may be garbled still."""
    if text.isascii():
        return text, False
    try:
        return text.encode("latin-1").decode("utf-8"), False
    except UnicodeEncodeError:  # no bytes at all: it has always been whole
        return text, False
    except UnicodeDecodeError:
        return text, True


def _timestamp(item: dict[str, Any]) -> Any:
    return item.get("timestamp_ms", item.get("timestamp"))


def _seconds(item: Any) -> float | None:
    time = timestamp(_timestamp(item)) if isinstance(item, dict) else None
    return Message("", "", time).seconds


READER = FolderReader(
    _matches, _read, keys=("participants", "messages", "sender_name", "timestamp_ms")
)
