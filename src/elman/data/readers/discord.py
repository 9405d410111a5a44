"""A Discord channel as DiscordChatExporter writes it: JSON, or CSV.

The JSON is `{"guild": {"name"}, "channel": {"name"}, ..., "messages": [{"type", "timestamp",
"content", "author": {"id", "name", "discriminator", "nickname"}, "attachments", "embeds", ...}]}`.
The CSV has the columns AuthorID, Author, Date, Content, Attachments and Reactions; its dates are
ISO 8601, or the short form of some country. Where `06/10/2023` may be both, the whole file says:
a number above 12 can only be a day; where there is none, the month comes first in dates with
slashes and AM or PM, as in the United States, and the day in all others.

Shape: `JsonMessageWriter.cs`, `CsvMessageWriter.cs` and their older versions, `MessageKind.cs` and
`PlainTextMessageExtensions.cs` of Tyrrrz/DiscordChatExporter; its issue 1152 on forms of dates.
"""

import csv
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, cast

from elman.data.conversation import Chat, Message
from elman.data.document import Document, Notes
from elman.data.readers.reader import Reader, expect, items, json_start
from elman.errors import ElmanError

_STRING = r'"(?:[^"\\]|\\.)*"'
_JSON = re.compile(rf'\{{\s*"guild"\s*:\s*\{{(?:[^{{}}"]|{_STRING})*\}}\s*,\s*"channel"\s*:\s*\{{')
_CSV = re.compile(
    r'\ufeff?\s*(?:"?AuthorID"?([,;]))?"?Author"?((?(1)\1|[,;]))"?Date"?\2"?Content"?\2'
    r'"?Attachments"?\2"?Reactions"?'
)

# The exporter gives names to the first types of Discord's documentation, and numbers to the rest:
# 20 and 23 are answers to commands.
_SAID = {"Default", "Reply", "20", "23"}
SYSTEM_TEXT = re.compile(
    r"Pinned a message\.|Joined the server\.|Started a thread\.|Left the group\."
    r"|(?:Added|Removed) a recipient\.|Added .+ to the group\.|Removed .+ from the group\."
    r"|Started a call that lasted [\d,]+ minutes\.|Changed the channel (?:icon\.|name\.|name: .+)"
)

NUMBER = re.compile(r"(?<=.)#\d{4}$")
"""What told accounts of one name apart, until 2023."""

SYSTEM_LINE = "a system line"
MEDIA = "a photo, file, sticker or other media without text"
CAPTION = "the text kept of a message with a photo, file or other media"
FORWARDED = "forwarded, so written by somebody else"
EMBEDDED = "the text taken from the box (embed) that a bot wrote it in"


def _matches(head: str) -> bool:
    return _CSV.match(head) is not None or _JSON.match(json_start(head)) is not None


def _read(document: Document, notes: Notes) -> Iterator[Chat]:
    if columns := _CSV.match(document.head()):
        yield Chat(document.filename, _from_csv(document, columns[2], notes))
    else:
        names = (_name(document, of) for of in ("guild", "channel"))
        yield Chat("/".join(names), _from_json(document, notes))


def _name(document: Document, of: str) -> str:
    for where, _, found in items(document, of):
        return str(expect(found, dict, where, f"'{of}'").get("name") or "?")
    return "?"


def _from_json(document: Document, notes: Notes) -> Iterator[Message]:
    people: dict[str, Any] = {}
    for where, _, record in items(document, "messages.item"):
        record = expect(record, dict, where, "each message")
        if expect(record.get("type"), str, where, "'type'") not in _SAID:
            notes.leave_out(SYSTEM_LINE, where)
            continue
        if record.get("forwardedMessage") is not None:
            notes.leave_out(FORWARDED, where)
            continue
        text = expect(record.get("content"), str, where, "'content'")
        media = any(record.get(key) for key in ("attachments", "stickers"))
        if not text.strip():
            text = _embedded(record, where)
            if not text.strip():
                other = media or record.get("embeds")
                notes.leave_out(MEDIA if other else "without text", where)
                continue
            notes.change(EMBEDDED, where)
        elif media:
            notes.change(CAPTION, where)
        time = expect(record.get("timestamp"), str, where, "'timestamp'")
        yield Message(_author(record, where, people), text, _iso(time, where))


def _embedded(record: dict[str, Any], where: str) -> str:
    """The titles and texts of the boxes in which bots like to answer."""
    embeds = expect(record.get("embeds") or [], list, where, "'embeds'")
    texts = [
        expect(embed, dict, where, "each of 'embeds'").get(key) or ""
        for embed in embeds
        for key in ("title", "description")
    ]
    return "\n".join(
        text for text in texts if expect(text, str, where, "the text of each of 'embeds'")
    )


def _author(record: dict[str, Any], where: str, people: dict[str, Any]) -> str:
    """What the person is called on the server; with the account where others are called so."""
    author = expect(record.get("author"), dict, where, "'author'")
    account = expect(author.get("name"), str, where, "the author's 'name'")
    name = expect(author.get("nickname") or account, str, where, "the author's 'nickname'")
    person = expect(author.get("id") or account, str, where, "the author's 'id'")
    if people.setdefault(name, person) == person:
        return cast(str, name)
    number = author.get("discriminator")
    return f"{name} ({account if number in (None, '0', '0000') else f'{account}#{number}'})"


def _iso(text: str, where: str) -> datetime:
    try:
        time = datetime.fromisoformat(text)
        return time if time.tzinfo is None else time.astimezone(UTC)
    except (ValueError, OverflowError):
        raise ElmanError(f"{where}: expected a time, got {text[:60]!r}") from None


def _from_csv(document: Document, delimiter: str, notes: Notes) -> Iterator[Message]:
    day_first = _is_day_first(row["Date"] for _, row in _rows(document, delimiter))
    people: dict[str, str] = {}
    for where, row in _rows(document, delimiter):
        text = row["Content"]
        if SYSTEM_TEXT.fullmatch(text):
            notes.leave_out(SYSTEM_LINE, where)
            continue
        if not text.strip():
            notes.leave_out(MEDIA if row["Attachments"] else "without text", where)
            continue
        if row["Attachments"]:
            notes.change(CAPTION, where)
        account = row["Author"]
        name = NUMBER.sub("", account)
        person = row.get("AuthorID", account)
        if people.setdefault(name, person) != person:
            name = account
        yield Message(name, text, _time(row["Date"], day_first, where))


def _rows(document: Document, delimiter: str) -> Iterator[tuple[str, dict[str, str]]]:
    """Rows by the names of their columns, each with the line that it begins in."""
    lines = (f"{line}\n" for _, line in document.lines())
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    header: list[str] = []
    while True:
        where = f"{document.name}: line {reader.line_num + 1}"
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise ElmanError(f"{where}: broken CSV: {error}") from None
        if not header:
            header = (
                [name.strip(' "') for name in row] if len(row) > 1 else []
            )  # there may be blank lines before it
        elif len(row) == len(header):
            yield where, dict(zip(header, row, strict=True))
        elif row:
            raise ElmanError(f"{where}: expected {len(header)} columns, got {len(row)}")


_MONTHS = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]
_SHORT = re.compile(
    r"(\d{1,4})([./-])(\d{1,2}|[a-z]{3})\2(\d{1,4}),?\s+"
    r"(\d{1,2})[:.](\d{2})(?:[:.](\d{2}))?(?:\s*(am|pm))?",
    re.IGNORECASE,
)


def _is_day_first(dates: Iterator[str]) -> bool:
    default = True
    for date in dates:
        found = _SHORT.fullmatch(date)
        if found is None or len(found[1]) > 2 or not found[3].isdecimal():
            break  # a form in which nothing is open
        if int(found[1]) > 12:
            return True
        if int(found[3]) > 12:
            return False
        default = not (found[2] == "/" and found[8])
    return default


def _time(text: str, day_first: bool, where: str) -> datetime:
    found = _SHORT.fullmatch(text)
    if found is None:
        return _iso(text, where)
    first, _, second, third, hour, minute, seconds, half = found.groups()
    if len(first) > 2:
        year, month, day = first, second, third
    elif day_first or not second.isdecimal():
        day, month, year = first, second, third
    else:
        month, day, year = first, second, third
    try:
        return datetime(
            int(year) + (2000 if len(year) < 3 else 0),
            int(month) if month.isdecimal() else _MONTHS.index(month.lower()) + 1,
            int(day),
            int(hour) if half is None else int(hour) % 12 + 12 * (half.lower() == "pm"),
            int(minute),
            int(seconds or 0),
        )
    except ValueError:
        raise ElmanError(
            f"{where}: expected a date, with the {'day' if day_first else 'month'} first, "
            f"got {text!r}"
        ) from None


READER = Reader(_matches, _read, keys=("guild", "channel", "messages"))
