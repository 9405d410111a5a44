"""The randomness of a reply: numbers that depend on its seed and their place alone."""

import secrets

import numpy as np

POINTS_AT_ONCE = 64
"""Made together, since one takes about as long as all."""


class Points:
    """Numbers drawn evenly from 0 to 1, one for each token of a reply.

    They come from Philox, which counts instead of going on from the last number (Salmon et al.
    2011). So it does not matter who else draws, nor in which order.

    Args:
        seed: any integer; None draws one.
        choice: which of the replies with this seed it is.
    """

    def __init__(self, seed: int | None, choice: int = 0) -> None:
        # A client's seed may be negative, which numpy refuses.
        self._key = [secrets.randbits(64) if seed is None else seed % 2**64, choice]
        self._block, self._numbers = -1, np.empty(0)

    def at(self, place: int) -> float:
        """Return the number that decides the token at a place, 0 being the first."""
        block, index = divmod(place, POINTS_AT_ONCE)
        if block != self._block:
            key = np.array(self._key, np.uint64)
            counted = np.random.Philox(key=key, counter=[0, block, 0, 0])
            self._block, self._numbers = block, np.random.Generator(counted).random(POINTS_AT_ONCE)
        return float(self._numbers[index])
