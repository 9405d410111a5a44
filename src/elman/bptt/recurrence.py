"""The time loops: a cell run forward over T steps, and its gradient carried back over them.

This is the readable reference, and the specification of every faster version. `docs/bptt.md`
derives it in the symbols used here.
"""

from functools import partial
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from elman.bptt.cell import Cell, State


class Trace(Protocol):
    """Told, for every step of the backward loop, where the gradient of its h comes from."""

    def backward_step(self, t: int, direct: Tensor, indirect: Tensor) -> None:
        """Called from the last step to the first.

        Args:
            t: the step.
            direct: the part of dLoss/dh_t that came from outside at this step, (batch, H).
            indirect: the part that came back from step t + 1, (batch, H).
        """


def recurrence(
    cell: Cell,
    x: Tensor,
    state: State | None = None,
    keep: Tensor | None = None,
    cut: Tensor | None = None,
    trace: Trace | None = None,
) -> tuple[Tensor, State]:
    """Run `cell` over the steps of `x`, differentiably.

    Args:
        x: (T, B, input_size).
        state: the state before the first step, each tensor (B, hidden_size); zeros if None.
        keep: (T, B), 0 where the state before that step is forgotten (set to zeros); anything
            else: it passes.
        cut: (T, B), 0 where the state before that step passes but its gradient does not.
        trace: told of each step of the backward pass.

    Returns:
        h of every step, (T, B, hidden_size), and the state after the last.

    Raises:
        ValueError: where a shape does not fit.
    """
    check_inputs(cell, x, state, keep, cut)
    if state is None:
        state = cell.initial_state(x.shape[1])
    outputs = _Recurrence.apply(
        cell,
        keep,
        cut,
        trace,
        torch.is_grad_enabled(),
        x,
        cell.weight_ih,
        cell.weight_hh,
        cell.bias_ih,
        cell.bias_hh,
        *state,
        *cell.extra_parameters,
    )
    return outputs[0], tuple(outputs[1:])


def check_inputs(
    cell: Cell, x: Tensor, state: State | None, keep: Tensor | None, cut: Tensor | None
) -> None:
    """Raises ValueError where a shape does not fit; arguments as in `recurrence`."""
    if x.dim() != 3 or x.shape[2] != cell.input_size:
        raise ValueError(f"x must be (T, B, {cell.input_size}), got {tuple(x.shape)}")
    steps, batch, _ = x.shape
    if steps == 0 or batch == 0:
        raise ValueError(f"x needs at least one step and one lane, got {tuple(x.shape)}")
    if state is not None:
        shape = (batch, cell.hidden_size)
        if len(state) != cell.states or any(tensor.shape != shape for tensor in state):
            got = [tuple(tensor.shape) for tensor in state]
            raise ValueError(f"the state must be {cell.states} tensors of {shape}, got {got}")
    for name, mask in (("keep", keep), ("cut", cut)):
        if mask is not None and mask.shape != (steps, batch):
            raise ValueError(f"{name} must be {(steps, batch)}, got {tuple(mask.shape)}")


class _Mask:
    """A (T, B) mask that is 1 nearly everywhere, so that most steps need no product with it."""

    def __init__(self, mask: Tensor | None) -> None:
        self._passes = None if mask is None else (mask != 0).unsqueeze(2)
        self._stops = [] if mask is None else (mask == 0).any(dim=1).tolist()

    def __call__(self, t: int, state: State) -> State:
        """The state with zeros in the lanes whose mask is 0 at step t."""
        if self._passes is None or not self._stops[t]:
            return state
        # Not a product: 0 times an infinite state would not be 0.
        passes = self._passes[t]
        return tuple(tensor.where(passes, tensor.new_zeros(())) for tensor in state)

    def all_steps(self, h: Tensor) -> Tensor:
        """The same for the h before every step, (T, B, H)."""
        return h if self._passes is None else h.where(self._passes, h.new_zeros(()))


class _Recurrence(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        cell: Cell,
        keep: Tensor | None,
        cut: Tensor | None,
        trace: Trace | None,
        grad_enabled: bool,
        x: Tensor,
        weight_ih: Tensor,
        weight_hh: Tensor,
        bias_ih: Tensor | None,
        bias_hh: Tensor | None,
        *rest: Tensor,
    ) -> tuple[Tensor, ...]:
        # The caller may write into the state that was given before the backward pass needs it.
        state: State = tuple(tensor.clone() for tensor in rest[: cell.states])
        h_first = state[0]
        # Under autocast the products are taken in the low precision; the state and the gates stay
        # in the precision of the weights.
        device, dtype = x.device.type, weight_hh.dtype
        low = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else dtype
        needs_grad = grad_enabled and any(ctx.needs_input_grad)
        kept = _Mask(keep)
        saved = []
        with torch.autocast(device, enabled=False):
            gx = F.linear(x.to(low), weight_ih.to(low)).to(dtype)
            if bias_ih is not None:
                gx += bias_ih
            w_hh_t = weight_hh.to(low).t().contiguous()
            h_all = gx.new_empty(*x.shape[:2], cell.hidden_size)
            for t in range(len(x)):
                state = kept(t, state)
                gh = torch.mm(state[0].to(low), w_hh_t).to(dtype)
                if bias_hh is not None:
                    gh += bias_hh
                before = state
                state, for_backward = cell.step(gx[t], gh, state)
                if needs_grad:
                    saved.append(for_backward if cell.derived_by_hand else (gx[t], gh, before))
                h_all[t] = state[0]

        if needs_grad:
            ctx.cell, ctx.trace, ctx.low, ctx.saved = cell, trace, low, saved
            ctx.keep, ctx.cut = kept, _Mask(cut)
            ctx.has_bias = bias_ih is not None, bias_hh is not None
            ctx.save_for_backward(x, weight_ih, weight_hh, h_first, h_all)
        # A state may be a view of something saved; outputs of a Function must own their memory.
        return (h_all, *(tensor.clone() for tensor in state))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dh_all: Tensor, *dstate: Tensor) -> tuple[Tensor | None, ...]:
        with torch.autocast(dh_all.device.type, enabled=False):
            return _Recurrence._backward(ctx, dh_all, dstate)

    @staticmethod
    def _backward(ctx: Any, dh_all: Tensor, dstate: State) -> tuple[Tensor | None, ...]:
        cell: Cell = ctx.cell
        x, weight_ih, weight_hh, h_first, h_all = ctx.saved_tensors
        steps = len(x)
        low, dtype = ctx.low, weight_hh.dtype
        w_hh = weight_hh.to(low)
        # A step changed by a subclass must not meet the backward pass of its base class.
        step_backward = (
            cell.step_backward if cell.derived_by_hand else partial(Cell.step_backward, cell)
        )

        dgx_steps: list[Tensor] = [dh_all] * steps
        dgh_steps: list[Tensor] = [dh_all] * steps
        dextra: list[Tensor] = [torch.zeros_like(p) for p in cell.extra_parameters]
        for t in reversed(range(steps)):
            if ctx.trace is not None:
                ctx.trace.backward_step(t, dh_all[t], dstate[0])
            # The direct part (this step's own use of h) plus the indirect part (through step t+1).
            dh = dh_all[t] + dstate[0]
            dgx, dgh, dprev, dparams = step_backward(ctx.saved[t], (dh, *dstate[1:]))
            dgx_steps[t], dgh_steps[t] = dgx, dgh
            for total, part in zip(dextra, dparams, strict=True):
                total += part
            dh_prev = dprev[0] + torch.mm(dgh.to(low), w_hh).to(dtype)
            dstate = ctx.cut(t, ctx.keep(t, (dh_prev, *dprev[1:])))

        # Every step's share of a weight's gradient is an outer product; their sum over time and
        # lanes is one matrix product.
        dgx_all = torch.cat(dgx_steps)
        together = all(dgx is dgh for dgx, dgh in zip(dgx_steps, dgh_steps, strict=True))
        dgh_all = dgx_all if together else torch.cat(dgh_steps)
        h_prev_all = ctx.keep.all_steps(torch.cat([h_first.unsqueeze(0), h_all[:-1]]))
        low_gx = dgx_all.to(low)
        needs_x, needs_w_ih = ctx.needs_input_grad[5:7]
        dx = (low_gx @ weight_ih.to(low)).view_as(x).to(x.dtype) if needs_x else None
        dw_ih = (low_gx.t() @ x.to(low).flatten(0, 1)).to(dtype) if needs_w_ih else None
        dw_hh = (dgh_all.to(low).t() @ h_prev_all.to(low).flatten(0, 1)).to(dtype)
        db_ih = dgx_all.sum(0) if ctx.has_bias[0] else None
        db_hh = dgh_all.sum(0) if ctx.has_bias[1] else None
        return (None, None, None, None, None, dx, dw_ih, dw_hh, db_ih, db_hh, *dstate, *dextra)
