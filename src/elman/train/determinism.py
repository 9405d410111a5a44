"""What decides the last bits of a run, so that the same run again ends in the same weights."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch

import elman
from elman.errors import ElmanError
from elman.native.library import load
from elman.train.config import AUTO, Config

Conditions = dict[str, int | str]
"""By what a run is computed: sums are rounded in another order where one of these differs."""


def conditions() -> Conditions:
    """Return by what this process computes."""
    library, _ = load()
    return {
        "threads": torch.get_num_threads(),
        "processor": torch.backends.cpu.get_cpu_capability(),
        "kernels": "reference" if library is None else library.isa,
        "torch": torch.__version__,
        "elman": elman.__version__,
    }


def other_conditions(before: Mapping[str, int | str], now: Mapping[str, int | str]) -> str:
    """Say in words what has changed; "" where nothing has."""
    return ", ".join(
        f"{name} {now.get(name)} where it was {value}"
        for name, value in before.items()
        if now.get(name) != value
    )


def fixed(config: Config) -> Config:
    """Fix what a deterministic run would choose by the clock.

    Raises:
        ElmanError: where its budget is in minutes.
    """
    train = config.train
    if not train.deterministic:
        return config
    if train.steps is None and train.epochs is None:
        raise ElmanError(
            "train.deterministic: a budget in minutes ends by the clock, and never twice at the "
            "same step; give one in passes or steps, for example --set train.epochs=10"
        )
    return config.changed(train={"precision": "float32"}) if train.precision == AUTO else config


@contextmanager
def determined(wanted: bool, threads: int | None = None) -> Iterator[None]:
    """Use deterministic operations only, and the threads that a run began with, if it is wanted.

    Elman's own loops give the same bits for the same number of threads. The precision of products
    is not measured meanwhile (`bptt.precision.of_products`).

    Raises:
        ElmanError: where OpenMP may take fewer threads when the machine is busy.
    """
    if not wanted:
        yield
        return
    if os.environ.get("OMP_DYNAMIC", "").strip().lower() in ("true", "1"):
        raise ElmanError(
            "train.deterministic: OMP_DYNAMIC lets the number of threads change; unset it"
        )
    before = torch.are_deterministic_algorithms_enabled(), torch.get_num_threads()
    torch.use_deterministic_algorithms(True)
    if threads is not None:
        torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before[0])
        torch.set_num_threads(before[1])
