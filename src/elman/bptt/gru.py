"""The gated recurrent unit (Cho et al. 2014), in the form that torch and cuDNN use."""

from typing import ClassVar

import torch
from torch import Tensor

from elman.bptt.cell import Cell, Saved, State


class GRUCell(Cell):
    """In torch's order of gates (r, z, n):

        r   = sigmoid(gx_r + gh_r)
        z   = sigmoid(gx_z + gh_z)
        n   = tanh(gx_n + r * gh_n)
        h_t = (1 - z) * n + z * h_{t-1}

    The reset gate acts on the projected state (gh_n includes `bias_hh`), which is why the two
    projections reach a cell apart. Source: Cho et al., "Learning Phrase Representations using
    RNN Encoder-Decoder" (2014).
    """

    gates: ClassVar[int] = 3

    def step(self, gx: Tensor, gh: Tensor, state: State) -> tuple[State, Saved]:
        (h_prev,) = state
        size = self.hidden_size
        rz = (gx[:, : 2 * size] + gh[:, : 2 * size]).sigmoid_()
        r, z = rz.chunk(2, dim=1)
        gh_n = gh[:, 2 * size :]
        n = torch.addcmul(gx[:, 2 * size :], r, gh_n).tanh_()
        h = torch.lerp(n, h_prev, z)
        return (h,), (rz, n, gh_n, h_prev)

    def step_backward(
        self, saved: Saved, dstate: State
    ) -> tuple[Tensor, Tensor, State, tuple[Tensor, ...]]:
        (dh,) = dstate
        rz, n, gh_n, h_prev = saved
        r, z = rz.chunk(2, dim=1)
        da_n = torch.ops.aten.tanh_backward(dh * (1 - z), n)
        dgx = dh.new_empty(dh.shape[0], 3 * self.hidden_size)
        da_r, da_z, dgx_n = dgx.chunk(3, dim=1)
        torch.mul(da_n, gh_n, out=da_r)
        torch.mul(dh, h_prev - n, out=da_z)
        da_rz = dgx[:, : 2 * self.hidden_size]
        torch.ops.aten.sigmoid_backward.grad_input(da_rz, rz, grad_input=da_rz)
        dgx_n.copy_(da_n)
        dgh = dgx.clone()
        dgh[:, 2 * self.hidden_size :].mul_(r)
        return dgx, dgh, (dh * z,), ()
