"""Which of several replies is best: likely after this history, and not after every other.

A bot's likeliest replies fit everywhere ("I don't know"). Mutual information takes off what a reply
would be worth with no history at all (Li et al. 2016, "A Diversity-Promoting Objective Function for
Neural Conversation Models", eq. 9, MMI-antiLM):

    score(r | h) = (log p(r | h) - mutual * log p(r)) / len(r)
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from elman.bptt import State
from elman.data.tokenizer import END, ROLES
from elman.model.chatbot import Chatbot
from elman.model.decoding import Sampling, reply_batch

LANES = 128
"""Candidates that are drawn or scored side by side."""

AGAIN = 0.5
"""Nats per token that a reply loses for having been given lately: what is right is said again, what
is only likely is not.
"""

Tokens = tuple[int, ...]


class Ranking(BaseModel):
    """How one of several replies is chosen.

    Args:
        samples: how many replies are drawn; one of them is the likeliest token by token. 1: what is
            drawn first is said, and nothing is ranked.
        mutual: how much of a reply's likelihood without history is taken off.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    samples: int = Field(8, ge=1, le=256)
    mutual: float = Field(0.5, ge=0, le=1)


@dataclass(frozen=True)
class Candidate:
    """A reply that could be given.

    Args:
        tokens: without END, at least one.
        score: of `Likelihoods`, in nats per token; higher is better.
    """

    tokens: Tokens
    score: float


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
        """In nats per token; higher is better."""
        return (self.given - mutual * self.alone) / self.lengths


@torch.no_grad()
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
    messages = [_message(tokens) for own in candidates for tokens in own]
    given, alone = [torch.zeros(0).double()], [torch.zeros(0).double()]
    for begin in range(0, len(messages), LANES):
        some = [[message] for message in messages[begin : begin + LANES]]
        lanes = rows[begin : begin + LANES]
        given += chatbot.score(some, tuple(tensor[lanes] for tensor in state))[0]
        alone += chatbot.score(some, chatbot.initial_state(len(some)))[0]
    lengths = torch.tensor([len(message) - 1 for message in messages])
    sizes = [len(own) for own in candidates]
    parts = (-torch.cat(given), -torch.cat(alone), lengths)
    return list(map(Likelihoods, *(part.split(sizes) for part in parts)))


def ranked(
    chatbot: Chatbot, state: State, candidates: Sequence[Sequence[Tokens]], mutual: float
) -> list[list[Candidate]]:
    """The candidates of each lane, the best first; the same reply is there once."""
    different = [list(dict.fromkeys(own)) for own in candidates]
    found = likelihoods(chatbot, state, different)
    return [
        sorted(map(Candidate, own, each.scores(mutual).tolist()), key=lambda c: -c.score)
        for own, each in zip(different, found, strict=True)
    ]


@torch.no_grad()
def draw(
    chatbot: Chatbot,
    state: State,
    sampling: Sampling,
    samples: int,
    generator: torch.Generator,
    recent: Sequence[int] = (),
) -> list[list[Tokens]]:
    """For each lane of a state `samples` replies, the first of them the likeliest by token."""
    batch = len(state[0])
    likeliest = sampling.model_copy(update={"temperature": 0.0})
    first = reply_batch(chatbot, state, likeliest, generator, recent)
    candidates = [[tuple(tokens)] for tokens in first]
    more = samples - 1 if sampling.temperature else 0  # they would all be the same
    drawn = [row for row in range(batch) for _ in range(more)]
    for begin in range(0, len(drawn), LANES):
        lanes = drawn[begin : begin + LANES]
        own = tuple(tensor[lanes] for tensor in state)
        replies = reply_batch(chatbot, own, sampling, generator, recent)
        for row, tokens in zip(lanes, replies, strict=True):
            candidates[row].append(tuple(tokens))
    return candidates


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
    drawn = draw(chatbot, state, sampling, ranking.samples, generator, recent)
    lanes = ranked(chatbot, state, drawn, ranking.mutual)
    return [fresh(own, avoid) for own in lanes]


def fresh(candidates: Sequence[Candidate], avoid: Collection[Tokens]) -> Candidate:
    """The best of some candidates, one that is to be avoided being worth less."""
    return max(candidates, key=lambda each: each.score - AGAIN * (each.tokens in avoid))


def _message(tokens: Tokens) -> np.ndarray:
    return np.array([ROLES["bot"], *tokens, END], np.int64)
