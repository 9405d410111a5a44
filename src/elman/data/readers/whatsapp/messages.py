"""A chat's messages, one after another, at the speed of one regular expression over the file."""

import re
from collections.abc import Callable, Iterator

from elman.data.conversation import Message
from elman.data.document import Document
from elman.data.notes import Notes
from elman.data.readers.whatsapp.headers import Header
from elman.data.readers.whatsapp.phrases import ANY_MARK, ENCRYPTED, SYSTEM_LINE, own_words, phrases
from elman.data.readers.whatsapp.splitter import Splitter

_BEFORE = "no date before them"

_MAX_NAME_CHARS = 100
_MAX_AUTHORS = 200_000
_LOG_LEVEL = re.compile(
    r"(?:\S+[. ])?(?:TRACE|DEBUG|INFO|NOTICE|WARN|WARNING|ERROR|CRITICAL|FATAL)"
)
"""What a program writes in the place of a name."""


def read_messages(document: Document, header: Header, notes: Notes) -> Iterator[Message]:
    """Yield what people wrote, in order; tell the notes what is left out or changed."""
    new = tuple.__new__  # twice as fast as Message(...)
    starts, ends = phrases().starts, phrases().ends
    iphone = header.bracketed
    unmarked = iphone and "\u200e" not in document.head()  # as iPhones wrote until about 2017
    authors: dict[str, str] = {}
    spoken: set[str] = set()
    groups: set[str] = set()
    line = 0
    bodies: list[str] = []

    def tell(about: Callable[[str, str], None], reason: str, at: int) -> None:
        where = ""
        if reason not in notes.first:
            lines = at + sum(each.count("\n") for each in bodies[:at])
            where = f"{document.name}: line {max(1, line + lines)}"
        about(reason, where)

    for batch in Splitter(document, header, notes).batches():
        line, times, bodies = batch
        for at, (time, body) in enumerate(zip(times, bodies, strict=True)):
            name, colon, text = body.partition(": ")
            author = authors.get(name) if colon else None
            if author is None:
                if time is None:
                    for _ in filter(str.strip, body.split("\n")):
                        tell(notes.leave_out, _BEFORE, at)
                    continue
                if not colon:
                    name, colon, text = body.partition(":")
                    if text.strip() and name not in authors:
                        colon = ""
                author = (_author(name) if colon else None) or ""
                if not author or phrases().has_no_author(body, name):
                    tell(notes.leave_out, SYSTEM_LINE, at)
                    continue
                if len(authors) > _MAX_AUTHORS:
                    authors.clear()
                authors[name] = author
            if (
                "<" in text
                or "(" in text
                or text[:6] in starts
                or (unmarked and (text[-6:] in ends or text.startswith(author)))
                or (not text.isascii() and _is_marked(text))
                or (groups and author in groups)
            ):
                if author in groups and phrases().after_name(text):
                    tell(notes.leave_out, SYSTEM_LINE, at)
                    continue
                text, changes, reason = own_words(text, author, iphone)
                if reason:
                    if reason == SYSTEM_LINE and author not in spoken:
                        groups.add(author)
                    tell(notes.leave_out, reason, at)
                    continue
                for change in changes:
                    tell(notes.change, change, at)
            if text[-1:] == "\n":  # empty lines between exports that were joined
                text = text.rstrip("\n")
            yield new(Message, (author, text, time))


def _is_marked(text: str) -> bool:
    """Faster than a pattern, which would look at every character several times."""
    return "\u200e" in text or "\u200f" in text or "\u202a" in text or "\u2068" in text


def _author(name: str) -> str | None:
    """Return the name as people know it; None where it is the beginning of a system line."""
    if len(name) > _MAX_NAME_CHARS or "\n" in name or ENCRYPTED.search(name):
        return None
    if len(re.findall('["“”„«»「」]', name)) % 2:
        return None  # 'Ann changed the subject to "Rome: day one"'
    name = ANY_MARK.sub("", name).replace("\u202f", " ").replace("\u00a0", " ").strip()
    return name.removeprefix("~").strip() or name or None  # "~" stands before unsaved contacts


def has_author(header: Header, head: str) -> bool:
    """Say whether somebody said something in the beginning of a file."""
    bodies = re.split(rf"\n{header.pattern}", "\r\n" + head.removeprefix("\ufeff"))[3::3]
    names = [name for body in bodies if ": " in body and (name := _author(body.partition(": ")[0]))]
    return 2 * sum(map(bool, map(_LOG_LEVEL.fullmatch, names))) < len(names)
