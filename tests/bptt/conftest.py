"""A cell as a user would write it, for several of these tests."""

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from elman.bptt import Cell, Saved, State


class LeakyCell(Cell):
    """A user's cell: `step` alone, with a parameter of its own. h_t = h + s(leak) * (n - h)."""

    gates: ClassVar[int] = 1

    def __init__(self, input_size: int, hidden_size: int, **options: Any) -> None:
        super().__init__(input_size, hidden_size, **options)
        self.leak = nn.Parameter(torch.randn(hidden_size))

    def step(self, gx: Tensor, gh: Tensor, state: State) -> tuple[State, Saved]:
        (h_prev,) = state
        return (torch.lerp(h_prev, torch.tanh(gx + gh), torch.sigmoid(self.leak)),), None
