"""Exchanges that somebody wrote, found by the words of what was said.

Those whose person said what is most like the last messages come first: tf-idf of the beginnings of
words and of two in a row, and the cosine, as in the bots that choose replies from a chat log (Ji et
al. 2014, "An Information Retrieval Approach to Short Text Conversation").
"""

import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from elman.generate.penalties import words_of
from elman.generate.persons import speaks_of_nobody
from elman.generate.stems import stems_of
from elman.generate.written_arrays import WrittenArrays

PAIRS = 1 << 18
"""Two stems in a row are told apart by a hash of so many values,"""

FIRST_PAIR = 1 << 32
"""which follow those of stems."""

_SENTENCE = re.compile(r"(?<=[.!?\u2026])\s+|\n+")

BEGIN, END = 0, 1
"""Stems that stand before the first word, and after the last."""

AT_ONCE = 1 << 17
"""Stems that are looked at side by side."""

SHORTLIST = 200
"""Exchanges whose likeness is measured in full."""

SUPPORT_OF = 60
"""The likest exchanges, with whose replies a reply is compared."""

CANDIDATES = 12
"""Different replies that are ranked."""

LIKENESS = {"asked": 0.5, "last": 0.5, "before": 0.25, "said": 0.15, "both": 0.3}
"""What each likeness counts for where the likest exchanges are sought."""


class Vector(NamedTuple):
    """A text as what it is likened by.

    Args:
        weights: of each stem, and of each two in a row.
        length: of the vector.
    """

    weights: Mapping[int, float]
    length: float


NO_WORDS = Vector({}, 0.0)


class Place(NamedTuple):
    """Where a reply is written, as far as it is like what was said.

    Args:
        row: its number.
        reply: what is written there.
        asked: how like the message that is to be answered is to the one there.
        last: how like its last question is, or its last sentence.
        before: how like the one before is.
        said: how like the bot's reply to that is.
        both: how like the two messages together are.
        share: how long the message there is, in words of the one that is to be answered; 1 at most.
    """

    row: int
    reply: str
    asked: float
    last: float
    before: float
    said: float
    both: float
    share: float

    @property
    def alike(self) -> float:
        return float(sum(weight * getattr(self, name) for name, weight in LIKENESS.items()))


class Near(NamedTuple):
    """What is written for what is like what was said.

    Args:
        places: of the different replies, the likest first, and how like the replies to the likest
            places are to each.
        answered: how like the message is to one that has a reply.
    """

    places: Sequence[tuple[Place, float]] = ()
    answered: float = 0.0


@dataclass
class Exchanges:
    """Finds replies to what is like what was said.

    Args:
        arrays: the exchanges.
    """

    arrays: WrittenArrays
    _begins: np.ndarray = field(init=False, repr=False)
    _reply_begins: np.ndarray = field(init=False, repr=False)
    _idf: dict[int, float] = field(init=False, repr=False)
    _pair_idf: np.ndarray = field(init=False, repr=False)
    _unknown: float = field(init=False, repr=False)
    _number: dict[int, int] = field(init=False, repr=False)
    _lengths: np.ndarray = field(init=False, repr=False)
    _rows: np.ndarray = field(init=False, repr=False)
    _places: np.ndarray = field(init=False, repr=False)
    _common: frozenset[int] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        known, counts = self.arrays.known.view(np.uint32), self.arrays.lengths
        numbers = self.arrays.stems.view(np.uint16)
        self._begins, self._reply_begins = (
            np.concatenate([[0], np.cumsum(each, dtype=np.int64)])
            for each in (counts, self.arrays.reply_lengths)
        )
        begins = self._begins
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
        found = []
        for codes, size in ((numbers, len(known)), (pairs, PAIRS)):
            often = np.zeros(size)
            for some in _slices(len(codes)):
                often += np.bincount(codes[some], minlength=size)
            found.append((most - np.log(1 + often)).clip(0).astype(np.float32))
        idf, self._pair_idf = found
        squares = np.zeros(len(counts))
        for codes, own, weights in ((numbers, rows, idf), (pairs, pair_rows, self._pair_idf)):
            for some in _slices(len(codes)):
                squares += np.bincount(own[some], weights[codes[some]] ** 2, len(counts))
        self._lengths = np.sqrt(squares).clip(1e-6).astype(np.float32)
        self._rows = rows[np.argsort(numbers, kind="stable")]
        in_all = np.bincount(numbers, minlength=len(known))
        self._places = np.concatenate([[0], np.cumsum(in_all)])
        self._number = {stem: n for n, stem in enumerate(known.tolist())}
        self._idf = dict(zip(self._number, idf.tolist(), strict=True))
        self._unknown = float(most)
        self._common = frozenset(self.arrays.common.view(np.uint32).tolist())

    def near(self, heard: Sequence[str], said: Sequence[str]) -> Near:
        """Find the different replies to what is most like what was said.

        Args:
            heard: messages of the other side, the last one first, which is to be answered.
            said: the bot's own replies, the last one first.
        """
        asked, before = self._vector(heard[0]), self._vector(" ".join(heard[1:2]))
        point = last_sentence(heard[0])
        last = asked if point == heard[0] else self._vector(point)
        stems = stems_of(heard[0])
        # Without a message before, what was said is a reply to this one that was not wanted.
        own = self._vector(*said[:1]) if heard[1:] else NO_WORDS
        both = self._vector(*heard[:2])
        places = []
        for row in self._shortlist(heard[:2], point):
            goes_on = bool(self.arrays.goes_on[row])
            there = together = self._weighted([self._stems(row)])
            first = told = NO_WORDS
            if goes_on:
                first = self._weighted([self._stems(row - 1)])
                told = self._vector(self.reply(row - 1)) if own.weights else NO_WORDS
                together = self._weighted([self._stems(row - 1), self._stems(row)])
            whole = _cosine(asked, there)
            part = whole if last is asked else _cosine(last, there)
            pairs = ((before, first), (own, told), (both, together))
            alike = (whole, part, *(_cosine(*pair) for pair in pairs))
            share = min(1.0, int(self.arrays.lengths[row]) / max(1, len(stems)))
            places.append(Place._make([row, self.reply(row), *alike, share]))
        answered = max((place.asked for place in places if place.reply), default=0.0)
        places = sorted(filter(lambda place: place.reply, places), key=lambda place: -place.alike)
        known = {stem for text in (*heard, *said) for stem in stems_of(text)}
        first_places: dict[str, Place] = {}
        for place in places:
            new = place.reply not in first_places and self._stands_alone(place, known)
            if new and not speaks_of_nobody(place.reply, (*heard[:2], *said[:1])):
                first_places[place.reply] = place
        likest = list(first_places.values())[:CANDIDATES]
        beside = [(self._vector(each.reply), each.alike) for each in places[:SUPPORT_OF]]
        found = [(each, _support(self._vector(each.reply), beside)) for each in likest]
        return Near(found, answered)

    def reply(self, row: int) -> str:
        """Return what was written in an exchange."""
        begin, end = self._reply_begins[row : row + 2]
        return self.arrays.replies[begin:end].tobytes().decode(errors="replace")

    def new_in(self, text: str, before: str) -> set[int]:
        """Return the stems of a text that do not stand in another, nor in replies to everything."""
        return {*stems_of(text)} - {*stems_of(before)} - self._common

    def meaning(self, stems: Collection[int]) -> float:
        """Tell how much stems mean: the rarer, the more."""
        return sum(self._idf.get(stem, self._unknown) for stem in stems)

    def likeness(self, one: str, other: str) -> float:
        """Tell how like two texts are, from 0 to 1."""
        return _cosine(self._vector(one), self._vector(other))

    def _shortlist(self, heard: Sequence[str], point: str) -> list[int]:
        """Return the exchanges whose words are the likest, by their number.

        Args:
            heard: the last messages, the last one first.
            point: the sentence of the last one that is to be answered.
        """
        whole = self._alike(heard[0])
        last = whole if point == heard[0] else self._alike(point)
        alike = LIKENESS["asked"] * whole + LIKENESS["last"] * last
        for text in heard[1:]:
            alike[1:] += LIKENESS["both"] * self.arrays.goes_on[1:] * self._alike(text)[:-1]
        some = min(SHORTLIST, len(alike))
        likest = np.argpartition(-alike, some - 1)[:some]
        return [int(row) for row in likest if alike[row] > 0]

    def _alike(self, text: str) -> np.ndarray:
        """Tell how like a text is to what was said in each exchange, by its words alone."""
        found = np.zeros(len(self.arrays.goes_on), np.float32)
        for stem in set(stems_of(text)) & self._idf.keys():
            found[self._rows_with(stem)] += self._idf[stem] ** 2
        alike: np.ndarray = found / (self._lengths * max(self._vector(text).length, 1e-6))
        return alike

    def _stands_alone(self, place: Place, known: Collection[int]) -> bool:
        """Tell whether a reply takes up nothing that was said where it was written, and not here.

        "Poor cat!" is no answer to who has a dog.
        """
        there = set(self._stems(place.row))
        row = place.row
        if self.arrays.goes_on[row]:
            there |= {*self._stems(row - 1), *stems_of(self.reply(row - 1))}
        taken = (there & set(stems_of(place.reply))) - self._common
        return taken <= set(known)

    def _rows_with(self, stem: int) -> np.ndarray:
        """Return the exchanges in which somebody says a word."""
        number = self._number[stem]
        return self._rows[self._places[number] : self._places[number + 1]]

    def _stems(self, row: int) -> list[int]:
        begin, end = self._begins[row : row + 2]
        numbers = self.arrays.stems[begin:end].view(np.uint16)
        found: list[int] = self.arrays.known[numbers].view(np.uint32).tolist()
        return found

    def _vector(self, *texts: str) -> Vector:
        return self._weighted([stems_of(text) for text in texts])

    def _weighted(self, texts: Sequence[Sequence[int]]) -> Vector:
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


def last_sentence(text: str) -> str:
    """Return the last question of a text; where there is none, its last sentence of two words."""
    parts = [part for part in _SENTENCE.split(text.strip()) if len(words_of(part)) > 1]
    asking = [part for part in parts if part.endswith("?")]
    return (asking or parts or [text])[-1]


def _slices(size: int) -> Iterator[slice]:
    return (slice(begin, begin + AT_ONCE) for begin in range(0, size, AT_ONCE))


def _pair(one: int, other: int) -> int:
    """Return the code of two stems in a row."""
    return FIRST_PAIR + (one * 31_337 + other) % PAIRS


def _pair_of(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Return such codes of many, from 0."""
    found: np.ndarray = (one.astype(np.int64) * 31_337 + other) % PAIRS
    return found.astype(np.int32)


def _cosine(one: Vector, other: Vector) -> float:
    if len(one.weights) > len(other.weights):
        one, other = other, one
    there = other.weights
    product = sum(value * there[code] for code, value in one.weights.items() if code in there)
    return product / (one.length * other.length) if product else 0.0


def _support(reply: Vector, others: Sequence[tuple[Vector, float]]) -> float:
    """Return how like a reply the three likest of others are, each times how like its place is."""
    found = sorted((_cosine(reply, other) * alike for other, alike in others), reverse=True)[:3]
    return sum(found) / max(1, len(found))
