"""Sources cut into pieces of work, each read by one process."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from elman.data.conversation import Chat, Conversation
from elman.data.document import Document
from elman.data.file_span import spans
from elman.data.notes import Notes
from elman.data.readers.reader import Reader
from elman.data.readers.registry import READERS, Group, read_group, sorted_out

PIECE_BYTES = 1 << 24
"""Bytes of a source, about, that one process reads at a time."""


@dataclass(frozen=True)
class Piece:
    """Some documents, or a part of one.

    Args:
        groups: documents with the name of their reader.
        size: bytes, about.
        is_all: whether the source has no other document.
    """

    groups: Sequence[Group]
    size: int
    is_all: bool

    def groups_of(self, notes: Notes) -> Iterator[tuple[str, Iterator[Conversation | Chat]]]:
        """Yield the name of each group, and what is in it."""
        for name, group in self.groups:
            yield read_group(name, list(group), notes, self.is_all)

    def items(self, notes: Notes) -> Iterator[tuple[str, Conversation | Chat]]:
        """Yield all that is in it, with where it lies."""
        return ((place, item) for place, found in self.groups_of(notes) for item in found)


def cut(
    documents: Sequence[Document], notes: Notes, size: int = PIECE_BYTES, whole: bool = False
) -> list[Piece]:
    """Cut documents into pieces, which together and in their order are the documents.

    Plain files of lines, or of text with blank lines, are cut into parts of about `size` bytes.
    Other files and archives are read by one process each, and small ones several at a time.

    Args:
        documents: of a source.
        notes: told which formats there are, and which files are left out.
        size: bytes of a piece, about.
        whole: make only one piece.

    Raises:
        ElmanError: where the only document is of no known format.
    """
    is_all = len(documents) == 1
    parts: list[tuple[Group, int]] = []
    for name, group in sorted_out(documents, notes):
        separator = None
        reader, first = READERS[name], group[0]
        if isinstance(reader, Reader) and not whole and first.can_be_cut:
            separator = reader.separator(first.head())
        if separator is None:
            parts.append(((name, group), sum(map(_size, group))))
            continue
        for span in spans(first.path, separator, size):
            parts.append(((name, [replace(first, span=span)]), span.end - span.begin))
    pieces: list[Piece] = []
    gathered: list[Group] = []
    total = 0
    for part, bytes_of_it in parts:
        gathered.append(part)
        total += bytes_of_it
        if total >= size and not whole:
            pieces.append(Piece(tuple(gathered), total, is_all))
            gathered, total = [], 0
    if gathered:
        pieces.append(Piece(tuple(gathered), total, is_all))
    return pieces


def _size(document: Document) -> int:
    if document.member is not None:
        return document.member[1].file_size
    return document.path.stat().st_size
