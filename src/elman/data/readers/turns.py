"""JSON Lines: `{"id": ..., "turns": [{"speaker": ..., "text": ...}, ...]}`; `id` may be missing."""

from collections.abc import Iterator

from elman.data.conversation import Conversation, Message
from elman.data.readers.reader import Reader, expect, objects, starts_with_object
from elman.data.source import Document, Notes


def _read(document: Document, notes: Notes) -> Iterator[Conversation]:
    for where, item in objects(document):
        turns = expect(item.get("turns"), list, where, "'turns'")
        messages = []
        for turn in turns:
            turn = expect(turn, dict, where, "each of 'turns'")
            speaker = expect(turn.get("speaker"), str, where, "'speaker'")
            messages.append(Message(speaker, expect(turn.get("text"), str, where, "'text'")))
        yield Conversation(tuple(messages), id=str(item.get("id") or ""))


READER = Reader(lambda head: starts_with_object(head, "turns", "speaker"), _read)
