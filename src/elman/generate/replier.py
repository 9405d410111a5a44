"""Where a reply comes from: made by the net, or given by somebody before."""

from collections.abc import Iterator, Sequence
from copy import copy
from dataclasses import dataclass, replace
from math import inf, log
from typing import Literal, get_args

import numpy as np

from elman.data.tokenizer import END
from elman.errors import ElmanError
from elman.generate.bot import Bot
from elman.generate.care import care, cares
from elman.generate.decoder import State
from elman.generate.drawing import reply
from elman.generate.index import Bound, Known, ReplyIndex
from elman.generate.likelihood import Tokens, as_drawn, as_message, likelihoods
from elman.generate.manners import gains_of
from elman.generate.penalties import History
from elman.generate.rerank import Ranking, best, best_drawn, draw, ranked
from elman.generate.sampling import SamplingParams
from elman.generate.smalltalk import SmallTalk
from elman.generate.taught import TaughtReplies, read_common_words
from elman.generate.written import Written

ReplyFrom = Literal["generate", "data", "best"]
Origin = Literal["generate", "data", "unsure", "rule", "small talk", "taught", "written", "told"]

NOTHING_SAID = History()

MAX_TELLING_CHARS = 1000
"""Of each message before: whether it tells something of the user is seen in no more."""

PICKED_FROM = 8
"""Replies that are shown where somebody wants to pick one."""


@dataclass(frozen=True)
class Chosen:
    """What is answered.

    Args:
        tokens: without END.
        origin: "generate": the net made it; "data": somebody gave it; "unsure": neither was good
            enough; "rule": fixed for insults, despair and danger; "small talk": written for
            what was asked; "taught": somebody said in the chat that it should be; "written":
            somebody wrote it for what is like what was said; "told": it says back what the user
            told, or that it was not told.
        score: of the best reply there was (`elman.generate.rerank`).
        certain: whether it was likelier than all others together.
        state: in which END is yet to be said; None: it was not kept.
    """

    tokens: Tokens
    origin: Origin
    score: float
    certain: bool = False
    state: State | None = None


class Replier:
    """Choose replies.

    Args:
        bot: who replies.
        params: how the net's own are drawn.
        ranking: how many, and which of them is best.
        reply_from: "generate": only those; "data": only replies that somebody really gave; "best":
            whichever scores higher.
        index: the replies of the data.
        unsure: what is said where no reply of the data reaches `bound`; None: the best is said.
        bound: as `ReplyIndex.bound` finds it.

    Raises:
        ElmanError: for replies from data without an index.
    """

    def __init__(
        self,
        bot: Bot,
        params: SamplingParams | None = None,
        ranking: Ranking | None = None,
        reply_from: ReplyFrom = "generate",
        index: ReplyIndex | None = None,
        unsure: str | None = None,
        bound: Bound | None = None,
    ) -> None:
        if reply_from not in get_args(ReplyFrom):
            raise ElmanError(f"replies come from generate, data or best, not from {reply_from!r}")
        if reply_from != "generate" and index is None:
            raise ElmanError(f"{bot.path}: has no replies of people to choose from")
        if unsure is not None and not unsure.strip():
            raise ElmanError("what is said where the bot is unsure cannot be empty")

        self.decoder, self._index = bot.decoder, index
        self._tokenizer = bot.tokenizer
        self.params = params or SamplingParams.of(bot.config)
        self.ranking = ranking or Ranking.of(bot.config)
        self.reply_from = reply_from
        self._cares = cares(bot.config)
        common = read_common_words(bot.path)
        self.taught = TaughtReplies(bot.home, bot.knows_names, common)
        """What it was taught in the chat."""
        self._small_talk = None if reply_from == "data" else SmallTalk.read(bot.path)
        self._written = None if reply_from == "data" else Written.read(bot)
        self._gains = None if reply_from == "data" else gains_of(bot)
        self._bound = bound or Bound(-inf, -inf)
        self._unsure: Tokens | None = None
        if unsure is not None:
            self._unsure = tuple(bot.tokenizer.encode(unsure.encode(errors="replace")))
        self.last: Chosen | None = None
        """What was answered last; None before that, and where a reply is said as it is drawn."""

    def with_params(self, params: SamplingParams) -> "Replier":
        """Return a replier like this one that draws in another way."""
        other = copy(self)
        other.params = params
        return other

    def __call__(
        self,
        state: State,
        generator: np.random.Generator,
        recent: Sequence[int] = (),
        history: History = NOTHING_SAID,
    ) -> Iterator[tuple[int, State | None]]:
        """Reply in one conversation.

        Args:
            state: after the message to be answered, (1, size) arrays.
            generator: where the randomness comes from.
            recent: tokens under the repetition penalty.
            history: what was said lately. A reply that was given is said again where no other is
                about as good.

        Yields:
            Each token, and the state in which the reply could be ended after it: None where the
            reply was chosen as a whole. The last is END, with the state after it.
        """
        self.last = self.fixed(history) or self.written(state, [history])[0]
        if self.last is not None:
            return self._said(self.last, state)
        single = self.ranking.samples == 1 or self.params.temperature == 0
        if self.reply_from == "generate" and single and self._unsure is None:
            return reply(self.decoder, state, self.params, generator, recent)
        self.last = self.choose(state, generator, recent, [history], keep_states=True)[0]
        return self._said(self.last, state)

    def choose(
        self,
        state: State,
        generator: np.random.Generator,
        recent: Sequence[int] = (),
        histories: Sequence[History] = (),
        keep_states: bool = False,
    ) -> list[Chosen]:
        """Choose what is answered in each row of a state; each has its history, if it is known."""
        histories = histories or [NOTHING_SAID] * len(state[0])
        chosen = [self.fixed(history) for history in histories]
        for by in (
            self.written,
            lambda state, histories: self._chosen(state, generator, recent, histories, keep_states),
        ):
            rows = [row for row, each in enumerate(chosen) if each is None]
            if rows:
                own = self.decoder.select(state, rows)
                for row, each in zip(rows, by(own, [histories[n] for n in rows]), strict=True):
                    chosen[row] = each
        return [each for each in chosen if each is not None]

    def candidates(
        self,
        state: State,
        generator: np.random.Generator,
        recent: Sequence[int] = (),
    ) -> list[Tokens]:
        """Draw what could be answered in one conversation, the best first, to be picked from.

        Args:
            state: after the message to be answered, (1, size) arrays.
            generator: where the randomness comes from.
            recent: tokens under the repetition penalty.
        """
        samples = max(PICKED_FROM, self.ranking.samples)
        drawn = draw(self.decoder, state, self.params, samples, generator, recent)
        mmi_weight = self.ranking.mmi_weight
        [likely] = as_drawn(self.decoder, state, drawn, mmi=mmi_weight > 0)
        found = ranked([each.tokens for each in drawn[0]], likely, mmi_weight)
        return [each.tokens for each in found if each.tokens][:PICKED_FROM]

    def fixed(self, history: History) -> Chosen | None:
        """Return what is answered without the net, by rule, as it was taught, or as small talk;
        None: nothing is.
        """
        if history.asked is None:
            return None
        said = [self._tokenizer.decode(tokens) for tokens in history.said]
        if self._cares and (text := care(history.asked, said)) is not None:
            return Chosen(tuple(self._tokenizer.encode(text)), "rule", 0.0)
        if (text := self.taught.answer(history.asked)) is not None:
            return Chosen(tuple(self._tokenizer.encode(text)), "taught", 0.0)
        if self._small_talk is not None:
            earlier = (text[:MAX_TELLING_CHARS] for text in (*history.heard[1:], *history.earlier))
            before = list(earlier) if history.whole else None
            text = self._small_talk.answer(history.asked, said, before)
            if text is not None:
                return Chosen(tuple(self._tokenizer.encode(text)), "small talk", 0.0)
        return None

    def written(
        self, state: State, histories: Sequence[History], by_net: bool = True
    ) -> list[Chosen | None]:
        """Return what somebody wrote for each row of a state; None: nothing fits well enough.

        Args:
            state: after the messages to be answered.
            histories: what was said before, one for each row.
            by_net: whether the net ranks too, which takes longer.
        """
        if self._written is None:
            return [None] * len(histories)
        found = self._written.best(
            self.decoder, self._tokenizer, state, histories, self.ranking.limits, by_net
        )
        return [
            each and Chosen(each.tokens, each.origin, log(max(each.sense, 1e-9))) for each in found
        ]

    def _chosen(
        self,
        state: State,
        generator: np.random.Generator,
        recent: Sequence[int],
        histories: Sequence[History],
        keep_states: bool,
    ) -> list[Chosen]:
        """Choose what the net or somebody of the data answers in each row of a state."""
        made: list[Chosen] = []
        if self.reply_from != "data":
            made = [
                Chosen(each.tokens, "generate", each.score, each.certain, each.state)
                for each in best_drawn(
                    self.decoder, state, self.params, self.ranking, generator, recent, histories,
                    self._tokenizer, keep_states, self._gains,
                )
            ]  # fmt: skip
        if self.reply_from == "generate":
            return made
        assert self._index is not None
        known = self._index.best(self.decoder, state)
        given = [self._given(*each) for each in zip(known, histories, strict=True)]
        if not made:
            return given
        # One measure for both.
        likely = likelihoods(
            self.decoder, state, [[each.tokens] for each in given], self.decoder.copies
        )
        again = [float(own.scores(self.ranking.mmi_weight)[0]) for own in likely]
        return [
            _better(own, replace(other, score=score))
            for own, other, score in zip(made, given, again, strict=True)
        ]

    def ended(self, chosen: Chosen, state: State) -> State:
        """Return the state after a chosen reply and its END.

        Args:
            chosen: of one conversation.
            state: after the message that it answers.
        """
        if chosen.state is not None:
            return self.decoder.end_message(chosen.state)
        return self.decoder.read([[as_message(chosen.tokens)]], state)

    def replies(
        self,
        state: State,
        histories: Sequence[History] = (),
        *,
        generator: np.random.Generator,
    ) -> list[Tokens]:
        """Return the tokens of what is answered in each row of a state, without END."""
        return [each.tokens for each in self.choose(state, generator, (), histories)]

    def _said(self, chosen: Chosen, state: State) -> Iterator[tuple[int, State | None]]:
        for token in chosen.tokens:
            yield token, None
        yield END, self.ended(chosen, state)

    def _given(self, known: Known, history: History) -> Chosen:
        """Return what somebody answered before, or that the bot is unsure."""
        found = best(known.candidates, history.said)
        if self._unsure is not None and not self._bound.reached(found.score, known.alike):
            return Chosen(self._unsure, "unsure", found.score)
        return Chosen(found.tokens, "data", found.score, found.certain)


def _better(one: Chosen, other: Chosen) -> Chosen:
    return max(one, other, key=lambda each: (each.certain, each.score))
