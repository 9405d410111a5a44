"""From logits to tokens: sampling a reply."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor
from torch.nn import functional as F

from elman.bptt import State
from elman.data.tokenizer import END, SPECIALS
from elman.model.chatbot import Chatbot


class Sampling(BaseModel):
    """How a token is chosen.

    Args:
        temperature: divides the logits; 0 takes the likeliest token.
        top_p: choose among the likeliest tokens that together have this probability.
        min_p: leave out tokens less likely than this share of the likeliest one's probability.
        repetition_penalty: logits of recent tokens are divided by it if positive, else multiplied
            (Keskar et al. 2019).
        longest: the reply is ended after so many tokens.
        seed: None draws one.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    temperature: float = Field(1.0, ge=0, le=100)
    top_p: float = Field(0.95, gt=0, le=1)
    min_p: float = Field(0.02, ge=0, le=1)
    repetition_penalty: float = Field(1.1, ge=1, le=10)
    longest: int = Field(200, ge=1)
    seed: int | None = None

    def generator(self) -> torch.Generator:
        """A source of randomness of its own, so that the global one is left alone."""
        generator = torch.Generator()
        if self.seed is None:
            generator.seed()
        else:
            generator.manual_seed(self.seed)
        return generator


def choose(
    logits: Tensor,
    sampling: Sampling,
    generator: torch.Generator,
    recent: Sequence[int] = (),
    may_end: bool = True,
) -> int:
    """One token.

    Args:
        logits: (vocabulary_size,).
        sampling: how to choose.
        generator: where the randomness comes from.
        recent: tokens under the repetition penalty.
        may_end: whether END is among the choices; roles never are.
    """
    return choose_each(logits.unsqueeze(0), sampling, generator, [recent], [may_end])[0]


def choose_each(
    logits: Tensor,
    sampling: Sampling,
    generator: torch.Generator,
    recent: Sequence[Sequence[int]],
    may_end: Sequence[bool],
    likeliest: Sequence[bool] | None = None,
) -> list[int]:
    """One token for each lane of (batch, vocabulary_size) logits.

    Args:
        logits, sampling, generator: as for `choose`.
        recent: of each lane.
        may_end: of each lane.
        likeliest: lanes that take the likeliest token whatever the temperature.
    """
    logits = logits.clone()
    logits[:, END + 1 : SPECIALS] = -torch.inf
    logits[~torch.tensor(may_end), END] = -torch.inf
    repeated = [(n, t) for n, said in enumerate(recent) for t in set(said) if t >= SPECIALS]
    if repeated and sampling.repetition_penalty != 1:
        rows, tokens = torch.tensor(repeated).T
        values, penalty = logits[rows, tokens], sampling.repetition_penalty
        logits[rows, tokens] = torch.where(values > 0, values / penalty, values * penalty)
    best = logits.argmax(1)
    if sampling.temperature == 0:
        return best.tolist()
    probabilities = torch.softmax(logits / sampling.temperature, dim=1)
    least = sampling.min_p * probabilities.amax(1, keepdim=True)
    # To sort the whole vocabulary would take longer than all else.
    likely = int((probabilities >= least).sum(1).max())
    ordered, order = probabilities.topk(likely, dim=1)
    ordered = ordered.where(ordered >= least, 0)
    upto = ordered.cumsum(1)
    last = (upto - ordered < sampling.top_p * upto[:, -1:]).sum(1, keepdim=True) - 1
    # torch.multinomial would draw a random number for every token of the vocabulary.
    point = upto.gather(1, last) * torch.rand(len(last), 1, generator=generator)
    place = torch.searchsorted(upto, point, right=True).clamp_(max=last)
    drawn = order.gather(1, place).squeeze(1)
    return drawn.where(~torch.tensor(likeliest or [False] * len(best)), best).tolist()


@torch.no_grad()
def reply(
    chatbot: Chatbot,
    state: State,
    sampling: Sampling,
    generator: torch.Generator,
    recent: Sequence[int] = (),
) -> Iterator[tuple[int, State]]:
    """Make one reply, token by token.

    Args:
        chatbot: in evaluation mode.
        state: of one lane, after the message to be answered.
        sampling: how to choose each token.
        generator: where the randomness comes from.
        recent: earlier tokens that fall under the repetition penalty, beside the reply's own.

    Yields:
        Each token, and the state in which the reply could be ended after it. The last is END.
    """
    logits, state = chatbot.begin_reply(state)
    said: list[int] = []
    while len(said) < sampling.longest:
        token = choose(logits[0], sampling, generator, [*recent, *said], may_end=bool(said))
        if token == END:
            break
        said.append(token)
        logits, state = chatbot.step(torch.tensor([token]), state)
        yield token, state
    yield END, chatbot.end_message(state)


class Drawn(NamedTuple):
    """A reply.

    Args:
        tokens: without END.
        nats: -log p of it and of END, by the net itself, whatever it was drawn with.
    """

    tokens: tuple[int, ...]
    nats: float


@torch.no_grad()
def reply_batch(
    chatbot: Chatbot,
    state: State,
    sampling: Sampling,
    generator: torch.Generator | None = None,
    recent: Sequence[int] = (),
    likeliest: Sequence[bool] | None = None,
) -> list[Drawn]:
    """Replies of many lanes at once; lanes do not depend on one another's length.

    Args:
        chatbot: in evaluation mode.
        state: (batch, size) tensors.
        sampling: how to choose each token.
        generator: where the randomness comes from; None: the sampling's seed.
        recent: tokens under the repetition penalty, beside each reply's own.
        likeliest: lanes that take the likeliest token each time.
    """
    generator = generator or sampling.generator()
    logits, state = chatbot.begin_reply(state)
    said: list[list[int]] = [[] for _ in range(len(logits))]
    nats = torch.zeros(len(logits), dtype=torch.float64)
    lanes = list(range(len(logits)))
    while lanes:
        tokens = choose_each(
            logits,
            sampling,
            generator,
            [[*recent, *said[lane]] for lane in lanes],
            [bool(said[lane]) for lane in lanes],
            likeliest and [likeliest[lane] for lane in lanes],
        )
        for row, lane in enumerate(lanes):
            if len(said[lane]) == sampling.longest:
                tokens[row] = END
        nats[lanes] += F.cross_entropy(logits, torch.tensor(tokens), reduction="none").double()
        going = [row for row, token in enumerate(tokens) if token != END]
        for row in going:
            said[lanes[row]].append(tokens[row])
        lanes = [lanes[row] for row in going]
        if lanes:
            if len(going) < len(tokens):
                state = tuple(tensor[going] for tensor in state)
            logits, state = chatbot.step(torch.tensor([tokens[row] for row in going]), state)
    return [Drawn(tuple(own), cost) for own, cost in zip(said, nats.tolist(), strict=True)]


@torch.no_grad()
def say(chatbot: Chatbot, state: State, tokens: Sequence[int]) -> Iterator[tuple[int, State]]:
    """Say a reply whose tokens are known; yields as `reply` does."""
    _, state = chatbot.begin_reply(state)
    for token in tokens:
        _, state = chatbot.step(torch.tensor([token]), state)
        yield token, state
    yield END, chatbot.end_message(state)
