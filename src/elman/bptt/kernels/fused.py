"""The compiled time loops as a `Loop`: one call of the library for a whole chunk of time."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from elman.bptt.cell import Cell, State
from elman.bptt.gru import GRUCell
from elman.bptt.kernels.native import WEIGHT_KINDS, Native, in_memory, load
from elman.bptt.loops import Loop, Mask, Trace
from elman.bptt.lstm import LSTMCell
from elman.bptt.minimal import MinGRUCell, MinLSTMCell
from elman.bptt.rnn import ReLUCell, RNNCell
from elman.native.library import BFLOAT16_PAIRS, CELL_NAMES, Backward, Forward

CELL_NUMBERS: dict[type, int] = {
    RNNCell: CELL_NAMES.index("rnn"),
    ReLUCell: CELL_NAMES.index("relu"),
    GRUCell: CELL_NAMES.index("gru"),
    LSTMCell: CELL_NAMES.index("lstm"),
    MinGRUCell: CELL_NAMES.index("mingru"),
    MinLSTMCell: CELL_NAMES.index("minlstm"),
}

MIN_COMPILED_STEPS = 4
"""Steps of a call below which packing the weights costs more time than the loop saves."""

MIN_THREADED_MULTIPLY_ADDS = 1 << 16
"""Multiply-adds of a step below which a second thread costs more time than it saves."""


def fused(cell: Cell, steps: int) -> bool:
    """Tell whether a compiled loop runs this very cell, with weights like these."""
    return (
        type(cell) in CELL_NUMBERS  # a subclass may have changed `step`
        and cell.weight_ih.device.type == "cpu"
        and cell.weight_ih.dtype == torch.float32
        and (steps >= MIN_COMPILED_STEPS or not cell.recurrent)
        and load()[0] is not None
    )


def saved_bytes(cell: Cell) -> int:
    """Return the bytes that a step of one row saves for the backward pass."""
    kept = 1 if isinstance(cell, LSTMCell | GRUCell) else 0
    return (cell.gates + kept) * cell.hidden_size * cell.weight_ih.element_size()


@dataclass(frozen=True)
class _Saved:
    gates: Tensor
    kept: Tensor | None
    c_first: Tensor | None


class FusedLoop(Loop):
    """Runs the cells that the library knows.

    States and sums are float32. Where `low` is bfloat16, the weights of the loop's products are
    rounded to it; on processors that multiply pairs of bfloat16, so are the states.

    Args:
        cell, weight_hh, bias_hh: whose loop it is.
        low: the precision of its products.
        narrow: whether projections and their gradients are bfloat16, and gates are kept in 16 bits.
        bias_ih: to be added to the projections; None: they have it.
    """

    def __init__(
        self,
        cell: Cell,
        weight_hh: Tensor | None,
        bias_hh: Tensor | None,
        low: torch.dtype,
        narrow: bool = False,
        bias_ih: Tensor | None = None,
    ) -> None:
        native = load()[0]
        assert native is not None
        self._native: Native = native
        self._cell = cell
        self._number = CELL_NUMBERS[type(cell)]
        low = low if low == torch.bfloat16 else torch.float32
        self._weight = None if weight_hh is None else weight_hh.to(low).resolve_neg()
        self._kind = BFLOAT16_PAIRS if low == torch.bfloat16 else WEIGHT_KINDS[low]
        self._narrow = int(narrow)
        self._bias_hh = None if bias_hh is None else in_memory(bias_hh)
        self._bias_ih = None if bias_ih is None else in_memory(bias_ih)
        self._forward_weight: Tensor | None = None
        self._backward_weight: Tensor | None = None

    def _sizes(self, gx: Tensor) -> dict[str, int]:
        steps, batch, columns = gx.shape
        size = self._cell.hidden_size
        threads = (
            torch.get_num_threads() if batch * size * columns > MIN_THREADED_MULTIPLY_ADDS else 1
        )
        return {
            "cell": self._number,
            "T": steps,
            "B": batch,
            "H": size,
            "threads": threads,
            "kind": self._kind,
            "narrow": self._narrow,
        }

    def forward(
        self, gx: Tensor, state: State, keep: Mask, h: Tensor, save: bool
    ) -> tuple[State, Any]:
        cell = self._cell
        if self._weight is not None and self._forward_weight is None:
            self._forward_weight = self._native.packed(
                self._weight, cell.hidden_size, cell.gates, self._kind
            )
        steps, batch, size = h.shape
        h_first = state[0].contiguous()
        c_first = state[1].contiguous() if cell.states > 1 else None
        kept = None
        if isinstance(cell, LSTMCell | GRUCell):
            # Without a backward pass, each step's takes the place of the last.
            kept = h.new_empty(steps if save else 1, batch, size)
        scratch = None if keep.passes is None else h.new_empty(2, batch, size)
        self._native.run(
            Forward,
            **self._sizes(gx),
            kept_every=batch * size if save else 0,
            gx=gx,
            kept=kept,
            packed=self._forward_weight,
            bias_ih=self._bias_ih,
            bias_hh=self._bias_hh,
            h_all=h,
            h_first=h_first,
            c_first=c_first,
            keep=keep.passes,
            scratch=scratch,
        )
        after = (h[-1],) if c_first is None or kept is None else (h[-1], kept[-1])
        return after, _Saved(gx, kept, c_first) if save else None

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
        cell, gates = self._cell, saved.gates
        if self._weight is not None and self._backward_weight is None:
            # Transposed first: packing reads along rows.
            self._backward_weight = self._native.packed(
                self._weight.t().contiguous(), cell.hidden_size, 1, self._kind
            )
        dgx = torch.empty_like(gates)
        # Only a GRU puts something between the two projections.
        dgh = torch.empty_like(gates) if isinstance(cell, GRUCell) else dgx
        dh_all, h_first = in_memory(dh_all), h_first.contiguous()
        dh, *rest = (tensor.clone(memory_format=torch.contiguous_format) for tensor in dstate)
        dc = rest[0] if rest else None
        indirect = None if trace is None else torch.empty_like(dh_all)
        self._native.run(
            Backward,
            **self._sizes(gates),
            gates=gates,
            kept=saved.kept,
            packed=self._backward_weight,
            h_all=h,
            h_first=h_first,
            c_first=saved.c_first,
            keep=keep.passes,
            cut=cut.passes,
            dh_all=dh_all,
            dgx=dgx,
            dgh=dgh,
            dh=dh,
            dc=dc,
            indirect=indirect,
        )
        if trace is not None and indirect is not None:
            for t in reversed(range(len(dh_all))):
                trace.backward_step(t, dh_all[t], indirect[t])
        dstate = (dh,) if dc is None else (dh, dc)
        return dgx.flatten(0, 1), dgh.flatten(0, 1), dstate, []
