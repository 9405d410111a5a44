"""ShareGPT: `{"id", "conversations": [{"from": "human", "value": ...}, ...]}`, in lines or a list.

The conversations may be called `items` or `conversation`; messages may have `role` and `content`
instead. Beside them there may be `system`, the instructions, and the answers `chosen` and
`rejected`, of which the chosen one is read.

Shape: LLaMA-Factory's description of its data; FastChat, which cleans the dataset of this name; and
Axolotl's type `sharegpt`.
"""

import re
from collections.abc import Iterator
from typing import Any

from elman.data.conversation import SYSTEM, Conversation, Message
from elman.data.document import Document
from elman.data.notes import NoteReason, Notes
from elman.data.readers.json_text import ODD_ITEMS, after_lines, json_start, objects
from elman.data.readers.messages import INSTRUCTIONS, MACHINERY, id_of, text_of
from elman.data.readers.reader import Reader
from elman.data.readers.records import OddRecordError, expect, kept, listed, shown

_NAMES = {
    **dict.fromkeys(("human", "user"), "user"),
    **dict.fromkeys(("gpt", "chatgpt", "assistant", "bing", "bard", "model", "bot"), "assistant"),
}
_MACHINERY = MACHINERY | {
    "function_call",
    "function_response",
    "observation",
    "tool_call",
    "tool_response",
}
_LISTS = ("conversations", "conversation", "items")

# Objects within a list of such a name: JSON schemas of tools have "items" too, but no list of them.
_BEGINNING = re.compile(
    rf'"(?:{"|".join(_LISTS)})"\s*:\s*\[\s*{ODD_ITEMS}\{{'
    r'(?:[^{}\[\]"]++|"[^"\\]*(?:\\.[^"\\]*)*")*?"(?:from|role)"\s*:',
    re.DOTALL,
)


def _matches(head: str) -> bool:
    head = json_start(head)
    return (
        head.startswith(("{", "["))
        and ('"value"' in head or '"content"' in head)
        and _BEGINNING.search(head) is not None
    )


def _read(document: Document, notes: Notes) -> Iterator[Conversation]:
    for where, item in objects(document, notes):
        key = next((key for key in _LISTS if item.get(key) is not None), _LISTS[0])
        records = listed(item.get(key), where, repr(key), notes)
        system = item.get("system")
        if isinstance(system, str) and system.strip():
            records.insert(0, (where, {"from": "system", "value": system}))
        elif system is not None and not isinstance(system, str):
            OddRecordError(where, "'system' to be text", shown(system)).count(notes)
        if item.get("chosen") is not None:
            records.append((where, item["chosen"]))
        if item.get("rejected") is not None:
            notes.leave_out(NoteReason.NOT_PREFERRED, where)
        messages = kept(records, message_of, notes)
        yield Conversation(tuple(messages), id=id_of(item))


def message_of(message: Any, where: str, notes: Notes) -> Message | None:
    message = expect(message, dict, where, "each message")
    author, text = ("from", "value") if "from" in message else ("role", "content")
    name = expect(message.get(author), str, where, repr(author))
    role = name.casefold()
    if role in _MACHINERY:
        notes.leave_out(f"of role {role[:40]!r}", where)
        return None
    author = SYSTEM if role in INSTRUCTIONS else _NAMES.get(role, name)
    return Message(author, text_of(message.get(text), where, notes))


READER = Reader(_matches, _read, keys=("conversations", "from", "value"), separator=after_lines)
