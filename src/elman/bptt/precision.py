"""The precision of products: some processors have bfloat16 and are slow at it."""

from functools import cache
from time import perf_counter

import torch
from torch.nn import functional as F

from elman.bptt.transforms import is_recorded

MEASURED_ROWS = 1024

WORTH_IT = 1.25
"""How much faster bfloat16 must be to be chosen: below it, exactness is worth more."""


@cache
def product_rate(dtype: torch.dtype, hidden_size: int = 384) -> float:
    """Operations a second in products of that precision on this processor.

    Measured once, in a few milliseconds: what the processor says it has decides nothing.
    """
    x = torch.ones(MEASURED_ROWS, hidden_size, dtype=dtype)
    weight = torch.ones(4 * hidden_size, hidden_size, dtype=dtype)
    times = []
    for _ in range(6):
        begin = perf_counter()
        F.linear(x, weight)
        times.append(perf_counter() - begin)
    return 2 * MEASURED_ROWS * weight.numel() / min(times)


def bfloat16_speed(hidden_size: int = 384) -> float:
    """How many times bfloat16 products are as fast as float32 ones on this processor."""
    return product_rate(torch.bfloat16, hidden_size) / product_rate(torch.float32, hidden_size)


def measure(hidden_size: int) -> tuple[str, float]:
    """The faster precision for a network of that size, and what `bfloat16_speed` found."""
    ratio = bfloat16_speed(hidden_size)
    return ("bfloat16" if ratio >= WORTH_IT else "float32"), ratio


def is_mixed(device: torch.device) -> bool:
    """Whether autocast brings floats of any precision together on that device."""
    return device.type != "meta" and torch.is_autocast_enabled(device.type)


def of_products(device: torch.device, dtype: torch.dtype) -> torch.dtype:
    """In which precision to take products of tensors of `dtype` now.

    Autocast allows its low precision, and does not ask for it: it is taken where it is faster.
    """
    if dtype == torch.float64 or not is_mixed(device):
        return dtype
    low = torch.get_autocast_dtype(device.type)
    if is_recorded():  # the program may run elsewhere, and nothing can be measured now
        return low
    with torch.autocast(device.type, enabled=False):
        slow = device.type == "cpu" and low == torch.bfloat16 and bfloat16_speed() < WORTH_IT
    return dtype if slow else low
