"""Dates and times as programs write them for people, in the form of some country.

`10/6/2023 12:37 AM`, `06.10.2023 12.37`, `05-Oct-18 12:08 PM`, `2023-10-06 오전 12:37`: a date,
then a clock. Which of the numbers is the month is learned from all dates of a file.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_PM = ("pm", "p", "오후", "午後", "下午", "μμ", "م", "अपराह्न", "ch", "du", "em", "ptg", "odp", "нд")
_AM = ("am", "a", "오전", "午前", "上午", "πμ", "ص", "पूर्वाह्न", "sa", "pd", "fm", "pg", "dop", "до")
_GLUE = str.maketrans("", "", " .,'\u00a0\u202f\u200e\u200f")

_MAX_CHARACTERS = 60
_NUMBER = re.compile(r"\d+")
_WORD = re.compile(r"[^\W\d_]+(?:\.[^\W\d_]+\.?)*")
_CLOCK = re.compile(r"(?<!\d)(\d{1,2})[:.](\d\d)(?:[:.](\d\d))?(?!\d)")
_UNIX = re.compile(r"\d{9,10}")

DAY_FIRST, MONTH_FIRST, YEAR_FIRST = "dmy", "mdy", "ymd"


@dataclass(frozen=True)
class _Written:
    """The numbers of a date, in the order in which they stand, and the time since midnight."""

    date: tuple[int, int, int]
    order: str | None
    """None: it may be any of them."""
    hour: int
    minute: int
    second: int
    american: bool


def _written(text: str) -> _Written | None:
    if len(text) > _MAX_CHARACTERS:
        return None
    clock = next(
        (each for each in _CLOCK.finditer(text) if len(_NUMBER.findall(text[: each.start()])) > 1),
        None,
    )
    if clock is None:
        return None
    hour, minute, second = (int(number or 0) for number in clock.groups())
    words = [word.translate(_GLUE).lower() for word in _WORD.findall(text)]
    halves = [word in _PM for word in words if word in _PM + _AM]
    if halves and hour <= 12:
        hour = hour % 12 + 12 * halves[-1]
    date = _NUMBER.findall(text[: clock.start()])
    order = YEAR_FIRST if len(date[0]) > 2 else None
    month = next((word[:3] for word in words if word[:3] in _MONTHS), None)
    if month and len(date) == 2:
        date.insert(1, str(_MONTHS.index(month) + 1))
        order = order or DAY_FIRST
    if len(date) != 3 or hour > 23 or minute > 59 or second > 59:
        return None
    one, two, three = map(int, date)
    american = "/" in text and any(word in ("am", "pm") for word in words)
    return _Written((one, two, three), order, hour, minute, second, american)


class Dates:
    """Reads the dates of one file.

    Args:
        texts: of the file's dates, as they come, from which the order of their numbers is learned.
    """

    def __init__(self, texts: Iterable[str]) -> None:
        days: dict[tuple[int, int, int], None] = {}
        american = False
        for written in filter(None, map(_written, texts)):
            if written.order is None:
                days[written.date] = None
                american = american or written.american
        orders = [DAY_FIRST, MONTH_FIRST, YEAR_FIRST]
        if american:
            orders = [MONTH_FIRST, DAY_FIRST, YEAR_FIRST]
        self._order = min(orders, key=lambda order: _cost(order, list(days)))

    def time(self, text: str) -> datetime | None:
        """Return the time; None where it is no date and clock, or there is no such day."""
        try:
            if _UNIX.fullmatch(text):
                return datetime.fromtimestamp(int(text), UTC)
            if "T" in text:
                time = datetime.fromisoformat(text)
                return time.astimezone(UTC) if time.tzinfo else time
            written = _written(text)
            if written is None:
                return None
            year, month, day = _day(written.order or self._order, written.date)
            return datetime(year, month, day, written.hour, written.minute, written.second)
        except (ValueError, OverflowError, OSError):
            return None


def _day(order: str, numbers: tuple[int, int, int]) -> tuple[int, int, int]:
    parts = dict(zip(order, numbers, strict=True))
    year = parts["y"] + (2000 if parts["y"] < 100 else 0)
    return (year - 543 if 2400 < year < 2700 else year), parts["m"], parts["d"]


def _cost(order: str, dates: list[tuple[int, int, int]]) -> tuple[int, int]:
    """Count the dates that do not exist, and how often time turns back from one to the next.

    A file whose newest messages come first runs backwards, and turns no more often.
    """
    days = []
    for numbers in dates:
        try:
            days.append(datetime(*_day(order, numbers)))
        except ValueError:
            continue
    backwards = sum(after < before for before, after in pairwise(days))
    return len(dates) - len(days), min(backwards, max(len(days) - 1, 0) - backwards)
