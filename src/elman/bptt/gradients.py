"""The gradients of input, weights and biases: products over many time steps at once."""

from collections.abc import Iterable, Iterator, Sequence

import torch
from torch import Tensor

from elman.bptt.loops import Mask


class Gradients:
    """The gradients of one call, summed chunk by chunk; only those that are wanted.

    Args:
        x: (T, B, input_size).
        weight_ih, weight_hh: the cell's.
        has_bias: whether there is a bias_ih, and a bias_hh.
        low: the precision of the products.
        needs: whether the gradient is wanted of x, weight_ih, weight_hh, bias_ih and bias_hh.
    """

    def __init__(
        self,
        x: Tensor,
        weight_ih: Tensor,
        weight_hh: Tensor | None,
        has_bias: tuple[bool, bool],
        low: torch.dtype,
        needs: Sequence[bool],
    ) -> None:
        self._x, self._low, self._dtype = x, low, weight_ih.dtype
        self._weight = weight_ih.to(low)
        self._dx = torch.empty_like(x) if needs[0] else None
        self._dw_ih = torch.zeros_like(weight_ih) if needs[1] else None
        self._dw_hh = torch.zeros_like(weight_hh) if weight_hh is not None and needs[2] else None
        rows = len(weight_ih)
        self._db = [
            weight_ih.new_zeros(rows) if has and needed else None
            for has, needed in zip(has_bias, needs[3:], strict=True)
        ]

    def add(
        self,
        begin: int,
        end: int,
        dgx: Tensor,
        dgh: Tensor,
        h_prev: Iterable[tuple[slice, Tensor]],
    ) -> None:
        """Add the shares of the steps from `begin` to `end`.

        Args:
            begin, end: the chunk's first step, and the one behind its last.
            dgx, dgh: the gradients of both projections, (steps * B, gates * H).
            h_prev: the h before every step, from `previous`.
        """
        low_gx = dgx.to(self._low)
        if self._dx is not None:
            dx = self._dx[begin:end]
            if dx.dtype == low_gx.dtype and dx.is_contiguous():
                torch.mm(low_gx, self._weight, out=dx.view(len(low_gx), dx.shape[2]))
            else:
                dx.copy_((low_gx @ self._weight).view(dx.shape))
        if self._dw_ih is not None:
            self._accumulate(self._dw_ih, low_gx, self._x[begin:end].flatten(0, 1))
        if self._dw_hh is not None:
            for part, h in h_prev:
                self._accumulate(self._dw_hh, dgh[part], h)
        if any(sums is not None for sums in self._db):
            total = dgx.sum(0, dtype=self._dtype)
            for sums, columns in zip(self._db, (dgx, dgh), strict=True):
                if sums is not None:
                    sums += total if columns is dgx else columns.sum(0, dtype=self._dtype)

    def _accumulate(self, total: Tensor, rows: Tensor, columns: Tensor) -> None:
        rows, columns = rows.to(self._low), columns.to(self._low)
        if self._low == total.dtype:
            total.addmm_(rows.t(), columns)
        else:
            total += rows.t() @ columns

    def result(self) -> tuple[Tensor | None, ...]:
        """Return those of x, weight_ih, weight_hh, bias_ih and bias_hh; None where not wanted."""
        return self._dx, self._dw_ih, self._dw_hh, *self._db


def previous(
    h_all: Tensor, h_first: Tensor, begin: int, end: int, keep: Mask
) -> Iterator[tuple[slice, Tensor]]:
    """Yield the h before every step from `begin` to `end`, with 0 where it was forgotten.

    Args:
        h_all: every step's h, (T, B, H).
        h_first: the h before the first step, (B, H).
        begin, end: a chunk of time.
        keep: 0 where the state before a step is forgotten.

    Yields:
        A slice of the chunk's rows (steps * B of them), and the h of these rows, (rows, H).
    """
    batch = len(h_first)
    if keep.passes is None and begin == 0:  # two parts are cheaper than a copy in one piece
        yield slice(0, batch), h_first
        if end > 1:
            yield slice(batch, None), h_all[: end - 1].flatten(0, 1)
    else:
        first = h_first.unsqueeze(0)
        before = h_all[begin - 1 : end - 1] if begin else torch.cat([first, h_all[: end - 1]])
        yield slice(None), keep.all_steps(before).flatten(0, 1)
