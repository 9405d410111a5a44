"""The formats that are known, recognised by content. To add one, write its file and list it."""

from collections.abc import Iterator, Sequence

from elman.data.conversation import Chat, Conversation
from elman.data.document import LONG_HEAD_BYTES, Document
from elman.data.notes import Notes
from elman.data.readers import (
    chatgpt,
    chitchat,
    claude,
    discord,
    discord_text,
    imessage,
    messages,
    messenger,
    pairs,
    preference,
    sharegpt,
    signal,
    slack,
    table,
    telegram,
    transcript,
    turns,
    whatsapp,
)
from elman.data.readers.json_text import json_start
from elman.data.readers.likeness import likeness_of, other_kind
from elman.data.readers.reader import FolderReader, Reader
from elman.data.source import OFFICE
from elman.errors import ElmanError

AnyReader = Reader | FolderReader
Group = tuple[str, list[Document]]
"""The name of a reader, and the documents that it reads as one."""

READERS: dict[str, AnyReader] = {
    "chitchat": chitchat.READER,
    "telegram": telegram.READER,
    "discord": discord.READER,
    "discord-text": discord_text.READER,
    "slack": slack.READER,
    "messenger": messenger.READER,
    "chatgpt": chatgpt.READER,
    "claude": claude.READER,
    "sharegpt": sharegpt.READER,
    "preference": preference.READER,
    "messages": messages.READER,
    "turns": turns.READER,
    "pairs": pairs.READER,
    "signal": signal.READER,
    "imessage": imessage.READER,
    "whatsapp": whatsapp.READER,
    "csv": table.READER,
    "transcript": transcript.READER,
}
"""In the order in which they are asked; the least particular comes last."""

UNKNOWN = "of no known format"
KNOWN = (
    f"known are {', '.join(READERS)}: docs/formats.md shows each; plain text needs 'Name: what was "
    "said' on each line and a blank line between conversations"
)


def find_reader(document: Document) -> AnyReader | None:
    """Return the first reader that knows the document's format, or None."""
    if document.is_link:
        return None
    head = document.head()
    if other_kind(head):
        return None
    found = next((reader for reader in READERS.values() if reader.matches(head)), None)
    if found is None and json_start(head).startswith(("{", "[")):
        head = document.head(LONG_HEAD_BYTES)
        found = next((reader for reader in READERS.values() if reader.matches(head)), None)
    return found


def groups(
    documents: Sequence[Document], notes: Notes
) -> Iterator[tuple[str, Iterator[Conversation | Chat]]]:
    """Yield where each file, or each group of files that is read as one, lies, and what is in it.

    Raises:
        ElmanError: where a document is broken; where it is the only one, of no known format too.
    """
    for format_name, group in sorted_out(documents, notes):
        yield read_group(format_name, group, notes, is_all=len(documents) == 1)


def sorted_out(documents: Sequence[Document], notes: Notes) -> list[Group]:
    """Find the format of each document; those of one `FolderReader` are one group.

    Raises:
        ElmanError: where the only document is of no known format.
    """
    found: list[Group] = []
    together: dict[str, list[Document]] = {}
    for document in documents:
        reader = find_reader(document)
        if reader is None:
            problem, missing = _why_unknown(document)
            if len(documents) == 1:
                hint = f": {missing}; {KNOWN}" if missing else ""
                raise ElmanError(f"{document.name}: {problem}{hint}")
            notes.leave_out_file(problem, document.name)
            continue
        name = next(name for name, each in READERS.items() if each is reader)
        notes.formats[name] += 1
        if isinstance(reader, FolderReader) and name in together:
            together[name].append(document)
            continue
        together[name] = [document]
        found.append((name, together[name]))
    return found


def read_group(
    format_name: str, group: list[Document], notes: Notes, is_all: bool
) -> tuple[str, Iterator[Conversation | Chat]]:
    """Return where documents of one format lie, and what is in them.

    Args:
        format_name: of the reader.
        group: one document, or all of a `FolderReader`.
        notes: told what is left out.
        is_all: whether there are no other documents, which could be read without these.
    """
    place = group[0].name if len(group) == 1 else group[0].folder
    return place, _read_group(READERS[format_name], group, notes, is_all)


def _read_group(
    reader: AnyReader, group: list[Document], notes: Notes, is_all: bool
) -> Iterator[Conversation | Chat]:
    try:
        if isinstance(reader, FolderReader):
            yield from reader.read(sorted(group, key=lambda document: document.name), notes)
        else:
            yield from reader.read(group[0], notes)
    except ElmanError as error:
        if is_all:
            raise
        raise ElmanError(f"{error} (without this file, the others can be read)") from None


def what_is_missing(documents: Sequence[Document]) -> str:
    """Say what the first file of no known format lacks, and what formats there are."""
    for document in documents:
        _, missing = _why_unknown(document)
        if missing:
            return f"; {document.name}: {missing}; {KNOWN}"
    return ""


def _why_unknown(document: Document) -> tuple[str, str]:
    """Why nothing is read in a file: one of a few reasons, and what is missing in this file."""
    if document.is_link:
        return "a link, which only says where something else would lie", ""
    head = document.head()
    if not head.strip("\ufeff \t\r\n\0"):
        return "empty; expected conversations", ""
    if head.startswith("PK\x03\x04") and OFFICE in head:
        return "a document of an office program: save it as CSV or as plain text", ""
    if head.startswith("PK\x03\x04"):
        return "an archive within an archive: unpack it first", ""
    if head.strip("\ufeff \t\r\n") == "[]":
        return "an empty list", ""
    if kind := other_kind(head):
        return kind, ""
    if "\0" in head:
        return "not text", ""
    likeness = likeness_of(head, READERS)
    return f"{UNKNOWN}, most like {likeness.kind}", likeness.missing
