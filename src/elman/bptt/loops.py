"""The time loops: the sequential half of a recurrence, forward over some steps and back.

`ReferenceLoop` is the specification that every faster loop is tested against, so it stays
readable. `docs/bptt.md` derives it in the symbols used here.
"""

from abc import ABC, abstractmethod
from functools import partial
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from elman.bptt.cell import Cell, State


class Trace(Protocol):
    """Watches the backward loop: it is called with the two parts of each step's gradient of h."""

    def backward_step(self, t: int, direct: Tensor, indirect: Tensor) -> None:
        """Receive one step; calls come from the last step to the first.

        Args:
            t: the step.
            direct: the part of dLoss/dh_t that came from outside at this step, (batch, H).
            indirect: the part that came back from step t + 1, (batch, H).
        """


@runtime_checkable
class ProjectionTrace(Trace, Protocol):
    """A trace that also receives the gradients of both projections.

    With what was projected, they make every step's own share of the weights' gradients.
    """

    def backward_chunk(self, begin: int, dgx: Tensor, dgh: Tensor) -> None:
        """Receive one chunk of time, the last one first. The tensors are not to be written to.

        Args:
            begin: the first step of the chunk.
            dgx: the gradient of gx, (steps, batch, gates * H).
            dgh: the gradient of gh, the same shape; it is `dgx` itself where the two are equal, and
                where a cell has no gh.
        """


class Mask:
    """A (T, B) mask that is 1 nearly everywhere, so that most steps need no product with it."""

    def __init__(self, mask: Tensor | None) -> None:
        self.passes = None if mask is None else (mask != 0).contiguous()
        self._stops = [] if self.passes is None else (~self.passes).any(dim=1).tolist()

    def part(self, begin: int, end: int) -> "Mask":
        """Return the mask of the steps from `begin` to `end`."""
        part = Mask(None)
        if self.passes is not None and any(self._stops[begin:end]):
            part.passes, part._stops = self.passes[begin:end], self._stops[begin:end]
        return part

    def __call__(self, t: int, state: State) -> State:
        """Return the state with zeros in the rows whose mask is 0 at step t."""
        if self.passes is None or not self._stops[t]:
            return state
        # Not a product: 0 times an infinite state would not be 0.
        passes = self.passes[t].unsqueeze(1)
        return tuple(tensor.where(passes, tensor.new_zeros(())) for tensor in state)

    def all_steps(self, h: Tensor) -> Tensor:
        """Mask the h before every step, (T, B, H)."""
        if self.passes is None:
            return h
        return h.where(self.passes.unsqueeze(2), h.new_zeros(()))


class Loop(ABC):
    """The time loop of a cell with given weights: made for one call, run chunk by chunk of time."""

    @abstractmethod
    def __init__(
        self, cell: Cell, weight_hh: Tensor | None, bias_hh: Tensor | None, low: torch.dtype
    ) -> None:
        """Take the weights of the call.

        Args:
            cell: the cell whose steps are run.
            weight_hh, bias_hh: (gates * H, H) and (gates * H,); None where the cell has none.
            low: the precision that products may be taken in.
        """

    @abstractmethod
    def forward(
        self, gx: Tensor, state: State, keep: Mask, h: Tensor, save: bool
    ) -> tuple[State, Any]:
        """Run over the steps of a chunk.

        Args:
            gx: the projected inputs with their bias, (T, B, gates * H); the loop may write into it.
            state: the state before the first step.
            keep: 0 where the state before a step is forgotten.
            h: the output, every step's h is written into it, (T, B, H).
            save: whether `backward` will be called.

        Returns:
            The state after the last step, and what `backward` needs.
        """

    @abstractmethod
    def backward(
        self,
        saved: Any,
        h: Tensor,
        h_first: Tensor,
        dh_all: Tensor,
        dstate: State,
        keep: Mask,
        cut: Mask,
        trace: Trace | None,
    ) -> tuple[Tensor, Tensor, State, list[Tensor]]:
        """Carry the gradient back over the steps of a chunk.

        Args:
            saved: what `forward` returned for it.
            h: every step's h, (T, B, H).
            h_first: the h before the first step, (B, H).
            dh_all: the direct part of each step's gradient of h, (T, B, H).
            dstate: the gradient of the state after the chunk.
            keep, cut: 0 where the state, or only its gradient, stops before a step.
            trace: called at every step of the chunk.

        Returns:
            The gradients of gx and of gh, (T * B, gates * H), the same tensor where they are equal;
            the gradient of the state before the chunk; those of the cell's `extra_parameters`.
        """


class ReferenceLoop(Loop):
    """One call of `Cell.step`, or of `Cell.step_backward`, for each step: any cell, any dtype."""

    def __init__(
        self, cell: Cell, weight_hh: Tensor | None, bias_hh: Tensor | None, low: torch.dtype
    ) -> None:
        self._cell = cell
        self._low = low
        self._bias = bias_hh
        self._weight = None if weight_hh is None else weight_hh.to(low)
        # Twice as fast in the loop's small products as a transposed view.
        self._transposed = None if self._weight is None else self._weight.t().contiguous()

    def forward(
        self, gx: Tensor, state: State, keep: Mask, h: Tensor, save: bool
    ) -> tuple[State, Any]:
        cell = self._cell
        saved = []
        for t in range(len(gx)):
            state = keep(t, state)
            before = state
            gh = self._project(state[0])
            state, for_backward = cell.step(gx[t], gh, state)
            if save:
                saved.append(for_backward if cell.derived_by_hand else (gx[t], gh, before))
            h[t] = state[0]
        return state, saved

    def _project(self, h: Tensor) -> Tensor:
        if self._transposed is None:
            return h[:, :0]
        gh = torch.mm(h.to(self._low), self._transposed).to(h.dtype)
        return gh if self._bias is None else gh.add_(self._bias)

    def backward(
        self,
        saved: Any,
        h: Tensor,
        h_first: Tensor,
        dh_all: Tensor,
        dstate: State,
        keep: Mask,
        cut: Mask,
        trace: Trace | None,
    ) -> tuple[Tensor, Tensor, State, list[Tensor]]:
        cell = self._cell
        # A step changed by a subclass must not meet the backward pass of its base class.
        step_backward = (
            cell.step_backward if cell.derived_by_hand else partial(Cell.step_backward, cell)
        )
        dgx_all: Tensor | None = None
        dgh_all: Tensor | None = None
        dextra: list[Tensor] = [torch.zeros_like(p) for p in cell.extra_parameters]
        for t in reversed(range(len(dh_all))):
            if trace is not None:
                trace.backward_step(t, dh_all[t], dstate[0])
            # The direct part (this step's own use of h) plus the indirect part (through step t+1).
            dh = dh_all[t] + dstate[0]
            dgx, dgh, dprev, dparams = step_backward(saved[t], (dh, *dstate[1:]))
            if dgx_all is None or dgh_all is None:
                dgx_all = dgx.new_empty(len(dh_all), *dgx.shape)
                same = dgh is dgx or self._weight is None
                dgh_all = dgx_all if same else torch.empty_like(dgx_all)
            dgx_all[t] = dgx
            if dgh_all is not dgx_all:
                dgh_all[t] = dgh
            for total, part in zip(dextra, dparams, strict=True):
                total += part
            dh_prev = dprev[0]
            if self._weight is not None:
                dh_prev = dh_prev + torch.mm(dgh.to(self._low), self._weight).to(dh.dtype)
            dstate = cut(t, keep(t, (dh_prev, *dprev[1:])))
        assert dgx_all is not None
        assert dgh_all is not None
        flat = dgx_all.flatten(0, 1)
        return flat, flat if dgh_all is dgx_all else dgh_all.flatten(0, 1), dstate, dextra
