"""How messages begin: the forms of date and clock in one file, learnt from the file itself."""

import re
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from itertools import islice
from operator import add
from typing import Any

from elman.data.document import Document
from elman.data.readers.whatsapp.clock import Clock, is_possible
from elman.data.readers.whatsapp.dates import ERA, HeaderDates

MARKS = "\u200e\u200f\u061c\u202a-\u202e\u2066-\u2069\ufeff"
"""Marks of direction, which people do not see; some stand within dates."""

_LEARNING_CHARS = 1 << 20
_MOST_LEARNT = 200
"""Headers that are looked at to find the form of most."""
_MAX_KNOWN = 200_000
"""Dates or clocks that are remembered."""

_ANY_MARK = re.compile(f"[{MARKS}]")
_LETTER = re.compile(r"[^\W\d_]")
_ENGLISH_HALF = re.compile(r"\b[ap]m\b", re.IGNORECASE)
_MARKED = f"[{MARKS}]*"
_WORD = r"[^\W\d_][^\d\s\[\]:,/<>-]{1,20}"
_YEAR = r"(?:\d{4}|\d\d(?!\d|[:.h]\d))"
_NUMERIC = rf"(?:{ERA})?(?:\d{{1,4}}|元){_MARKED}(?P<gap>[./年년-] ?)\d{{1,2}}{_MARKED}(?P<gap2>[./月월-] ?)\d{{1,4}}"  # noqa: E501
_SHORT = rf"\d{{1,2}}{_MARKED}(?P<gap>[./月월-] ?)\d{{1,2}}(?!\d|[./-]\d)"


def _named(year: str) -> str:
    """Dates with the name of a month; `year` ends each of the patterns for a year after it."""
    after, comma = rf"(?:[ ,.-]{{1,3}}(?:del? )?{_YEAR}){year}", rf"(?:,? {_YEAR}){year}"
    return (
        rf"(?:{_WORD},? )?\d{{1,2}}[. -]{{1,2}}(?:de )?{_WORD}{after}"
        rf"|(?:{_WORD},? )?{_WORD} \d{{1,2}}{comma}(?![:.h]\d)"
        rf"|\d{{4}}[ .,-]{{1,2}}{_WORD}[ .-]{{1,2}}\d{{1,2}}"
    )


_NAMED = _named("?")
_NAMED_WITH_YEAR, _NAMED_WITHOUT_YEAR = _named("{1}"), _named("{0}")
_BEFORE = r"[^\d\n\[\]]{1,24}"
_AFTER = r"[^\d\n\[\]:]{0,32}?"
_WORD_AFTER = r"[^\w\n\[\]:]{0,4}[^\W\d_][^\d\n\[\]:]{0,28}?"
_TIME = r"\d{1,2}(?P<colon> ?[:.h] ?)\d\d(?:[:.]\d\d)?"
AFTER_CRLF = r"(?<=\r\n)"
_CLOSE = {
    "bracket": r"\] ?",
    "dash": r" [-–—] (?!\d\d?[:.]\d\d\b)",  # "10:00 - 11:00: lunch" begins none  # noqa: RUF001
    "colon": ": ",  # iPhones of about 2014
    "semicolon": "; ",  # the program WhatsApp Viewer
}
_NAME_FOLLOWS = r"(?=[^:\n]{1,100}:)"
_ANY_CLOSE = (
    rf"(?P<bracket>\] ?)|(?P<dash>{_CLOSE['dash']})|(?P<colon_close>: ){_NAME_FOLLOWS}"
    rf"|(?P<semicolon>; ){_NAME_FOLLOWS}"
)


def _unnamed(pattern: str) -> str:
    return re.sub(r"\(\?P<\w+>", "(?:", pattern)


_ANY_DATE = "|".join(_unnamed(each) for each in (_NUMERIC, _SHORT, _NAMED))
_OPEN = rf"{_MARKED}(?P<open>\[)?{_MARKED}"
_DATE_FIRST = (
    rf"{_OPEN}(?P<date>{_ANY_DATE})(?P<clock>(?P<before>{_BEFORE}){_TIME}(?P<after>{_AFTER}))"
    rf"(?:{_ANY_CLOSE})"
)
_CLOCK_FIRST = (
    rf"{_OPEN}(?P<clock>(?P<before>(?:{_WORD} ?)?){_TIME}(?P<after>[^\d\n\[\]:]{{1,32}}))"
    rf"(?<![^\W\d_])(?P<date>{_ANY_DATE})(?:{_ANY_CLOSE})"
)
_ANY = [re.compile(_DATE_FIRST), re.compile(_CLOCK_FIRST)]
_BARE = rf"{_MARKED}(?P<date>{_ANY_DATE})(?P<clock>{_BEFORE}{_unnamed(_TIME)}) (?=[^\W\d][^:\n]{{0,60}}: )"  # noqa: E501

_BARE_HEADER = re.compile(_BARE)

LIKE_A_HEADER = "|".join(_unnamed(each) for each in (_DATE_FIRST, _CLOCK_FIRST, _BARE))
"""What anybody would take for the beginning of a message, wherever it comes from."""

_HEADER_LINE = re.compile(rf"\n(?=({LIKE_A_HEADER}))")


class Header:
    """One form of beginning: what matches it, and how its date and its clock are read.

    Args:
        line: text that begins with such a header.
        after_crlf: whether only what follows CRLF begins a message: on iPhones, a newline alone
            stands within one.

    Raises:
        ValueError: where it begins with none.
    """

    def __init__(self, line: str, after_crlf: bool = False) -> None:
        found = next(filter(None, (pattern.match(line) for pattern in _ANY)), None)
        if found is None or bool(found["open"]) != bool(found["bracket"]):
            raise ValueError
        self.clock_first = found.re is _ANY[1]
        self.bracketed = bool(found["open"])
        self.after_crlf = after_crlf
        groups = {"dash": "dash", "colon": "colon_close", "semicolon": "semicolon"}
        self.close = next((kind for kind, group in groups.items() if found[group]), "bracket")
        self.clock = Clock()
        self.dates = HeaderDates(american=_ENGLISH_HALF.search(found["clock"]) is not None)
        if not self.dates.is_possible(found["date"]) or not is_possible(found["clock"]):
            raise ValueError
        self.body = line[found.end() :].partition("\n")[0]
        self.has_year = len(re.findall(r"\d+", found["date"])) > 1 + bool(
            re.fullmatch(_unnamed(_SHORT), found["date"])
        )
        known = Clock()
        known.learn({found["clock"]})
        self.unknown = found["after"] if known.has_unknown() else ""
        """What stands after the clock, where no language is known to have it."""
        self._pattern = self._like(found)
        self._days: dict[str, datetime | None] = {}
        self._times: dict[str, timedelta | None] = {}

    @property
    def pattern(self) -> str:
        """What matches it, after a newline; two groups: the date and the clock, or in turn."""
        return (AFTER_CRLF if self.after_crlf else "") + self._pattern

    def _like(self, found: re.Match[str]) -> str:
        """Return the pattern of headers like this one; the less it allows for, the faster it is."""
        before, colon, after = (re.escape(found[part]) for part in ("before", "colon", "after"))
        if self.clock_first:
            if _LETTER.search(found["before"]):
                before = rf"(?:{_WORD} ?)?"
            after = r"[^\d\n\[\]:]{1,32}" if _LETTER.search(found["after"]) else after
        else:
            before = _BEFORE if _LETTER.search(found["before"]) else before
            after = _WORD_AFTER if _LETTER.search(found["after"]) else after
        date = f"({_date_like(found['date'])})"
        clock = rf"({before}\d{{1,2}}{colon}\d\d(?:[:.]\d\d)?{after})"
        stamp = rf"{clock}(?<![^\W\d_]){date}" if self.clock_first else date + clock
        opened = rf"\[{_MARKED}" if self.bracketed else ""
        return rf"{_MARKED}{opened}{stamp}{_CLOSE[self.close]}"

    def learn(self, document: Document, start: datetime | None, end: datetime) -> None:
        """Read as much of a file as it takes to know how its dates and clocks are meant."""
        pattern = re.compile(rf"\n{self.pattern}")
        dates: dict[str, None] = {}
        for chunk in chunks(document, _LEARNING_CHARS):
            found = pattern.findall(chunk)
            if self.clock_first:
                found = [(date, clock) for clock, date in found]
            dates.update(dict.fromkeys(date for date, _ in found))
            self.clock.learn({clock for _, clock in found})
            if self.dates.learn(dates, start, end):
                break
        if self.dates.without_year:
            self.dates.fill_in_years(dates, start, end)
        self._days.clear()
        self._times.clear()

    def times(self, dates: Iterable[str], clocks: Iterable[str]) -> Iterator[Any]:
        """Yield the time of each pair; raise `TypeError` at one that does not exist, or that is
        None.
        """
        days, since = self._days, self._times
        if len(days) + len(since) > _MAX_KNOWN:
            days.clear()
            since.clear()
        for date in set(dates).difference(days):
            days[date] = self.dates.read(date) if date else None
        for clock in set(clocks).difference(since):
            since[clock] = self.clock.read(clock) if clock else None
        return map(add, map(days.__getitem__, dates), map(since.__getitem__, clocks))

    def time(self, date: str, clock: str) -> datetime | None:
        """When that was; None where there is no such time."""
        try:
            found: datetime = next(self.times([date], [clock]))
        except TypeError:
            return None
        return found


def is_like_header(line: str) -> bool:
    """Say whether a line that looks like a beginning has a date and a time that exist."""
    found = next(filter(None, (each.match(line) for each in (*_ANY, _BARE_HEADER))), None)
    return (
        found is not None
        and HeaderDates().is_possible(found["date"])
        and is_possible(found["clock"])
    )


def _date_like(date: str) -> str:
    if found := re.fullmatch(_NUMERIC, date):
        first, last = (_digits(number) for number in re.findall(r"\d+|元", date)[::2])
        first = rf"(?:{ERA})?(?:\d{{1,4}}|元)" if _LETTER.match(date) else first
        marked = _MARKED if _ANY_MARK.search(date) else ""
        gap, gap2 = re.escape(found["gap"]), re.escape(found["gap2"])
        return rf"{first}{marked}{gap}\d{{1,2}}{marked}{gap2}{last}"
    if found := re.fullmatch(_SHORT, date):
        marked = _MARKED if _ANY_MARK.search(date) else ""
        return rf"\d{{1,2}}{marked}{re.escape(found['gap'])}\d{{1,2}}"
    has_year = re.fullmatch(_NAMED_WITH_YEAR, date) is not None
    return _NAMED_WITH_YEAR if has_year else _NAMED_WITHOUT_YEAR


def _digits(number: str) -> str:
    return r"\d{3,4}" if len(number) > 2 else r"\d{1,2}"


def find_headers(head: str) -> Iterator[tuple[int, bool, Header]]:
    """Yield every line that begins with a header: its start, whether CRLF stands before it."""
    for found in _HEADER_LINE.finditer("\n" + head):
        try:
            header = Header(head[found.start() : found.start() + 300])
        except ValueError:
            continue
        yield found.start(), head[max(0, found.start() - 2) : found.start()] == "\r\n", header


def first_header(head: str) -> Header | None:
    """Return the form of most headers in the beginning of a file; None where it is no export.

    A first line that is no header (cut, or a page's number) is passed over where more lines are.
    """
    head = head.removeprefix("\ufeff")
    forms: dict[str, Header] = {}
    counts: dict[str, int] = {}
    crlf: set[str] = set()
    first = None
    for start, after_crlf, header in islice(find_headers(head), _MOST_LEARNT):
        first = start if first is None else first
        form = forms.setdefault(header.pattern, header)
        counts[form.pattern] = counts.get(form.pattern, 0) + 1
        if after_crlf:
            crlf.add(form.pattern)
    if first is None:
        return None
    strays = sum(bool(line.strip()) for line in head[:first].split("\n"))
    most = max(counts.values())
    if strays and most < max(2, strays):
        return None
    name = next(name for name, count in counts.items() if count == most)
    forms[name].after_crlf = forms[name].bracketed and name in crlf
    return forms[name]


def chunks(document: Document, size: int) -> Iterator[str]:
    """Pieces of the text in which the end of a line stands before, not after, every line."""
    end = ""
    for chunk in document.chunks(size):
        if not end:
            chunk = chunk.removeprefix("\ufeff")
            end = "\r\n" if "\r\n" in chunk else "\n"
        text = end + chunk
        end = "\r\n" if chunk.endswith("\r\n") else "\n"
        yield text.removesuffix(end)
