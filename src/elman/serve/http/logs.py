"""Log lines that strangers can cause: one a minute of each kind, and a count of the others."""

import logging
import time
from collections.abc import Callable

SECONDS_BETWEEN_ALIKE = 60.0
"""After a log line, those like it are counted for so long, and not written."""

LOGGERS = ("uvicorn.error", "asyncio", "elman")
"""Those that write when a client misbehaves, or something fails in a request."""


class RateLimit(logging.Filter):
    """Lets one line of a kind through at a time; the next one says how many were left out.

    A kind is a logger, the first line of a message before its arguments are filled in, and a type
    of exception.

    Args:
        clock: seconds that never go back.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        self._seen: dict[tuple[str, str, str], tuple[float, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        raised = record.exc_info[0] if record.exc_info else None
        first_line = str(record.msg).partition("\n")[0]
        kind = (record.name, first_line, "" if raised is None else raised.__name__)
        now = self._clock()
        last, left_out = self._seen.get(kind, (-SECONDS_BETWEEN_ALIKE, 0))
        if now - last < SECONDS_BETWEEN_ALIKE:
            self._seen[kind] = (last, left_out + 1)
            return False
        self._seen[kind] = (now, 0)
        if left_out:
            record.msg = f"{record.msg} ({left_out:,} more like this were not written)"
        return True


def limit_logs() -> None:
    """Rate-limit the loggers that strangers can make write."""
    for name in LOGGERS:
        logger = logging.getLogger(name)
        if not any(isinstance(each, RateLimit) for each in logger.filters):
            logger.addFilter(RateLimit())
