"""JSON Lines: `{"id": ..., "turns": [{"speaker": ..., "text": ..., "time": ...}, ...]}`.

`id` may be missing, and `time` too, which is written as ISO 8601 has it.
"""

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from elman.data.conversation import Conversation, Message
from elman.data.document import Document, Notes
from elman.data.readers.messages import id_of
from elman.data.readers.reader import Reader, expect, objects, starts_with_object
from elman.errors import ElmanError


def _read(document: Document, notes: Notes) -> Iterator[Conversation]:
    for where, item in objects(document):
        turns = expect(item.get("turns"), list, where, "'turns'")
        messages = tuple(_message(turn, where) for turn in turns)
        yield Conversation(messages, id=id_of(item))


def _message(turn: Any, where: str) -> Message:
    turn = expect(turn, dict, where, "each of 'turns'")
    speaker, text = (expect(turn.get(key), str, where, repr(key)) for key in ("speaker", "text"))
    time = turn.get("time")
    if time is None:
        return Message(speaker, text)
    try:
        return Message(speaker, text, datetime.fromisoformat(expect(time, str, where, "'time'")))
    except ValueError:
        problem = f"{where}: expected 'time' to be a time of ISO 8601, got {time[:60]!r}"
        raise ElmanError(problem) from None


READER = Reader(
    lambda head: starts_with_object(head, "turns", "speaker"), _read, keys=("turns", "speaker")
)
