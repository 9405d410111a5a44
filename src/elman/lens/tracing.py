"""An unfolding that watches: it changes no number, and keeps what goes forward and comes back."""

import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from elman.bptt import Cell, Full, Inputs, State, Trace, Unfold


@dataclass
class Call:
    """One run of one layer over time, and what its last backward pass said of it.

    T steps, B rows, H units, G gates times H. What comes back is kept from the last backward pass
    that reached this call; there is none before.

    Args:
        cell: the layer's.
        x: what it read, (T, B, input size).
        state: before the first step, (B, H) each.
        keep: (T, B), 0 where the state before a step was forgotten; None: nowhere.
        h: of every step, (T, B, H).
        outside: dLoss/dh of each step without the way through the next step, (T, B, H).
        back: dLoss/dh of each step through the next step, (T, B, H).
        dgx, dgh: dLoss of both projections, (T, B, G); the same tensor where they are equal.
    """

    cell: Cell
    x: Tensor
    state: State
    keep: Tensor | None
    h: Tensor = field(init=False)
    outside: Tensor | None = None
    back: Tensor | None = None
    dgx: Tensor | None = None
    dgh: Tensor | None = None
    projections: bool = True

    def backward_step(self, t: int, direct: Tensor, indirect: Tensor) -> None:
        if t == len(self.h) - 1 or self.outside is None or self.back is None:
            self.outside, self.back = torch.empty_like(self.h), torch.empty_like(self.h)
        self.outside[t], self.back[t] = direct, indirect

    def backward_chunk(self, begin: int, dgx: Tensor, dgh: Tensor) -> None:
        if not self.projections:
            return
        steps, end = len(self.h), begin + len(dgx)
        if end == steps or self.dgx is None or self.dgh is None:
            self.dgx = dgx if begin == 0 else dgx.new_empty(steps, *dgx.shape[1:])
            self.dgh = self.dgx
            if dgh is not dgx:
                self.dgh = dgh if begin == 0 else torch.empty_like(self.dgx)
        if begin or end < steps:
            self.dgx[begin:end] = dgx
            if dgh is not dgx:
                self.dgh[begin:end] = dgh

    @property
    def gradient(self) -> Tensor:
        """dLoss/dh of every step, (T, B, H); zeros where no backward pass came by."""
        if self.outside is None or self.back is None:
            return torch.zeros_like(self.h)
        return self.outside + self.back

    @property
    def h_before(self) -> Tensor:
        """Return the h that each step began with: 0 where it was forgotten, (T, B, H)."""
        before = torch.cat([self.state[0].unsqueeze(0), self.h[:-1]])
        if self.keep is None:
            return before
        return before.where((self.keep != 0).unsqueeze(2), before.new_zeros(()))

    def forget_gradients(self) -> None:
        self.outside = self.back = self.dgx = self.dgh = None

    def products(self) -> Iterator[tuple[str, Tensor, Tensor | None]]:
        """What the weights' gradients are made of.

        Yields:
            A weight's name, its steps' gradients of what it made, (T, B, G), and what it was
            applied to, (T, B, K), or None for a bias: the weight's gradient is the sum of all
            outer products.
        """
        if self.dgx is None or self.dgh is None:
            return
        yield "weight_ih", self.dgx, self.x
        if self.cell.weight_hh is not None:
            yield "weight_hh", self.dgh, self.h_before
        if self.cell.bias_ih is not None:
            yield "bias_ih", self.dgx, None
        if self.cell.bias_hh is not None:
            yield "bias_hh", self.dgh, None


class TracingUnfold(Unfold):
    """Runs another unfolding and keeps every call of it.

    Args:
        inner: how the gradient flows; None: over every step.
        projections: whether to keep what the weights' gradients are made of, too.
    """

    def __init__(self, inner: Unfold | None = None, *, projections: bool = True) -> None:
        self.calls: list[Call] = []
        self._inner = inner or Full()
        self._projections = projections

    def run(self, cell: Cell, inputs: Inputs, trace: Trace | None) -> tuple[Tensor, State]:
        first = tuple(part.detach() for part in inputs.state)
        call = Call(cell, inputs.x.detach(), first, inputs.keep, projections=self._projections)
        told = call if trace is None else _Both(trace, call)
        h, after = self._inner.run(cell, inputs, told)
        call.h = h.detach()
        self.calls.append(call)
        return h, after


def trace_calls(module: nn.Module, keep: Callable[[TracingUnfold], None]) -> RemovableHandle:
    """Trace each call of a module that takes an `unfold`, until the handle is removed."""
    signature = inspect.signature(module.forward)

    def trace(_: nn.Module, args: Any, kwargs: Any) -> tuple[Any, Any]:
        bound = signature.bind(*args, **kwargs)
        bound.arguments["unfold"] = traced = TracingUnfold(bound.arguments.get("unfold"))
        keep(traced)
        return bound.args, bound.kwargs

    return module.register_forward_pre_hook(trace, with_kwargs=True)


@dataclass(frozen=True)
class _Both:
    """Tells somebody else's trace, and the call."""

    other: Trace
    call: Call

    def backward_step(self, t: int, direct: Tensor, indirect: Tensor) -> None:
        self.other.backward_step(t, direct, indirect)
        self.call.backward_step(t, direct, indirect)

    def backward_chunk(self, begin: int, dgx: Tensor, dgh: Tensor) -> None:
        self.call.backward_chunk(begin, dgx, dgh)


def share(
    weight_gradient: Tensor, made: Tensor, of: Tensor | None, owner: Tensor, count: int
) -> Tensor:
    """Measure each group of steps' share of a weight's gradient, (count,); their sum is 1.

    It is what a group adds to the gradient along the gradient's own direction, so it may be below
    0: those steps pull the other way.

    Args:
        weight_gradient: the sum over all steps, (G, K) or (G,).
        made, of: as `Call.products` gives them.
        owner: the group of each step, (T, B) int64; `count` where it has none.
        count: of groups.
    """
    along = made @ weight_gradient
    if of is not None:
        along = (along * of).sum(-1)
    total = along.new_zeros(count + 1, dtype=torch.float64)
    total.index_add_(0, owner.flatten(), along.flatten().double())
    square = weight_gradient.double().square().sum()
    return total[:count] / square if square > 0 else total[:count]
