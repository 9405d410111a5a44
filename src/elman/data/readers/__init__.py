"""Readers: one format each, recognised by content. To add one, write its file and list it here."""

import hashlib
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import islice

from elman.data.conversation import Chat, Conversation, Message
from elman.data.document import LONG_HEAD_BYTES, Document, Notes
from elman.data.pauses import DEFAULT_GAP, ENOUGH, Gaps, cut
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
from elman.data.readers.likeness import likeness_of, other_kind
from elman.data.readers.reader import FolderReader, Reader, json_start
from elman.data.source import OFFICE
from elman.errors import ElmanError

AnyReader = Reader | FolderReader

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

LONGEST_MESSAGE = 20_000
"""Characters. What is longer is a pasted file rather than something said."""

_SURROGATES = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True)
class Reading:
    """How conversations are read.

    Args:
        gap: seconds without a message after which a chat begins anew; None: chosen from the data.
        drop: people whose messages are left out.
        change: what is done to every message, such as to hide what is private in it.
        hide_ids: give conversations a digest for an id: those of exports hold names.
    """

    gap: float | None = None
    drop: frozenset[str] = frozenset()
    change: Callable[[Message], Message] | None = None
    hide_ids: bool = False


def find_reader(document: Document) -> AnyReader | None:
    """The first reader that knows the document's format, or None."""
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


def read(
    documents: Iterable[Document], notes: Notes | None = None, reading: Reading | None = None
) -> Iterator[Conversation]:
    """The conversations of all documents, each with at least two people in it.

    Args:
        documents: as from `elman.data.source.documents`.
        notes: told of everything that is left out or changed, and why.

    Raises:
        ElmanError: where a document is empty, of no known format, broken, or where no
            conversation of any of them has an answer in it.
    """
    documents = list(documents)
    notes = Notes() if notes is None else notes
    reading = reading or Reading()
    gap = reading.gap
    found = 0
    one_sided: set[str] = set()
    for item, name in _items(documents, notes):
        if isinstance(item, Chat):
            if gap is None:
                gap = choose_gap(documents) or DEFAULT_GAP
            tidied = Chat(_mended(item.id), _tidy(item.messages, name, notes, reading))
            conversations = cut(tidied, gap)
        else:
            messages = tuple(_tidy(item.messages, name, notes, reading))
            conversations = iter([Conversation(messages, _mended(item.id))])
        for conversation in conversations:
            if len(conversation.authors) < 2:
                one_sided.update(conversation.authors)
                if conversation.messages:
                    count = len(conversation.messages)
                    notes.leave_out("nobody answered in their conversation", name, count)
                continue
            found += 1
            yield _under_digest(conversation) if reading.hide_ids else conversation
    if not found:
        names = ", ".join(repr(author) for author in sorted(one_sided)[:10])
        who = f"only {names} spoke" if len(one_sided) == 1 else "nobody answered anybody"
        place = documents[0].name if len(documents) == 1 else f"{len(documents)} files"
        raise ElmanError(
            f"{place}: no conversation with an answer in it"
            + (f": {who}; a bot learns from at least two people" if one_sided else "")
            + (f" ({'; '.join(notes.lines())})" if notes.lines() else "")
            + ("" if notes.formats else _what_is_missing(documents))
        )


def _what_is_missing(documents: list[Document]) -> str:
    """What the first file of no known format lacks, and what formats there are."""
    for document in documents:
        _, missing = _why_unknown(document)
        if missing:
            return f"; {document.name}: {missing}; {KNOWN}"
    return ""


def _under_digest(conversation: Conversation) -> Conversation:
    digest = hashlib.sha1(conversation.id.encode(), usedforsecurity=False).hexdigest()
    return replace(conversation, id=digest[:16])


def choose_gap(documents: Iterable[Document]) -> float | None:
    """The gap, in seconds, at which the chats of all documents are best cut; None: there are none.

    What is no chat is not read to its end: where there are chats in a source, they come first.
    """
    gaps, found = Gaps(), False
    for reader, group in _sorted_out(list(documents), Notes()):
        for item in _read_group(reader, group, Notes()):
            if not isinstance(item, Chat):
                break
            found = True
            with closing(gaps.watch(item.messages)) as watched:
                for _ in islice(watched, ENOUGH):
                    pass
    return gaps.choose() if found else None


Group = tuple[AnyReader, list[Document]]


def _items(documents: list[Document], notes: Notes) -> Iterator[tuple[Conversation | Chat, str]]:
    """What the readers of the documents yield, each with the name of where it comes from."""
    for reader, group in _sorted_out(documents, notes):
        place = group[0].name if len(group) == 1 else group[0].folder
        try:
            for item in _read_group(reader, group, notes):
                yield item, place
        except ElmanError as error:
            if len(documents) == 1:
                raise
            raise ElmanError(f"{error} (without this file, the others can be read)") from None


def _sorted_out(documents: list[Document], notes: Notes) -> list[Group]:
    """The documents with their readers; those of one `FolderReader` are one group."""
    groups: list[Group] = []
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
        groups.append((reader, together[name]))
    return groups


def _read_group(
    reader: AnyReader, group: list[Document], notes: Notes
) -> Iterator[Conversation | Chat]:
    if isinstance(reader, FolderReader):
        return reader.read(sorted(group, key=lambda document: document.name), notes)
    return reader.read(group[0], notes)


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


def dropped(author: str) -> str:
    """Why the messages of somebody in `Reading.drop` are left out."""
    return f"{author} was to be left out"


def _tidy(
    messages: Iterable[Message], where: str, notes: Notes, reading: Reading
) -> Iterator[Message]:
    """Without empty messages, over-long ones cut, and text that can be written as UTF-8."""
    drop, change = reading.drop, reading.change
    for message in messages:
        author, text, time = message
        if drop and author in drop:
            notes.leave_out(dropped(author), where)
            continue
        is_changed = False
        if len(text) > LONGEST_MESSAGE:
            text, is_changed = text[:LONGEST_MESSAGE], True
            if text.strip():
                notes.change(f"cut to {LONGEST_MESSAGE:,} characters", where)
        if not text or text.isspace():
            notes.leave_out("empty", where)
            continue
        try:
            if not text.isascii():
                text.encode()  # faster than a search
        except UnicodeEncodeError:
            notes.change("half a character (a lone surrogate) mended", where)
            text, is_changed = _mended(text), True
        try:
            if not author.isascii():
                author.encode()
        except UnicodeEncodeError:
            author, is_changed = _mended(author), True
        if is_changed:
            message = Message(author, text, time)
        yield message if change is None else change(message)


def _mended(text: str) -> str:
    return _SURROGATES.sub("\ufffd", text)
