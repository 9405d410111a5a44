"""The built-in conversations: the JSON file of the package `chitchat-dataset`.

One object from id to conversation; a conversation's `messages` are runs of one sender's messages:
`{"<id>": {"messages": [[{"text", "timestamp", "sender"}, ...], ...]}, ...}`.
"""

import re
from collections.abc import Iterator
from datetime import datetime

from elman.data.conversation import Conversation, Message
from elman.data.readers.reader import Reader, expect, parse
from elman.data.source import Document, Notes


def _matches(head: str) -> bool:
    return re.match(r'\s*\{\s*"[^"]+"\s*:\s*\{\s*"messages"\s*:\s*\[\s*\[', head) is not None


def _read(document: Document, notes: Notes) -> Iterator[Conversation]:
    for name, conversation in parse(document.text(), document.name, 1).items():
        where = f"{document.name}: conversation {name}"
        runs = expect(
            expect(conversation, dict, where, "it").get("messages"), list, where, "messages"
        )
        messages = tuple(
            Message(item["sender"], item["text"], datetime.fromisoformat(item["timestamp"]))
            for run in runs
            for item in run
        )
        yield Conversation(messages, id=name)


READER = Reader(_matches, _read)
