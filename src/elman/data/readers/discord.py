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
from datetime import datetime
from typing import Any

from elman.data.conversation import Chat, Message
from elman.data.document import Document, Notes
from elman.data.readers.reader import Reader, items, json_start
from elman.data.readers.records import NoteReason, expect, kept, texts_of
from elman.data.readers.timestamps import TAKEN_OFF, oldest_first, time_or_note, timestamp
from elman.errors import ElmanError

_STRING = r'"(?:[^"\\]|\\.)*"'
_JSON = re.compile(
    rf'\{{\s*"guild"\s*:\s*(?:null|\{{(?:[^{{}}"]|{_STRING})*\}})\s*,'
    r'\s*"channel"\s*:\s*(?:null\s*,.*"messages"|\{)',
    re.DOTALL,
)
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

_MAX_FIELD_CHARACTERS = 1 << 17

MEDIA_ALONE = "a photo, file, sticker or other media without text"
EMBEDDED = "the text taken from the box (embed) that a bot wrote it in"


def _matches(head: str) -> bool:
    return _CSV.match(head) is not None or _JSON.match(json_start(head)) is not None


def _read(document: Document, notes: Notes) -> Iterator[Chat]:
    if columns := _CSV.match(document.head()):
        delimiter = columns[2]
        name = document.filename
        yield Chat(name, oldest_first(lambda notes: _from_csv(document, delimiter, notes), notes))
    else:
        names = (_name(document, of) for of in ("guild", "channel"))
        name = "/".join(names)
        yield Chat(name, oldest_first(lambda notes: _from_json(document, notes), notes))


def _name(document: Document, of: str) -> str:
    found = next((found for _, _, found in items(document, of)), None)
    return str((found.get("name") if isinstance(found, dict) else None) or "?")


def _from_json(document: Document, notes: Notes) -> Iterator[Message]:
    people: dict[str, str] = {}
    empty = True
    for where, _, record in items(document, "messages.item"):
        empty = False
        yield from kept(
            [(where, record)], lambda each, where: _message(each, where, people, notes), notes
        )
    if empty:
        notes.leave_out_file("a Discord channel without messages", document.name)


def _message(record: Any, where: str, people: dict[str, str], notes: Notes) -> Message | None:
    record = expect(record, dict, where, "each message")
    if expect(record.get("type", "Default"), str, where, "'type'") not in _SAID:
        notes.leave_out(NoteReason.SYSTEM_LINE, where)
        return None
    if record.get("forwardedMessage") is not None:
        notes.leave_out(NoteReason.FORWARDED, where)
        return None
    text, embeds = record.get("content"), record.get("embeds")
    media = any(record.get(key) for key in ("attachments", "stickers"))
    embedded = False
    if text is None or (isinstance(text, str) and not text.strip()):
        boxes = _embedded(embeds, where)
        embedded = bool(boxes.strip())
        text = boxes if embedded or media or record.get("poll") else text
    if not expect(text, str, where, "'content'").strip():
        poll = "a poll" if record.get("poll") else NoteReason.NO_TEXT
        notes.leave_out(MEDIA_ALONE if media or embeds else poll, where)
        return None
    author = _author(record, where, people)
    if embedded:
        notes.change(EMBEDDED, where)
    elif media:
        notes.change(NoteReason.CAPTION_KEPT, where)
    return Message(author, text, time_or_note(record.get("timestamp"), where, notes))


def _embedded(embeds: Any, where: str) -> str:
    """The titles, texts and fields of the boxes in which bots like to answer."""
    boxes = [] if embeds is None else expect(embeds, list, where, "'embeds'")
    texts, _ = texts_of(boxes, _box, where)
    return "\n".join(filter(None, texts))


def _box(embed: Any, where: str) -> str | None:
    embed = expect(embed, dict, where, "each of 'embeds'")
    texts = [embed.get("title"), embed.get("description")]
    fields = embed.get("fields")
    for field in fields if isinstance(fields, list) else []:
        if isinstance(field, dict):
            texts += [field.get("name"), field.get("value")]
    written = [text for text in texts if isinstance(text, str) and text.strip()]
    if not written and (odd := next(filter(None, texts), None)) is not None:
        expect(odd, str, where, "the text of each of 'embeds'")
    return "\n".join(written) or None


def _author(record: dict[str, Any], where: str, people: dict[str, str]) -> str:
    """What the person is called on the server; with the account where others are called so."""
    author = expect(record.get("author"), dict, where, "'author'")
    names = [author.get(key) for key in ("nickname", "name")]
    nickname, account = (name if isinstance(name, str) else "" for name in names)
    name: str = expect(nickname or account or None, str, where, "the author's 'name'")
    number = author.get("id")
    person = number if isinstance(number, str) and number else account or name
    if people.setdefault(name, person) == person:
        return name
    account, number = account or person, author.get("discriminator")
    return f"{name} ({account if number in (None, '0', '0000') else f'{account}#{number}'})"


def _from_csv(document: Document, delimiter: str, notes: Notes) -> Iterator[Message]:
    day_first = _is_day_first(row["Date"] for _, row in _rows(document, delimiter, Notes()))
    people: dict[str, str] = {}
    for where, row in _rows(document, delimiter, notes):
        text = row["Content"]
        if SYSTEM_TEXT.fullmatch(text):
            notes.leave_out(NoteReason.SYSTEM_LINE, where)
            continue
        if not text.strip():
            notes.leave_out(MEDIA_ALONE if row["Attachments"] else NoteReason.NO_TEXT, where)
            continue
        if not row["Author"].strip():
            notes.leave_out(NoteReason.NO_AUTHOR, where)
            continue
        if row["Attachments"]:
            notes.change(NoteReason.CAPTION_KEPT, where)
        account = row["Author"].removesuffix("#0000")
        name = NUMBER.sub("", account)
        person = row.get("AuthorID", account)
        if people.setdefault(name, person) != person:
            name = account
        time = _time(row["Date"], day_first)
        if time is None and row["Date"].strip():
            notes.change(TAKEN_OFF, where)
        yield Message(name, text, time)


def _rows(document: Document, delimiter: str, notes: Notes) -> Iterator[tuple[str, dict[str, str]]]:
    """Rows by the names of their columns, each with the line that it begins in."""
    lines = (f"{line}\n" for _, line in document.lines())
    csv.field_size_limit(_MAX_FIELD_CHARACTERS)
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
            many = "few" if len(row) < len(header) else "many"
            notes.leave_out(f"a row with too {many} fields", where)


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


def _time(text: str, day_first: bool) -> datetime | None:
    """None for a form that is not known, and for a day or hour that there is not."""
    found = _SHORT.fullmatch(text)
    if found is None:
        return timestamp(text)
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
        return None


READER = Reader(_matches, _read, keys=("guild", "channel", "messages"))
