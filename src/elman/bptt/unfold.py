"""How a recurrence is differentiated through time: a value that you pass in."""

from abc import ABC, abstractmethod
from dataclasses import dataclass, field

import torch
from torch import Tensor

from elman.bptt.cell import Cell, State
from elman.bptt.recurrence import Trace, check_inputs, recurrence


class Unfold(ABC):
    """Runs a cell over time and decides which gradient flows back; the forward pass is one."""

    @abstractmethod
    def __call__(
        self,
        cell: Cell,
        x: Tensor,
        state: State | None = None,
        keep: Tensor | None = None,
        cut: Tensor | None = None,
        trace: Trace | None = None,
    ) -> tuple[Tensor, State]:
        """Arguments, results and errors are those of `elman.bptt.recurrence.recurrence`."""


@dataclass(frozen=True)
class Full(Unfold):
    """Every step counts: the exact gradient over all T steps (Werbos 1990)."""

    def __call__(
        self,
        cell: Cell,
        x: Tensor,
        state: State | None = None,
        keep: Tensor | None = None,
        cut: Tensor | None = None,
        trace: Trace | None = None,
    ) -> tuple[Tensor, State]:
        return recurrence(cell, x, state, keep, cut, trace)


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
    inner: Unfold = field(default_factory=Full)

    def __post_init__(self) -> None:
        if self.window < 1:
            raise ValueError(f"window must be at least 1, got {self.window}")

    def __call__(
        self,
        cell: Cell,
        x: Tensor,
        state: State | None = None,
        keep: Tensor | None = None,
        cut: Tensor | None = None,
        trace: Trace | None = None,
    ) -> tuple[Tensor, State]:
        check_inputs(cell, x, state, keep, cut)
        edges = torch.ones(x.shape[:2], dtype=torch.bool, device=x.device)
        edges[:: self.window] = False
        # The state before the first step belongs to the caller, who decides whether to detach it.
        edges[0] = True
        return self.inner(cell, x, state, keep, edges if cut is None else edges & (cut != 0), trace)
