"""JSON Lines as fine-tuning services take it: `{"messages": [{"role": ..., "content": ...}, ...]}`.

Of examples for preference tuning, `{"input": {"messages": [...]}, "preferred_output": [...],
"non_preferred_output": [...]}`, the preferred answer is read.

Shape: `FineTuneChatRequestInput` and `FineTunePreferenceRequestInput` of OpenAI's API description;
`content` is text or a list of parts.
"""

from collections.abc import Iterator
from typing import Any

from elman.data.conversation import SYSTEM, Conversation, Message
from elman.data.document import Document
from elman.data.notes import NoteReason, Notes
from elman.data.readers.json_text import after_lines, objects, starts_with_object
from elman.data.readers.reader import Reader
from elman.data.readers.records import OddRecordError, expect, kept, listed, texts_of

INSTRUCTIONS = {"system", "developer"}
MACHINERY = {"tool", "function"}


def _read(document: Document, notes: Notes) -> Iterator[Conversation]:
    for where, item in objects(document, notes):
        said, answer = item.get("messages"), []
        if "messages" not in item and "input" in item:
            said = _input(item["input"], where, notes)
            answer = listed(item.get("preferred_output"), where, "'preferred_output'", notes)
            key = "non_preferred_output"
            others = listed(item.get(key, []), where, repr(key), notes)
            if others:
                notes.leave_out(NoteReason.NOT_PREFERRED, where, len(others))
        records = listed(said, where, "'messages'", notes) + answer
        messages = kept(records, _message, notes)
        yield Conversation(tuple(messages), id=id_of(item))


def _input(value: Any, where: str, notes: Notes) -> Any:
    try:
        return expect(value, dict, where, "'input'").get("messages")
    except OddRecordError as odd:
        odd.count(notes)
        return []


def _message(message: Any, where: str, notes: Notes) -> Message | None:
    message = expect(message, dict, where, "each of 'messages'")
    role = expect(message.get("role"), str, where, "'role'")
    if role in MACHINERY:
        notes.leave_out(f"of role {role[:40]!r}", where)
        return None
    content = message.get("content")
    text = text_of(message.get("refusal") if content is None else content, where, notes)
    if message.get("tool_calls") or message.get("function_call"):
        if not text.strip():
            notes.leave_out("a call of a tool", where)
            return None
        notes.change("calls of tools taken out", where)
    if message.get("weight") == 0:
        notes.change("their weight of 0 taken off, so that they are learned as well", where)
    if role in INSTRUCTIONS:
        return Message(SYSTEM, text)
    name = message.get("name")
    return Message(name if isinstance(name, str) and name else role, text)


def text_of(content: Any, where: str, notes: Notes) -> str:
    """Return the text in the content of a message, which is text itself or a list of parts."""
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    texts, others = texts_of(expect(content, list, where, "'content'"), _part, where)
    if others:
        notes.change(NoteReason.PARTS_TAKEN_OUT, where)
    return "\n".join(texts)


def _part(part: Any, where: str) -> str | None:
    part = expect(part, dict, where, "each part of 'content'")
    kind = part.get("type")
    if kind not in ("text", "refusal"):
        return None
    text: str = expect(part.get(kind), str, where, repr(kind))
    return text


def id_of(item: dict[str, Any], key: str = "id") -> str:
    """Return the conversation's name; empty where that is neither text nor a number."""
    name = item.get(key)
    return str(name) if name and isinstance(name, str | int | float) else ""


READER = Reader(
    lambda head: starts_with_object(head, "messages", "role"),
    _read,
    keys=("messages", "role"),
    separator=after_lines,
)
