"""Exchanges that somebody wrote, found by the words of what was said.

Those whose person said what is most like the last messages come first: tf-idf of the beginnings of
words and of two in a row, and the cosine, as in the bots that choose replies from a chat log (Ji et
al. 2014, "An Information Retrieval Approach to Short Text Conversation"). How like the words are
that are not the same is told by their vectors.
"""

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from elman.generate.penalties import words_of
from elman.generate.persons import denies, other_persons, speaks_of_nobody
from elman.generate.stems import stems_of
from elman.generate.word_vectors import MEANING_OF_RARE
from elman.generate.written_arrays import WrittenArrays
from elman.generate.written_index import NO_WORDS, Vector, WrittenIndex, cosine

_SENTENCE = re.compile(r"(?<=[.!?\u2026])\s+|\n+")

SHORTLIST = 200
"""Exchanges whose likeness is measured in full."""

SUPPORT_OF = 60
"""The likest exchanges, with whose replies a reply is compared."""

CANDIDATES = 48
"""Different replies whose places are looked at closely."""

COMPARED_WORDS = 40
"""Of each message, the last ones; the others are not likened by what they mean."""

LIKENESS = {"asked": 0.5, "last": 0.5, "before": 0.25, "said": 0.15, "both": 0.3}
"""What each likeness counts for where the likest exchanges are sought."""


class Place(NamedTuple):
    """Where a reply is written, as far as it is like what was said.

    Args:
        row: its number.
        reply: what is written there.
        asked: how like the message that is to be answered is to the one there.
        last: how like its last question is, or its last sentence.
        before: how like the one before is.
        said: how like the bot's reply to that is.
        both: how like the two messages together are, or the last alone where none is written before
            it.
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


class Meant(NamedTuple):
    """What the words mean where a reply is written, beside what was said here.

    Args:
        point: what share of the last question, or last sentence, is said there.
        there: what share of what is said there was said here, in the last two messages.
        missing: the most that one word of the message means and nothing there is like; of a rare
            word about 1.
        extra: the most that one word there means and nothing in the message is like.
        meant: how like both are as a whole, from -1 to 1.
        taken_up: what share of the reply the message is like.
        goes_on: whether a message is written before; followed: what share of that was said here.
        length: tens of different words there.
        content: thirds of different words that are not common, in the reply; 1 at most.
        denied: whether only one of the message here and that there denies something.
        others: how far they speak of other persons, from 0 to 1.
    """

    point: float
    there: float
    missing: float
    extra: float
    meant: float
    taken_up: float
    goes_on: float
    followed: float
    length: float
    content: float
    denied: float
    others: float


class NearReply(NamedTuple):
    """A reply that may fit, and where it was found.

    Args:
        place: where it is written.
        meant: what the words mean there.
        support: how like the replies to the likest places are to it.
    """

    place: Place
    meant: Meant
    support: float


class Near(NamedTuple):
    """What is written for what is like what was said.

    Args:
        candidates: the different replies, that of the likest place first.
        answered: how like the message is to one that has a reply.
    """

    candidates: Sequence[NearReply] = ()
    answered: float = 0.0


@dataclass
class Exchanges:
    """Finds replies to what is like what was said.

    Args:
        arrays: the exchanges.
    """

    arrays: WrittenArrays

    def __post_init__(self) -> None:
        self._replies = self.arrays.replies_text()
        lengths = self.arrays.reply_lengths
        self._reply_begins = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])
        self.index = WrittenIndex(self.arrays)
        self._common = frozenset(self.arrays.common.view(np.uint32).tolist())

    def near(self, heard: Sequence[str], said: Sequence[str]) -> Near:
        """Find the different replies to what is most like what was said.

        Args:
            heard: messages of the other side, the last one first, which is to be answered.
            said: the bot's own replies, the last one first.
        """
        index = self.index
        asked, before = index.vector(heard[0]), index.vector(" ".join(heard[1:2]))
        point = last_sentence(heard[0])
        last = asked if point == heard[0] else index.vector(point)
        stems = stems_of(heard[0])
        # Without a message before, what was said is a reply to this one that was not wanted.
        own = index.vector(*said[:1]) if heard[1:] else NO_WORDS
        both = index.vector(*heard[:2])
        places = []
        for row in self._shortlist(heard[:2], point):
            there = together = index.weighted([index.stems_in(row)])
            first = told = NO_WORDS
            # Where nothing was written before, nothing before is missing.
            here = asked
            if self.arrays.goes_on[row]:
                here = both
                first = index.weighted([index.stems_in(row - 1)])
                told = index.vector(self.reply(row - 1)) if own.weights else NO_WORDS
                together = index.weighted([index.stems_in(row - 1), index.stems_in(row)])
            whole = cosine(asked, there)
            part = whole if last is asked else cosine(last, there)
            pairs = ((before, first), (own, told), (here, together))
            alike = (whole, part, *(cosine(*pair) for pair in pairs))
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
            if len(first_places) == CANDIDATES:
                break
        likest = list(first_places.values())
        texts = {each.reply for each in (*likest, *places[:SUPPORT_OF])}
        vectors = {text: index.vector(text) for text in texts}
        beside = [(vectors[each.reply], each.alike) for each in places[:SUPPORT_OF]]
        support = [_support(vectors[each.reply], beside) for each in likest]
        meant = self._meant(likest, heard, point)
        return Near([*map(NearReply, likest, meant, support)], answered)

    def _meant(self, places: Sequence[Place], heard: Sequence[str], point: str) -> list[Meant]:
        """Tell what the words mean in places, beside what was said."""
        index, words = self.index, self.index.words
        asked, last, before = (
            index.numbers(stems_of(text)[-COMPARED_WORDS:])
            for text in (heard[0], point, " ".join(heard[1:2]))
        )
        own = words.of(asked)
        whole = words.together(asked, own)
        said = stems_of(heard[0])
        denied = denies(said)
        of_last, of_both = words.of(last), np.concatenate([own, words.of(before)])
        found = []
        for place in places:
            there, stems = index.numbers_in(place.row), index.stems_in(place.row)
            vectors = words.of(there)
            goes_on = bool(self.arrays.goes_on[place.row])
            first = index.numbers_in(place.row - 1) if goes_on else []
            content = [stem for stem in stems_of(place.reply) if stem not in self._common]
            reply = index.numbers(content)
            found.append(
                Meant(
                    words.share(last, of_last, vectors),
                    words.share(there, vectors, of_both),
                    words.most_lacking(asked, own, vectors) / MEANING_OF_RARE,
                    words.most_lacking(there, vectors, own) / MEANING_OF_RARE,
                    float(whole @ words.together(there, vectors)),
                    words.share(reply, words.of(reply), own),
                    float(goes_on),
                    words.share(first, words.of(first), of_both) if goes_on else 0.0,
                    len(there) / 10,
                    min(3, len(reply)) / 3,
                    float(denied != denies(stems)),
                    other_persons(said, stems),
                )
            )
        return found

    def reply(self, row: int) -> str:
        """Return what was written in an exchange."""
        begin, end = self._reply_begins[row : row + 2]
        return self._replies[begin:end].decode(errors="replace")

    def new_in(self, text: str, before: str) -> set[int]:
        """Return the stems of a text that do not stand in another, nor in replies to everything."""
        return {*stems_of(text)} - {*stems_of(before)} - self._common

    def likeness(self, one: str, other: str) -> float:
        """Tell how like two texts are, from 0 to 1."""
        return cosine(self.index.vector(one), self.index.vector(other))

    def _shortlist(self, heard: Sequence[str], point: str) -> list[int]:
        """Return the exchanges whose words are the likest, by their number.

        Args:
            heard: the last messages, the last one first.
            point: the sentence of the last one that is to be answered.
        """
        whole = self.index.alike(heard[0])
        last = whole if point == heard[0] else self.index.alike(point)
        alike = LIKENESS["asked"] * whole + LIKENESS["last"] * last
        for text in heard[1:]:
            alike[1:] += LIKENESS["both"] * self.arrays.goes_on[1:] * self.index.alike(text)[:-1]
        some = min(SHORTLIST, len(alike))
        likest = np.argpartition(-alike, some - 1)[:some]
        return [int(row) for row in likest if alike[row] > 0]

    def _stands_alone(self, place: Place, known: Collection[int]) -> bool:
        """Tell whether a reply takes up nothing that was said where it was written, and not here.

        "Poor cat!" is no answer to who has a dog.
        """
        there = set(self.index.stems_in(place.row))
        row = place.row
        if self.arrays.goes_on[row]:
            there |= {*self.index.stems_in(row - 1), *stems_of(self.reply(row - 1))}
        taken = (there & set(stems_of(place.reply))) - self._common
        return taken <= set(known)


def sentences_of(text: str) -> list[str]:
    """Split a text after each mark that ends a sentence, and at each new line."""
    return [part for part in _SENTENCE.split(text.strip()) if part]


def last_sentence(text: str) -> str:
    """Return the last question of a text; where there is none, its last sentence of two words."""
    parts = [part for part in sentences_of(text) if len(words_of(part)) > 1]
    asking = [part for part in parts if part.endswith("?")]
    return (asking or parts or [text])[-1]


def _support(reply: Vector, others: Sequence[tuple[Vector, float]]) -> float:
    """Return how like a reply the three likest of others are, each times how like its place is."""
    found = sorted((cosine(reply, other) * alike for other, alike in others), reverse=True)[:3]
    return sum(found) / max(1, len(found))
