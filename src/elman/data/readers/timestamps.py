"""Times as programs write them: ISO 8601, or a count since 1970, as text or as a number."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any

from elman.data.document import Notes

TAKEN_OFF = "a time of no known form taken off"

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NUMBER = re.compile(r"-?\d{1,20}(?:\.\d{1,9})?", re.ASCII)
_UNITS_PER_SECOND = ((10**11, 1), (10**14, 10**3), (10**17, 10**6))
"""A count below the first number is one of so many a second: until the year 5138, which is which
is seen from the size of the number."""


def timestamp(value: Any, in_utc: bool = True) -> datetime | None:
    """The time that a value means; None for what is no time.

    Args:
        value: ISO 8601, or seconds, milli- or microseconds since 1970; text or a number.
        in_utc: turn a time that names its zone into UTC. Counts since 1970 always are in UTC.
    """
    try:
        if isinstance(value, str) and _NUMBER.fullmatch(value):
            value = float(value)
        if isinstance(value, str):
            time = datetime.fromisoformat(value)
            return time.astimezone(UTC) if in_utc and time.tzinfo else time
        if isinstance(value, int | float) and not isinstance(value, bool):
            for end, units in _UNITS_PER_SECOND:
                if abs(value) < end:
                    return _EPOCH + timedelta(seconds=value / units)
    except (ValueError, OverflowError):
        pass
    return None


def time_or_note(value: Any, where: str, notes: Notes) -> datetime | None:
    """The time of a message; what is no time is taken off, and counted."""
    time = None if value is None else timestamp(value)
    if value is not None and time is None:
        notes.change(TAKEN_OFF, where)
    return time
