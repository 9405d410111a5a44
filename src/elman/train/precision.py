"""Which precision of products is faster here: some processors have bfloat16 and are slow at it."""

from time import perf_counter

import torch
from torch.nn import functional as F

ROWS = 1024

WORTH_IT = 1.25
"""How much faster bfloat16 must be to be chosen: below it, exactness is worth more."""


def measure(hidden_size: int) -> tuple[str, float]:
    """The faster precision, and how many times bfloat16 is as fast as float32.

    Args:
        hidden_size: of the network.
    """
    best = {}
    for dtype in (torch.float32, torch.bfloat16):
        x = torch.ones(ROWS, hidden_size, dtype=dtype)
        weight = torch.ones(4 * hidden_size, hidden_size, dtype=dtype)
        times = []
        for _ in range(6):
            begin = perf_counter()
            F.linear(x, weight)
            times.append(perf_counter() - begin)
        best[dtype] = min(times)
    ratio = best[torch.float32] / best[torch.bfloat16]
    return ("bfloat16" if ratio >= WORTH_IT else "float32"), ratio
