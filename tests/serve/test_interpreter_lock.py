"""While a round is computed, the event loop and all other threads of Python go on."""

import ctypes
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from elman.native.library import Library, load
from elman.runtime.compiled import CompiledDecoder
from elman.runtime.weights import load_weights

ROUNDS = 1000
"""After so many in which no other thread did anything, the lock was not released."""

pytestmark = pytest.mark.skipif(load()[0] is None, reason=load()[1])


@contextmanager
def unpreempted() -> Iterator[None]:
    """Let threads have the interpreter's lock until they release it themselves."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1000)
    try:
        yield
    finally:
        sys.setswitchinterval(before)


def rounds_until_another_thread_runs(decoder: CompiledDecoder, most: int) -> int | None:
    """Count rounds until another thread did something while the library computed one."""
    library, turns, over = decoder._library, [0], threading.Event()
    during: list[int] = []

    def run(job: ctypes.Structure) -> None:
        before = turns[0]
        library.run(job)
        during.append(turns[0] - before)

    def take_turns() -> None:
        while not over.is_set():
            turns[0] += 1
            time.sleep(0)  # releases the lock, as nothing else here does

    decoder._library = SimpleNamespace(run=run)  # type: ignore[assignment]
    other = threading.Thread(target=take_turns)
    rows, state = [np.full(8, 9)] * 4, decoder.initial_state(4)
    with unpreempted():
        other.start()
        try:
            for number in range(most):
                decoder.run(rows, state, "state")
                if during[-1]:
                    return number
        finally:
            over.set()
    other.join()
    return None


def holding(library: Library) -> Library:
    """Return the library, called in such a way that the lock is not released."""
    functions = ctypes.PyDLL(library.functions._name)
    functions.elman_read.argtypes = library.functions.elman_read.argtypes
    return replace(library, functions=functions)


def test_others_run_while_the_library_reads() -> None:
    decoder = CompiledDecoder(load_weights("base"))
    assert rounds_until_another_thread_runs(decoder, ROUNDS) is not None


def test_the_test_above_would_see_a_lock_that_is_held() -> None:
    decoder = CompiledDecoder(load_weights("base"))
    decoder._library = holding(decoder._library)
    assert rounds_until_another_thread_runs(decoder, 20) is None
