"""Which of several replies is best: likely after this history, and not after every other.

A bot's likeliest replies fit everywhere ("I don't know"). Mutual information takes off what a reply
would be worth with no history at all (Li et al. 2016, "A Diversity-Promoting Objective Function for
Neural Conversation Models", eq. 9, MMI-antiLM):

    score(r | h) = (log p(r | h) - mutual * log p(r)) / sqrt(len(r))

Dividing by the length would prefer short replies, not dividing at all long ones (LOG.md). A reply
that is likelier than all others together is right, and is not outdone by a rarer one.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import log
from typing import Any, NamedTuple, Self

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from elman.bptt import State
from elman.data.tokenizer import END, ROLES
from elman.model.chatbot import Chatbot
from elman.model.decoding import Drawn, Sampling, reply_batch

LANES = 128
"""Candidates that are drawn or scored side by side."""

AGAIN = 1.5
"""Of its score, what a reply loses for having been given lately: what is right is said again, what
is only likely is not.
"""

CERTAIN = -log(2)
"""log p from which a reply is likelier than all others together."""

Tokens = tuple[int, ...]


class Ranking(BaseModel):
    """How one of several replies is chosen.

    Args:
        samples: how many replies are drawn; of several, the first takes the likeliest token each
            time.
        mutual: how much of a reply's likelihood without history is taken off.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    samples: int = Field(8, ge=1, le=256)
    mutual: float = Field(1.0, ge=0, le=1)

    @classmethod
    def of(cls, config: Mapping[str, Any], **given: Any) -> Self:
        """That of a bot, as its configuration says, but for what is given and not None."""
        values = [("mutual", config.get("reply", {}).get("mmi_weight")), *given.items()]
        return cls(**{name: value for name, value in values if value is not None})


@dataclass(frozen=True)
class Candidate:
    """A reply that could be given.

    Args:
        tokens: without END, at least one.
        score: of `Likelihoods`; higher is better.
        certain: whether it is likelier than all others together.
    """

    tokens: Tokens
    score: float
    certain: bool = False

    def rank(self, avoid: Collection[Tokens] = ()) -> tuple[bool, float]:
        """What the best has most of; a reply that is to be avoided is worth less."""
        return self.certain, self.score - AGAIN * (self.tokens in avoid)


class Likelihoods(NamedTuple):
    """Of the replies of one lane, each (candidates,) float64.

    Args:
        given: log p of each given the history, in nats.
        alone: log p given none.
        lengths: tokens of each, END being one.
    """

    given: Tensor
    alone: Tensor
    lengths: Tensor

    def scores(self, mutual: float) -> Tensor:
        """In nats per square root of a token; higher is better."""
        return (self.given - mutual * self.alone) / self.lengths.sqrt()


def likelihoods(
    chatbot: Chatbot, state: State, candidates: Sequence[Sequence[Tokens]]
) -> list[Likelihoods]:
    """How likely some replies are.

    Args:
        chatbot: in evaluation mode.
        state: (batch, size) tensors, of each lane after the message to be answered.
        candidates: for each lane its replies, without END.
    """
    rows = [row for row, own in enumerate(candidates) for _ in own]
    every = [tokens for own in candidates for tokens in own]
    lengths = torch.tensor([len(tokens) + 1 for tokens in every])
    parts = (log_likelihoods(chatbot, every, state, rows), log_likelihoods(chatbot, every), lengths)
    sizes = [len(own) for own in candidates]
    return list(map(Likelihoods, *(part.split(sizes) for part in parts)))


@torch.no_grad()
def log_likelihoods(
    chatbot: Chatbot,
    replies: Sequence[Tokens],
    state: State | None = None,
    rows: Sequence[int] = (),
) -> Tensor:
    """log p of each reply and its END in nats, (replies,) float64.

    Args:
        chatbot: in evaluation mode.
        replies: without END.
        state: of some conversations; None: nothing was said before.
        rows: for each reply the row of its conversation in `state`.
    """
    found = torch.zeros(len(replies), dtype=torch.float64)
    for group in _alike([len(tokens) for tokens in replies]):
        own = (
            chatbot.initial_state(len(group))
            if state is None
            else tuple(tensor[[rows[n] for n in group]] for tensor in state)
        )
        found[group] = -chatbot.costs_of([_message(replies[n]) for n in group], own)
    return found


def _alike(lengths: Sequence[int]) -> Iterator[list[int]]:
    """Groups of up to `LANES`, by number, of which none is over twice as long as another."""
    order = sorted(range(len(lengths)), key=lambda n: -lengths[n])
    begin = 0
    while begin < len(order):
        end = begin + 1
        while (
            end < min(len(order), begin + LANES)
            and 2 * lengths[order[end]] >= lengths[order[begin]]
        ):
            end += 1
        yield order[begin:end]
        begin = end


def ranked(
    candidates: Sequence[Tokens],
    likelihoods: Likelihoods,
    mutual: float,
    lost: Tensor | float = 0.0,
) -> list[Candidate]:
    """Replies of one lane, the best first; `lost` is what else each loses of its score."""
    certain = likelihoods.given > CERTAIN
    scores = likelihoods.scores(mutual) - lost
    found = map(Candidate, candidates, scores.tolist(), certain.tolist())
    return sorted(found, key=Candidate.rank, reverse=True)


def draw(
    chatbot: Chatbot,
    state: State,
    sampling: Sampling,
    samples: int,
    generator: torch.Generator,
    recent: Sequence[int] = (),
) -> list[list[Drawn]]:
    """For each lane of a state up to `samples` different replies; of several, the first is the one
    that takes the likeliest token each time.
    """
    samples = samples if sampling.temperature else 1  # they would all be the same
    rows = [row for row in range(len(state[0])) for _ in range(samples)]
    drawn: list[list[Drawn]] = [[] for _ in state[0]]
    for begin in range(0, len(rows), LANES):
        lanes = rows[begin : begin + LANES]
        first = [samples > 1 and (begin + n) % samples == 0 for n in range(len(lanes))]
        own = tuple(tensor[lanes] for tensor in state)
        replies = reply_batch(chatbot, own, sampling, generator, recent, first)
        for row, reply in zip(lanes, replies, strict=True):
            drawn[row].append(reply)
    return [list({each.tokens: each for each in own}.values()) for own in drawn]


def generated(
    chatbot: Chatbot,
    state: State,
    sampling: Sampling,
    ranking: Ranking,
    generator: torch.Generator,
    recent: Sequence[int] = (),
    avoid: Collection[Tokens] = (),
) -> list[Candidate]:
    """For each lane of a state the best of the replies that it draws.

    Args:
        chatbot: in evaluation mode.
        state: (batch, size) tensors.
        sampling: how each is drawn.
        ranking: how many, and what is best.
        generator: where the randomness comes from.
        recent: tokens under the repetition penalty.
        avoid: replies that are taken only where no other is about as good.
    """
    lanes = draw(chatbot, state, sampling, ranking.samples, generator, recent)
    return [
        fresh(ranked(replies, likely, ranking.mutual), avoid)
        for replies, likely in as_drawn(chatbot, lanes, alone=ranking.mutual > 0)
    ]


def as_drawn(
    chatbot: Chatbot, lanes: Sequence[Sequence[Drawn]], alone: bool = True
) -> Iterator[tuple[list[Tokens], Likelihoods]]:
    """The replies that `draw` gave to each lane, and how likely they are: without history only if
    `alone` says so, else 0.
    """
    every = [each.tokens for own in lanes for each in own]
    nothing = torch.zeros(len(every), dtype=torch.float64)
    if alone:
        nothing = log_likelihoods(chatbot, every)
    for own, without in zip(lanes, nothing.split([len(own) for own in lanes]), strict=True):
        given = torch.tensor([-each.nats for each in own], dtype=torch.float64)
        lengths = torch.tensor([len(each.tokens) + 1 for each in own])
        yield [each.tokens for each in own], Likelihoods(given, without, lengths)


def fresh(candidates: Sequence[Candidate], avoid: Collection[Tokens]) -> Candidate:
    """The best of some candidates, one that is to be avoided being worth less."""
    return max(candidates, key=lambda each: each.rank(avoid))


def _message(tokens: Tokens) -> np.ndarray:
    return np.array([ROLES["bot"], *tokens, END], np.int64)
