"""The compiled library in one of the processor's instruction sets."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from elman.native.library import KERNELS_VARIABLE, load


@contextmanager
def instruction_set(name: str) -> Iterator[None]:
    """Have `load` give the library in an instruction set; weights are packed for one of them."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv(KERNELS_VARIABLE, name)
        load.cache_clear()
        yield
    load.cache_clear()
    load()
