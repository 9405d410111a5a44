"""What a reader is."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from elman.data.conversation import Chat, Conversation
from elman.data.document import Document
from elman.data.notes import Notes


@dataclass(frozen=True)
class Reader:
    """One format whose files say everything by themselves.

    Args:
        matches: whether a document that begins so is of this format.
        read: its conversations and chats, in order; tells the notes what it leaves out, so that
            every message of the document is either yielded or counted. A chat's messages are read
            before the next one is asked for, or not at all. Chats come before conversations.
        keys: names that its JSON has, by which a file that is almost of this format is known.
        separator: says from how a document begins after which bytes it may be cut, so that each
            part can be read by itself; None where it cannot be cut.
    """

    matches: Callable[[str], bool]
    read: Callable[[Document, Notes], Iterator[Conversation | Chat]]
    keys: tuple[str, ...] = ()
    separator: Callable[[str], bytes | None] = lambda head: None


@dataclass(frozen=True)
class FolderReader:
    """One format that spreads over several files, such as one a day.

    Args:
        matches: whether a document that begins so is one of them.
        read: as a `Reader`'s, of all of them at once, in the order of their names.
        keys: as a `Reader`'s.
    """

    matches: Callable[[str], bool]
    read: Callable[[Sequence[Document], Notes], Iterator[Conversation | Chat]]
    keys: tuple[str, ...] = ()
