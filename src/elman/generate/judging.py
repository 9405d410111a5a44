"""How probably a written reply makes sense here: a regression on what is known of it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

from elman.data.tokenizer import Tokenizer
from elman.generate.decoder import Decoder, State
from elman.generate.exchanges import Exchanges, Near, NearReply, last_sentence
from elman.generate.likelihood import (
    Tokens,
    lengths_with_end,
    log_likelihoods,
    read_alone,
    split,
)
from elman.generate.manners import has_question
from elman.generate.match import Match
from elman.generate.penalties import Habits, History, beyond, words_of
from elman.generate.stems import stems_of
from elman.generate.told_already import asks_what_is_told
from elman.generate.written_facts import RankingFacts

CLOSELY = 12
"""Replies that the words say are the best; the net is asked about these alone."""

MAX_LIKENED_CHARS = 2000
"""Of each message before; replies are compared with no more of it."""


class Judged(NamedTuple):
    """A reply, and what is known of it.

    Args:
        reply: its text.
        tokens: of it, without END.
        traits: those of `WORD_TRAITS`, and of `NET_TRAITS` if the net was asked; none of what makes
            sense nearly everywhere.
        sense: how probably it makes sense, from 0 to 1; of the latter the bound.
        origin: "told": it says what the user told, or that the user did not; "generate": what the
            net recalls of that.
    """

    reply: str
    tokens: Tokens
    traits: np.ndarray
    sense: float
    origin: Literal["written", "told", "generate"] = "written"


@dataclass
class Judge:
    """Tells how probably written replies make sense.

    Args:
        exchanges: tell how much words mean.
        facts: what each trait counts for.
        match: what tells how well replies belong; None: the net is not asked about them.
        most: how many of the replies that the words say are the best are looked at closely.
    """

    exchanges: Exchanges
    facts: RankingFacts
    match: Match | None = None
    most: int = CLOSELY

    def __call__(
        self,
        decoder: Decoder,
        tokenizer: Tokenizer,
        state: State,
        histories: Sequence[History],
        nears: Sequence[Near],
        limits: Habits,
        by_net: bool = True,
    ) -> list[list[Judged]]:
        """Judge the candidates in each row of a state.

        Args:
            decoder: the net.
            tokenizer: its own.
            state: after the messages to be answered.
            histories: what was said before, one for each row.
            nears: the candidates.
            limits: how far people go in each habit.
            by_net: whether the net is asked too, which takes longer.

        Returns:
            For each row the replies that could be given, `most` at most, the best first.
        """
        judged = [
            self._by_words(tokenizer, history, near, limits)
            for history, near in zip(histories, nears, strict=True)
        ]
        if self.match is None or not by_net or not any(judged):
            return judged
        of_net = _by_net(
            decoder, state, [[each.tokens for each in row] for row in judged], self.match
        )
        found = []
        for row, numbers in zip(judged, of_net, strict=True):
            traits = [
                np.concatenate([each.traits, own]) for each, own in zip(row, numbers, strict=True)
            ]
            found.append(_ranked(row, traits, self.facts.by_all(np.array(traits))) if row else [])
        return found

    def _by_words(
        self, tokenizer: Tokenizer, history: History, near: Near, limits: Habits
    ) -> list[Judged]:
        """Judge the candidates by their words, those that could be given."""
        if not near.candidates:
            return []
        last, follows = history.heard[0], len(history.heard) > 1
        asks = has_question(last_sentence(last))
        traits = np.array([[*self._traits(each, last), follows, asks] for each in near.candidates])
        unranked = [
            Judged(each.place.reply, tuple(tokenizer.encode(each.place.reply)), own, 0.0)
            for each, own in zip(near.candidates, traits, strict=True)
        ]
        shortened, given = shorter(history), []
        # Whether people do so takes long to tell: of the best alone.
        for judged in _ranked(unranked, traits, self.facts.by_words(traits)):
            said = judged.tokens in history.said
            if not said and not beyond(judged.tokens, shortened, limits, tokenizer):
                given.append(judged)
            if len(given) == self.most:
                break
        return given

    def _traits(self, each: NearReply, last: str) -> Iterator[float]:
        """Tell `WORD_TRAITS` but the last two, which are the message's alone."""
        yield from (*each.place[2:], *each.meant, each.support)
        reply = each.place.reply
        common = {*stems_of(reply)} & {*stems_of(last)}
        yield min(12.0, self.exchanges.index.meaning(common)) / 6
        yield len(words_of(reply)) / 8
        yield float(has_question(reply))
        yield float(asks_what_is_told(reply, last))


def shorter(history: History) -> History:
    """Return a history whose messages are no longer than what is compared with replies."""
    return history._replace(heard=[text[:MAX_LIKENED_CHARS] for text in history.heard])


def _ranked(
    judged: Sequence[Judged], traits: Sequence[np.ndarray] | np.ndarray, senses: np.ndarray
) -> list[Judged]:
    """Return replies with their traits and sense, the best first."""
    found = [
        each._replace(traits=own, sense=float(sense))
        for each, own, sense in zip(judged, traits, senses, strict=True)
    ]
    return sorted(found, key=lambda each: -each.sense)


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
