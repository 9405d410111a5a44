r"""ChatGPT's data export: `conversations.json`, or `conversations-000.json` and so on.

`[{"title", "create_time", "conversation_id", "current_node", "mapping": {id: {"message": null or
{"author": {"role"}, "create_time", "content": {"content_type", "parts": [...]}, "recipient",
"metadata"}, "parent", "children": [id, ...]}}}, ...]`: a tree of messages, of which people see the
branch that ends in `current_node`. Times are seconds since 1970.

Shape: OpenAI documents none; as read by `convoviz` (mohamed-chs/chatgpt-history-export-to-md) and
by `chatgpt-export-parser` (mitkury).
"""

import re
from collections.abc import Iterator
from typing import Any

from elman.data.conversation import Conversation, Message
from elman.data.document import Document
from elman.data.notes import NoteReason, Notes
from elman.data.readers.json_text import OBJECT_START, json_start, one_or_many
from elman.data.readers.messages import id_of
from elman.data.readers.reader import Reader
from elman.data.readers.records import OddRecordError, expect, kept, texts_of
from elman.data.readers.timestamps import time_or_note

_SPOKEN = {"text", "multimodal_text"}

# What the app shows as footnotes: between U+E200 and U+E201, or in the brackets of older models.
# Of a link and of a person or thing the app shows the name.
_MARK = re.compile(
    "\ue200(?:url\ue202(?P<link>[^\ue200-\ue202]*)|entity\ue202"
    '\\["[^"\ue200\ue201]*", *"(?P<thing>[^"\ue200\ue201]*)")?'
    "[^\ue200\ue201]*\ue201|【\\d[^【】†]*†[^【】]*】"
)


def _matches(head: str) -> bool:
    head = json_start(head)
    return OBJECT_START.match(head) is not None and all(
        re.search(rf'"{key}"\s*:\s*{begin}', head)
        for key, begin in (("mapping", r"\{"), ("message", r"(?:null|\{)"), ("children", r"\["))
    )


def _read(document: Document, notes: Notes) -> Iterator[Conversation]:
    yield from kept(one_or_many(document), _conversation, notes)


def _conversation(item: Any, where: str, notes: Notes) -> Conversation:
    item = expect(item, dict, where, "each conversation")
    mapping = expect(item.get("mapping"), dict, where, "'mapping'")
    tree = dict(kept(((where, pair) for pair in mapping.items()), _node, notes))
    # A node that is none still holds the others together: who answered it, and what it answered.
    nodes = {name: tree.get(name, {}) for name in mapping}
    messages = {name: node.get("message") for name, node in tree.items()}
    spoken = {name: message for name, message in messages.items() if message is not None}
    try:
        branch = _branch(nodes, item.get("current_node"), where)
    except OddRecordError as odd:
        odd.count(notes, max(len(spoken), 1))
        branch, spoken = [], {}
    records = ((where, spoken[name]) for name in branch if name in spoken)
    said = tuple(kept(records, _message, notes))
    others = len(spoken.keys() - set(branch))
    if others:
        notes.leave_out(NoteReason.OTHER_BRANCH, where, others)
    title, time = id_of(item, "title"), id_of(item, "create_time")
    names = (id_of(item, "conversation_id"), id_of(item), f"{title} {time}".strip())
    return Conversation(said, id=next(filter(None, names), ""))


def _node(pair: tuple[str, Any], where: str, _: Notes) -> tuple[str, dict[str, Any]]:
    return pair[0], expect(pair[1], dict, where, "each value of 'mapping'")


def _branch(nodes: dict[str, dict[str, Any]], end: Any, where: str) -> list[str]:
    """Return the names of the nodes that people see, from the first to the last."""
    parents, children = _links(nodes)
    at = end if isinstance(end, str) and end in nodes else None
    backwards = at is not None
    if not backwards:
        at = next((name for name in nodes if name not in parents), next(iter(nodes), None))
    branch: dict[str, None] = {}
    while at is not None:
        if at in branch:
            raise OddRecordError(where, "a tree of messages", "a circle")
        branch[at] = None
        at = parents.get(at) if backwards else next(reversed(children[at]), None)
    return list(reversed(branch)) if backwards else list(branch)


def _links(nodes: dict[str, dict[str, Any]]) -> tuple[dict[str, str], dict[str, list[str]]]:
    """Return the parent and the children of each node; either may be known from the other alone."""
    parents: dict[str, str] = {}
    children: dict[str, list[str]] = {}
    for name, node in nodes.items():
        listed = node.get("children")
        names = listed if isinstance(listed, list) else []
        children[name] = [each for each in names if isinstance(each, str) and each in nodes]
        for child in children[name]:
            parents.setdefault(child, name)
    for name, node in nodes.items():
        parent = node.get("parent")
        if isinstance(parent, str) and parent in nodes:
            parents[name] = parent
            if not isinstance(nodes[parent].get("children"), list):
                children[parent].append(name)
    return parents, children


def _message(message: Any, where: str, notes: Notes) -> Message | None:
    message = expect(message, dict, where, "'message'")
    role = expect(_object(message, "author", where).get("role"), str, where, "'role'")
    content = _object(message, "content", where)
    kind = content.get("content_type")
    if kind is None and "parts" in content:
        kind = "text"
    kind = expect(kind, str, where, "'content_type'")
    metadata = message.get("metadata")
    hidden = "is_visually_hidden_from_conversation"
    reason = None
    if role not in ("user", "assistant"):
        reason = f"of role {role[:40]!r}"
    elif isinstance(metadata, dict) and metadata.get(hidden):
        reason = "hidden in the app"
    elif message.get("recipient") not in (None, "all"):
        reason = "a call of a tool"
    elif kind not in _SPOKEN:
        reason = f"of type {kind[:40]!r}"
    if reason is not None:
        notes.leave_out(reason, where)
        return None
    parts = expect(content.get("parts"), list, where, "'parts'")
    texts, media = texts_of([part for part in parts if part is not None], _text, where)
    text = "\n".join(texts)
    if not text.strip():
        reason = NoteReason.VOICE_ALONE if media else "empty"
        notes.leave_out(reason, where)
        return None
    if media:
        notes.change(NoteReason.PARTS_TAKEN_OUT, where)
    unmarked, marks = _MARK.subn(lambda mark: mark["link"] or mark["thing"] or "", text)
    if marks:
        notes.change("marks of footnotes taken out", where)
    return Message(role, unmarked, time_or_note(message.get("create_time"), where, notes))


def _object(message: dict[str, Any], key: str, where: str) -> dict[str, Any]:
    found: dict[str, Any] = expect(message.get(key), dict, where, repr(key))
    return found


def _text(part: Any, where: str) -> str | None:
    """Return the text of a part; None for a part that nobody wrote or said."""
    part = expect(part, dict, where, "each of 'parts'")
    if part.get("content_type") in ("text", "audio_transcription"):
        return str(expect(part.get("text"), str, where, "'text'"))
    return None


READER = Reader(_matches, _read, keys=("mapping", "message", "children"))
