"""Times in tables: ISO 8601, counts since 1970, and dates as people and programs write them."""

import re
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from elman.data.readers.timestamps import timestamp

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


def time_of(text: str, day_first: bool) -> datetime | None:
    """Return the time, in UTC where it names a zone or counts from 1970; None: not known."""
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


def is_day_first(texts: Iterable[str]) -> bool:
    """Say whether 1/2/2021 is in February, by the whole table, whose times run one way.

    Where every date reads both ways and neither order runs better, the month comes first in dates
    with slashes and AM or PM, as in America.
    """
    before: tuple[int, int, int] | None = None
    turns = {"day": [0, 0], "month": [0, 0]}
    american = False
    for when in texts:
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
