"""A step of many rows at once, in which only those rows fail that cause it."""

import logging
from collections.abc import Callable, Sequence
from typing import Generic, NamedTuple, TypeVar

T = TypeVar("T")


class Stepped(NamedTuple, Generic[T]):
    """What came of a step.

    Args:
        rows: those that took it.
        result: what it gave for them; None: none of them took it.
        failed: the others, and why.
    """

    rows: list[int]
    result: T | None
    failed: dict[int, Exception]


def step_rows(
    step: Callable[[Sequence[int]], T], join: Callable[[list[T]], T], count: int
) -> Stepped[T]:
    """Take a step of all rows together; where that fails, of each row alone.

    Args:
        step: of some rows; changes nothing, so that it can be taken again.
        join: makes one result of those of several rows.
        count: of rows.
    """
    rows = list(range(count))
    if not rows:
        return Stepped([], None, {})
    try:
        return Stepped(rows, step(rows), {})
    except Exception as error:
        logging.getLogger("elman").exception("a round of the batcher failed")
        if count == 1:
            return Stepped([], None, {0: error})
    done: dict[int, T] = {}
    failed: dict[int, Exception] = {}
    for row in rows:
        try:
            done[row] = step([row])
        except Exception as error:
            failed[row] = error
    return Stepped(list(done), join([*done.values()]) if done else None, failed)
