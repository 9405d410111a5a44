"""WhatsApp's "Export chat": `31/12/2023, 23:59 - Name: text`, or in brackets from an iPhone.

The text of an export follows the phone's language and region, and nothing in it says which they
are. So the file itself shows how its lines begin (`headers`), in what order the numbers of its dates
stand (`dates`), which half of the day a word beside a clock names (`clock`, from Unicode's tables in
`locales`), and what WhatsApp, not a person, wrote (`phrases`). `messages` reads it.

Shape: github.com/linuswillner/whatsapp-export-inconsistencies, and the parsers
github.com/Pustur/whatsapp-chat-parser and github.com/joweich/chat-miner.
"""  # noqa: E501

from collections.abc import Iterator
from pathlib import PurePosixPath

from elman.data.conversation import Chat
from elman.data.document import Document
from elman.data.notes import Notes
from elman.data.readers.reader import Reader
from elman.data.readers.whatsapp.headers import first_header
from elman.data.readers.whatsapp.messages import has_author, read_messages

__all__ = ["READER"]


def _matches(head: str) -> bool:
    header = first_header(head)
    return header is not None and has_author(header, head)


def _read(document: Document, notes: Notes) -> Iterator[Chat]:
    header = first_header(document.head())
    assert header is not None
    path = PurePosixPath(document.name)
    if path.name == "_chat.txt" and path.parent.name:  # as it is called in an iPhone's archive
        path = path.parent
    name = path.name.removesuffix(".txt").removesuffix(".zip")
    yield Chat(name, read_messages(document, header, notes))


READER = Reader(_matches, _read)
