"""The simple recurrent network (Elman 1990), with either nonlinearity."""

from typing import ClassVar

import torch
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


class ReLUCell(Cell):
    """h_t = max(0, gx_t + gh_t).

    Weights as in `torch.nn.RNN` with `nonlinearity="relu"`. Source: Le, Jaitly and Hinton, "A
    Simple Way to Initialize Recurrent Networks of Rectified Linear Units" (2015).
    """

    gates: ClassVar[int] = 1

    def step(self, gx: Tensor, gh: Tensor, state: State) -> tuple[State, Saved]:
        h = (gx + gh).relu_()
        return (h,), h

    def step_backward(
        self, saved: Saved, dstate: State
    ) -> tuple[Tensor, Tensor, State, tuple[Tensor, ...]]:
        (dh,) = dstate
        # The derivative at 0 is 0, as torch has it.
        da = torch.ops.aten.threshold_backward(dh, saved, 0)
        return da, da, (dh.new_zeros(()).expand_as(dh),), ()
