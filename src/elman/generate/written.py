"""Replies that somebody wrote: of those to what is like what was said, the one that most probably
makes sense here.

A small net speaks, and often beside the point. A bot's folder may hold exchanges: what a person
says, and the answer that somebody wrote for it (`elman.generate.exchanges` finds them). A logistic
regression tells of the nearest replies how probably each makes sense: of how like the places are,
how alike the replies to them are, and what the net makes of each reply. It was learned from replies
that readers had judged (recipes/written.py). Where none makes sense probably enough, it is said
that somebody listens.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Self
from zlib import crc32

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from elman.data.tokenizer import Tokenizer
from elman.data.untrusted import validated
from elman.errors import ElmanError
from elman.generate.bot import Bot
from elman.generate.decoder import Decoder, State
from elman.generate.exchanges import Exchanges, Place, WrittenArrays
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

MAX_LISTENED_WORDS = 10
"""Words of a message to which it is said that somebody listens; to a longer one the net replies."""

LISTENS_AGAIN_AFTER = 2
"""Replies after which that may be said again."""

ASKS_FOR_TOLD = re.compile(
    r"""
    ^(?!.*\b(?:should|could|can|would\ you\ (?:do|help)|you\ think)\b)(?:
        .*\b(?:what|which|who|whose|when|where|how\ (?:old|many|often))\b.*\b(?:my|i)\b.*\?
        | (?:.*,\ )?(?:my|the\ \w+\ (?:of\ my|i))\b.*\?
        | .*\b(?:say|tell\ me|remind\ me|recall|remember|forgot)\b.*\b(?:my|i)\b.*
    )$""",
    re.IGNORECASE | re.VERBOSE | re.DOTALL,
)
"""A message that asks for what was told, which is the net's to remember."""

MAX_LIKENED_CHARS = 2000
"""Of each message before; replies are compared with no more of it."""

WORD_TRAITS = ("asked", "before", "said", "both", "support", "shared", "words", "question")
"""What is known of a reply without the net, by which it is ranked.

asked, before, said, both: how like the place is in which it was written: the message that is to be
answered, the one before, the bot's reply to that, and the two messages together. support: how like
the replies to the likest places are to it. shared: what its words have in common with the message.
words: how many it has, in eighths. question: whether it asks.
"""

NET_TRAITS = ("given", "match")
"""What the net makes of a reply: log p after what was said, in nats per square root of a token, and
how well it belongs (`elman.generate.match`).
"""


class Regression(BaseModel):
    """How probably a reply makes sense, by some of its traits.

    Args:
        weights: of each trait.
        bias: what is added.
    """

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

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


class Judged(NamedTuple):
    """A reply, and what is known of it.

    Args:
        reply: its text.
        tokens: of it, without END.
        traits: those of `WORD_TRAITS`, and of `NET_TRAITS` if the net was asked; none of what makes
            sense nearly everywhere.
        sense: how probably it makes sense, from 0 to 1; of the latter the bound.
    """

    reply: str
    tokens: Tokens
    traits: np.ndarray
    sense: float


@dataclass
class Written:
    """Chooses among replies that somebody wrote.

    Args:
        exchanges: what was written.
        facts: how replies are ranked.
        match: what tells how well replies belong; None: the net is not asked about them.
    """

    exchanges: Exchanges
    facts: RankingFacts
    match: Match | None = None

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
        return cls(Exchanges(arrays, ranking.left), ranking, Match.read(bot))

    def save(self, folder: Path) -> None:
        """Write it into a bot's folder."""
        write_arrays(folder / WRITTEN, self.exchanges.arrays._asdict(), self.facts.model_dump())

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
        if not 0 < len(words_of(asked)) <= MAX_LISTENED_WORDS:
            return None
        lately = map(tokenizer.decode, history.said[:LISTENS_AGAIN_AFTER])
        if {*lately} & {*self.facts.listening, *self.facts.unknowing}:
            return None
        asks = any(mark in asked for mark in QUESTION_MARKS)
        replies = self.facts.unknowing if asks else self.facts.listening
        first = crc32(asked.encode(errors="replace")) % max(1, len(replies))
        for reply in replies[first:] + replies[:first]:
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
            asked = history.asked or ""
            fits = 0 < len(words_of(asked)) <= MAX_WRITTEN_WORDS
            shortened = history._replace(heard=[text[:MAX_LIKENED_CHARS] for text in history.heard])
            near: list[tuple[Place, float]] | None = []
            if fits and ASKS_FOR_TOLD.search(asked[:MAX_LIKENED_CHARS]):
                near = None  # which is known without looking
            elif fits and shortened.heard:
                near = self.exchanges.near(shortened.heard, [*map(tokenizer.decode, history.said)])
            left.append(near is None or history.asked is None)
            own = [(*each, tuple(tokenizer.encode(each[0].reply))) for each in near or []]
            found.append([
                each
                for each in own
                if each[2] not in history.said and not beyond(each[2], shortened, limits, tokenizer)
            ])  # fmt: skip
        of_net = [np.zeros((len(row), 0)) for row in found]
        match = self.match if by_net else None
        if match is not None and any(found):
            replies = [[own[2] for own in row] for row in found]
            of_net = _by_net(decoder, state, replies, match)
        sense = self.facts.by_words if match is None else self.facts.by_all
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

    def _by_words(self, place: Place, support: float, last: str) -> Iterator[float]:
        """Tell `WORD_TRAITS`."""
        yield from (place.asked, place.before, place.said, place.both, support)
        yield min(12.0, self.exchanges.shared(place.reply, last)) / 6
        yield len(words_of(place.reply)) / 8
        yield float(any(mark in place.reply for mark in QUESTION_MARKS))


def _by_net(
    decoder: Decoder,
    state: State,
    replies: Sequence[Sequence[Tokens]],
    match: Match,
) -> list[np.ndarray]:
    """Tell `NET_TRAITS` of each reply to each row of a state, (replies, 2)."""
    rows = [row for row, own in enumerate(replies) for _ in own]
    every = [tokens for own in replies for tokens in own]
    given = log_likelihoods(decoder, every, state, rows) / np.sqrt(lengths_with_end(every))
    sizes = [len(own) for own in replies]
    after = split(read_alone(decoder, every)[1], sizes)
    gains = match._replace(weight=1.0).gains(decoder, state, replies, after)
    belongs = np.concatenate(gains)
    return split(np.stack([given, belongs], 1), sizes)
