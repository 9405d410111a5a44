"""From logits to tokens: sampling a reply."""

from collections.abc import Iterator, Sequence

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

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

    temperature: float = Field(0.8, ge=0, le=100)
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
) -> list[int]:
    """One token for each lane of (batch, vocabulary_size) logits; the rest as for `choose`."""
    logits = logits.clone()
    logits[:, END + 1 : SPECIALS] = -torch.inf
    logits[~torch.tensor(may_end), END] = -torch.inf
    repeated = [(n, t) for n, said in enumerate(recent) for t in set(said) if t >= SPECIALS]
    if repeated and sampling.repetition_penalty != 1:
        rows, tokens = torch.tensor(repeated).T
        values, penalty = logits[rows, tokens], sampling.repetition_penalty
        logits[rows, tokens] = torch.where(values > 0, values / penalty, values * penalty)
    if sampling.temperature == 0:
        return logits.argmax(1).tolist()
    probabilities = torch.softmax(logits / sampling.temperature, dim=1)
    probabilities[probabilities < sampling.min_p * probabilities.amax(1, keepdim=True)] = 0
    ordered, order = probabilities.sort(dim=1, descending=True)
    before = ordered.cumsum(1) - ordered
    ordered[before >= sampling.top_p * ordered.sum(1, keepdim=True)] = 0
    drawn = torch.multinomial(ordered, 1, generator=generator)
    return order.gather(1, drawn).squeeze(1).tolist()


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


@torch.no_grad()
def reply_batch(
    chatbot: Chatbot,
    state: State,
    sampling: Sampling,
    generator: torch.Generator | None = None,
    recent: Sequence[int] = (),
) -> list[list[int]]:
    """Replies of many lanes at once, without END; lanes do not depend on one another's length."""
    generator = generator or sampling.generator()
    logits, state = chatbot.begin_reply(state)
    said: list[list[int]] = [[] for _ in range(len(logits))]
    open_lanes = list(range(len(logits)))
    while open_lanes:
        tokens = choose_each(
            logits,
            sampling,
            generator,
            [[*recent, *said[lane]] for lane in open_lanes],
            [bool(said[lane]) for lane in open_lanes],
        )
        going = []
        for row, (lane, token) in enumerate(zip(open_lanes, tokens, strict=True)):
            if token == END:
                continue
            said[lane].append(token)
            if len(said[lane]) < sampling.longest:
                going.append(row)
        if not going:
            break
        state = tuple(tensor[going] for tensor in state)
        logits, state = chatbot.step(torch.tensor([tokens[row] for row in going]), state)
        open_lanes = [open_lanes[row] for row in going]
    return said


@torch.no_grad()
def say(chatbot: Chatbot, state: State, tokens: Sequence[int]) -> Iterator[tuple[int, State]]:
    """Say a reply whose tokens are known; yields as `reply` does."""
    _, state = chatbot.begin_reply(state)
    for token in tokens:
        _, state = chatbot.step(torch.tensor([token]), state)
        yield token, state
    yield END, chatbot.end_message(state)
