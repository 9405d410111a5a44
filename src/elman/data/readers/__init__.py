"""Readers: one format each, recognised by content. To add one, write its file and list it here."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import replace

from elman.data.conversation import Conversation, Message
from elman.data.readers import chitchat, messages, transcript, turns
from elman.data.readers.reader import Reader
from elman.data.source import Document, Notes
from elman.errors import ElmanError

READERS: dict[str, Reader] = {
    "chitchat": chitchat.READER,
    "messages": messages.READER,
    "turns": turns.READER,
    "transcript": transcript.READER,
}
"""In the order in which they are asked; the least particular comes last."""

LONGEST_MESSAGE = 20_000
"""Characters. What is longer is a pasted file rather than something said."""

_SURROGATES = re.compile("[\ud800-\udfff]")


def find_reader(document: Document) -> Reader | None:
    """The first reader that knows the document's format, or None."""
    head = document.head()
    return next((reader for reader in READERS.values() if reader.matches(head)), None)


def read(documents: Iterable[Document], notes: Notes | None = None) -> Iterator[Conversation]:
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
    found = 0
    one_sided: set[str] = set()
    for document in documents:
        reader = find_reader(document)
        if reader is None:
            problem = _why_unknown(document)
            if len(documents) == 1:
                raise ElmanError(f"{document.name}: {problem}")
            notes.add(f"files left out: {problem}", document.name)
            continue
        for conversation in reader.read(document, notes):
            conversation = _tidy(conversation, document, notes)
            if len(conversation.authors) < 2:
                one_sided.update(conversation.authors)
                notes.add("conversations left out: nobody answered", document.name)
                continue
            found += 1
            yield conversation
    if not found:
        names = ", ".join(repr(author) for author in sorted(one_sided)[:10])
        who = f"only {names} spoke" if len(one_sided) == 1 else "nobody answered anybody"
        place = documents[0].name if len(documents) == 1 else f"{len(documents)} files"
        raise ElmanError(
            f"{place}: no conversation with an answer in it"
            + (f": {who}; a bot learns from at least two people" if one_sided else "")
        )


def _why_unknown(document: Document) -> str:
    if not document.head().strip("\ufeff \t\r\n\0"):
        return "empty; expected conversations"
    return (
        "of no known format; expected JSON Lines with 'messages' (role, content) or 'turns' "
        "(speaker, text), or text with 'Name: what was said' on each line and a blank line "
        "between conversations"
    )


def _tidy(conversation: Conversation, document: Document, notes: Notes) -> Conversation:
    """Without empty messages, over-long ones cut, and text that can be written as UTF-8."""
    kept: list[Message] = []
    for message in conversation.messages:
        text = message.text
        if not text[:LONGEST_MESSAGE].strip():
            notes.add("empty messages left out", document.name)
            continue
        if len(text) > LONGEST_MESSAGE:
            notes.add(f"messages cut to {LONGEST_MESSAGE:,} characters", document.name)
            text = text[:LONGEST_MESSAGE]
        if _SURROGATES.search(text):
            notes.add("messages with half a character (a lone surrogate) mended", document.name)
        author, text = _mended(message.author), _mended(text)
        if (author, text) != (message.author, message.text):
            message = replace(message, author=author, text=text)
        kept.append(message)
    return Conversation(tuple(kept), _mended(conversation.id))


def _mended(text: str) -> str:
    return _SURROGATES.sub("\ufffd", text)
