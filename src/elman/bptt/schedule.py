"""In which chunks of time a recurrence is run, and what is kept of each for the backward pass."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import ceil, isqrt
from typing import Any

import torch
from torch import Tensor

from elman.bptt.cell import Cell

CHUNK_BYTES = 1 << 23
"""Of the projected inputs of one chunk: what the loop writes is then still near when it is read
again, and the products over the chunk are large enough to be fast."""


@dataclass(frozen=True)
class Schedule:
    """How a call of the engine goes through time.

    Args:
        every: steps of a chunk; None: as many as are fast.
        recompute: keep only the state before each chunk, and run it a second time in the backward
            pass: the same gradient, for a third more arithmetic.
    """

    every: int | None = None
    recompute: bool = False

    def chunk(self, cell: Cell, batch: int) -> int:
        """Steps of a chunk."""
        return self.every or max(1, CHUNK_BYTES // (_gates_bytes(cell) * batch))

    def memory(self, cell: Cell, steps: int, batch: int) -> int:
        """Bytes that a forward and backward pass hold at most, beyond its inputs, its results,
        the weights, and the gradients of all of these.
        """
        every = min(steps, self.chunk(cell, batch))
        saved = _saved_bytes(cell) * batch
        state = cell.hidden_size * cell.weight_ih.element_size() * batch
        # The gradients of both projections, h once more, and h one step earlier.
        working = every * (2 * _gates_bytes(cell) * batch + 2 * state)
        if not self.recompute:
            return steps * saved + working
        return ceil(steps / every) * (cell.states - 1) * state + every * saved + working

    @classmethod
    def within(cls, budget: int, cell: Cell, steps: int, batch: int) -> "Schedule":
        """The cheapest that holds at most `budget` bytes.

        Raises:
            ValueError: where none does; it says the least that works.
        """
        fast = cls()
        if fast.memory(cell, steps, batch) <= budget:
            return fast

        def needs(every: int) -> int:
            return cls(every, recompute=True).memory(cell, steps, batch)

        # Checkpoints fall with `every`, and a chunk grows with it: the sum has one valley.
        least = _valley(needs, steps)
        if needs(least) > budget:
            raise ValueError(
                f"a budget of {budget:,} bytes is too small for {steps} steps of {batch} lanes: "
                f"{needs(least):,} is the least that works"
            )
        # Beyond the valley, the longest chunk that fits has the largest, fastest products.
        low, high = least, min(steps, fast.chunk(cell, batch))
        while low < high:
            middle = (low + high + 1) // 2
            low, high = (middle, high) if needs(middle) <= budget else (low, middle - 1)
        return cls(low, recompute=True)


def _valley(needs: Callable[[int], int], steps: int) -> int:
    """The `every` that needs least; around the square root, where the two parts are alike."""
    around = isqrt(steps)
    candidates = {1, *range(max(1, around // 8), min(steps, around * 2) + 1)}
    least: int = min(candidates, key=needs)
    return least


def _gates_bytes(cell: Cell) -> int:
    return cell.gates * cell.hidden_size * cell.weight_ih.element_size()


def _saved_bytes(cell: Cell) -> int:
    """What one step of one lane leaves for the backward pass: asked of the cell itself."""
    like = cell.weight_ih.detach()
    gx = like.new_zeros(1, cell.gates * cell.hidden_size)
    gh = gx if cell.recurrent else gx[:, :0]
    with torch.no_grad():
        saved = cell.step(gx, gh, cell.initial_state(1))[1]
    kept = saved if cell.derived_by_hand else (gx, gx, *cell.initial_state(1))
    storages = {t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in _in(kept)}
    storages.pop(gx.untyped_storage().data_ptr(), None)
    return gx.nbytes + sum(storages.values())


def _in(saved: Any) -> Iterator[Tensor]:
    if isinstance(saved, Tensor):
        yield saved
    elif isinstance(saved, tuple | list):
        for part in saved:
            yield from _in(part)
