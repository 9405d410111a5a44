"""The simple recurrent network (Elman 1990)."""

from typing import ClassVar

from torch import Tensor

from elman.bptt.cell import Cell, Saved, State


class RNNCell(Cell):
    """h_t = tanh(gx_t + gh_t).

    Weights as in `torch.nn.RNN` with `nonlinearity="tanh"`. Source: Elman, "Finding Structure in
    Time", Cognitive Science 14 (1990).
    """

    gates: ClassVar[int] = 1

    def step(self, gx: Tensor, gh: Tensor, state: State) -> tuple[State, Saved]:
        h = (gx + gh).tanh_()
        return (h,), h

    def step_backward(
        self, saved: Saved, dstate: State
    ) -> tuple[Tensor, Tensor, State, tuple[Tensor, ...]]:
        (dh,) = dstate
        h = saved
        da = dh * (1 - h * h)
        return da, da, (dh.new_zeros(()).expand_as(dh),), ()
