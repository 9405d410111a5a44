"""Where a reply comes from: made by the net, or given by somebody before."""

from collections.abc import Collection, Iterator, Sequence
from copy import copy
from dataclasses import dataclass, replace
from math import inf
from typing import Literal, get_args

import torch

from elman.bptt import State
from elman.errors import ElmanError
from elman.model.checkpoint import Bot
from elman.model.decoding import Sampling, reply, say
from elman.model.ranking import Ranking, Tokens, fresh, generated, likelihoods
from elman.model.reply_index import Bound, Known, ReplyIndex

ReplyFrom = Literal["generate", "data", "best"]
Origin = Literal["generate", "data", "unsure"]


@dataclass(frozen=True)
class Chosen:
    """What is answered.

    Args:
        tokens: without END.
        origin: "generate": the net made it; "data": somebody gave it; "unsure": neither was good
            enough.
        score: of the best reply there was (`elman.model.ranking`).
        certain: whether it was likelier than all others together.
    """

    tokens: Tokens
    origin: Origin
    score: float
    certain: bool = False


class Replier:
    """Chooses replies.

    Args:
        bot: who replies.
        sampling: how the net's own are drawn.
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
        sampling: Sampling | None = None,
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
        self._bot, self._index = bot, index
        self.sampling, self.ranking = sampling or Sampling(), ranking or Ranking.of(bot.config)
        self.reply_from = reply_from
        self._bound = bound or Bound(-inf, -inf)
        self._unsure: Tokens | None = None
        if unsure is not None:
            self._unsure = tuple(bot.tokenizer.encode(unsure.encode(errors="replace")))
        self.last: Chosen | None = None
        """What was answered last; None before that, and where a reply is said as it is drawn."""

    def like(self, sampling: Sampling) -> "Replier":
        """The same, with another way to draw."""
        other = copy(self)
        other.sampling = sampling
        return other

    def __call__(
        self,
        state: State,
        generator: torch.Generator,
        recent: Sequence[int] = (),
        avoid: Collection[Tokens] = (),
    ) -> Iterator[tuple[int, State]]:
        """Reply in one conversation; yields as `elman.model.decoding.reply` does.

        Args:
            state: after the message to be answered, (1, size) tensors.
            generator: where the randomness comes from.
            recent: tokens under the repetition penalty.
            avoid: what was said lately; said again where no other reply is about as good.
        """
        chatbot = self._bot.chatbot
        self.last = None
        single = self.ranking.samples == 1 or self.sampling.temperature == 0
        if self.reply_from == "generate" and single and self._unsure is None:
            return reply(chatbot, state, self.sampling, generator, recent)
        self.last = self.choose(state, generator, recent, avoid)[0]
        return say(chatbot, state, self.last.tokens)

    def choose(
        self,
        state: State,
        generator: torch.Generator,
        recent: Sequence[int] = (),
        avoid: Collection[Tokens] = (),
    ) -> list[Chosen]:
        """What is answered in each lane of a state."""
        chatbot = self._bot.chatbot
        made: list[Chosen] = []
        if self.reply_from != "data":
            made = [
                Chosen(each.tokens, "generate", each.score, each.certain)
                for each in generated(
                    chatbot, state, self.sampling, self.ranking, generator, recent, avoid
                )
            ]
        if self.reply_from == "generate":
            return made
        assert self._index is not None
        given = [self._given(each, avoid) for each in self._index.best(chatbot, state)]
        if not made:
            return given
        # One measure for both.
        likely = likelihoods(chatbot, state, [[each.tokens] for each in given])
        again = [float(own.scores(self.ranking.mutual)[0]) for own in likely]
        return [
            _better(own, replace(other, score=score))
            for own, other, score in zip(made, given, again, strict=True)
        ]

    def replies(self, state: State, generator: torch.Generator) -> list[Tokens]:
        """The tokens of what is answered in each lane of a state, without END."""
        return [each.tokens for each in self.choose(state, generator)]

    def _given(self, known: Known, avoid: Collection[Tokens]) -> Chosen:
        """What somebody answered before, or that the bot is unsure."""
        best = fresh(known.candidates, avoid)
        if self._unsure is not None and not self._bound.reached(best.score, known.alike):
            return Chosen(self._unsure, "unsure", best.score)
        return Chosen(best.tokens, "data", best.score, best.certain)


def _better(one: Chosen, other: Chosen) -> Chosen:
    return max(one, other, key=lambda each: (each.certain, each.score))
