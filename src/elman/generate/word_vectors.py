"""Words as vectors, by which "violin" is like "guitar" though they have no letter in common.

They were counted: two words are alike where people use them beside the same words
(recipes/vectors.py). A text has what is said in another as far as each of its words is like one
there, after the alignments of Sultan et al. 2014, "Back to Basics for Monolingual Alignment".
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

DIMENSIONS = 48
"""Of a vector."""

MEANS_NOTHING = 2.2
"""Inverse frequency of a word, in nats, up to which it means next to nothing,"""

LEAST_MEANING = 0.02
"""and what it counts for then."""

MEANING_OF_RARE = 6.0
"""What a rare word means, about; by it missing meaning is divided."""


@dataclass
class WordVectors:
    """Likens texts by what their words mean.

    Args:
        vectors: of each known word, (S, D) int8; 0 of one that is like no other.
        idf: inverse frequency of each, in nats.
    """

    vectors: np.ndarray
    idf: np.ndarray

    def __post_init__(self) -> None:
        self.weights = np.clip(self.idf - MEANS_NOTHING, LEAST_MEANING, None).astype(np.float32)
        """What each word means."""
        squares = np.einsum("sd,sd->s", self.vectors, self.vectors, dtype=np.float32)
        self.scales = 1 / np.sqrt(squares.clip(1))
        """What each vector is multiplied by, to be of length 1."""

    def of(self, words: Sequence[int]) -> np.ndarray:
        """Return the vectors of words, each of length 1, (N, D)."""
        found: np.ndarray = self.vectors[words] * self.scales[words][:, None]
        return found

    def share(self, words: Sequence[int], own: np.ndarray, others: np.ndarray) -> float:
        """Tell what share of what words mean is in others; 1 of no words.

        Args:
            words: the first ones.
            own: their vectors.
            others: the vectors of the others.
        """
        if not len(words):
            return 1.0
        lacking = float(self._lacking(words, own, others).sum())
        return 1 - lacking / float(self.weights[words].sum())

    def most_lacking(self, words: Sequence[int], own: np.ndarray, others: np.ndarray) -> float:
        """Tell the most that one of some words means and none of others is like, as `share`."""
        return float(self._lacking(words, own, others).max(initial=0.0))

    def _lacking(self, words: Sequence[int], own: np.ndarray, others: np.ndarray) -> np.ndarray:
        alike = (own @ others.T).max(1).clip(0) if len(others) else np.zeros(len(words))
        found: np.ndarray = self.weights[words] * (1 - alike)
        return found

    def together(self, words: Sequence[int], own: np.ndarray) -> np.ndarray:
        """Return what words mean together, (D,): of length 1, or 0. `own` are their vectors."""
        total = self.weights[words] @ own
        length = float(np.linalg.norm(total))
        found: np.ndarray = total / length if length else total
        return found
