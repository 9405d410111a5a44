"""Times as programs write them: ISO 8601, or a count since 1970, as text or as a number."""

import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from itertools import islice, pairwise
from typing import Any

from elman.data.conversation import Message
from elman.data.notes import Notes
from elman.errors import ElmanError

TAKEN_OFF = "a time of no known form taken off"

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NUMBER = re.compile(r"-?\d{1,20}(?:\.\d{1,9})?", re.ASCII)
_UNITS_PER_SECOND = ((10**11, 1), (10**14, 10**3), (10**17, 10**6))
"""A count below the first number is one of so many a second: until the year 5138, which is which
is seen from the size of the number."""


def timestamp(value: Any, in_utc: bool = True) -> datetime | None:
    """Return the time that a value means; None for what is no time.

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


def time_or_note(value: Any, where: str, notes: Notes, in_utc: bool = True) -> datetime | None:
    """Return the time of a message; what is no time is taken off, and counted."""
    time = timestamp(value, in_utc)
    if value is not None and time is None:
        notes.change(TAKEN_OFF, where)
    return time


_LOOKED_AT = 100
"""Messages, from which the direction is seen in which a file runs."""


def is_newest_first(messages: Iterator[Message]) -> bool:
    """Say whether a file's messages, of which the first are looked at, run backwards in time."""
    begun = islice(messages, _LOOKED_AT)
    times: list[float] = []
    with suppress(ElmanError):  # said when the file is read; what stands before it is known
        times += (seconds for each in begun if (seconds := each.seconds) is not None)
    earlier = sum(after < before for before, after in pairwise(times))
    later = sum(after > before for before, after in pairwise(times))
    return earlier > 9 * later


def oldest_first(read: Callable[[Notes], Iterator[Message]], notes: Notes) -> Iterator[Message]:
    """Return the messages of a file; turned around where it begins with the newest.

    Args:
        read: the messages as they come; tells the notes what it leaves out.
    """
    return reversed(list(read(notes))) if is_newest_first(read(Notes())) else read(notes)
