"""Decoding: one step at a time for one or a few rows, from weights packed once.

A step of one row reads every weight once and does little with it, so reading them takes its time.
So weights are laid out in the order of reading, in fewer bytes: float32, bfloat16 or int8.
"""

from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor
from torch.nn import functional as F

from elman.bptt.cell import Cell, State
from elman.bptt.kernels.fused import CELL_NUMBERS
from elman.bptt.kernels.native import WEIGHT_KINDS, in_memory, load
from elman.bptt.transforms import is_recorded, unrecorded
from elman.native.library import Forward, Product

Precision = Literal["float32", "bfloat16", "int8"]

MIN_THREADED_WEIGHTS = 1 << 17
"""Weights of a product below which a second thread costs more time than it saves."""


@dataclass(frozen=True)
class Rounded:
    """Weights rounded to a precision.

    Args:
        weight: (N, K) float32, bfloat16 or int8.
        scale: (N,), the factor of each int8 row; None in other precisions.
    """

    weight: Tensor
    scale: Tensor | None

    @classmethod
    def of(cls, weight: Tensor, precision: Precision) -> "Rounded":
        """Round a weight, (N, K).

        int8 is symmetric quantisation with a scale for each row: its largest weight becomes 127.

        Raises:
            ValueError: for an unknown precision.
        """
        weight = weight.detach().float()
        if precision == "float32":
            return cls(weight, None)
        if precision == "bfloat16":
            return cls(weight.to(torch.bfloat16), None)
        if precision == "int8":
            scale = weight.abs().amax(dim=1).clamp_(min=torch.finfo(torch.float32).tiny) / 127
            return cls((weight / scale.unsqueeze(1)).round().to(torch.int8), scale)
        raise ValueError(f"precision must be {' or '.join(get_args(Precision))}, got {precision!r}")

    def restored(self) -> Tensor:
        """Return the weights that the products see, in float32."""
        whole = self.weight.float()
        return whole if self.scale is None else whole * self.scale.unsqueeze(1)

    @property
    def nbytes(self) -> int:
        return self.weight.nbytes + (0 if self.scale is None else self.scale.nbytes)


class PackedLinear:
    """y = weight x + bias for a few rows of x, from weights that were packed once.

    Sums are float32. Without the compiled library, torch multiplies the same rounded weights.

    Args:
        weight: (N, K) float32; a copy is packed, so that later changes do not show.
        bias: (N,) or None.
        precision: what the weights are rounded to.
    """

    def __init__(
        self, weight: Tensor, bias: Tensor | None = None, precision: Precision = "float32"
    ) -> None:
        rounded = Rounded.of(weight, precision)
        self._rows, self._columns = weight.shape
        self._bias = None if bias is None else bias.detach().float().clone()
        self._native = load()[0] if weight.device.type == "cpu" else None
        self._scale, self._kind = rounded.scale, WEIGHT_KINDS[rounded.weight.dtype]
        self._packed = (
            rounded.restored().clone()
            if self._native is None
            else self._native.packed(rounded.weight, self._rows, 1)
        )
        self.nbytes = rounded.nbytes

    @torch.no_grad()
    def __call__(self, x: Tensor) -> Tensor:
        """Multiply x, (..., K); return (..., N), float32, without gradient.

        Raises:
            RuntimeError: while a program is traced or exported.
        """
        if is_recorded():
            return unrecorded(PackedLinear.__call__)(self, x)
        if self._native is None:
            return F.linear(x.float(), self._packed, self._bias)
        rows = in_memory(x.detach().reshape(-1, self._columns).float())
        out = torch.empty(len(rows), self._rows)
        threads = (
            torch.get_num_threads() if self._rows * self._columns > MIN_THREADED_WEIGHTS else 1
        )
        self._native.run(
            Product,
            rows=len(rows),
            N=self._rows,
            K=self._columns,
            threads=threads,
            kind=self._kind,
            a=rows,
            packed=self._packed,
            scale=self._scale,
            bias=self._bias,
            out=out,
        )
        return out.view(*x.shape[:-1], self._rows)


class Stepper:
    """A cell for decoding: the same steps, without gradient, from packed weights.

    Args:
        cell: any cell in float32; a copy of its weights is packed.
        precision: what the weights are rounded to.
    """

    def __init__(self, cell: Cell, precision: Precision = "float32") -> None:
        self.cell = cell
        self._input = PackedLinear(cell.weight_ih, cell.bias_ih, precision)
        self._hidden: PackedLinear | None = None
        self._native = load()[0] if cell.weight_ih.device.type == "cpu" else None
        self._number = CELL_NUMBERS.get(type(cell))
        self._weight: Tensor | None = None
        self._scale: Tensor | None = None
        self._bias = None if cell.bias_hh is None else cell.bias_hh.detach().float().clone()
        self._kind = 0
        if cell.weight_hh is None:
            return
        if self._native is None or self._number is None:
            self._hidden = PackedLinear(cell.weight_hh, cell.bias_hh, precision)
        else:
            rounded = Rounded.of(cell.weight_hh, precision)
            self._weight = self._native.packed(rounded.weight, cell.hidden_size, cell.gates)
            self._scale, self._kind = rounded.scale, WEIGHT_KINDS[rounded.weight.dtype]

    @torch.no_grad()
    def __call__(self, x: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """Run over x, (T, B, input_size), without gradient.

        Args:
            x: the inputs.
            state: the state before the first step, each (B, hidden_size); zeros if None.

        Returns:
            h of every step, (T, B, hidden_size), and the state after the last.

        Raises:
            RuntimeError: while a program is traced or exported.
        """
        if is_recorded():
            return unrecorded(Stepper.__call__)(self, x, state)
        state = self.cell.initial_state(x.shape[1]) if state is None else state
        return self.through(self._input(x), state)

    @torch.no_grad()
    def through(self, gx: Tensor, state: State) -> tuple[Tensor, State]:
        """Run over inputs that are projected already, gx, (T, B, gates * hidden_size)."""
        if is_recorded():
            return unrecorded(Stepper.through)(self, gx, state)
        if self._native is None or self._number is None:
            return self._plain(gx, state)
        (steps, batch, _), size = gx.shape, self.cell.hidden_size
        h, c = torch.empty(steps, batch, size), torch.empty(batch, size)
        first = [in_memory(tensor) for tensor in state]
        columns = size * self.cell.gates
        threads = torch.get_num_threads() if batch * size * columns > MIN_THREADED_WEIGHTS else 1
        self._native.run(
            Forward,
            cell=self._number,
            T=steps,
            B=batch,
            H=size,
            threads=threads,
            kind=self._kind,
            gx=in_memory(gx),
            kept=c,
            packed=self._weight,
            scale=self._scale,
            bias_hh=self._bias,
            h_all=h,
            h_first=first[0],
            c_first=first[1] if len(first) > 1 else None,
        )
        return h, (h[-1],) if len(first) == 1 else (h[-1], c)

    def _plain(self, gx: Tensor, state: State) -> tuple[Tensor, State]:
        """Run by the cell's own step."""
        outputs = []
        for gx_t in gx:
            h = state[0]
            gh = h[:, :0] if self._hidden is None else self._hidden(h)
            state, _ = self.cell.step(gx_t, gh, state)
            outputs.append(state[0])
        return torch.stack(outputs), state
