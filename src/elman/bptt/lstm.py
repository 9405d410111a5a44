"""The long short-term memory (Hochreiter and Schmidhuber 1997), with a forget gate."""

from typing import ClassVar

import torch
from torch import Tensor

from elman.bptt.cell import Cell, Saved, State


class LSTMCell(Cell):
    """With a = gx_t + gh_t, in torch's order of gates (i, f, g, o):

        i, f, o = sigmoid(a_i), sigmoid(a_f), sigmoid(a_o)
        g       = tanh(a_g)
        c_t     = f * c_{t-1} + i * g
        h_t     = o * tanh(c_t)

    The state is (h, c). Sources: Hochreiter and Schmidhuber, "Long Short-Term Memory" (1997);
    Gers, Schmidhuber and Cummins, "Learning to Forget" (2000), for f.
    """

    gates: ClassVar[int] = 4
    states: ClassVar[int] = 2

    def step(self, gx: Tensor, gh: Tensor, state: State) -> tuple[State, Saved]:
        _, c_prev = state
        size = self.hidden_size
        a = gx + gh
        i_f = a[:, : 2 * size].sigmoid()
        i, f = i_f.chunk(2, dim=1)
        g = a[:, 2 * size : 3 * size].tanh()
        o = a[:, 3 * size :].sigmoid()
        c = torch.addcmul(f * c_prev, i, g)
        tanh_c = c.tanh()
        h = o * tanh_c
        return (h, c), (i_f, g, o, c_prev, tanh_c)

    def step_backward(
        self, saved: Saved, dstate: State
    ) -> tuple[Tensor, Tensor, State, tuple[Tensor, ...]]:
        dh, dc_next = dstate
        i_f, g, o, c_prev, tanh_c = saved
        i, f = i_f.chunk(2, dim=1)
        # aten's *_backward ops are the fused forms of dy * y * (1 - y) and dy * (1 - y * y).
        dc = dc_next + torch.ops.aten.tanh_backward(dh * o, tanh_c)
        da = dh.new_empty(dh.shape[0], 4 * self.hidden_size)
        da_i, da_f, da_g, da_o = da.chunk(4, dim=1)
        torch.mul(dc, g, out=da_i)
        torch.mul(dc, c_prev, out=da_f)
        torch.mul(dc, i, out=da_g)
        torch.mul(dh, tanh_c, out=da_o)
        sigmoid_backward, tanh_backward = (
            torch.ops.aten.sigmoid_backward.grad_input,
            torch.ops.aten.tanh_backward.grad_input,
        )
        da_i_f = da[:, : 2 * self.hidden_size]
        sigmoid_backward(da_i_f, i_f, grad_input=da_i_f)
        tanh_backward(da_g, g, grad_input=da_g)
        sigmoid_backward(da_o, o, grad_input=da_o)
        return da, da, (dh.new_zeros(()).expand_as(dh), dc * f), ()
