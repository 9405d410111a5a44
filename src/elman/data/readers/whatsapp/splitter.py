"""Splits a file at the beginnings of its messages, whichever phones its parts come from."""

import re
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from elman.data.document import Document
from elman.data.notes import Notes
from elman.data.readers.whatsapp.headers import (
    AFTER_CRLF,
    LIKE_A_HEADER,
    Header,
    chunks,
    is_like_header,
)

_QUOTED = "kept with a line in them that looks like the beginning of another message"
_NO_YEAR = "whose date has no year: taken for the latest that the file's own date allows"
_UNKNOWN_WORD = "whose clock has a word that is no known part of the day: the hour taken as it is"

_MAX_PIECE_CHARS = 1 << 20
"""Of one message, kept while reading; fewer are, in the end."""
_FAST_CHARS = 1 << 16
"""What fits into a processor's cache, with all that is made of it."""
_MIN_JOINED = 20
"""Headers in a row that nobody pastes into a message."""

_NUMBER_AHEAD = r"(?=[^\n\d]{0,64}\d)"
"""What every header has; most other lines are told from one by this alone, which is faster."""

SplitMessages = tuple[int, list[datetime | None], list[str]]
"""The number of the first line; the time of every message; what follows the time."""


class Splitter:
    """Splits a file at its headers; takes in other forms of header that turn up on the way."""

    def __init__(self, document: Document, header: Header, notes: Notes) -> None:
        self._document, self._notes = document, notes
        self._headers: list[Header] = []
        self._refused: set[str] = set()
        self._authors: set[str] = set()
        self._add(header, None)

    def batches(self) -> Iterator[SplitMessages]:
        """Yield all of the file; what stands before the first message has no time."""
        line = lines = 0  # what stands before the first message takes none of its own
        time: datetime | None = None
        body = ""
        for chunk in chunks(self._document, _FAST_CHARS):
            before, parts, width = self._split(chunk)
            if any(parts[width - 2 :: width]) and self._take_in(chunk, time):
                before, parts, width = self._split(chunk)
            bodies = parts[width - 1 :: width]
            if len(body) < _MAX_PIECE_CHARS:
                body += before
            times: list[datetime | None] = [time]
            try:
                times += self._times(parts, width)
                bodies.insert(0, body)
            except TypeError:  # one of them is None: a line that somebody quoted begins no message
                times, bodies = self._kept_together(parts, width, time, body, line)
            if self._assumes:
                self._tell_assumed(parts, width, line)
            if "\r" in chunk and ("\r\r" in chunk or not _has_only_crlf(chunk)):
                bodies = _with_newlines(bodies)
            lines += chunk.count("\n")
            time, body = times.pop(), bodies.pop()
            yield line, times, bodies
            if bodies:
                line = lines - body.count("\n")
        yield line, [time], [body.rstrip("\n")]

    def _split(self, chunk: str) -> tuple[str, list[Any], int]:
        """Return the text before the first header, groups and bodies of all, how many each has."""
        pattern = self._pattern
        if _has_only_crlf(chunk):  # faster here than in each of the bodies
            chunk, pattern = chunk.replace("\r\n", "\n"), self._pattern_after_lf
        before, *parts = pattern.split(chunk)
        return before, parts, 2 * len(self._headers) + 2

    def _add(self, header: Header, start: datetime | None) -> None:
        header.learn(self._document, start, _written(self._document))
        self._headers.append(header)
        self._assumes = any(
            each.dates.without_year or each.clock.has_unknown() for each in self._headers
        )
        known = "|".join(each.pattern for each in self._headers)
        pattern = rf"\n(?:{known}|{_NUMBER_AHEAD}(?=({LIKE_A_HEADER})))"
        self._pattern = re.compile(pattern)
        self._pattern_after_lf = re.compile(pattern.replace(AFTER_CRLF, ""))

    def _times(self, parts: list[Any], width: int) -> Iterator[Any]:
        """Return the time of each header; raise `TypeError` where one is none."""
        if len(self._headers) > 1:
            return (self._time(parts[at : at + width]) for at in range(0, len(parts), width))
        [header] = self._headers
        first, second = parts[::width], parts[1::width]
        dates, clocks = (second, first) if header.clock_first else (first, second)
        return header.times(dates, clocks)

    def _time(self, part: list[Any]) -> datetime:
        for at, header in enumerate(self._headers):
            first, second = part[2 * at : 2 * at + 2]
            if first is not None:
                date, clock = (second, first) if header.clock_first else (first, second)
                if time := header.time(date, clock):
                    return time
        raise TypeError

    def _kept_together(
        self, parts: list[Any], width: int, time: datetime | None, body: str, line: int
    ) -> tuple[list[datetime | None], list[str]]:
        times, pieces = [time], [[body]]
        previous, is_told = None, False
        for at in range(0, len(parts), width):
            part = parts[at : at + width]
            part = self._after_lf(part, previous)
            try:
                times.append(self._time(part))
                pieces.append([part[-1]])
                previous, is_told = part, False
            except TypeError:
                if not is_told and (part[-2] is None or is_like_header(part[-1])):
                    lines = sum(each.count("\n") for piece in pieces for each in piece)
                    where = f"{self._document.name}: line {line + len(pieces) + lines}"
                    self._notes.change(_QUOTED, where)
                    is_told = True
                pieces[-1].append(self._raw(part))
        return times, ["".join(each) for each in pieces]

    def _after_lf(self, part: list[Any], previous: list[Any] | None) -> list[Any]:
        """As it is where the export before this one, of another form, ends its lines with LF."""
        if part[-2] is None or previous is None:
            return part
        for at, header in enumerate(self._headers):
            if header.after_crlf and previous[2 * at] is None:
                found = re.match(header.pattern.removeprefix(AFTER_CRLF), part[-1])
                if found:
                    part = [None] * (len(part) - 1) + [part[-1][found.end() :]]
                    part[2 * at : 2 * at + 2] = found.groups()
                    return part
        return part

    def _tell_assumed(self, parts: list[Any], width: int, line: int) -> None:
        """Count the messages whose time is in part a guess."""
        where = f"{self._document.name}: line {max(1, line)}"
        for at, header in enumerate(self._headers):
            firsts, seconds = parts[2 * at :: width], parts[2 * at + 1 :: width]
            for clock in filter(None, firsts if header.clock_first else seconds):
                if header.dates.without_year:
                    self._notes.change(_NO_YEAR, where)
                if header.clock.is_unknown(clock):
                    self._notes.change(_UNKNOWN_WORD, where)

    def _raw(self, part: list[Any]) -> str:
        """Return a line that looked as if it began a message."""
        for at, header in enumerate(self._headers):
            if part[2 * at] is not None:
                stamp = part[2 * at] + part[2 * at + 1]
                end = {"colon": ": ", "semicolon": "; "}.get(header.close, " - ")
                return (
                    f"\n[{stamp}] {part[-1]}" if header.bracketed else f"\n{stamp}{end}{part[-1]}"
                )
        return f"\n{part[-1]}"

    def _take_in(self, chunk: str, time: datetime | None) -> bool:
        """Say whether lines of this chunk begin messages in a form that was not known before."""
        found = False
        while header := self._new_form(chunk, time):
            self._add(*header)
            found = True
        return found

    def _new_form(self, chunk: str, time: datetime | None) -> tuple[Header, datetime | None] | None:
        """Find a form that is not a quotation's, and the time of the message before it.

        Another phone's export that was joined to this one goes on where it stops, or has the same
        people in it; what somebody pasted into a message is older than the message.
        """
        width = 2 * len(self._headers) + 2
        before, *parts = self._pattern.split(chunk)
        crlf = any(header.after_crlf for header in self._headers)
        previous = before
        for at in range(0, len(parts), width):
            part = parts[at : at + width]
            text = part[-1]
            if part[-2] is None:
                try:
                    time = self._time(part)
                except TypeError:
                    pass
                else:
                    self._authors.add(text.partition(":")[0])
            elif not (crlf and time is not None and not previous.endswith("\r")):
                header = self._adopted(text, parts[at + width :], width, time)
                if header:
                    header.after_crlf = crlf and header.bracketed and _ends_with_crlf(header, chunk)
                    return header, time
            previous = text
        return None

    def _adopted(
        self, text: str, after: list[Any], width: int, time: datetime | None
    ) -> Header | None:
        try:
            header = Header(text)
        except ValueError:
            return None
        if header.pattern in self._refused:
            return None
        others = after[width - 1 :: width]
        if time is not None and not any(header.unknown in each[:60] for each in others or [""]):
            return None  # "31/12/2023, 10:00 dentist - bring: the card"
        if not header.has_year and header.bracketed and time is not None:
            return None  # as WhatsApp copies messages
        if time is None:
            return header
        header.learn(self._document, time, _written(self._document))
        found = re.match(header.pattern, text)
        if found is None:
            return None
        date, clock = (found[2], found[1]) if header.clock_first else (found[1], found[2])
        begun = header.time(date, clock)
        if begun is not None and begun >= time.replace(second=0):
            return Header(text)
        strays = after[width - 2 :: width]
        bodies = [text, *others]
        alone = all(strays)
        people = {_author_of(body) for body in bodies}
        if alone and len(bodies) > 1 and (people <= self._authors or len(bodies) >= _MIN_JOINED):
            return Header(text)
        self._refused.add(header.pattern)
        return None


def _has_only_crlf(chunk: str) -> bool:
    return "\r" in chunk and chunk.count("\r\n") == chunk.count("\n") > 0


def _with_newlines(bodies: list[str]) -> list[str]:
    """Take CR off the ends of lines; all of them at once, which is faster by far."""
    joined = "\r\0".join(bodies).replace("\r\r\0", "\r\0").replace("\r\n", "\n")
    parted = joined.split("\r\0")
    if len(parted) == len(bodies):
        return parted
    return [each.replace("\r\n", "\n").removesuffix("\r") for each in bodies]


def _author_of(line: str) -> str:
    try:
        return Header(line).body.partition(":")[0]
    except ValueError:
        return ""


def _ends_with_crlf(header: Header, chunk: str) -> bool:
    found = re.findall(rf"(\r?)\n{header.pattern}", chunk)
    return any(end[0] == "\r" for end in found[1:])


def _written(document: Document) -> datetime:
    """When the file was written, as far as it says."""
    if document.member is not None:
        return datetime(*document.member[1].date_time)
    return datetime.fromtimestamp(document.path.stat().st_mtime)
