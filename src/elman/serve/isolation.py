"""A step of many rows at once, in which only those rows fail that cause it."""

import logging
from collections.abc import Callable, Sequence
from typing import TypeVar

Row = TypeVar("Row")
T = TypeVar("T")


def step_rows(
    step: Callable[[Sequence[Row]], T], rows: Sequence[Row], fail: Callable[[Row, Exception], None]
) -> list[tuple[Sequence[Row], T]]:
    """Take a step of all rows together; where that fails, of each row alone.

    Args:
        step: of some rows; changes nothing, so that it can be taken again.
        fail: is told each row that fails alone, and why.

    Returns:
        The rows that took it, all at once or one by one, and what the step gave for them.
    """
    if not rows:
        return []
    try:
        return [(rows, step(rows))]
    except Exception as error:
        logging.getLogger("elman").exception("a round of the batcher failed")
        if len(rows) == 1:
            fail(rows[0], error)
            return []
    return [alone for row in rows for alone in step_rows(step, [row], fail)]
