"""Counted sequences of tokens: what `elman.model.ngrams.NGrams.mix` computes, and why."""

from typing import NamedTuple

import numpy as np

from elman.data.tokenizer import SPECIALS
from elman.errors import ElmanError
from elman.model.config import TOKEN_BITS
from elman.runtime.layers import Arrays, linear, sigmoid

TABLE_PARTS = ("contexts", "begins", "totals", "words", "counts", "least")
"""Arrays of a table in a bot's folder that are as long as what was counted."""


class Table(NamedTuple):
    """Sequences of one length, by the key of all their tokens but the last.

    Args:
        contexts: keys in ascending order, (K,) int64.
        begins: where the words after each begin, (K + 1,) int32.
        totals: how many tokens were seen after each, (K,) float32.
        left: what each leaves to the shorter context, (K,) float32.
        words: that came next, (kept,) uint16.
        counts: how often each came less the discount, (kept,) float32.
    """

    contexts: np.ndarray
    begins: np.ndarray
    totals: np.ndarray
    left: np.ndarray
    words: np.ndarray
    counts: np.ndarray

    @classmethod
    def of(cls, arrays: Arrays, name: str, vocabulary_size: int) -> "Table":
        """Read one from a bot's arrays.

        Raises:
            ElmanError: where it is none, so that looking up in it would not be safe.
        """

        def numbers(part: str) -> np.ndarray:
            found = arrays[f"{name}.{part}"]
            return (found.view(np.uint16) if found.dtype == np.int16 else found).astype(np.int64)

        contexts, begins, totals = numbers("contexts"), numbers("begins"), numbers("totals")
        words, counts = numbers("words"), numbers("counts")
        [discount] = arrays[f"{name}.discount"].tolist() or [-1]
        sound = (
            len(totals) == len(begins) - 1 == len(contexts)
            and len(counts) == len(words) == begins[-1]
            and begins[0] == 0
            and (np.diff(begins) > 0).all()
            and (np.diff(contexts) > 0).all()
            and ((words >= 0) & (words < vocabulary_size)).all()
            and (counts > 0).all()
            and (totals > 0).all()
            and 0 <= discount <= 1
        )
        rare = totals - np.add.reduceat(np.append(counts, 0), begins[:-1]) if sound else totals - 1
        if not sound or (rare < 0).any():
            raise ElmanError(f"{name} is no table of counts")
        left = rare + discount * np.diff(begins)
        return cls(
            contexts,
            begins.astype(np.int32),
            totals.astype(np.float32),
            left.astype(np.float32),
            words.astype(np.uint16),
            (counts - discount).astype(np.float32),
        )


class Counts:
    """Counts of sequences of up to `longest` tokens, and the gate that mixes them in.

    Args:
        arrays: the bot's.
        vocabulary_size: V.
        longest: tokens of a sequence.
    """

    def __init__(self, arrays: Arrays, vocabulary_size: int, longest: int) -> None:
        self._arrays = arrays
        self.tables = [
            Table.of(arrays, f"ngrams.layers.{n}", vocabulary_size) for n in range(longest)
        ]
        first = self.tables[0]
        self.alone = np.full(vocabulary_size, 1 / vocabulary_size, np.float32)
        """p of each token after nothing, (V,)."""
        if len(first.contexts):
            self.alone *= first.left[0] / first.totals[0]
            self.alone[first.words] += first.counts / first.totals[0]

    def mix(self, p: np.ndarray, heard: np.ndarray, ids: np.ndarray) -> np.ndarray:
        """Mix the counts into p of every token.

        Args:
            p: of the net, (B, V).
            heard: what it was made of, (B, H).
            ids: the last tokens, the present one last, (B, L); 0: none, or no text.
        """
        score = linear(self._arrays, "ngrams.gate", heard)
        counted = np.stack([self._after(own) for own in ids])
        mixed: np.ndarray = p * sigmoid(-score) + sigmoid(score) * counted
        return mixed

    def _after(self, ids: np.ndarray) -> np.ndarray:
        """Return p of every token after some others, (V,)."""
        p, share = np.zeros_like(self.alone), np.float32(1)
        for length in range(len(self.tables) - 1, 0, -1):
            table, key = self.tables[length], context_key(ids, length)
            at = int(table.contexts.searchsorted(key))
            if at == len(table.contexts) or table.contexts[at] != key:
                continue
            span = slice(table.begins[at], table.begins[at + 1])
            p[table.words[span]] += share / table.totals[at] * table.counts[span]
            share *= table.left[at] / table.totals[at]
        p += share * self.alone
        return p


def context_key(ids: np.ndarray, length: int) -> int:
    """Pack the last tokens into a number, the last one lowest; what is before a message is 0."""
    key = 0
    for back, token in enumerate(ids[::-1][:length].astype(int).tolist()):
        if token < SPECIALS:
            break
        key |= token << TOKEN_BITS * back
    return key
