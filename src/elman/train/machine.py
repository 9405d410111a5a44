"""How fast this computer is: measured once, before anything is chosen by it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch

from elman.bptt.kernels.native import load
from elman.bptt.precision import bfloat16_speed, product_rate


@dataclass(frozen=True)
class Machine:
    """What was measured of a computer.

    Args:
        float32_rate: operations a second in products of float32.
        bfloat16_rate: operations a second in products of bfloat16.
        bfloat16_speed: by hidden size, how many times bfloat16 products are as fast as float32.
        slow_loops: why the time loops run in Python; empty where they are compiled.
    """

    float32_rate: float
    bfloat16_rate: float
    bfloat16_speed: Mapping[int, float]
    slow_loops: str

    def operations(self, minutes: float, precision: str) -> float:
        """Count the operations that it makes in products alone, in the precision of a run."""
        low = precision != "float32"
        return 60 * minutes * max(self.float32_rate, low * self.bfloat16_rate)


def measure_machine(hidden_sizes: Iterable[int]) -> Machine:
    """Measure this computer in a fraction of a second, for networks of some hidden sizes."""
    native, why = load()
    return Machine(
        product_rate(torch.float32),
        product_rate(torch.bfloat16),
        {size: bfloat16_speed(size) for size in sorted(set(hidden_sizes))},
        "" if native is not None else str(why),
    )
