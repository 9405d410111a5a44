"""The precision of products: some processors have bfloat16 and are slow at it."""

from functools import cache
from time import perf_counter

import torch
from torch.nn import functional as F

from elman.bptt.transforms import is_recorded

MEASURED_ROWS = 1024
"""Rows of the products that are timed."""

MIN_BFLOAT16_SPEEDUP = 1.25
"""The ratio of speeds from which bfloat16 is chosen: below it, exactness is worth more."""


@cache
def product_rate(dtype: torch.dtype, hidden_size: int = 384) -> float:
    """Measure the operations a second of products in that precision on this processor.

    Once, in a few milliseconds: what a processor says it has does not tell how fast it is.
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
    """Measure how many times as fast as float32 products those in bfloat16 are here."""
    return product_rate(torch.bfloat16, hidden_size) / product_rate(torch.float32, hidden_size)


def measure(hidden_size: int) -> tuple[str, float]:
    """Choose the precision for a network of that size; return it and the `bfloat16_speed`."""
    ratio = bfloat16_speed(hidden_size)
    return ("bfloat16" if ratio >= MIN_BFLOAT16_SPEEDUP else "float32"), ratio


def is_mixed(device: torch.device) -> bool:
    """Tell whether autocast is on for that device, so that floats of any precision may meet."""
    return device.type != "meta" and torch.is_autocast_enabled(device.type)


def of_products(device: torch.device, dtype: torch.dtype) -> torch.dtype:
    """Choose the precision of products of tensors of `dtype`, as autocast stands now.

    Autocast allows its low precision and does not demand it: it is taken where it is faster.
    """
    if dtype == torch.float64 or not is_mixed(device):
        return dtype
    low = torch.get_autocast_dtype(device.type)
    if is_recorded():  # the program may run elsewhere, and nothing can be measured now
        return low
    with torch.autocast(device.type, enabled=False):
        slow = (
            device.type == "cpu"
            and low == torch.bfloat16
            and not torch.are_deterministic_algorithms_enabled()  # a clock is never the same
            and bfloat16_speed() < MIN_BFLOAT16_SPEEDUP
        )
    return dtype if slow else low
