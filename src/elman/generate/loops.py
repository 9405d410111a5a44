"""Find what would go on with a loop, while a reply grows."""

import numpy as np

MAX_COPIES, MIN_LOOP_TOKENS = 3, 4
"""A reply that ends in so many copies of something, and in so many tokens of them, does not begin
another. Of people's messages one in a thousand does (LOG.md); a pointer that copies what it has
just said would never end.
"""

MAX_PERIOD = 1365
"""Tokens of one copy. A reply of 4,096 tokens has no room for three longer ones."""

_PERIODS = np.arange(MAX_PERIOD, 0, -1)
_ENOUGH = np.maximum(MAX_COPIES * _PERIODS, MIN_LOOP_TOKENS) - _PERIODS
"""For each period how many tokens in a row must equal those that stand a period before them."""


class LoopDetector:
    """Tell what would begin one more copy; long replies cost no more than short ones."""

    def __init__(self) -> None:
        # Every token stands there twice, so that the last ones always lie side by side.
        self._last = np.full(2 * MAX_PERIOD, -1)
        self._equal = np.zeros(MAX_PERIOD, np.int64)
        self._count = 0

    def say(self, token: int) -> None:
        """Take the next token of the reply."""
        at = self._count % MAX_PERIOD
        periods = min(self._count, MAX_PERIOD)  # a longer one would begin before the reply
        if periods:
            equal = self._equal[-periods:]
            equal += 1
            equal *= self._last[at + MAX_PERIOD - periods : at + MAX_PERIOD] == token
        self._last[at] = self._last[at + MAX_PERIOD] = token
        self._count += 1

    def next_copies(self) -> list[int]:
        """Return the tokens that would begin one more copy."""
        periods = max(1, min(self._count, MAX_PERIOD))
        found = _PERIODS[-periods:][self._equal[-periods:] >= _ENOUGH[-periods:]]
        return [int(self._last[(self._count - period) % MAX_PERIOD]) for period in found]
