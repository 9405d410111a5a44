"""How numbers are compared, and derivatives taken by finite differences."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

MIN_SCALE = 1e-6
"""Errors are relative to the largest number that is right, or to this where all are smaller."""


def error_of(found: Tensor, right: Tensor) -> float:
    """Return the largest difference, relative to the largest number that is right."""
    if found.shape != right.shape:
        return float("inf")
    if not right.numel():
        return 0.0
    difference = (found.double() - right.double()).abs().max()
    if not difference.isfinite():
        return 0.0 if torch.equal(found, right) else float("inf")
    return float(difference / right.double().abs().max().clamp(min=MIN_SCALE))


def first_step(found: Tensor, right: Tensor, tolerance: float) -> int:
    """Return the first step at which outputs differ, (T, B, H) each."""
    differing = (found.double() - right.double()).abs().flatten(1).amax(1)
    scale = right.double().abs().max().clamp(min=MIN_SCALE)
    return int((differing / scale > tolerance).nonzero()[0])


def generator_of(seed: int) -> torch.Generator:
    """Make a generator of random numbers that leaves torch's own alone."""
    return torch.Generator().manual_seed(seed)


def weighted_sum(tensors: Sequence[Tensor], seed: int = 1) -> Tensor:
    """Sum up every element with a weight of its own, so that no two gradients can be swapped."""
    draw = generator_of(seed)
    parts = [
        (t * torch.randn(t.shape, generator=draw, dtype=torch.float64).to(t.dtype)).sum()
        for t in tensors
    ]
    return torch.stack(parts).sum()


def slope_of(loss: Callable[[], Tensor], tensor: Tensor, direction: Tensor, step: float) -> float:
    """Differentiate by central differences along a direction; the tensor is put back.

    Args:
        loss: computes a number from the tensor as it stands.
        tensor: is written to, and must be a leaf.
        direction: of its shape.
        step: half of the distance between the two points.
    """
    values = []
    for sign in (1, -1):
        with moved(tensor, sign * step * direction), torch.no_grad():
            values.append(loss().double())
    return float((values[0] - values[1]) / (2 * step))


@contextmanager
def moved(tensor: Tensor, by: Tensor) -> Iterator[None]:
    """Add something to a leaf for a while; afterwards it is as it was, to the bit."""
    before = tensor.detach().clone()
    try:
        with torch.no_grad():
            tensor.add_(by)
        yield
    finally:
        with torch.no_grad():
            tensor.copy_(before)
