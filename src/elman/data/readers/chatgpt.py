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
from datetime import UTC, datetime, timedelta
from typing import Any

from elman.data.conversation import Conversation, Message
from elman.data.document import Document, Notes
from elman.data.readers.messages import id_of
from elman.data.readers.reader import Reader, expect, items, json_start
from elman.errors import ElmanError

_BEGINNING = re.compile(r"(?:\[\s*)?\{")
_SPOKEN = {"text", "multimodal_text"}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

# What the app shows as footnotes: between U+E200 and U+E201, or in the brackets of older models.
# Of a link and of a person or thing the app shows the name.
_MARK = re.compile(
    "\ue200(?:url\ue202(?P<link>[^\ue200-\ue202]*)|entity\ue202"
    '\\["[^"\ue200\ue201]*", *"(?P<thing>[^"\ue200\ue201]*)")?'
    "[^\ue200\ue201]*\ue201|【\\d[^【】†]*†[^【】]*】"
)


def _matches(head: str) -> bool:
    head = json_start(head)
    return _BEGINNING.match(head) is not None and all(
        re.search(rf'"{key}"\s*:\s*{begin}', head)
        for key, begin in (("mapping", r"\{"), ("message", r"(?:null|\{)"), ("children", r"\["))
    )


def _read(document: Document, notes: Notes) -> Iterator[Conversation]:
    path = "item" if json_start(document.head()).startswith("[") else ""
    for where, _, item in items(document, path):
        yield _conversation(expect(item, dict, where, "each conversation"), where, notes)


def _conversation(item: dict[str, Any], where: str, notes: Notes) -> Conversation:
    tree = expect(item.get("mapping"), dict, where, "'mapping'")
    for node in tree.values():
        expect(node, dict, where, "each value of 'mapping'")
    branch = _branch(tree, item.get("current_node"), where)
    messages = []
    for name in branch:
        if tree[name].get("message") is not None:
            message = _message(tree[name]["message"], where, notes)
            if message is not None:
                messages.append(message)
    others = sum(tree[name].get("message") is not None for name in tree.keys() - set(branch))
    if others:
        notes.leave_out("on a branch that was not kept", where, others)
    title, time = id_of(item, "title"), id_of(item, "create_time")
    names = (id_of(item, "conversation_id"), id_of(item), f"{title} {time}".strip())
    return Conversation(tuple(messages), id=next(filter(None, names), ""))


def _branch(tree: dict[str, Any], end: Any, where: str) -> list[str]:
    """The names of the nodes that people see, from the first to the last."""
    branch: dict[str, None] = {}
    at = end if isinstance(end, str) and end in tree else None
    backwards = at is not None
    if not backwards:
        roots = (name for name, node in tree.items() if _known(tree, node.get("parent")) is None)
        at = next(roots, next(iter(tree), None))
    while at is not None:
        if at in branch:
            raise ElmanError(f"{where}: expected a tree, but its messages go round in a circle")
        branch[at] = None
        if backwards:
            at = _known(tree, tree[at].get("parent"))
        else:
            children = expect(tree[at].get("children"), list, where, "'children'")
            known = [child for child in children if _known(tree, child) is not None]
            at = known[-1] if known else None
    return list(reversed(branch)) if backwards else list(branch)


def _known(tree: dict[str, Any], name: Any) -> str | None:
    return name if isinstance(name, str) and name in tree else None


def _message(message: Any, where: str, notes: Notes) -> Message | None:
    message = expect(message, dict, where, "'message'")
    role = expect(_object(message, "author", where).get("role"), str, where, "'role'")
    content = _object(message, "content", where)
    kind = expect(content.get("content_type"), str, where, "'content_type'")
    metadata = expect(message.get("metadata") or {}, dict, where, "'metadata'")
    reason = None
    if role not in ("user", "assistant"):
        reason = f"of role {role[:40]!r}"
    elif metadata.get("is_visually_hidden_from_conversation"):
        reason = "hidden in the app"
    elif message.get("recipient") not in (None, "all"):
        reason = "a call of a tool"
    elif kind not in _SPOKEN:
        reason = f"of type {kind[:40]!r}"
    if reason is not None:
        notes.leave_out(reason, where)
        return None
    parts = expect(content.get("parts"), list, where, "'parts'")
    texts = [text for part in parts if (text := _text(part, where)) is not None]
    text = "\n".join(texts)
    media = len(texts) < len(parts)
    if not text.strip():
        reason = "a photo, voice message or other media without text" if media else "empty"
        notes.leave_out(reason, where)
        return None
    if media:
        notes.change("parts that are not text taken out", where)
    unmarked, marks = _MARK.subn(lambda mark: mark["link"] or mark["thing"] or "", text)
    if marks:
        notes.change("marks of footnotes taken out", where)
    return Message(role, unmarked, _time(message.get("create_time"), where))


def _object(message: dict[str, Any], key: str, where: str) -> dict[str, Any]:
    found: dict[str, Any] = expect(message.get(key), dict, where, repr(key))
    return found


def _text(part: Any, where: str) -> str | None:
    """None for a part that nobody wrote or said."""
    if isinstance(part, str):
        return part
    part = expect(part, dict, where, "each of 'parts'")
    if part.get("content_type") in ("text", "audio_transcription"):
        return str(expect(part.get("text"), str, where, "'text'"))
    return None


def _time(seconds: Any, where: str) -> datetime | None:
    if seconds is None:
        return None
    try:
        return _EPOCH + timedelta(seconds=seconds)
    except (TypeError, ValueError, OverflowError):
        got = repr(seconds)[:60] if isinstance(seconds, str | int | float) else "something else"
        problem = f"{where}: expected 'create_time' to be seconds since 1970, got {got}"
        raise ElmanError(problem) from None


READER = Reader(_matches, _read, keys=("mapping", "message", "children"))
