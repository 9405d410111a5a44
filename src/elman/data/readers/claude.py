"""Claude's data export: `conversations.json`.

`[{"uuid", "name", "chat_messages": [{"uuid", "parent_message_uuid", "sender": "human" or
"assistant", "text", "content": [{"type": "text", "text"}, ...], "attachments", "files",
"created_at"}, ...]}, ...]`. Where messages name what they answer, they are a tree, of which the
branch that ends in the last message is read. Blocks of other types are thoughts and tools.

Shape: Anthropic documents none; as read by osteele/claude-chat-viewer, Sinity/polylogue and
CherryHQ/cherry-studio (pull request 16164, on branches).
"""

from collections.abc import Iterator
from typing import Any

from elman.data.conversation import Conversation, Message
from elman.data.document import Document
from elman.data.notes import NoteReason, Notes
from elman.data.readers.json_text import OBJECT_START, json_start, one_or_many
from elman.data.readers.messages import id_of
from elman.data.readers.reader import Reader
from elman.data.readers.records import expect, kept
from elman.data.readers.timestamps import time_or_note

_AUTHORS = {"human": "user", "user": "user", "assistant": "assistant"}
_SPOKEN = ("text", "voice_note")


def _matches(head: str) -> bool:
    head = json_start(head)
    return OBJECT_START.match(head) is not None and '"chat_messages"' in head


def _read(document: Document, notes: Notes) -> Iterator[Conversation]:
    yield from kept(one_or_many(document), _conversation, notes)


def _conversation(item: Any, where: str, notes: Notes) -> Conversation:
    item = expect(item, dict, where, "each conversation")
    said = expect(item.get("chat_messages"), list, where, "'chat_messages'")
    records: list[dict[str, Any]] = list(
        kept(
            ((where, each) for each in said),
            lambda each, where, _: expect(each, dict, where, "each message"),
            notes,
        )
    )
    branch = _branch(records, id_of(item, "current_leaf_message_uuid"))
    if len(branch) < len(records):
        notes.leave_out(NoteReason.OTHER_BRANCH, where, len(records) - len(branch))
    messages = kept(((where, each) for each in branch), _message, notes)
    return Conversation(tuple(messages), id=id_of(item, "uuid") or id_of(item, "name"))


def _branch(records: list[dict[str, Any]], end: str) -> list[dict[str, Any]]:
    """Return the messages up to the one of that name, without those that others replaced.

    Where nothing has the name, the last one ends the branch. All messages are one branch where
    none says what it answers.
    """
    names = {name: record for record in records if (name := id_of(record, "uuid"))}
    if not any(id_of(record, "parent_message_uuid") in names for record in records):
        return records
    branch: dict[str, dict[str, Any]] = {}
    at: dict[str, Any] | None = names.get(end, records[-1])
    while at is not None and (name := id_of(at, "uuid")) not in branch:
        branch[name] = at
        at = names.get(id_of(at, "parent_message_uuid"))
    return list(reversed(branch.values()))


def _message(record: dict[str, Any], where: str, notes: Notes) -> Message | None:
    sender = expect(record.get("sender"), str, where, "'sender'")
    author = _AUTHORS.get(sender)
    if author is None:
        notes.leave_out(f"of sender {sender[:40]!r}", where)
        return None
    text, others = _text(record)
    media = any(record.get(key) for key in ("attachments", "files", "files_v2"))
    if not text.strip():
        reason = (
            NoteReason.FILE_ALONE
            if media
            else "thoughts and tools without text"
            if others
            else "empty"
        )
        notes.leave_out(reason, where)
        return None
    if others:
        notes.change("thoughts and uses of tools taken out", where)
    if media:
        notes.change(NoteReason.CAPTION_KEPT, where)
    return Message(author, text, time_or_note(record.get("created_at"), where, notes))


def _text(record: dict[str, Any]) -> tuple[str, bool]:
    """Return what was written or spoken, and whether thoughts or uses of tools stood beside it.

    `text` has all blocks in one, so it is read only where there are no blocks.
    """
    blocks = record.get("content")
    blocks = [each for each in blocks if isinstance(each, dict)] if isinstance(blocks, list) else []
    spoken = [block for block in blocks if block.get("type") in _SPOKEN]
    texts = [block["text"] for block in spoken if isinstance(block.get("text"), str)]
    others = len(spoken) < len(blocks)
    whole = record.get("text")
    if not blocks and isinstance(whole, str):
        texts = [whole]
    return "\n".join(text.strip() for text in texts if text.strip()), others


READER = Reader(_matches, _read, keys=("chat_messages", "sender"))
