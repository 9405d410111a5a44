"""Replies that somebody wrote: those to what is most like what was said, ranked by whether they
make sense here.

A small net speaks, and often beside the point. A bot's folder may hold exchanges: what a person
says, and the answer that somebody wrote for it. Those whose person said what is most like the last
messages are found by their words (tf-idf, cosine), as in the bots that choose replies from a chat
log (Ji et al. 2014, "An Information Retrieval Approach to Short Text Conversation"). Of their
replies the one is taken that most probably makes sense: a logistic regression tells it, of how like
the places are, how alike the replies to them are, and what the net makes of each reply. It was
learned from replies that readers had judged (recipes/written.py).
"""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Self
from zlib import crc32

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from elman.data.tokenizer import Tokenizer
from elman.data.untrusted import validated
from elman.errors import ElmanError
from elman.generate.bot import Bot
from elman.generate.decoder import Decoder, State
from elman.generate.likelihood import (
    Tokens,
    lengths_with_end,
    log_likelihoods,
    read_alone,
    split,
)
from elman.generate.manners import QUESTION_MARKS
from elman.generate.match import Match
from elman.generate.penalties import Habits, History, beyond, words_of
from elman.model.array_files import read_arrays, write_arrays
from elman.model.folder import WRITTEN as WRITTEN

WRITTEN_FORMAT = 1

MAX_WRITTEN_WORDS = 40
"""Words of a message; nobody wrote an answer to a longer one."""

STEM_CHARS = 5
"""Characters at the beginning of a word by which it is known: "movies" is "movie"."""

MAX_LENGTH = 255
"""Stems of what a person said, and bytes of a reply: a length is one byte."""

STEMS, PAIRS = 1 << 16, 1 << 18
"""Stems, and two in a row, are told apart by a hash of so many values."""

BEGIN, END = 0, 1
"""Stems that stand before the first word, and after the last."""

SHORTLIST = 200
"""WrittenExchanges whose likeness is measured in full."""

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

WORD_TRAITS = ("asked", "before", "said", "both", "support", "shared", "words", "question")
"""What is known of a reply without the net, by which it is ranked.

asked, before, said, both: how like the place is in which it was written: the message that is to be
answered, the one before, the bot's reply to that, and the two messages together. support: how like
the replies to the likest places are to it. shared: what its words have in common with the message.
"""

NET_TRAITS = ("given", "match")
"""What the net makes of a reply: log p after what was said, in nats per square root of a token, and
how well it belongs (`elman.generate.match`).
"""


class Vector(NamedTuple):
    """A text as what it is likened by.

    Args:
        weights: of each stem, and of each two in a row.
        length: of the vector.
    """

    weights: Mapping[int, float]
    length: float


NO_WORDS = Vector({}, 0.0)


class Regression(BaseModel):
    """How probably a reply makes sense, by some of its traits.

    Args:
        weights: of each trait.
        bias: what is added.
    """

    model_config = ConfigDict(extra="forbid")

    weights: list[float]
    bias: float

    def __call__(self, traits: np.ndarray) -> np.ndarray:
        """Tell it for replies with these traits, (N, traits)."""
        found: np.ndarray = 1 / (1 + np.exp(-(traits @ np.array(self.weights) + self.bias)))
        return found


class RankingFacts(BaseModel):
    """How replies are ranked, as the file says.

    Args:
        written: the version of the format.
        by_words: by `WORD_TRAITS`.
        by_all: by those and `NET_TRAITS`.
        bound: how probably a reply must make sense, from 0 to 1, to be given.
        listening: what is said else: it makes sense after nearly any statement.
        unknowing: what is said else to a question.
        left: how many of the last exchanges have no reply: what is like them is left to the net.
    """

    model_config = ConfigDict(extra="forbid")

    written: int = Field(ge=WRITTEN_FORMAT, le=WRITTEN_FORMAT)
    by_words: Regression
    by_all: Regression
    bound: float = Field(ge=0, le=1)
    listening: list[str] = []
    unknowing: list[str] = []
    left: int = Field(ge=0)


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


class Judged(NamedTuple):
    """A reply, and what is known of it.

    Args:
        reply: its text.
        tokens: of it, without END.
        traits: those of `WORD_TRAITS`, and of `NET_TRAITS` if the net was asked.
        sense: how probably it makes sense, from 0 to 1.
    """

    reply: str
    tokens: Tokens
    traits: np.ndarray
    sense: float


class WrittenArrays(NamedTuple):
    """WrittenExchanges as a file holds them.

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
        if not fits:
            raise ElmanError(f"{path}: damaged, or another version of Elman made it: delete it")


@dataclass
class Written:
    """Finds replies that somebody wrote.

    Args:
        arrays: what was written.
        facts: how replies are ranked.
        match: what tells how well replies belong; None: it is not known.
    """

    arrays: WrittenArrays
    facts: RankingFacts
    match: Match | None = None
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
        before = np.concatenate([[BEGIN], stems[:-1]]).astype(np.int64)[: len(stems)]
        before[begins[:-1][counts > 0]] = BEGIN
        last = stems[begins[1:][counts > 0] - 1].astype(np.int64)
        pairs = np.concatenate([_pair(before, stems.astype(np.int64)), _pair(last, END)])
        pair_rows = np.concatenate([rows, np.flatnonzero(counts).astype(np.int32)])
        often = np.bincount(stems, minlength=STEMS + PAIRS) + np.bincount(
            pairs, minlength=STEMS + PAIRS
        )
        self._idf = np.log((1 + len(counts)) / (1 + often)).clip(0).astype(np.float32)
        squares = np.bincount(rows, self._idf[stems] ** 2, len(counts))
        squares += np.bincount(pair_rows, self._idf[pairs] ** 2, len(counts))
        self._lengths = np.sqrt(squares).clip(1e-6).astype(np.float32)
        order = np.argsort(stems, kind="stable")
        self._rows = rows[order]
        self._places = np.concatenate([[0], np.cumsum(np.bincount(stems, minlength=STEMS))])
        self._common = frozenset(self.arrays.common.view(np.uint16).tolist())

    @classmethod
    def read(cls, bot: Bot) -> Self | None:
        """Read what a bot's folder holds; None where there is none.

        Raises:
            ElmanError: where it is damaged.
        """
        path = bot.path / WRITTEN
        if not path.exists():
            return None
        found, facts = read_arrays(path)
        if found.keys() != set(WrittenArrays._fields):
            raise ElmanError(f"{path}: holds no exchanges: delete it")
        arrays = WrittenArrays(**found)
        arrays.check(path)
        ranking = validated(RankingFacts, facts, path)
        sizes = [len(each.weights) for each in (ranking.by_words, ranking.by_all)]
        if sizes != [len(WORD_TRAITS), len(WORD_TRAITS) + len(NET_TRAITS)]:
            raise ElmanError(f"{path}: ranks by other traits than this version of Elman: delete it")
        return cls(arrays, ranking, Match.read(bot))

    def save(self, folder: Path) -> None:
        """Write it into a bot's folder."""
        write_arrays(folder / WRITTEN, self.arrays._asdict(), self.facts.model_dump())

    def near(self, heard: Sequence[str], said: Sequence[str]) -> list[tuple[Place, float]] | None:
        """Find the different replies to what is most like what was said, the likest first.

        Args:
            heard: messages of the other side, the last one first, which is to be answered.
            said: the bot's own replies, the last one first.

        Returns:
            The place of each reply, and its support (`WORD_TRAITS`); None: it is left to the net.
        """
        asked, before = self._vector(heard[0]), self._vector(" ".join(heard[1:2]))
        own, both = self._vector(" ".join(said[:1])), self._vector(*reversed(heard[:2]))
        places = []
        for row in self._shortlist(heard[:2]):
            goes_on = bool(self.arrays.goes_on[row])
            there = together = self._weighted([self._stems(row)])
            first = told = NO_WORDS
            if goes_on:
                first = self._weighted([self._stems(row - 1)])
                told = self._vector(self.reply(row - 1)) if said else NO_WORDS
                together = self._weighted([self._stems(row - 1), self._stems(row)])
            pairs = ((asked, there), (before, first), (own, told), (both, together))
            places.append(Place(row, self.reply(row), *(_cosine(*pair) for pair in pairs)))
        if not places:
            return []
        first_left = len(self.arrays.goes_on) - self.facts.left
        left = max((place.asked for place in places if place.row >= first_left), default=0.0)
        if left >= max(LEFT_LIKENESS, LEFT_SHARE * max(place.asked for place in places)):
            return None
        places = sorted(filter(lambda place: place.reply, places), key=lambda place: -place.alike)
        known = {stem for text in (*heard, *said) for stem in stems_of(text)}
        first_places: dict[str, Place] = {}
        for place in places:
            if place.reply not in first_places and self._stands_alone(place, known):
                first_places[place.reply] = place
        others = [(self._vector(each.reply), each.alike) for each in places[:SUPPORT_OF]]
        return [
            (place, _support(self._vector(reply), others))
            for reply, place in list(first_places.items())[:CANDIDATES]
        ]

    def best(
        self,
        decoder: Decoder,
        tokenizer: Tokenizer,
        state: State,
        histories: Sequence[History],
        limits: Habits,
        by_net: bool = True,
    ) -> list[Judged | None]:
        """Choose a written reply to each row of a state.

        Args:
            decoder: who replies.
            tokenizer: its own.
            state: after the messages to be answered.
            histories: what was said before, one for each row.
            limits: how far people go in each habit.
            by_net: whether the net is asked too, which takes longer.

        Returns:
            The one that most probably makes sense, if that is probable enough; else one that makes
            sense nearly everywhere, and was not said lately. None: it is left to the net.
        """
        judged = self.judged(decoder, tokenizer, state, histories, limits, by_net)
        return [
            None
            if own is None
            else own[0]
            if own and own[0].sense >= self.facts.bound
            else self._listening(history, tokenizer)
            for own, history in zip(judged, histories, strict=True)
        ]

    def _listening(self, history: History, tokenizer: Tokenizer) -> Judged | None:
        """Return what makes sense nearly everywhere, another one after another message."""
        asked = history.asked or ""
        asks = any(mark in asked for mark in QUESTION_MARKS)
        replies = self.facts.unknowing if asks else self.facts.listening
        first = crc32(asked.encode(errors="replace")) % max(1, len(replies))
        for reply in replies[first:] + replies[:first] if words_of(asked) else []:
            tokens = tuple(tokenizer.encode(reply))
            if tokens not in history.said:
                return Judged(reply, tokens, np.zeros(0), self.facts.bound)
        return None

    def judged(
        self,
        decoder: Decoder,
        tokenizer: Tokenizer,
        state: State,
        histories: Sequence[History],
        limits: Habits,
        by_net: bool = True,
    ) -> list[list[Judged] | None]:
        """Tell how probably written replies make sense in each row of a state, as `best` does.

        Returns:
            For each row the replies that could be given, the best first; None: it is left to the
            net.
        """
        left: list[bool] = []
        found: list[list[tuple[Place, float, Tokens]]] = []
        for history in histories:
            fits = history.asked and len(words_of(history.asked)) <= MAX_WRITTEN_WORDS
            said = [tokenizer.decode(tokens) for tokens in history.said]
            near = self.near(history.heard, said) if fits and history.heard else []
            left.append(near is None or history.asked is None)
            own = [(*each, tuple(tokenizer.encode(each[0].reply))) for each in near or []]
            found.append([
                each
                for each in own
                if each[2] not in history.said and not beyond(each[2], history, limits, tokenizer)
            ])  # fmt: skip
        of_net = [np.zeros((len(row), 0)) for row in found]
        if by_net and any(found):
            replies = [[own[2] for own in row] for row in found]
            of_net = _by_net(decoder, state, replies, self.match)
        sense = self.facts.by_all if by_net else self.facts.by_words
        judged: list[list[Judged] | None] = []
        for row, history, numbers in zip(found, histories, of_net, strict=True):
            by_words = [
                list(self._by_words(place, support, history.heard[0])) for place, support, _ in row
            ]
            traits = np.concatenate(
                [np.reshape(by_words, (len(row), len(WORD_TRAITS))), numbers], 1
            )
            senses = sense(traits).tolist() if row else []
            every = [
                Judged(place.reply, tokens, *each)
                for (place, _, tokens), *each in zip(row, traits, senses, strict=True)
            ]
            judged.append(sorted(every, key=lambda each: -each.sense))
        return [None if none else own for none, own in zip(left, judged, strict=True)]

    def reply(self, row: int) -> str:
        """Return what was written in an exchange."""
        begin, end = self._reply_begins[row : row + 2]
        return self.arrays.replies[begin:end].tobytes().decode(errors="replace")

    def _by_words(self, place: Place, support: float, last: str) -> Iterator[float]:
        """Tell `WORD_TRAITS`."""
        yield from (place.asked, place.before, place.said, place.both, support)
        shared = set(stems_of(place.reply)) & set(stems_of(last))
        yield min(12.0, float(sum(self._idf[stem] for stem in shared))) / 6
        yield len(words_of(place.reply)) / 8
        yield float("?" in place.reply)

    def _shortlist(self, heard: Sequence[str]) -> list[int]:
        """Return the exchanges whose words are the likest, by their number."""
        alike = np.zeros(len(self.arrays.goes_on), np.float32)
        for n, text in enumerate(heard):
            own = np.zeros(len(alike) + 1, np.float32)
            for stem in set(stems_of(text)):
                own[self._rows[self._places[stem] : self._places[stem + 1]]] += self._idf[stem] ** 2
            own[:-1] /= self._lengths
            own /= max(self._vector(text).length, 1e-6)
            if n == 0:
                alike += own[:-1]
            else:
                alike += LIKENESS["both"] * self.arrays.goes_on * np.roll(own[:-1], 1)
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


def _by_net(
    decoder: Decoder,
    state: State,
    replies: Sequence[Sequence[Tokens]],
    match: Match | None,
) -> list[np.ndarray]:
    """Tell `NET_TRAITS` of each reply to each row of a state, (replies, 2)."""
    rows = [row for row, own in enumerate(replies) for _ in own]
    every = [tokens for own in replies for tokens in own]
    given = log_likelihoods(decoder, every, state, rows) / np.sqrt(lengths_with_end(every))
    sizes = [len(own) for own in replies]
    belongs = np.zeros(len(every))
    if match is not None:
        after = split(read_alone(decoder, every)[1], sizes)
        belongs = np.concatenate(match.gains(decoder, state, replies, after)) / match.weight
    return split(np.stack([given, belongs], 1), sizes)


def _as_int16(stems: Sequence[int]) -> np.ndarray:
    return np.array(stems, np.uint16).view(np.int16)
