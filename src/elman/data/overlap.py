"""Held-out conversations that were nearly learned: found exactly, and left out."""

import numpy as np

from elman.data.corpus import Corpus
from elman.data.tokenizer import SPECIALS

SHINGLE_TOKENS, SHINGLE_BYTES = 5, 20
"""Tokens in a row that are compared as one, and where each is a byte: five of these every
conversation shares, and to compare all with all takes minutes.
"""

MIN_NEAR_OVERLAP = 0.8
"""Shared shingles over all shingles of two conversations (Jaccard's index) from which on they are
near-duplicates (Lee et al. 2022 take 0.8 as well)."""

SIEVE_BITS = 22
"""Of a shingle's number, those by which most of what nobody shares is told at once."""


def shingles(tokens: np.ndarray, width: int = SHINGLE_TOKENS) -> np.ndarray:
    """Find the distinct runs of so many text tokens, each as one number, sorted, uint64.

    Roles and ends of messages do not count. Of a shorter conversation, the whole is one shingle.
    """
    text = tokens[tokens >= SPECIALS].astype(np.uint64)
    width = min(width, len(text))
    if not width:
        return np.zeros(0, np.uint64)
    found = hashed(np.lib.stride_tricks.sliding_window_view(text, width))
    found.sort()  # np.unique is slower for so few
    distinct: np.ndarray = found[np.append(True, found[1:] != found[:-1])]
    return distinct


def hashed(runs: np.ndarray) -> np.ndarray:
    """Make one number of each run: (N, width) to (N,), uint64."""
    factors = np.uint64(0x9E3779B97F4A7C15) ** np.arange(runs.shape[1], dtype=np.uint64)
    # Unlike positions have unlike odd factors; multiplied again, so that sums do not line up.
    mixed = (runs + np.uint64(1)) * factors
    mixed ^= mixed >> np.uint64(29)
    found: np.ndarray = (mixed * np.uint64(0xBF58476D1CE4E5B9)).sum(axis=1)
    return found


def _low(keys: np.ndarray) -> np.ndarray:
    found: np.ndarray = keys & np.uint64((1 << SIEVE_BITS) - 1)
    return found


class HeldOutShingles:
    """The shingles of held-out conversations, by which their near-duplicates are found.

    Every pair that shares anything is compared, so none is missed. Memory grows with the held-out
    part alone.

    Args:
        held_out: the conversations.
        width: tokens of a shingle.
    """

    def __init__(self, held_out: Corpus, width: int = SHINGLE_TOKENS) -> None:
        self._width = width
        sets = [shingles(held_out[index], width) for index in range(len(held_out))]
        self._sizes = np.array([len(each) for each in sets])
        keys = np.concatenate([np.zeros(0, np.uint64), *sets])
        order = np.argsort(keys, kind="stable")
        self._keys = keys[order]
        self._owners = np.repeat(np.arange(len(sets)), self._sizes)[order]
        self._possible = np.zeros(1 << SIEVE_BITS, bool)
        self._possible[_low(keys)] = True

    def near(self, train: Corpus) -> np.ndarray:
        """Mark held-out conversations that are nearly one of train's, (held-out,) bool."""
        sizes, keys = self._sizes, self._keys
        found = np.zeros(len(sizes), bool)
        for index in range(len(train) if len(keys) else 0):
            mine = shingles(train[index], self._width)
            shared_by_any = mine[self._possible[_low(mine)]]
            if not len(mine) or len(shared_by_any) < MIN_NEAR_OVERLAP * len(mine):
                continue  # what is near to it shares that many with it, and they would all be here
            begin = np.searchsorted(keys, shared_by_any, "left")
            end = np.searchsorted(keys, shared_by_any, "right")
            places = np.concatenate([np.arange(b, e) for b, e in zip(begin, end, strict=True)])
            shared = np.bincount(self._owners[places], minlength=len(sizes))
            found |= (shared > 0) & (shared >= MIN_NEAR_OVERLAP * (len(mine) + sizes - shared))
        return found


def near_duplicates(train: Corpus, held_out: Corpus, width: int = SHINGLE_TOKENS) -> np.ndarray:
    """Mark held-out conversations that are nearly one of train's, (len(held_out),) bool."""
    return HeldOutShingles(held_out, width).near(train)


def without(corpus: Corpus, left_out: np.ndarray) -> Corpus:
    """Return a corpus without some conversations."""
    return Corpus.of(corpus[int(index)] for index in np.flatnonzero(~left_out))
