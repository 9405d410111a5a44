"""A Discord channel as DiscordChatExporter writes it in plain text.

Between two lines of 62 `=` stand the names of the guild and the channel; then, for each message,
`[date] name`, with `(pinned)` behind it where that is so, its text, and blocks that begin with
`{Attachments}`, `{Embed}`, `{Stickers}`, `{Reactions}` or `{Forwarded Message}`. A blank line
stands before each. Dates are in the form of some country, or in one that the user chose; names end
in `#1234` until 2023.

Shape: `PlainTextMessageWriter.cs` of Tyrrrz/DiscordChatExporter, and what it was before 2020:
`PlainTextChatLogRenderer.cs`, `PlainTextRenderingLogic.cs` and `PlainText/Template.txt`, where the
first form of all had the name before the date, and files stood in lines below the text.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import chain, pairwise

from elman.data.conversation import Chat, Message
from elman.data.document import Document
from elman.data.notes import NoteReason, Notes
from elman.data.readers.dates import Dates
from elman.data.readers.discord import EMBEDDED, MEDIA_ALONE, NUMBER, SYSTEM_TEXT
from elman.data.readers.reader import Reader
from elman.data.readers.timestamps import TAKEN_OFF, oldest_first

_RULE = "=" * 62
_BEGINNING = re.compile(rf"\ufeff?\s*{_RULE}\r?\nGuild: +(?P<guild>[^\r\n]*)\r?\nChannel: +")
_CHANNEL = re.compile(r"Channel: +(.*)")
_HEADER = re.compile(
    r"\[(?P<date>[^\[\]]{6,60})\] (?P<name>.+?)(?: \(pinned\))?"
    r"|(?P<old_name>.+#\d{4}) \[(?P<old_date>[^\[\]]{6,60})\]"
)
_BLOCK = re.compile(r"\{(Attachments?|Embed|Stickers|Reactions|Forwarded Message)\}")
_FILE = re.compile(r"https?://(?:cdn|media)\.discordapp\.(?:com|net)/attachments/\S+")
_LINK = re.compile(r"https?://\S+|\S*[\\/]\S*")


@dataclass
class _Record:
    """A message as it stands in the file: its text, and the lines of the blocks below it."""

    where: str
    date: str
    name: str
    text: list[str] = field(default_factory=list)
    blocks: list[tuple[str, list[str]]] = field(default_factory=list)

    @property
    def kinds(self) -> set[str]:
        return {kind for kind, _ in self.blocks}

    def set_files_apart(self) -> None:
        """Until 2018, links to files stood right below the text."""
        while self.text and (not self.text[-1].strip() or _FILE.fullmatch(self.text[-1])):
            line = self.text.pop()
            if line.strip():
                self.blocks.append(("Attachments", [line]))


def _read(document: Document, notes: Notes) -> Iterator[Chat]:
    head = _BEGINNING.match(document.head())
    channel = next((c[1] for _, line in document.lines() if (c := _CHANNEL.match(line))), "?")
    guild = head["guild"] if head else "?"
    messages = oldest_first(lambda notes: _messages(document, notes), notes)
    yield Chat(f"{guild.strip()}/{channel.strip()}", messages)


def _messages(document: Document, notes: Notes) -> Iterator[Message]:
    dates = Dates(
        header[0] for _, line in document.lines() if (header := _header(line)) is not None
    )
    people: dict[str, str] = {}
    for record in _records(document, notes):
        record.set_files_apart()
        text = "\n".join(record.text).strip("\n")
        if SYSTEM_TEXT.fullmatch(text):
            notes.leave_out(NoteReason.SYSTEM_LINE, record.where)
            continue
        if "Forwarded Message" in record.kinds:
            notes.leave_out(NoteReason.FORWARDED, record.where)
            continue
        if not text.strip():
            text = _embedded(record)
            if not text:
                reason = MEDIA_ALONE if record.kinds - {"Reactions"} else NoteReason.NO_TEXT
                notes.leave_out(reason, record.where)
                continue
            notes.change(EMBEDDED, record.where)
        elif record.kinds - {"Embed", "Reactions"}:
            notes.change(NoteReason.CAPTION_KEPT, record.where)
        name = NUMBER.sub("", record.name).rstrip()
        if people.setdefault(name, record.name) != record.name:
            name = record.name
        time = dates.time(record.date)
        if time is None:
            notes.change(TAKEN_OFF, record.where)
        yield Message(name, text, time)


def _embedded(record: _Record) -> str:
    lines = chain.from_iterable(lines for kind, lines in record.blocks if kind == "Embed")
    return "\n".join(line for line in lines if line.strip() and not _LINK.fullmatch(line))


def _header(line: str) -> tuple[str, str] | None:
    """Return the date and the name, where a line may begin a message."""
    found = _HEADER.fullmatch(line)
    if found is None:
        return None
    date, name = found["date"] or found["old_date"], found["name"] or found["old_name"]
    # A date and a clock, in whatever form the user chose, have four numbers; Unix time has one.
    dated = len(re.findall(r"\d+", date)) > 3 or re.fullmatch(r"\d{9,10}", date)
    return (date, name.strip()) if dated else None


def _records(document: Document, notes: Notes) -> Iterator[_Record]:
    record: _Record | None = None
    banner: str | None = None
    banner_lines = 0
    after_blank = True
    for (number, line), (_, below) in pairwise(chain(document.lines(), [(0, "")])):
        where = f"{document.name}: line {number}"
        if line == _RULE and banner is not None:
            banner, after_blank = None, True
        elif banner is not None:
            banner_lines += 1
        elif line == _RULE and below.startswith(("Guild:", "Exported ")):
            banner, banner_lines = where, 0
        elif after_blank and (header := _header(line)):
            if record:
                yield record
            record, after_blank = _Record(where, *header), False
        elif record is None:
            if line.strip():
                notes.leave_out("no date and name before them", where)
        elif (after_blank or not record.text) and (block := _BLOCK.fullmatch(line)):
            record.blocks.append((block[1], []))
        else:
            (record.blocks[-1][1] if record.blocks else record.text).append(line)
            after_blank = not line.strip()
    if banner and banner_lines:
        notes.leave_out("in a heading that does not end", banner, banner_lines)
    if record:
        yield record


READER = Reader(lambda head: _BEGINNING.match(head) is not None, _read)
