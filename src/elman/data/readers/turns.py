"""JSON Lines: `{"id": ..., "turns": [{"speaker": ..., "text": ..., "time": ...}, ...]}`.

`id` may be missing, and `time` too, which is written as ISO 8601 has it.
"""

from collections.abc import Iterator
from typing import Any

from elman.data.conversation import Conversation, Message
from elman.data.document import Document
from elman.data.notes import Notes
from elman.data.readers.json_text import after_lines, objects, starts_with_object
from elman.data.readers.messages import id_of
from elman.data.readers.reader import Reader
from elman.data.readers.records import expect, kept, listed
from elman.data.readers.timestamps import time_or_note


def _read(document: Document, notes: Notes) -> Iterator[Conversation]:
    for where, item in objects(document, notes):
        records = listed(item.get("turns"), where, "'turns'", notes)
        messages = kept(records, _message, notes)
        yield Conversation(tuple(messages), id=id_of(item))


def _message(turn: Any, where: str, notes: Notes) -> Message:
    turn = expect(turn, dict, where, "each of 'turns'")
    speaker, text = (expect(turn.get(key), str, where, repr(key)) for key in ("speaker", "text"))
    # In its own zone, so that what Elman has written comes back as it was.
    time = time_or_note(turn.get("time"), where, notes, in_utc=False)
    return Message(speaker, text, time)


READER = Reader(
    lambda head: starts_with_object(head, "turns", "speaker"),
    _read,
    keys=("turns", "speaker"),
    separator=after_lines,
)
