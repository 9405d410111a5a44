"""Plain text: `Name: what was said` on each line, a blank line between conversations.

A line without a name goes on with the message above it.
"""

import re
from collections.abc import Iterator

from elman.data.conversation import Conversation, Message
from elman.data.document import Document
from elman.data.notes import Notes
from elman.data.readers.reader import Reader

# A name is short, begins with no space, and its colon is followed by a space or the line's end,
# so that neither "https://..." nor "at 10:30" begins a message.
_LINE = re.compile(r"(?P<author>[^\s:{\[][^:]{0,49}):(?:[ \t]+(?P<text>.*))?$")


def _matches(head: str) -> bool:
    lines = head.removeprefix("\ufeff").splitlines()
    first = next((line for line in lines if line.strip()), "")
    return begins_message(first)


def begins_message(line: str) -> bool:
    """Say whether a name stands at the beginning of a line."""
    return _LINE.match(line) is not None


def _read(document: Document, notes: Notes) -> Iterator[Conversation]:
    pending: list[tuple[str, list[str]]] = []
    for number, line in document.lines():
        if not line.strip():
            if pending:
                yield _conversation(pending)
                pending = []
        elif found := _LINE.match(line):
            pending.append((found["author"].strip(), [found["text"] or ""]))
        elif pending:
            pending[-1][1].append(line)
        else:
            notes.leave_out("no 'Name:' before them", f"{document.name}: line {number}")
    if pending:
        yield _conversation(pending)


def _conversation(pending: list[tuple[str, list[str]]]) -> Conversation:
    return Conversation(tuple(Message(author, "\n".join(lines)) for author, lines in pending))


READER = Reader(_matches, _read, separator=lambda head: b"\n\n")
