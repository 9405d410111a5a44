"""JSON Lines as fine-tuning services take it: `{"messages": [{"role": ..., "content": ...}, ...]}`.

Shape: the chat format of OpenAI's fine-tuning documentation; `content` is text or a list of parts.
"""

from collections.abc import Iterator
from typing import Any

from elman.data.conversation import SYSTEM, Conversation, Message
from elman.data.readers.reader import Reader, expect, objects, starts_with_object
from elman.data.source import Document, Notes

_INSTRUCTIONS = {"system", "developer"}
_MACHINERY = {"tool", "function"}


def _read(document: Document, notes: Notes) -> Iterator[Conversation]:
    for where, item in objects(document):
        messages = []
        for message in expect(item.get("messages"), list, where, "'messages'"):
            message = expect(message, dict, where, "each of 'messages'")
            role = expect(message.get("role"), str, where, "'role'")
            if role in _MACHINERY:
                notes.add(f"messages of role {role!r} left out", where)
                continue
            text = _text(message.get("content"), where, notes)
            messages.append(Message(SYSTEM if role in _INSTRUCTIONS else role, text))
        yield Conversation(tuple(messages), id=str(item.get("id") or ""))


def _text(content: Any, where: str, notes: Notes) -> str:
    if content is None:  # an assistant's turn that only calls a tool
        return ""
    if isinstance(content, str):
        return content
    texts = []
    for part in expect(content, list, where, "'content'"):
        part = expect(part, dict, where, "each part of 'content'")
        if part.get("type") == "text":
            texts.append(expect(part.get("text"), str, where, "'text'"))
        else:
            notes.add("parts of messages that are not text left out", where)
    return "\n".join(texts)


READER = Reader(lambda head: starts_with_object(head, "messages", "role"), _read)
