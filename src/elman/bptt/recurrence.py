"""A cell run over time as one differentiable function.

Here stands what is parallel over time: the products of the inputs and those of the weights'
gradients are taken for many steps at once. A `Loop` does what goes from step to step.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from elman.bptt.cell import Cell, State
from elman.bptt.gradients import Gradients, previous
from elman.bptt.inputs import Inputs, check_finite, checked
from elman.bptt.kernels.fused import FusedLoop, fused
from elman.bptt.loops import Loop, Mask, ProjectionTrace, ReferenceLoop, Trace
from elman.bptt.operators import gradients_of_operators, recurrence_of_operators
from elman.bptt.precision import of_products
from elman.bptt.schedule import Schedule
from elman.bptt.transforms import as_it_is, is_compiled, needs_operators


def recurrence(
    cell: Cell,
    x: Tensor,
    state: State | None = None,
    keep: Tensor | None = None,
    cut: Tensor | None = None,
    trace: Trace | None = None,
    schedule: Schedule | None = None,
) -> tuple[Tensor, State]:
    """Run `cell` over the steps of `x`, differentiably.

    Args:
        x: (T, B, input_size).
        state: the state before the first step, each tensor (B, hidden_size); zeros if None.
        keep: (T, B), 0 where the state before that step is forgotten (set to zeros); anything
            else: it passes.
        cut: (T, B), 0 where the state before that step passes but its gradient does not.
        trace: called at each step of the backward pass.
        schedule: what is kept for the backward pass; None: what is fastest.

    Returns:
        h of every step, (T, B, hidden_size), and the state after the last.

    Raises:
        ValueError: where a shape, a dtype or a device does not fit; and, with a `trace`, where x
            is not finite: it names the first step.
        RuntimeError: for a `trace` where no loop runs backward that could call it.
    """
    if is_compiled():
        return as_it_is(recurrence)(cell, x, state, keep, cut, trace, schedule)
    return run_over(cell, checked(cell, x, state, keep, cut), trace, schedule)


def run_over(
    cell: Cell, inputs: Inputs, trace: Trace | None = None, schedule: Schedule | None = None
) -> tuple[Tensor, State]:
    """Run `cell` over inputs that are checked; results and errors are those of `recurrence`."""
    x, state, keep, cut = inputs
    if needs_operators(x, cell.weight_ih):
        if trace is not None:
            raise RuntimeError(
                "a trace is told of ordinary backward passes: none while tracing, exporting, on "
                "meta tensors, under a transform of torch.func or in forward mode"
            )
        return recurrence_of_operators(cell, inputs, of_products(x.device, cell.weight_ih.dtype))
    if trace is not None:
        check_finite(x)
    h, *after = _Recurrence.apply(
        cell,
        keep,
        cut,
        trace,
        schedule or Schedule(),
        torch.is_grad_enabled(),
        x,
        cell.weight_ih,
        cell.weight_hh,
        cell.bias_ih,
        cell.bias_hh,
        *state,
        *cell.extra_parameters,
    )
    return h, tuple(after)


def _keeps_graph() -> bool:
    """Tell whether this backward pass retains the graph; True where torch does not say."""
    tell = getattr(torch._C._autograd, "_get_current_graph_task_keep_graph", None)
    return True if tell is None else bool(tell())


class _Recurrence(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        cell: Cell,
        keep: Tensor | None,
        cut: Tensor | None,
        trace: Trace | None,
        schedule: Schedule,
        grad_enabled: bool,
        x: Tensor,
        weight_ih: Tensor,
        weight_hh: Tensor | None,
        bias_ih: Tensor | None,
        bias_hh: Tensor | None,
        *rest: Tensor,
    ) -> tuple[Tensor, ...]:
        first: State = rest[: cell.states]
        # Under autocast products may be low; the state and the gates stay as the weights are.
        device, dtype = x.device.type, weight_ih.dtype
        low = of_products(x.device, dtype)
        needs_grad = grad_enabled and any(ctx.needs_input_grad)
        biases = bias_ih, bias_hh
        run = _Chunks(cell, x, weight_ih, weight_hh, biases, Mask(keep), low, trace is not None)
        steps, batch, _ = x.shape
        edges = [*range(0, steps, schedule.chunk(cell, batch)), steps]
        save = needs_grad and not schedule.recompute
        saved, starts = [], []
        state = first
        h_all = torch.empty(*x.shape[:2], cell.hidden_size, dtype=dtype, device=x.device)
        with torch.autocast(device, enabled=False):
            for begin, end in pairwise(edges):
                # h is among the outputs already.
                starts.append(tuple(t.clone() for t in state[1:]) if schedule.recompute else None)
                state, of_chunk = run.forward(begin, end, state, h_all[begin:end], save)
                saved.append(of_chunk)

        if needs_grad:
            ctx.run, ctx.trace, ctx.edges, ctx.saved, ctx.starts = run, trace, edges, saved, starts
            ctx.cut, ctx.schedule = Mask(cut), schedule
            # Everything that the backward pass reads, so that torch sees it if it is changed.
            ctx.save_for_backward(x, weight_ih, weight_hh, h_all, bias_ih, bias_hh, *rest)
        # A state may be a view of something saved; outputs of a Function must own their memory.
        return (h_all, *(tensor.clone() for tensor in state))

    @staticmethod
    def backward(ctx: Any, dh_all: Tensor, *dstate: Tensor) -> tuple[Tensor | None, ...]:
        # A second derivative, or many gradients at once, whose loops are not written by hand.
        if torch.is_grad_enabled() or needs_operators(dh_all, *dstate):
            return _Recurrence._backward_of_operators(ctx, dh_all, dstate)
        with torch.autocast(dh_all.device.type, enabled=False):
            return _Recurrence._backward(ctx, dh_all, dstate)

    @staticmethod
    def _backward_of_operators(
        ctx: Any, dh_all: Tensor, dstate: State
    ) -> tuple[Tensor | None, ...]:
        run: _Chunks = ctx.run
        if ctx.trace is not None:
            raise RuntimeError(
                "with a trace, Elman's recurrences are differentiable once: no create_graph=True, "
                "and no batched gradients"
            )
        x, weight_ih, weight_hh, _, bias_ih, bias_hh, *rest = ctx.saved_tensors
        grads = gradients_of_operators(
            run.cell,
            Inputs(x, tuple(rest[: run.cell.states]), run.keep.passes, ctx.cut.passes),
            (weight_ih, weight_hh, bias_ih, bias_hh, *rest[run.cell.states :]),
            run.low,
            ctx.needs_input_grad[6:],
            (dh_all, *dstate),
        )
        return (None,) * 6 + grads

    @staticmethod
    def _backward(ctx: Any, dh_all: Tensor, dstate: State) -> tuple[Tensor | None, ...]:
        run: _Chunks = ctx.run
        x, weight_ih, weight_hh, h_all, _, _, h_first, *_ = ctx.saved_tensors
        grads = Gradients(
            x, weight_ih, weight_hh, run.has_bias, run.low, ctx.needs_input_grad[6:11]
        )
        dextra = [torch.zeros_like(p) for p in run.cell.extra_parameters]
        for number in reversed(range(len(ctx.saved))):
            dstate, of_chunk = _Recurrence._chunk_backward(
                ctx, number, grads, h_all, h_first, dh_all, dstate
            )
            dextra = [total + part for total, part in zip(dextra, of_chunk, strict=True)]
        if not _keeps_graph():
            ctx.saved = ctx.starts = ()  # as torch frees its saved tensors, not waiting for ctx
        return (None,) * 6 + grads.result() + (*dstate, *dextra)

    @staticmethod
    def _chunk_backward(
        ctx: Any,
        number: int,
        grads: Gradients,
        h_all: Tensor,
        h_first: Tensor,
        dh_all: Tensor,
        dstate: State,
    ) -> tuple[State, list[Tensor]]:
        """Carry the gradient back over one chunk of time.

        A function of its own, so that what a chunk holds is freed before the next needs as much.
        """
        run: _Chunks = ctx.run
        begin, end = ctx.edges[number], ctx.edges[number + 1]
        before = h_all[begin - 1] if begin else h_first
        keep, saved = run.keep.part(begin, end), ctx.saved[number]
        if ctx.schedule.recompute:
            again = torch.empty_like(h_all[begin:end])
            state = (before, *ctx.starts[number])
            _, saved = run.forward(begin, end, state, again, save=True)
        dgx, dgh, dstate, dextra = run.loop.backward(
            saved, h_all[begin:end], before, dh_all[begin:end], dstate, keep,
            ctx.cut.part(begin, end), _shifted(ctx.trace, begin),
        )  # fmt: skip
        if isinstance(ctx.trace, ProjectionTrace):
            shape = (end - begin, len(before))
            of_x, of_h = (grad.view(*shape, grad.shape[1]) for grad in (dgx, dgh))
            ctx.trace.backward_chunk(begin, of_x, of_x if dgh is dgx else of_h)
        # Every step's share of a weight's gradient is an outer product; their sum over steps and
        # rows is one matrix product.
        grads.add(begin, end, dgx, dgh, previous(h_all, h_first, begin, end, keep))
        return dstate, dextra


def _shifted(trace: Trace | None, begin: int) -> Trace | None:
    return trace if trace is None or not begin else _Shifted(trace, begin)


@dataclass(frozen=True)
class _Shifted:
    """Calls a trace for a chunk's steps, numbered from the first step of the whole."""

    trace: Trace
    begin: int

    def backward_step(self, t: int, direct: Tensor, indirect: Tensor) -> None:
        self.trace.backward_step(self.begin + t, direct, indirect)


class _Chunks:
    """The projection of the inputs and the loop of one call, run chunk by chunk of time."""

    def __init__(
        self,
        cell: Cell,
        x: Tensor,
        weight_ih: Tensor,
        weight_hh: Tensor | None,
        biases: tuple[Tensor | None, Tensor | None],
        keep: Mask,
        low: torch.dtype,
        traced: bool,
    ) -> None:
        bias_ih, bias_hh = biases
        self.cell, self.low, self.dtype, self.keep = cell, low, weight_ih.dtype, keep
        self.has_bias = bias_ih is not None, bias_hh is not None
        self._x, self._weight, self._bias = x, weight_ih.to(low), bias_ih
        compiled = x.shape[1] > 0 and fused(cell, len(x))
        # A trace is told of gradients as exact as they are.
        self._narrow = compiled and cell.recurrent and low == torch.bfloat16 and not traced
        self.loop: Loop = (
            FusedLoop(
                cell, weight_hh, bias_hh, low, self._narrow, bias_ih if self._narrow else None
            )
            if compiled
            else ReferenceLoop(cell, weight_hh, bias_hh, low)
        )

    def forward(
        self, begin: int, end: int, state: State, h: Tensor, save: bool
    ) -> tuple[State, Any]:
        """Run over the steps from `begin` to `end`; arguments and results are those of `Loop`."""
        x = self._x[begin:end]
        if x.stride(1) == 0:  # all rows of the batch read the same, so it is projected once
            x = x[:, :1]
        x = x.to(self.low)
        if self.low == self.dtype:
            gx = F.linear(x, self._weight, self._bias)
        elif self._narrow:
            gx = F.linear(x, self._weight)
        else:
            gx = F.linear(x, self._weight).to(self.dtype)
            if self._bias is not None:
                gx += self._bias
        gx = gx.expand(-1, h.shape[1], -1).contiguous()
        return self.loop.forward(gx, state, self.keep.part(begin, end), h, save)
