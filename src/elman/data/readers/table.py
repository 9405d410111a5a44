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
from datetime import UTC, datetime, timedelta
from itertools import groupby

from elman.data.conversation import SYSTEM, Chat, Conversation, Message
from elman.data.document import Document, Notes
from elman.data.readers.messages import INSTRUCTIONS, MACHINERY
from elman.data.readers.reader import Reader
from elman.data.readers.timestamps import TAKEN_OFF, is_newest_first, timestamp
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
    """The columns of a table that cannot be read, and for what there is none; None: no table."""
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
    """The rows below the header, each with the number of its first line; none of them is blank."""
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
    day_first = _day_first(document, columns) if columns.time else True
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
    """The messages, each with what the table calls its conversation."""
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
        time = _time(when, day_first) if when else None
        if when and time is None:
            notes.change(TAKEN_OFF, where)
        conversation = "" if columns.conversation is None else row[columns.conversation].strip()
        if columns.roles and author in INSTRUCTIONS:
            author = SYSTEM
        yield conversation, Message(author, text, time)


_CLOCK = (
    r"(?:(?P<hour>\d{1,2}):(?P<minute>\d\d)(?::(?P<second>\d\d)(?:[.,](?P<part>\d{1,6})\d*)?)?"
    r"(?:\s?(?P<half>[ap])\.?m\.?)?)"
)
_ZONE = r"(?:\s?(?P<zone>z|utc|gmt|(?:utc|gmt)?[+-]\d\d:?\d\d))"
_REST = rf"(?:(?:,?\s|,?\sat\s|T){_CLOCK}{_ZONE}?)?"
_WEEKDAY = r"(?:[a-z]{3,9},?\s)?"
_FORMS = [
    re.compile(form, re.IGNORECASE)
    for form in (
        rf"(?P<year>\d{{4}})[-/.](?P<month>\d{{1,2}})[-/.](?P<day>\d{{1,2}}){_REST}",
        rf"(?P<one>\d{{1,2}})[-/.](?P<other>\d{{1,2}})[-/.](?P<year>\d{{4}}|\d\d){_REST}",
        rf"{_WEEKDAY}(?P<day>\d{{1,2}})[\s-](?P<name>[a-z]{{3,9}})\.?,?[\s-](?P<year>\d{{4}}){_REST}",
        rf"{_WEEKDAY}(?P<name>[a-z]{{3,9}})\.?\s(?P<day>\d{{1,2}}),?\s(?P<year>\d{{4}}){_REST}",
        rf"{_WEEKDAY}(?P<name>[a-z]{{3}})\s+(?P<day>\d{{1,2}})\s{_CLOCK}{_ZONE}?\s(?P<year>\d{{4}})",
    )
]
_EPOCH = re.compile(r"(?:\d{9,10}|\d{12,13}|\d{15,16})(?:\.\d+)?")
_MONTHS = ["january", "february", "march", "april", "may", "june"]
_MONTHS += ["july", "august", "september", "october", "november", "december"]


def _time(text: str, day_first: bool) -> datetime | None:
    """None for a form that is not known; seconds since 1970 and what names a zone are in UTC."""
    try:
        written = _EPOCH.fullmatch(text) or "T" in text or text[4:5] == "-"
        if written and (time := timestamp(text)) is not None:
            return time
        form = next(filter(None, (form.fullmatch(text) for form in _FORMS)), None)
        return None if form is None else _of_form(form.groupdict(), day_first)
    except (ValueError, OverflowError):
        return None


def _of_form(found: dict[str, str | None], day_first: bool) -> datetime:
    """Raises ValueError where there is no such day or hour."""
    year = int(found["year"] or 0)
    if found.get("one"):
        day, month = int(found["one"] or 0), int(found["other"] or 0)
        day, month = (day, month) if day_first else (month, day)
        year += 2000 if year < 100 else 0
    else:
        day = int(found["day"] or 0)
        month = int(found.get("month") or 0)
    if name := found.get("name"):
        month = 1 + [each.startswith(name.casefold()) for each in _MONTHS].index(True)
    hour = int(found["hour"] or 0)
    if found["half"]:
        if not 1 <= hour <= 12:
            raise ValueError
        hour = hour % 12 + (12 if found["half"] in "pP" else 0)
    part = int((found["part"] or "0").ljust(6, "0"))
    time = datetime(
        year, month, day, hour, int(found["minute"] or 0), int(found["second"] or 0), part
    )
    if not found["zone"]:
        return time
    zone = re.sub(r"[^\d+-]", "", found["zone"])
    if not zone:
        return time.replace(tzinfo=UTC)
    ahead = timedelta(hours=int(zone[1:3]), minutes=int(zone[3:5]))
    return (time + (ahead if zone[0] == "-" else -ahead)).replace(tzinfo=UTC)


def _day_first(document: Document, columns: _Columns) -> bool:
    """Whether 1/2/2021 is in February: what the whole table says, whose times run one way.

    Where every date reads both ways and neither order runs better, the month comes first in dates
    with slashes and AM or PM, as in America.
    """
    before: tuple[int, int, int] | None = None
    turns = {"day": [0, 0], "month": [0, 0]}
    american = False
    for _, row in _rows(document, columns):
        when = columns.when(row) if len(row) >= columns.needed else ""
        found = _FORMS[1].fullmatch(when)
        if found is None:
            if when and before is None:
                return True  # a table that begins with another form is not asked further
            continue
        one, other, year = int(found["one"]), int(found["other"]), int(found["year"])
        if one > 12 or other > 12:
            return one > 12
        if before is not None:
            for order, now, then in (
                ("day", (year, other, one), (before[0], before[2], before[1])),
                ("month", (year, one, other), before),
            ):
                turns[order][0] += now < then
                turns[order][1] += now > then
        before = (year, one, other)
        american = "/" in when and found["half"] is not None
    return min(turns["day"]) < min(turns["month"]) + (not american)


READER = Reader(lambda head: _columns(head) is not None, _read)
