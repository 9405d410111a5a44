"""The built-in conversations: the JSON file of the package `chitchat-dataset`.

One object from id to conversation; a conversation's `messages` are runs of one sender's messages:
`{"<id>": {"messages": [[{"text", "timestamp", "sender"}, ...], ...]}, ...}`.
"""

import re
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from elman.data.conversation import Conversation, Message
from elman.data.document import Document, Notes
from elman.data.readers.reader import Reader, expect, parse
from elman.errors import ElmanError


def _matches(head: str) -> bool:
    return re.match(r'\ufeff?\s*\{\s*"[^"]+"\s*:\s*\{\s*"messages"\s*:\s*\[\s*\[', head) is not None


def _read(document: Document, notes: Notes) -> Iterator[Conversation]:
    for name, conversation in parse(document.text(), document.name, 1).items():
        where = f"{document.name}: conversation {name}"
        runs = expect(
            expect(conversation, dict, where, "it").get("messages"), list, where, "messages"
        )
        messages = tuple(
            _message(expect(item, dict, where, "each message"), where)
            for run in runs
            for item in expect(run, list, where, "each run")
        )
        yield Conversation(messages, id=name)


def _message(item: dict[str, Any], where: str) -> Message:
    sender = expect(item.get("sender"), str, where, "'sender'")
    text = expect(item.get("text"), str, where, "'text'")
    time = expect(item.get("timestamp"), str, where, "'timestamp'")
    try:
        return Message(sender, text, datetime.fromisoformat(time))
    except ValueError:
        raise ElmanError(f"{where}: expected 'timestamp' to be a time, got {time}") from None


READER = Reader(_matches, _read, keys=("messages", "sender", "timestamp"))
