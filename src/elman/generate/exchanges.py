"""Exchanges that somebody wrote, found by the words of what was said.

Those whose person said what is most like the last messages come first: tf-idf of the beginnings of
words and of two in a row, and the cosine, as in the bots that choose replies from a chat log (Ji et
al. 2014, "An Information Retrieval Approach to Short Text Conversation").
"""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple
from zlib import crc32

import numpy as np

from elman.errors import ElmanError
from elman.generate.penalties import words_of

STEM_CHARS = 5
"""Characters at the beginning of a word by which it is known: "movies" is "movie"."""

MAX_LENGTH = 255
"""Stems of what a person said, and bytes of a reply: a length is one byte."""

STEMS, PAIRS = 1 << 16, 1 << 18
"""Stems, and two in a row, are told apart by a hash of so many values."""

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

LIKENESS = {"asked": 1.0, "before": 0.25, "said": 0.15, "both": 0.3}
"""What each likeness counts for where the likest exchanges are sought."""

LEFT_LIKENESS = 0.4
"""From which on a message that is like one without a reply is left to the net,"""

LEFT_SHARE = 0.9
"""unless another is much more like it."""


class Vector(NamedTuple):
    """A text as what it is likened by.

    Args:
        weights: of each stem, and of each two in a row.
        length: of the vector.
    """

    weights: Mapping[int, float]
    length: float


NO_WORDS = Vector({}, 0.0)


class WrittenExchange(NamedTuple):
    """What a person said, and the answer to it.

    Args:
        asked: by the person.
        reply: what was written; empty: it fits in its own conversation alone.
        goes_on: whether it follows the exchange before it, in one conversation.
    """

    asked: str
    reply: str
    goes_on: bool = False


class Place(NamedTuple):
    """Where a reply is written, as far as it is like what was said."""

    row: int
    reply: str
    asked: float
    before: float
    said: float
    both: float

    @property
    def alike(self) -> float:
        return float(sum(weight * getattr(self, name) for name, weight in LIKENESS.items()))


class WrittenArrays(NamedTuple):
    """Exchanges as a file holds them.

    Args:
        stems: of what people said, one after the other, int16 whose bits are unsigned.
        lengths: how many stems each has, (R,) uint8.
        replies: the texts, one after the other, UTF-8 bytes.
        reply_lengths: how many bytes each has, (R,) uint8.
        goes_on: whether each follows the one before it, (R,) bool.
        common: stems of words that stand in replies to everything, int16 as `stems`.
    """

    stems: np.ndarray
    lengths: np.ndarray
    replies: np.ndarray
    reply_lengths: np.ndarray
    goes_on: np.ndarray
    common: np.ndarray

    @classmethod
    def of(cls, exchanges: Sequence[WrittenExchange], common_in: int) -> "WrittenArrays":
        """Make them of exchanges.

        Args:
            exchanges: in the order of their conversations. Of what a person said the first
                `MAX_LENGTH` words count, and a reply of more bytes is none.
            common_in: replies in which a stem must stand to be common.
        """
        asked = [stems_of(each.asked)[:MAX_LENGTH] for each in exchanges]
        replies = [each.reply.encode() for each in exchanges]
        replies = [text if len(text) <= MAX_LENGTH else b"" for text in replies]
        counts = Counter(stem for each in exchanges for stem in set(stems_of(each.reply)))
        common = sorted(stem for stem, count in counts.items() if count >= common_in)
        return cls(
            _as_int16([stem for own in asked for stem in own]),
            np.array([len(own) for own in asked], np.uint8),
            np.frombuffer(b"".join(replies), np.uint8),
            np.array([len(own) for own in replies], np.uint8),
            np.array([each.goes_on for each in exchanges], bool),
            _as_int16(common),
        )

    def check(self, path: Path) -> None:
        """Raise ElmanError where arrays from outside do not belong together."""
        kinds = ("int16", "uint8", "uint8", "uint8", "bool", "int16")
        fits = all(each.dtype == kind for each, kind in zip(self, kinds, strict=True)) and all(
            each.ndim == 1 for each in self
        )
        for flat, lengths in ((self.stems, self.lengths), (self.replies, self.reply_lengths)):
            fits = fits and len(lengths) == len(self.goes_on) > 0 and lengths.sum() == len(flat)
        fits = fits and not self.goes_on[0]
        if not fits:
            raise ElmanError(f"{path}: damaged, or another version of Elman made it: delete it")


@dataclass
class Exchanges:
    """Finds replies to what is like what was said.

    Args:
        arrays: the exchanges.
        left: how many of the last have no reply: what is like them is left to the net.
    """

    arrays: WrittenArrays
    left: int = 0
    _begins: np.ndarray = field(init=False, repr=False)
    _reply_begins: np.ndarray = field(init=False, repr=False)
    _idf: np.ndarray = field(init=False, repr=False)
    _lengths: np.ndarray = field(init=False, repr=False)
    _rows: np.ndarray = field(init=False, repr=False)
    _places: np.ndarray = field(init=False, repr=False)
    _common: frozenset[int] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        stems, counts = self.arrays.stems.view(np.uint16), self.arrays.lengths
        self._begins, self._reply_begins = (
            np.concatenate([[0], np.cumsum(each, dtype=np.int64)])
            for each in (counts, self.arrays.reply_lengths)
        )
        begins = self._begins
        rows = np.repeat(np.arange(len(counts), dtype=np.int32), counts)
        # 32 bits are enough, and few at a time: the whole would take eight times what is kept.
        before = np.zeros(len(stems), np.int32)
        before[1:] = stems[:-1]
        before[begins[:-1][counts > 0]] = BEGIN
        last = stems[begins[1:][counts > 0] - 1].astype(np.int32)
        pairs = np.concatenate([_pair(before, stems), _pair(last, END)])
        pair_rows = np.concatenate([rows, np.flatnonzero(counts).astype(np.int32)])
        often = np.zeros(STEMS + PAIRS)
        for codes in (stems, pairs):
            for some in _slices(len(codes)):
                often += np.bincount(codes[some], minlength=len(often))
        self._idf = np.log((1 + len(counts)) / (1 + often)).clip(0).astype(np.float32)
        squares = np.zeros(len(counts))
        for codes, own in ((stems, rows), (pairs, pair_rows)):
            for some in _slices(len(codes)):
                squares += np.bincount(own[some], self._idf[codes[some]] ** 2, len(counts))
        self._lengths = np.sqrt(squares).clip(1e-6).astype(np.float32)
        self._rows = rows[np.argsort(stems, kind="stable")]
        self._places = np.concatenate([[0], np.cumsum(np.bincount(stems, minlength=STEMS))])
        self._common = frozenset(self.arrays.common.view(np.uint16).tolist())

    def near(self, heard: Sequence[str], said: Sequence[str]) -> list[tuple[Place, float]] | None:
        """Find the different replies to what is most like what was said, the likest first.

        Args:
            heard: messages of the other side, the last one first, which is to be answered.
            said: the bot's own replies, the last one first.

        Returns:
            The place of each reply, and how like the replies to the likest places are to it. None:
            it is left to the net.
        """
        asked, before = self._vector(heard[0]), self._vector(" ".join(heard[1:2]))
        # Without a message before, what was said is a reply to this one that was not wanted.
        own = self._vector(*said[:1]) if heard[1:] else NO_WORDS
        both = self._vector(*heard[:2])
        places = []
        for row in self._shortlist(heard[:2]):
            goes_on = bool(self.arrays.goes_on[row])
            there = together = self._weighted([self._stems(row)])
            first = told = NO_WORDS
            if goes_on:
                first = self._weighted([self._stems(row - 1)])
                told = self._vector(self.reply(row - 1)) if own.weights else NO_WORDS
                together = self._weighted([self._stems(row - 1), self._stems(row)])
            pairs = ((asked, there), (before, first), (own, told), (both, together))
            places.append(Place(row, self.reply(row), *(_cosine(*pair) for pair in pairs)))
        if not places:
            return []
        first_left = len(self.arrays.goes_on) - self.left
        left = max((place.asked for place in places if place.row >= first_left), default=0.0)
        others = max((place.asked for place in places if place.reply), default=0.0)
        if left >= max(LEFT_LIKENESS, LEFT_SHARE * others):
            return None
        places = sorted(filter(lambda place: place.reply, places), key=lambda place: -place.alike)
        known = {stem for text in (*heard, *said) for stem in stems_of(text)}
        first_places: dict[str, Place] = {}
        for place in places:
            if place.reply not in first_places and self._stands_alone(place, known):
                first_places[place.reply] = place
        beside = [(self._vector(each.reply), each.alike) for each in places[:SUPPORT_OF]]
        return [
            (place, _support(self._vector(reply), beside))
            for reply, place in list(first_places.items())[:CANDIDATES]
        ]

    def reply(self, row: int) -> str:
        """Return what was written in an exchange."""
        begin, end = self._reply_begins[row : row + 2]
        return self.arrays.replies[begin:end].tobytes().decode(errors="replace")

    def shared(self, one: str, other: str) -> float:
        """Tell how much the words mean that two texts have in common."""
        stems = set(stems_of(one)) & set(stems_of(other))
        return float(sum(self._idf[stem] for stem in stems))

    def _shortlist(self, heard: Sequence[str]) -> list[int]:
        """Return the exchanges whose words are the likest, by their number."""
        alike = np.zeros(len(self.arrays.goes_on), np.float32)
        for n, text in enumerate(heard):
            own = np.zeros(len(alike), np.float32)
            for stem in set(stems_of(text)):
                own[self._rows[self._places[stem] : self._places[stem + 1]]] += self._idf[stem] ** 2
            own /= self._lengths * max(self._vector(text).length, 1e-6)
            if n == 0:
                alike += own
            else:
                alike[1:] += LIKENESS["both"] * self.arrays.goes_on[1:] * own[:-1]
        some = min(SHORTLIST, len(alike))
        likest = np.argpartition(-alike, some - 1)[:some]
        return [int(row) for row in likest if alike[row] > 0]

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

    def _stems(self, row: int) -> list[int]:
        begin, end = self._begins[row : row + 2]
        found: list[int] = self.arrays.stems[begin:end].view(np.uint16).tolist()
        return found

    def _vector(self, *texts: str) -> Vector:
        return self._weighted([stems_of(text) for text in texts])

    def _weighted(self, texts: Sequence[Sequence[int]]) -> Vector:
        """Return the tf-idf of stems, and of two in a row, of some texts together."""
        counts: Counter[int] = Counter()
        for stems in filter(None, texts):
            counts.update(stems)
            counts.update(_pair(*two) for two in zip([BEGIN, *stems], [*stems, END], strict=True))
        idf = self._idf[list(counts)].tolist()
        weights = {
            code: count * each for (code, count), each in zip(counts.items(), idf, strict=True)
        }
        return Vector(weights, sum(each * each for each in weights.values()) ** 0.5)


def stems_of(text: str) -> list[int]:
    """Return the beginnings of the words of a text, as numbers below `STEMS`."""
    plain = (
        word.replace("\u2019", "'").removesuffix("'s").replace("'", "")[:STEM_CHARS]
        for word in words_of(text)
    )
    return [2 + crc32(stem.encode()) % (STEMS - 2) for stem in plain]


def _slices(size: int) -> Iterator[slice]:
    return (slice(begin, begin + AT_ONCE) for begin in range(0, size, AT_ONCE))


def _pair(one: Any, other: Any) -> Any:
    """Return the code of two stems in a row, or of many."""
    return STEMS + (one * 31_337 + other) % PAIRS


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


def _as_int16(stems: Sequence[int]) -> np.ndarray:
    return np.array(stems, np.uint16).view(np.int16)
