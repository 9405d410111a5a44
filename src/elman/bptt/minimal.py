"""Cells whose gates see the input alone: every product runs over all time steps at once.

Source: Feng, Tung, Ahmed, Bengio and Hajimirsadeghi, "Were RNNs All We Needed?" (2024).
"""

from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from elman.bptt.cell import Cell, Saved, State


class MinGRUCell(Cell):
    """In the order of gates (z, n):

        z   = sigmoid(gx_z)
        h_t = (1 - z) * h_{t-1} + z * gx_n

    The paper's equation (3.1.1), run as a loop in time: the same result as its parallel scan, at
    a few operations for each element.
    """

    gates: ClassVar[int] = 2
    recurrent: ClassVar[bool] = False

    def step(self, gx: Tensor, gh: Tensor, state: State) -> tuple[State, Saved]:
        (h_prev,) = state
        a_z, n = gx.chunk(2, dim=1)
        z = a_z.sigmoid()
        return (torch.lerp(h_prev, n, z),), (z, n, h_prev)

    def step_backward(
        self, saved: Saved, dstate: State
    ) -> tuple[Tensor, Tensor, State, tuple[Tensor, ...]]:
        (dh,) = dstate
        z, n, h_prev = saved
        dgx = torch.cat([dh * (n - h_prev) * z * (1 - z), dh * z], dim=1)
        return dgx, dgx[:, :0], (dh * (1 - z),), ()


class MinLSTMCell(Cell):
    """In the order of gates (f, i, n):

        f, i = sigmoid(gx_f), sigmoid(gx_i)
        s    = f / (f + i)
        h_t  = s * h_{t-1} + (1 - s) * gx_n

    The paper's minLSTM with normalised gates (its section 3.2), which keeps no second state.
    """

    gates: ClassVar[int] = 3
    recurrent: ClassVar[bool] = False

    def step(self, gx: Tensor, gh: Tensor, state: State) -> tuple[State, Saved]:
        (h_prev,) = state
        a_f, a_i, n = gx.chunk(3, dim=1)
        # Not as a quotient: of gates that are both closed, both are 0 in float32.
        s = (F.logsigmoid(a_f) - F.logsigmoid(a_i)).sigmoid()
        return (torch.lerp(n, h_prev, s),), (a_f.sigmoid(), a_i.sigmoid(), s, n, h_prev)

    def step_backward(
        self, saved: Saved, dstate: State
    ) -> tuple[Tensor, Tensor, State, tuple[Tensor, ...]]:
        (dh,) = dstate
        f, i, s, n, h_prev = saved
        # ds/df = (1 - s) / (f + i) and ds/di = -s / (f + i), and s = f / (f + i).
        da = dh * (h_prev - n) * s * (1 - s)
        dgx = torch.cat([da * (1 - f), -da * (1 - i), dh * (1 - s)], dim=1)
        return dgx, dgx[:, :0], (dh * s,), ()
