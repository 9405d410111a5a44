"""A Discord channel as DiscordChatExporter writes it: JSON, or CSV.

The JSON is `{"guild": {"name"}, "channel": {"name"}, ..., "messages": [{"type", "timestamp",
"content", "author": {"id", "name", "discriminator", "nickname"}, "attachments", "embeds", ...}]}`.
The CSV has the columns AuthorID, Author, Date, Content, Attachments and Reactions; its dates are
ISO 8601, or the short form of some country.

Shape: `JsonMessageWriter.cs`, `CsvMessageWriter.cs` and their older versions, `MessageKind.cs` and
`PlainTextMessageExtensions.cs` of Tyrrrz/DiscordChatExporter; its issue 1152 on forms of dates.
"""

import csv
import re
from collections.abc import Iterator
from functools import partial
from typing import Any

from elman.data.conversation import Chat, Message
from elman.data.document import Document
from elman.data.notes import NoteReason, Notes
from elman.data.readers.dates import Dates
from elman.data.readers.json_text import items, json_start
from elman.data.readers.reader import Reader
from elman.data.readers.records import expect, kept, texts_of
from elman.data.readers.timestamps import TAKEN_OFF, oldest_first, time_or_note
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
        yield from kept([(where, record)], partial(_message, people), notes)
    if empty:
        notes.leave_out_file("a Discord channel without messages", document.name)


def _message(people: dict[str, str], record: Any, where: str, notes: Notes) -> Message | None:
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
    """Return the titles, texts and fields of the boxes in which bots like to answer."""
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
    """Return the person's name on the server; with the account where others are called so."""
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
    dates = Dates(row["Date"] for _, row in _rows(document, delimiter, Notes()))
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
        time = dates.time(row["Date"])
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


READER = Reader(_matches, _read, keys=("guild", "channel", "messages"))
