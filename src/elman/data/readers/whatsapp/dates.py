"""Dates: in what order their numbers stand, names of months, calendars, and years that are missing."""  # noqa: E501

import re
from collections.abc import Iterable
from datetime import datetime, timedelta
from itertools import pairwise

from elman.data.readers.whatsapp.locales import fold, months

_ERAS = {
    "R": 2018, "令和": 2018, "H": 1988, "平成": 1988, "S": 1925, "昭和": 1925, "民國": 1911, "民国": 1911,  # noqa: E501
}  # fmt: skip
"""Of Japan and Taiwan: the year before their first."""
ERA = "|".join(_ERAS)

_PARTS = re.compile(r"(?P<number>\d+)|(?P<word>[^\W\d_][^\d\s.,/-]*)")
_LEAP_YEAR = 2000


class HeaderDates:
    """Reads the dates of one form of header, once it has seen many of them.

    The numbers stand in the order in which the fewest dates are impossible and the fewest go back in
    time, and the fewest come after the file was written. Where several orders are as good (all in one
    day, say), months come first if the clock has halves, years have two digits and no zero fills a
    number up, as in America; else days.

    Args:
        american: whether the clock has halves.
    """  # noqa: E501

    def __init__(self, american: bool = False) -> None:
        self._start: datetime | None = None
        self._end = datetime.max
        self._american = american
        self._order = ""
        self._months: dict[str, int] = {}
        self._years: dict[str, int] = {}
        self.without_year = False

    def learn(
        self,
        dates: Iterable[str],
        start: datetime | None = None,
        end: datetime = datetime.max,
    ) -> bool:
        """Choose how to read them; whether more of them can change nothing.

        Args:
            dates: all seen so far, in order.
            start: what they follow, where something does.
            end: when the file was written.
        """
        dates = list(dates)
        self._start = start and start.replace(hour=0, minute=0, second=0)
        self._end = end
        if not dates:
            return False
        self._months = self._choose_months(dates)
        orders = self._orders(dates[0])
        costs = [self._cost(order, dates) for order in orders]
        self._order = orders[costs.index(min(costs))]
        self.without_year = "y" not in self._order
        if self.without_year:
            return False
        return [gone for gone, *_ in costs].count(0) == 1 or costs.count((0, 0, 0)) == 1

    def fill_in_years(self, dates: Iterable[str], start: datetime | None, end: datetime) -> None:
        """Give dates without a year the years in which they follow each other.

        Args:
            dates: all of them, in order.
            start: what the first of them follows, where something does.
            end: what the last of them comes before, where nothing does.
        """
        days = [(date, day) for date in dates if (day := self._day(self._order, date))]
        turns = 0
        years: dict[str, int] = {}
        last = None
        for date, day in days:
            turns += last is not None and (last - day).days > 180
            years.setdefault(date, turns)
            last = day
        if not days or last is None:
            return
        first = days[0][1]
        if start is not None:
            base = start.year + ((first.month, first.day) < (start.month, start.day))
        else:
            base = end.year - turns - ((last.month, last.day) > (end.month, end.day))
        self._years = {date: base + turn for date, turn in years.items()}

    def read(self, date: str) -> datetime | None:
        """Return the midnight of a date; None where there is no such day."""
        return self._day(self._order, date)

    def is_possible(self, date: str) -> bool:
        """Say whether there is such a day, in whatever order its numbers stand."""
        self._months = self._choose_months([date])
        return any(self._day(order, date) for order in self._orders(date))

    def _orders(self, date: str) -> list[str]:
        """Return the orders in which the parts of a date may stand; the likeliest first."""
        parts = _parts(date)
        if any(word in self._months for word in parts):
            order = "".join(
                "m" if part in self._months else "n"
                for part in parts
                if _counts(part, self._months)
            )
            numbers = [part for part in parts if part.isdigit()]
            if len(numbers) == 1:
                return [order.replace("n", "d")]
            if len(numbers[0]) > 2:
                return [order.replace("n", "y", 1).replace("n", "d")]
            return [order.replace("n", "d", 1).replace("n", "y")]
        first, *rest = parts
        if len(rest) < 2:
            return ["dm", "md"] if not self._american else ["md", "dm"]
        if len(first) > 2:
            return ["ymd"]
        orders = ["dmy", "mdy"]
        filled_up = any(number.startswith("0") for number in (first, rest[0]))
        if "/" in date and len(rest[1]) < 3 and self._american and not filled_up:
            orders.reverse()
        return orders if len(rest[1]) > 2 else [*orders, "ymd"]

    def _cost(self, order: str, dates: list[str]) -> tuple[int, int, int]:
        """Count the dates that do not exist, the turns back in time, and the dates yet to come."""
        days = [self._day(order, date) for date in dates]
        real = [day for day in days if day is not None]
        gone = len(days) - len(real)
        late = sum(day > self._end for day in real)
        if self._start is not None and "y" in order:
            real.insert(0, self._start)
        return gone, sum(after < before for before, after in pairwise(real)), late

    def _day(self, order: str, date: str) -> datetime | None:
        values = [
            self._months[part] if part in self._months else int(part)
            for part in _parts(date)
            if _counts(part, self._months)
        ]
        if len(values) != len(order):
            return None
        named = dict(zip(order, values, strict=True))
        year = named.get("y", self._years.get(date, _LEAP_YEAR))
        return _gregorian(year, named["m"], named["d"])

    def _choose_months(self, dates: list[str]) -> dict[str, int]:
        """Return the numbers of the months named in dates, in the language that fits best."""
        words = {part for date in dates for part in _parts(date) if not part.isdigit()}
        if not words:
            return {}
        known = {word: found for word in words if (found := months().get(fold(word)))}
        readings: dict[tuple[tuple[str, int], ...], int] = {}
        for name in {name for found in known.values() for name in found}:
            reading = tuple(
                (word, found[name]) for word, found in sorted(known.items()) if name in found
            )
            readings[reading] = readings.get(reading, 0) + 1
        most = max((len(reading) for reading in readings), default=0)
        best, lowest = {}, None
        for reading, languages in readings.items():
            if len(reading) == most:
                self._months = dict(reading)
                cost = (*self._cost(self._orders(dates[0])[0], dates), -languages)
                if lowest is None or cost < lowest:
                    best, lowest = dict(reading), cost
        return best


def _counts(part: str, names: dict[str, int]) -> bool:
    """Say whether a part of a date is its day, month or year, and no weekday or preposition."""
    return part.isdigit() or part in names


def _parts(date: str) -> list[str]:
    """Return the numbers and words of a date in order; a year of an era becomes one of ours."""
    parts = []
    if era := re.match(rf"\W*({ERA}) ?(\d+|元)", date):
        number = 1 if era[2] == "元" else int(era[2])
        parts.append(str(_ERAS[era[1]] + number))
        date = date[era.end() :]
    for found in _PARTS.finditer(date):
        if found["number"] or found["word"] not in "年月日년월일":
            parts.append(found[0])
    return parts


def _gregorian(year: int, month: int, day: int) -> datetime | None:
    try:
        if 1300 < year < 1500 and 1 <= month <= 12 and 1 <= day <= 31:
            if year < 1425:
                # Persian years begin in March, with six months of 31 days. Right to a day or so.
                return datetime(year + 621, 3, 21) + timedelta(
                    30 * (month - 1) + min(month - 1, 6) + day - 1
                )
            # Islamic years have 354.367 days; this one began in July 2008. Right to a day or two.
            since = round((year - 1429.5) * 354.367 + (month - 1) * 29.53) + day - 1
            return datetime(2008, 7, 5) + timedelta(since)
        if 2400 < year < 2700:
            year -= 543  # the Buddhist era
        if 100 < year < 200:
            year += 1911  # the Minguo era
        return datetime(year + 2000 if year < 100 else year, month, day)
    except (ValueError, OverflowError):
        return None
