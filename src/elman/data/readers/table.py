"""Tables (CSV, TSV) with a message in each row and the names of their columns in the first line.

There is a column for the author and one for the text; there may be one for the time, and one that
says which conversation a row belongs to. The names of the columns say which is which. Fields are
parted by a comma, semicolon, tab or bar, and quoted as RFC 4180 has it.

Shape: RFC 4180; the names are those of OpenEMR's `onsite_messages` (`username`, `message`, `date`),
of the data set "Customer Support on Twitter" (`author_id`, `created_at`, `text`), and their like.
"""

import csv
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby

from elman.data.conversation import SYSTEM, Chat, Conversation, Message
from elman.data.document import Document
from elman.data.notes import Notes
from elman.data.readers.messages import INSTRUCTIONS, MACHINERY
from elman.data.readers.reader import Reader
from elman.data.readers.table_times import is_day_first, time_of
from elman.data.readers.timestamps import TAKEN_OFF, is_newest_first
from elman.errors import ElmanError

# In the order in which they are taken where a table has several of them; people and conversations
# may as well be called by a word with `name` or `id` behind it.
_AUTHOR = ["author", "from", "sender", "speaker", "username", "user", "name", "displayname"]
_AUTHOR += ["nickname", "who", "person", "participant", "role"]
_TEXT = ["text", "message", "content", "body", "messagetext", "messagebody", "messagecontent"]
_TEXT += ["msg", "utterance"]
_TIME = ["datetime", "timestamp", "createdat", "sentat", "messagetime", "messagedate", "date"]
_TIME += ["time", "created", "sent", "when", "ts", "timestampms"]
_WHOLE = ["conversation", "dialog", "dialogue", "thread", "session", "ticket", "case"]
_ENDLESS = ["chat", "channel", "room"]

_LONGEST_FIELD = 1 << 20
"""Characters. More than that is a quotation mark that was never closed."""

_END = "\x1e"
"""A last row of our own: where it becomes part of another, a quotation mark is open."""


@dataclass(frozen=True)
class _Columns:
    """Where things are in a row; times may be parted into a date and a time."""

    width: int
    author: int
    text: int
    time: tuple[int, ...]
    conversation: int | None
    endless: bool
    roles: bool
    delimiter: str
    spaced: bool

    @property
    def needed(self) -> int:
        """The number of fields that a row has at least."""
        return 1 + max(self.author, self.text, self.conversation or 0, *self.time)

    def when(self, row: list[str]) -> str:
        return " ".join(row[column].strip() for column in self.time).strip()


def _columns(head: str) -> _Columns | None:
    lines = re.split(r"\r\n?|\n", head.removeprefix("\ufeff"))
    header = next((line for line in lines if not _before_header(line)), "")
    return next(filter(None, (_columns_of(header, delimiter) for delimiter in ",;\t|")), None)


def _before_header(line: str) -> bool:
    """Blank, or the line by which Excel is told the delimiter."""
    return not line.strip() or re.fullmatch(r'"?sep=.?"?', line.strip(), re.IGNORECASE) is not None


def _columns_of(header: str, delimiter: str) -> _Columns | None:
    spaced = delimiter != "\t" and header.count(f"{delimiter} ") == header.count(delimiter)
    try:
        row = next(csv.reader([header], delimiter=delimiter, skipinitialspace=spaced, strict=True))
    except (csv.Error, StopIteration):
        return None
    names = [_normal(name) for name in row]

    def column(wanted: list[str]) -> int | None:
        return next((names.index(name) for name in wanted if name in names), None)

    def called(wanted: list[str]) -> int | None:
        return column([word + more for more in ("", "name", "id") for word in wanted])

    author, text, time = called(_AUTHOR), column(_TEXT), column(_TIME)
    if author is None or text is None:
        return None
    times: tuple[int, ...] = () if time is None else (time,)
    if time is not None and names[time] == "date" and "time" in names:
        times = (time, names.index("time"))
    whole, endless = called(_WHOLE), called(_ENDLESS)
    return _Columns(
        width=len(names),
        author=author,
        text=text,
        time=times,
        conversation=endless if whole is None else whole,
        endless=whole is None,
        roles=names[author] == "role",
        delimiter=delimiter,
        spaced=spaced,
    )


def _normal(name: str) -> str:
    return re.sub(r"[\s_-]", "", name).casefold()


def columns_without_role(head: str) -> tuple[list[str], list[str]] | None:
    """Return the columns of a table, and those that it lacks to be read; None: no table."""
    lines = [line for line in re.split(r"\r\n?|\n", head.removeprefix("\ufeff")) if line.strip()]
    for delimiter in ",;\t|":
        count = lines[0].count(delimiter) if lines else 0
        if count and sum(line.count(delimiter) >= count for line in lines) > len(lines) / 2:
            names = [name.strip(' "') for name in lines[0].split(delimiter)]
            has_text = any(_normal(name) in _TEXT for name in names)
            missing = ["none for the author (such as 'author')"]
            return names, missing if has_text else [*missing, "none for the text (such as 'text')"]
    return None


def _rows(document: Document, columns: _Columns) -> Iterator[tuple[int, list[str]]]:
    """Yield the rows below the header, without blank ones, each with its first line's number."""
    at, ended = 0, False

    def lines() -> Iterator[str]:
        nonlocal at, ended
        begun = False
        for number, line in document.lines():
            begun = begun or not _before_header(line)
            if begun:
                at = number
                for part in line.split("\r"):
                    yield part + "\n"
        ended = True
        yield _END

    csv.field_size_limit(_LONGEST_FIELD)
    rows = csv.reader(lines(), delimiter=columns.delimiter, skipinitialspace=columns.spaced)
    first = 1
    try:
        next(rows, None)
        first = at + 1
        for row in rows:
            if ended:
                if row != [_END]:
                    raise csv.Error("it goes on to the end of the file")
                return
            if any(map(str.strip, row)):
                yield first, row
            first = at + 1
    except csv.Error as error:
        raise ElmanError(
            f"{document.name}: line {first}: {error}; is a quotation mark never closed?"
        ) from None


def _read(document: Document, notes: Notes) -> Iterator[Conversation | Chat]:
    columns = _columns(document.head())
    if columns is None:
        raise ElmanError(
            f"{document.name}: line 1: expected the names of columns, with one for the author "
            "(such as 'author') and one for the text (such as 'text')"
        )
    rows = _rows(document, columns) if columns.time else ()
    day_first = is_day_first(columns.when(row) for _, row in rows if len(row) >= columns.needed)
    said = _messages(document, columns, notes, day_first)
    looked_at = (message for _, message in _messages(document, columns, Notes(), day_first))
    backwards = is_newest_first(looked_at)

    def ordered(messages: Iterator[Message]) -> Iterator[Message]:
        return reversed(list(messages)) if backwards else messages

    if columns.conversation is None:
        yield Chat(document.filename, ordered(message for _, message in said))
        return
    seen: dict[str, int] = {}
    for name, group in groupby(said, key=lambda pair: pair[0]):
        seen[name] = seen.get(name, 0) + 1
        again = f"{name} {seen[name]}" if name and seen[name] > 1 else name
        messages = ordered(message for _, message in group)
        yield Chat(again, messages) if columns.endless else Conversation(tuple(messages), again)


def _messages(
    document: Document, columns: _Columns, notes: Notes, day_first: bool
) -> Iterator[tuple[str, Message]]:
    """Yield the messages, each with what the table calls its conversation."""
    needed = columns.needed
    for number, row in _rows(document, columns):
        where = f"{document.name}: line {number}"
        if len(row) < needed:
            notes.leave_out("a row with too few fields", where)
            continue
        text = row[columns.text]
        if any(row[columns.width :]):
            if columns.text < columns.width - 1:
                notes.leave_out("a row with too many fields", where)
                continue
            text = columns.delimiter.join(row[columns.text :])
            notes.change("their last fields taken as one text", where)
        author = row[columns.author].strip()
        if not author:
            notes.leave_out("a row without an author", where)
            continue
        if columns.roles and author in MACHINERY:
            notes.leave_out(f"of role {author!r}", where)
            continue
        if not text.strip():
            notes.leave_out("empty", where)
            continue
        when = columns.when(row)
        time = time_of(when, day_first) if when else None
        if when and time is None:
            notes.change(TAKEN_OFF, where)
        conversation = "" if columns.conversation is None else row[columns.conversation].strip()
        if columns.roles and author in INSTRUCTIONS:
            author = SYSTEM
        yield conversation, Message(author, text, time)


READER = Reader(lambda head: _columns(head) is not None, _read)
