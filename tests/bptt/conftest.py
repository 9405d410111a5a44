"""What several of these tests share: a user's cell, tensors, and a loss."""

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


def randn(*shape: int) -> Tensor:
    """Draw numbers that a gradient is wanted for."""
    return torch.randn(*shape, dtype=torch.float64, requires_grad=True)


def weighted_sum(*tensors: Tensor) -> Tensor:
    """A loss in which every element counts differently, so that no two gradients can be swapped."""
    generator = torch.Generator().manual_seed(7)
    weights = [torch.randn(t.shape, generator=generator, dtype=t.dtype) for t in tensors]
    return torch.stack([(t * w).sum() for t, w in zip(tensors, weights, strict=True)]).sum()
