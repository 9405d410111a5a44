"""The built-in conversations: the JSON file of the package `chitchat-dataset`.

One object from id to conversation; a conversation's `messages` are runs of one sender's messages:
`{"<id>": {"messages": [[{"text", "timestamp", "sender"}, ...], ...]}, ...}`.
"""

import re
from collections.abc import Iterator
from typing import Any

from elman.data.conversation import Conversation, Message
from elman.data.document import Document
from elman.data.notes import Notes
from elman.data.readers.json_text import parse
from elman.data.readers.reader import Reader
from elman.data.readers.records import OddRecordError, expect, kept, listed
from elman.data.readers.timestamps import time_or_note


def _matches(head: str) -> bool:
    return re.match(r'\ufeff?\s*\{\s*"[^"]+"\s*:\s*\{\s*"messages"\s*:\s*\[\s*\[', head) is not None


def _read(document: Document, notes: Notes) -> Iterator[Conversation]:
    for name, conversation in parse(document.text(), document.name, 1).items():
        where = f"{document.name}: conversation {name}"
        try:
            runs = expect(conversation, dict, where, "it").get("messages")
        except OddRecordError as odd:
            odd.count(notes)
            continue
        records = [
            record
            for _, run in listed(runs, where, "messages", notes)
            for record in listed(run, where, "each run", notes)
        ]
        messages = kept(records, _message, notes)
        yield Conversation(tuple(messages), id=name)


def _message(item: Any, where: str, notes: Notes) -> Message:
    item = expect(item, dict, where, "each message")
    sender = expect(item.get("sender"), str, where, "'sender'")
    text = expect(item.get("text"), str, where, "'text'")
    return Message(sender, text, time_or_note(item.get("timestamp"), where, notes))


READER = Reader(_matches, _read, keys=("messages", "sender", "timestamp"))
