"""The line above every figure: versions, threads, and how fast this machine multiplies."""

import platform
from statistics import median
from time import perf_counter

import torch


def matmul_rate(size: int = 1024, runs: int = 9) -> float:
    """Billions of float32 operations a second in a square matrix product, median of `runs`."""
    a, b = torch.ones(size, size), torch.ones(size, size)
    torch.mm(a, b)
    seconds = []
    for _ in range(runs):
        begin = perf_counter()
        torch.mm(a, b)
        seconds.append(perf_counter() - begin)
    return 2 * size**3 / median(seconds) / 1e9


def describe() -> str:
    return (
        f"Python {platform.python_version()}, torch {torch.__version__}, "
        f"{torch.get_num_threads()} threads, {torch.backends.cpu.get_cpu_capability()}, "
        f"{matmul_rate():.0f} GFLOP/s in float32 matrix products"
    )
