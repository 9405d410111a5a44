"""A step of many rows at once, in which only those rows fail that cause it."""

import logging
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor


class Stepped(NamedTuple):
    """What came of a step.

    Args:
        rows: those that took it.
        tensors: what it gave, a row of each for every one of them.
        failed: the others, and why.
    """

    rows: list[int]
    tensors: tuple[Tensor, ...]
    failed: dict[int, Exception]


def step_rows(step: Callable[[Sequence[int]], Sequence[Tensor]], count: int) -> Stepped:
    """Take a step of all rows together; where that fails, of each row alone.

    Args:
        step: of some rows; changes nothing, so that it can be taken again.
        count: of rows.
    """
    rows = list(range(count))
    try:
        return Stepped(rows, tuple(step(rows)) if rows else (), {})
    except Exception as error:
        logging.getLogger("elman").exception("a round of the batcher failed")
        if count == 1:
            return Stepped([], (), {0: error})
    done: dict[int, Sequence[Tensor]] = {}
    failed: dict[int, Exception] = {}
    for row in rows:
        try:
            done[row] = step([row])
        except Exception as error:
            failed[row] = error
    return Stepped(list(done), tuple(map(torch.cat, zip(*done.values(), strict=True))), failed)
