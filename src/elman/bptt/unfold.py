"""How a recurrence is differentiated through time: a value that you pass in."""

from abc import ABC, abstractmethod
from dataclasses import dataclass, field

import torch
from torch import Tensor

from elman.bptt.cell import Cell, State
from elman.bptt.inputs import Inputs, checked
from elman.bptt.loops import Trace
from elman.bptt.recurrence import run_over
from elman.bptt.schedule import Schedule
from elman.bptt.transforms import as_it_is, is_compiled, needs_operators


class Unfold(ABC):
    """Runs a cell over time and decides which gradient flows back; the forward pass is one."""

    def __call__(
        self,
        cell: Cell,
        x: Tensor,
        state: State | None = None,
        keep: Tensor | None = None,
        cut: Tensor | None = None,
        trace: Trace | None = None,
    ) -> tuple[Tensor, State]:
        """Run `cell` over x; arguments, results and errors are those of `recurrence`."""
        if is_compiled():
            return as_it_is(type(self).__call__)(self, cell, x, state, keep, cut, trace)
        return self.run(cell, checked(cell, x, state, keep, cut), trace)

    @abstractmethod
    def run(self, cell: Cell, inputs: Inputs, trace: Trace | None) -> tuple[Tensor, State]:
        """Run `cell` over inputs that are checked: the one method of an unfolding.

        Returns:
            h of every step, (T, B, hidden_size), and the state after the last.
        """


@dataclass(frozen=True)
class Full(Unfold):
    """Every step counts: the exact gradient over all T steps (Werbos 1990)."""

    def run(self, cell: Cell, inputs: Inputs, trace: Trace | None) -> tuple[Tensor, State]:
        return run_over(cell, inputs, trace)


def _full() -> Full:  # in strict mode, torch.export can look into it, and not into a class
    return Full()


@dataclass(frozen=True)
class Checkpointed(Unfold):
    """The gradient of `Full` for less memory: the steps between checkpoints are run twice.

    Every step's h is there anyway, as the result. So a checkpoint is the rest of the state: c of
    an LSTM, nothing of the others. What the backward pass needs of a chunk (its gates) is made
    again from the checkpoint when the chunk's turn comes. That is a third more arithmetic, whatever
    `every` is. Sources: Chen et al., "Training Deep Nets with Sublinear Memory Cost" (2016);
    Gruslys et al., "Memory-Efficient Backpropagation Through Time" (2016).

    Args:
        every: steps from checkpoint to checkpoint, at least 1.
    """

    every: int

    def __post_init__(self) -> None:
        if self.every < 1:
            raise ValueError(f"every must be at least 1, got {self.every}")

    @staticmethod
    def within(budget: int) -> "Within":
        """Choose, for each layer, the cheapest schedule whose memory is at most `budget` bytes.

        What counts is the memory beyond inputs, results, weights and all their gradients.
        """
        return Within(budget)

    def run(self, cell: Cell, inputs: Inputs, trace: Trace | None) -> tuple[Tensor, State]:
        return run_over(cell, inputs, trace, Schedule(self.every, recompute=True))


@dataclass(frozen=True)
class Within(Unfold):
    """`Full` where it fits into a budget of bytes, else the `Checkpointed` that does.

    Args:
        budget: bytes, at least 1.
    """

    budget: int

    def __post_init__(self) -> None:
        if self.budget < 1:
            raise ValueError(f"the budget must be at least 1 byte, got {self.budget}")

    def schedule(self, cell: Cell, steps: int, batch: int) -> Schedule:
        """Choose for a call of so many steps and rows; print it to see.

        Raises:
            ValueError: where nothing fits; it says the least that would.
        """
        return Schedule.within(self.budget, cell, steps, batch)

    def run(self, cell: Cell, inputs: Inputs, trace: Trace | None) -> tuple[Tensor, State]:
        x = inputs.x
        if needs_operators(x, cell.weight_ih):  # nothing is kept that a schedule could plan
            return run_over(cell, inputs, trace)
        return run_over(cell, inputs, trace, self.schedule(cell, x.shape[0], x.shape[1]))


@dataclass(frozen=True)
class Truncated(Unfold):
    """The state passes through all steps, its gradient is cut before every `window`-th step.

    Truncated BPTT with disjoint windows (Williams and Peng 1990, h = h'). A step's loss reaches
    back at most to the start of its window.

    Args:
        window: steps per window, counted from the first step of the call; at least 1.
        inner: how each window is unfolded.
    """

    window: int
    inner: Unfold = field(default_factory=_full)

    def __post_init__(self) -> None:
        if self.window < 1:
            raise ValueError(f"window must be at least 1, got {self.window}")

    def run(self, cell: Cell, inputs: Inputs, trace: Trace | None) -> tuple[Tensor, State]:
        x, state, keep, cut = inputs
        edges = torch.ones(x.shape[:2], dtype=torch.bool, device=x.device)
        edges[:: self.window] = False
        # The state before the first step belongs to the caller, who decides whether to detach it.
        edges[0] = True
        cut = edges if cut is None else edges & (cut != 0)
        return self.inner.run(cell, Inputs(x, state, keep, cut), trace)
