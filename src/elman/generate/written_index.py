"""What people said in written exchanges, by its words: tf-idf, and what words mean.

Of two texts that have words in common, and two words in a row, the cosine tells how like they are.
"""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from elman.generate.stems import stems_of
from elman.generate.word_vectors import WordVectors
from elman.generate.written_arrays import WrittenArrays

PAIRS = 1 << 18
"""Two stems in a row are told apart by a hash of so many values,"""

FIRST_PAIR = 1 << 32
"""which follow those of stems."""

BEGIN, END = 0, 1
"""Stems that stand before the first word, and after the last."""

AT_ONCE = 1 << 17
"""Stems that are looked at side by side."""


class Vector(NamedTuple):
    """A text as what it is likened by.

    Args:
        weights: of each stem, and of each two in a row.
        length: of the vector.
    """

    weights: Mapping[int, float]
    length: float


NO_WORDS = Vector({}, 0.0)


@dataclass
class WrittenIndex:
    """Finds what was said by its words.

    Args:
        arrays: the exchanges.
    """

    arrays: WrittenArrays

    def __post_init__(self) -> None:
        known, counts = self.arrays.known.view(np.uint32), self.arrays.lengths
        numbers = self.arrays.stems.view(np.uint16)
        begins = self._begins = np.concatenate([[0], np.cumsum(counts, dtype=np.int64)])
        rows = np.repeat(np.arange(len(counts), dtype=np.int32), counts)
        # 32 bits are enough, and few at a time: the whole would take eight times what is kept.
        stems = known[numbers]
        before = np.zeros(len(stems), np.uint32)
        before[1:] = stems[:-1]
        before[begins[:-1][counts > 0]] = BEGIN
        last = stems[begins[1:][counts > 0] - 1]
        pairs = np.concatenate([
            *(_pair_of(before[some], stems[some]) for some in _slices(len(stems))),
            _pair_of(last, np.full_like(last, END)),
        ])  # fmt: skip
        pair_rows = np.concatenate([rows, np.flatnonzero(counts).astype(np.int32)])
        most = np.log(1 + len(counts))
        inverse = []
        for codes, size in ((numbers, len(known)), (pairs, PAIRS)):
            often = np.zeros(size)
            for some in _slices(len(codes)):
                often += np.bincount(codes[some], minlength=size)
            inverse.append((most - np.log(1 + often)).clip(0).astype(np.float32))
        idf, self._pair_idf = inverse
        squares = np.zeros(len(counts))
        for codes, own, weights in ((numbers, rows, idf), (pairs, pair_rows, self._pair_idf)):
            for some in _slices(len(codes)):
                lowest = own[some].min()
                found = np.bincount(own[some] - lowest, weights[codes[some]] ** 2)
                squares[lowest : lowest + len(found)] += found
        self._lengths = np.sqrt(squares).clip(1e-6).astype(np.float32)
        self._rows = rows[np.argsort(numbers, kind="stable")]
        in_all = np.bincount(numbers, minlength=len(known))
        self._places = np.concatenate([[0], np.cumsum(in_all)])
        self._number = {stem: n for n, stem in enumerate(known.tolist())}
        self._idf = dict(zip(self._number, idf.tolist(), strict=True))
        self._unknown = float(most)
        nothing = np.zeros((1, self.arrays.vectors.shape[1]), np.int8)
        vectors = np.concatenate([self.arrays.vectors, nothing])
        self.words = WordVectors(vectors, np.append(idf, np.float32(most)))
        """What the known words mean, and last one that is not known: much, and like no other."""

    def numbers(self, stems: Collection[int]) -> list[int]:
        """Return the numbers of different stems in `words`."""
        return [self._number.get(stem, len(self._number)) for stem in dict.fromkeys(stems)]

    def numbers_in(self, row: int) -> list[int]:
        """Return the numbers of the different stems that are said in an exchange."""
        return list(dict.fromkeys(self._said(row).tolist()))

    def stems_in(self, row: int) -> list[int]:
        """Return the stems that are said in an exchange, in their order."""
        found: list[int] = self.arrays.known[self._said(row)].view(np.uint32).tolist()
        return found

    def _said(self, row: int) -> np.ndarray:
        """Return the numbers of the stems that are said in an exchange, in their order."""
        begin, end = self._begins[row : row + 2]
        return self.arrays.stems[begin:end].view(np.uint16)

    def meaning(self, stems: Collection[int]) -> float:
        """Tell how much stems mean: the rarer, the more."""
        return float(sum(self._idf.get(stem, self._unknown) for stem in stems))

    def alike(self, text: str) -> np.ndarray:
        """Tell how like a text is to what was said in each exchange, by its words alone."""
        found = np.zeros(len(self.arrays.goes_on), np.float32)
        for stem in set(stems_of(text)) & self._idf.keys():
            number = self._number[stem]
            rows = self._rows[self._places[number] : self._places[number + 1]]
            found[rows] += self._idf[stem] ** 2
        alike: np.ndarray = found / (self._lengths * max(self.vector(text).length, 1e-6))
        return alike

    def vector(self, *texts: str) -> Vector:
        """Make one vector of some texts."""
        return self.weighted([stems_of(text) for text in texts])

    def weighted(self, texts: Sequence[Sequence[int]]) -> Vector:
        """Return the tf-idf of stems, and of two in a row, of some texts together."""
        counts: Counter[int] = Counter()
        for stems in filter(None, texts):
            counts.update(stems)
            counts.update(_pair(*two) for two in zip([BEGIN, *stems], [*stems, END], strict=True))
        weights = {
            code: count
            * (
                self._idf.get(code, self._unknown)
                if code < FIRST_PAIR
                else float(self._pair_idf[code - FIRST_PAIR])
            )
            for code, count in counts.items()
        }
        return Vector(weights, sum(each * each for each in weights.values()) ** 0.5)


def cosine(one: Vector, other: Vector) -> float:
    """Tell how like two vectors are, from 0 to 1."""
    if len(one.weights) > len(other.weights):
        one, other = other, one
    there = other.weights
    product = sum(value * there[code] for code, value in one.weights.items() if code in there)
    return product / (one.length * other.length) if product else 0.0


def _slices(size: int) -> Iterator[slice]:
    return (slice(begin, begin + AT_ONCE) for begin in range(0, size, AT_ONCE))


def _pair(one: int, other: int) -> int:
    """Return the code of two stems in a row."""
    return FIRST_PAIR + (one * 31_337 + other) % PAIRS


def _pair_of(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Return such codes of many, from 0."""
    found: np.ndarray = (one.astype(np.int64) * 31_337 + other) % PAIRS
    return found.astype(np.int32)
