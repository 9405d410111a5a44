"""The time loops: a cell run forward over T steps, and its gradient carried back over them.

This is the readable reference, and the specification of every faster version. `docs/bptt.md`
derives it in the symbols used here.
"""

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
        keep: (T, B), 0 where the state before that step is forgotten (set to zeros), else 1.
        cut: (T, B), 0 where the state before that step passes but its gradient does not, else 1.
        trace: told of each step of the backward pass.

    Returns:
        h of every step, (T, B, hidden_size), and the state after the last.

    Raises:
        ValueError: where a shape does not fit.
    """
    if x.dim() != 3 or x.shape[2] != cell.input_size:
        raise ValueError(f"x must be (T, B, {cell.input_size}), got {tuple(x.shape)}")
    steps, batch, _ = x.shape
    if steps == 0 or batch == 0:
        raise ValueError(f"x needs at least one step and one lane, got {tuple(x.shape)}")
    if state is None:
        state = cell.initial_state(batch)
    shape = (batch, cell.hidden_size)
    if len(state) != cell.states or any(tensor.shape != shape for tensor in state):
        got = [tuple(tensor.shape) for tensor in state]
        raise ValueError(f"the state must be {cell.states} tensors of {shape}, got {got}")
    for name, mask in (("keep", keep), ("cut", cut)):
        if mask is not None and mask.shape != (steps, batch):
            raise ValueError(f"{name} must be {(steps, batch)}, got {tuple(mask.shape)}")
    outputs = _Recurrence.apply(
        cell,
        keep,
        cut,
        trace,
        x,
        cell.weight_ih,
        cell.weight_hh,
        cell.bias_ih,
        cell.bias_hh,
        *state,
        *cell.extra_parameters,
    )
    return outputs[0], tuple(outputs[1:])


def _rows_with_zeros(mask: Tensor | None, steps: int) -> list[bool]:
    """For each step, whether any lane's mask is 0 there: most steps need no product with it."""
    if mask is None:
        return [False] * steps
    return (mask == 0).any(dim=1).tolist()


class _Recurrence(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        cell: Cell,
        keep: Tensor | None,
        cut: Tensor | None,
        trace: Trace | None,
        x: Tensor,
        weight_ih: Tensor,
        weight_hh: Tensor,
        bias_ih: Tensor | None,
        bias_hh: Tensor | None,
        *rest: Tensor,
    ) -> tuple[Tensor, ...]:
        steps, batch, _ = x.shape
        state: State = rest[: cell.states]
        # Under autocast the products are taken in the low precision; the state, the gates and the
        # sums of gradients stay in the precision of the weights.
        device = x.device.type
        dtype = weight_hh.dtype
        low = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else dtype
        needs_grad = any(ctx.needs_input_grad)

        with torch.autocast(device, enabled=False):
            x_low = x.to(low)
            w_hh_t = weight_hh.to(low).t().contiguous()
            gx = F.linear(x_low, weight_ih.to(low)).to(dtype)
            if bias_ih is not None:
                gx += bias_ih
            resets = _rows_with_zeros(keep, steps)
            keep = None if keep is None else keep.to(dtype).unsqueeze(2)
            h_all = x.new_empty(steps, batch, cell.hidden_size, dtype=dtype)
            h_prev_all = torch.empty_like(h_all) if needs_grad else None
            saved = []
            for t in range(steps):
                if resets[t]:
                    assert keep is not None
                    state = tuple(tensor * keep[t] for tensor in state)
                gh = torch.mm(state[0].to(low), w_hh_t).to(dtype)
                if bias_hh is not None:
                    gh += bias_hh
                after, kept = cell.step(gx[t], gh, state)
                if h_prev_all is not None:
                    h_prev_all[t] = state[0]
                    saved.append(kept if cell.derived_by_hand else (gx[t], gh, state))
                state = after
                h_all[t] = state[0]

        if needs_grad:
            ctx.cell, ctx.keep, ctx.trace, ctx.low, ctx.saved = cell, keep, trace, low, saved
            ctx.resets = resets
            ctx.cut = None if cut is None else cut.to(dtype).unsqueeze(2)
            ctx.cuts = _rows_with_zeros(cut, steps)
            ctx.has_bias = bias_ih is not None, bias_hh is not None
            ctx.save_for_backward(x, weight_ih, weight_hh, h_prev_all)
        # A state may be a view of something saved; outputs of a Function must own their memory.
        return (h_all, *(tensor.clone() for tensor in state))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dh_all: Tensor, *dstate: Tensor) -> tuple[Tensor | None, ...]:
        cell: Cell = ctx.cell
        x, weight_ih, weight_hh, h_prev_all = ctx.saved_tensors
        steps, batch, _ = x.shape
        rows = cell.gates * cell.hidden_size
        low, dtype = ctx.low, weight_hh.dtype
        w_hh = weight_hh.to(low)

        dgx_all = x.new_empty(steps, batch, rows, dtype=dtype)
        dgh_all = torch.empty_like(dgx_all)
        dextra: list[Tensor] = [torch.zeros_like(p) for p in cell.extra_parameters]
        for t in reversed(range(steps)):
            if ctx.trace is not None:
                ctx.trace.backward_step(t, dh_all[t], dstate[0])
            # The direct part (this step's own use of h) plus the indirect part (through step t+1).
            dh = dh_all[t] + dstate[0]
            dgx, dgh, dprev, dparams = cell.step_backward(ctx.saved[t], (dh, *dstate[1:]))
            dgx_all[t], dgh_all[t] = dgx, dgh
            for total, part in zip(dextra, dparams, strict=True):
                total += part
            dh_prev = dprev[0] + torch.mm(dgh.to(low), w_hh).to(dtype)
            dstate = (dh_prev, *dprev[1:])
            if ctx.resets[t]:
                dstate = tuple(tensor * ctx.keep[t] for tensor in dstate)
            if ctx.cuts[t]:
                dstate = tuple(tensor * ctx.cut[t] for tensor in dstate)

        # Every step's share of a weight's gradient is an outer product; their sum over time and
        # lanes is one matrix product.
        flat_gx, flat_gh = dgx_all.view(-1, rows), dgh_all.view(-1, rows)
        low_gx = flat_gx.to(low)
        needs = ctx.needs_input_grad
        dx = (low_gx @ weight_ih.to(low)).view_as(x).to(x.dtype) if needs[4] else None
        dw_ih = (low_gx.t() @ x.to(low).flatten(0, 1)).to(dtype) if needs[5] else None
        dw_hh = (flat_gh.to(low).t() @ h_prev_all.to(low).flatten(0, 1)).to(dtype)
        db_ih = flat_gx.sum(0) if ctx.has_bias[0] else None
        db_hh = flat_gh.sum(0) if ctx.has_bias[1] else None
        return (None, None, None, None, dx, dw_ih, dw_hh, db_ih, db_hh, *dstate, *dextra)
