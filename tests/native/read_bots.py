"""Read and draw with some bots in a library that was built with a sanitizer, without torch.

    python read_bots.py LIBRARY BOT.pickle...

Each bot's own weights are read by two threads at once, as a server may.
"""

import pickle
import sys
import threading
from pathlib import Path
from typing import get_args

import numpy as np

from elman.generate.token_draw import draw_tokens
from elman.native import library
from elman.runtime.compiled import CompiledDecoder, WeightPrecision
from elman.runtime.decoder import ArrayDecoder, ArrayState
from elman.runtime.reference import ReferenceDecoder
from elman.runtime.weights import Weights


def rows_of(seed: int, count: int, vocabulary_size: int) -> list[np.ndarray]:
    """Make some rows of messages, of different lengths."""
    draw = np.random.default_rng(seed)
    lengths = draw.integers(1, 90, count)
    return [draw.integers(0, vocabulary_size, length) for length in lengths]


def reads(decoder: ArrayDecoder, count: int, begin: ArrayState | None = None) -> ArrayState:
    """Do all that a decoder can do."""
    rows = rows_of(count, count, decoder.vocabulary_size)
    state = decoder.run(rows, begin or decoder.initial_state(count), "nats").state
    decoder.run(rows, state, "nats without copies")
    logits, state = decoder.begin_reply(state)
    for _ in range(3):
        changed = np.where(np.isfinite(logits), logits, 0)
        logits, state = decoder.step(draw_tokens(changed, 0.8, 0.9, 0.05, 0.5), state)
    return decoder.end_message(state)


def main() -> None:
    found, *bots = map(Path, sys.argv[1:])
    library.library_file = lambda: found
    assert library.load()[0] is not None, library.load()[1]
    for bot in bots:
        weights: Weights = pickle.loads(bot.read_bytes())
        reference = ReferenceDecoder(weights)
        for precision in get_args(WeightPrecision):
            decoder = CompiledDecoder(weights, precision)
            if precision == "float32":
                for ours, own in zip(reads(decoder, 3), reads(reference, 3), strict=True):
                    np.testing.assert_allclose(ours, own, rtol=0, atol=1e-4)
            threads = [threading.Thread(target=reads, args=(decoder, n)) for n in (1, 9, 34)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            for odd in (np.nan, np.inf, -1.0, 1e30, 65_535.0):
                reads(decoder, 2, tuple(np.full_like(a, odd) for a in decoder.initial_state(2)))
    print(f"{len(bots)} bots")


if __name__ == "__main__":
    main()
