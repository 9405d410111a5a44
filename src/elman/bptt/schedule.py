"""In which chunks of time a recurrence is run, and what is kept of each for the backward pass."""

from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil, isqrt
from typing import Any

import torch
from torch import Tensor

from elman.bptt.cell import Cell
from elman.bptt.gru import GRUCell
from elman.bptt.kernels.fused import fused, saved_bytes

CHUNK_GATES_BYTES = 1 << 24
"""Bytes of the projected inputs of one chunk: what the loop writes is then still in the cache when
it is read again, and the products over the chunk are large enough to be fast."""


@dataclass(frozen=True)
class Schedule:
    """How a call of the engine goes through time. It changes the cost, never the gradient.

    Args:
        every: steps of a chunk; None: as many as are fast.
        recompute: keep only the state before each chunk, and run the chunk a second time in the
            backward pass: the same gradient, for a third more arithmetic.
    """

    every: int | None = None
    recompute: bool = False

    def chunk(self, cell: Cell, batch: int) -> int:
        """Return the steps of a chunk."""
        step = cell.gates * cell.hidden_size * cell.weight_ih.element_size() * batch
        return self.every or max(1, CHUNK_GATES_BYTES // max(1, step))

    def memory(self, cell: Cell, steps: int, batch: int) -> int:
        """Return the most bytes that a forward and backward pass hold at a time.

        Inputs, results, weights and the gradients of all of these are not counted. Nor are the
        recurrent weights in the layouts of their products (at most twice their own size), what
        autocast rounds, and masks.
        """
        return self._needs(_Costs.of(cell, steps, batch), steps)

    def _needs(self, costs: "_Costs", steps: int) -> int:
        every = min(steps, self.every or max(1, CHUNK_GATES_BYTES // max(1, costs.gates)))
        if not self.recompute:
            return costs.constant + steps * costs.saved + every * costs.working
        checkpoints = ceil(steps / every) * costs.checkpoint
        return costs.constant + checkpoints + every * (costs.saved + costs.again + costs.working)

    @classmethod
    def within(cls, budget: int, cell: Cell, steps: int, batch: int) -> "Schedule":
        """Choose the cheapest schedule that holds at most `budget` bytes.

        That is to keep everything; or else the longest chunks that fit, since their products are
        the largest and fastest.

        Raises:
            ValueError: where no schedule fits; it says the least that works.
        """
        costs = _Costs.of(cell, steps, batch)

        def needs(every: int) -> int:
            return cls(every, recompute=True)._needs(costs, steps)

        if cls()._needs(costs, steps) <= budget:
            return cls()
        # For each number of chunks, the shortest length that needs no more chunks is the cheapest.
        # Up to the root these are all lengths; above it, one for each number of chunks.
        root = isqrt(steps) + 1
        lengths = sorted({*range(1, root + 1), *(ceil(steps / n) for n in range(1, root + 1))})
        fitting = [every for every in lengths if every <= steps and needs(every) <= budget]
        if not fitting:
            least = min(cls()._needs(costs, steps), *(needs(n) for n in lengths if n <= steps))
            raise ValueError(
                f"a budget of {budget:,} bytes is too small for {steps} steps of {batch} rows: "
                f"{least:,} is the least that works"
            )
        # Up to the next of these lengths the number of chunks is the same, and each is dearer.
        low = fitting[-1]
        high = next((every for every in lengths if every > low), steps + 1) - 1
        while low < high:
            middle = (low + high + 1) // 2
            low, high = (middle, high) if needs(middle) <= budget else (low, middle - 1)
        return cls(low, recompute=True)


@dataclass(frozen=True)
class _Costs:
    """Bytes of a whole batch.

    Args:
        gates: a step's projected inputs.
        saved: what a step saves for the backward pass.
        working: what the backward pass of a chunk needs for each of its steps.
        again: what running a step a second time needs.
        checkpoint: the state before a chunk, without h.
        constant: what does not grow with time.
    """

    gates: int
    saved: int
    working: int
    again: int
    checkpoint: int
    constant: int

    @classmethod
    def of(cls, cell: Cell, steps: int, batch: int) -> "_Costs":
        tensor = cell.hidden_size * cell.weight_ih.element_size() * batch
        gates = cell.gates * tensor
        # Two gradients where something stands between the projections, or may.
        projections = 2 if isinstance(cell, GRUCell) or not cell.derived_by_hand else 1
        return cls(
            gates=gates,
            saved=batch * (saved_bytes(cell) if fused(cell, steps) else _saved_bytes(cell)),
            # And h one step earlier, with zeros where it was forgotten.
            working=projections * gates + 2 * tensor,
            again=tensor,
            checkpoint=(cell.states - 1) * tensor,
            constant=(6 * cell.states + 4) * tensor + 4 * gates,
        )


def _saved_bytes(cell: Cell) -> int:
    """Measure the bytes that a step of one row saves in the reference loop, by running it."""
    like = cell.weight_ih.detach()
    gx = like.new_zeros(1, cell.gates * cell.hidden_size)
    gh = gx.clone() if cell.recurrent else gx[:, :0]
    with torch.no_grad():
        saved = cell.step(gx, gh, cell.initial_state(1))[1]
    kept = saved if cell.derived_by_hand else (gx, gh, *cell.initial_state(1))
    storages = {t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in _in(kept)}
    storages.pop(gx.untyped_storage().data_ptr(), None)
    return gx.nbytes + sum(storages.values())


def _in(saved: Any) -> Iterator[Tensor]:
    if isinstance(saved, Tensor):
        yield saved
    elif isinstance(saved, tuple | list):
        for part in saved:
            yield from _in(part)
