"""Messenger and Instagram, in the JSON of Meta's "download your information".

Each chat is a folder, such as `messages/inbox/ann_1234`, of files `message_1.json` (the newest),
`message_2.json` and so on: `{"participants": [{"name"}, ...], "messages": [{"sender_name",
"timestamp_ms", "content", "photos", "share", ...}, ...], "title", "thread_path", ...}`, newest
message first. Its text is UTF-8 of which each byte is written as a character of its own.

End-to-end encrypted chats are another download, one file each and in true UTF-8:
`{"participants": [name, ...], "threadName", "messages": [{"senderName", "timestamp", "text",
"type", "media", "isUnsent", ...}, ...]}`.

Shape: Meta documents none of it; public parsers show it: timelinize/timelinize
(`datasources/facebook/messages.go`), joweich/chat-miner (`chatminer/chatparsers.py`) and
NaphatPi/ig_dm_scraper (`formatter.py`); encrypted chats: nikbpetrov/timelinize
(`datasources/facebook/e2ee.go`).
"""

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import PurePosixPath
from typing import Any

from elman.data.conversation import Chat, Message
from elman.data.document import Document, Notes
from elman.data.readers.reader import FolderReader, expect, items, json_start
from elman.errors import ElmanError

_MEDIA = "a photo, file or other media without text"
_CAPTION = "the text kept of a message with a photo, file or other media"
_SHARE = "a shared link or post without text"
_SYSTEM_LINE = "a system line"
_DELETED = "deleted by its author"
_NO_AUTHOR, _NO_TEXT = "without an author", "without text"

_MEDIA_KEYS = ("photos", "videos", "audio_files", "gifs", "files", "sticker")
_SAID = (None, "Generic", "Share")
_SAID_ENCRYPTED = (None, "text", "media", "link")

_BY_META = re.compile(
    r"Liked a message|Reacted .{1,20} to your message ?|You are now connected on Messenger\.?|"
    r"You (?:sent an attachment|shared a story|created the group|changed the group photo|"
    r"(?:named the group|changed the theme|set the (?:emoji|quick reaction|nickname)) .*)\.?"
)
"""In English alone: nothing but their words tells these lines from what people write."""


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
    chats: defaultdict[tuple[str, str], list[tuple[datetime, Document]]] = defaultdict(list)
    for document in documents:
        first = next(items(document, "messages.item"), None)
        if first is None:
            notes.leave_out_file("a chat of Messenger or Instagram without messages", document.name)
            continue
        where, _, item = first
        start = json_start(document.head())
        # All files of a chat begin with the same people, and only those of one chat should.
        key = document.name if _is_encrypted(start) else start.partition('"messages"')[0]
        chats[document.folder, key].append((_time(item, where), document))
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


def _messages(documents: list[Document], notes: Notes) -> Iterator[Message]:
    for document in documents:
        read = _encrypted if _is_encrypted(json_start(document.head())) else _plain
        held = []
        for where, _, item in items(document, "messages.item"):
            message = read(expect(item, dict, where, "each message"), where, notes)
            if message is not None:
                held.append(message)
        held.reverse()
        yield from sorted(held, key=lambda message: message.seconds or 0.0)


def _plain(item: dict[str, Any], where: str, notes: Notes) -> Message | None:
    author, doubtful = _mended(_text(item, "sender_name", where))
    text, garbled = _mended(_text(item, "content", where))
    kind, media, share = item.get("type"), any(map(item.get, _MEDIA_KEYS)), item.get("share")
    # What Meta writes about its own, such as "Ann Lee sent an attachment.", is in many languages.
    about = author != "" and text.startswith(author) and (media or bool(share))
    reason = ""
    if item.get("is_unsent"):
        reason = _DELETED
    elif item.get("is_taken_down"):
        reason = "taken down by Meta"
    elif kind == "Call" or "call_duration" in item:
        reason = "a call"
    elif kind not in _SAID or item.get("users"):
        reason = _SYSTEM_LINE
    elif about or not text.strip() or _is_by_meta(text, author):
        words = _SYSTEM_LINE if text.strip() else _NO_TEXT
        reason = _MEDIA if media else (_SHARE if share else words)
    elif not author.strip():
        reason = _NO_AUTHOR
    if reason:
        notes.leave_out(reason, where)
        return None
    if media:
        notes.change(_CAPTION, where)
    if doubtful or garbled:
        notes.change("kept though its letters may be garbled", where)
    return Message(author, text, _time(item, where))


def _is_by_meta(text: str, author: str) -> bool:
    if _BY_META.fullmatch(text):
        return True
    # "Ann Lee named the group Tea."; but somebody called Will may well say "Will do."
    line = " " in author and text.startswith(f"{author} ") and text.endswith(".")
    return line and "\n" not in text


def _encrypted(item: dict[str, Any], where: str, notes: Notes) -> Message | None:
    author, text = _text(item, "senderName", where), _text(item, "text", where)
    kind, media = item.get("type"), item.get("media")
    reason = ""
    if item.get("isUnsent"):
        reason = _DELETED
    elif kind not in _SAID_ENCRYPTED:
        reason = _SYSTEM_LINE
    elif not text.strip():
        reason = _MEDIA if media or kind == "media" else (_SHARE if kind == "link" else _NO_TEXT)
    elif not author.strip():
        reason = _NO_AUTHOR
    if reason:
        notes.leave_out(reason, where)
        return None
    if media:
        notes.change(_CAPTION, where)
    return Message(author, text, _time(item, where))


def _text(item: dict[str, Any], key: str, where: str) -> str:
    value = item.get(key)
    text: str = "" if value is None else expect(value, str, where, repr(key))
    return text


def _mended(text: str) -> tuple[str, bool]:
    """The text with its bytes put together; whether it may be garbled still."""
    if text.isascii():
        return text, False
    try:
        return text.encode("latin-1").decode("utf-8"), False
    except UnicodeEncodeError:  # no bytes at all: it has always been whole
        return text, False
    except UnicodeDecodeError:
        return text, True


def _time(item: Any, where: str) -> datetime:
    item = expect(item, dict, where, "each message")
    time = item.get("timestamp_ms", item.get("timestamp"))
    try:
        if isinstance(time, (int, float)):
            return datetime.fromtimestamp(time / 1000, UTC)
    except (ValueError, OverflowError, OSError):
        pass
    raise ElmanError(f"{where}: expected its timestamp to be a time in milliseconds")


READER = FolderReader(
    _matches, _read, keys=("participants", "messages", "sender_name", "timestamp_ms")
)
