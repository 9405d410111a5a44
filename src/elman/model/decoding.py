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
    logits = logits.clone()
    logits[0 if not may_end else END + 1 : SPECIALS] = -torch.inf
    repeated = torch.tensor([token for token in set(recent) if token >= SPECIALS], dtype=torch.long)
    values = logits[repeated]
    penalty = sampling.repetition_penalty
    logits[repeated] = torch.where(values > 0, values / penalty, values * penalty)
    if sampling.temperature == 0:
        return int(logits.argmax())
    probabilities = torch.softmax(logits / sampling.temperature, dim=0)
    probabilities[probabilities < sampling.min_p * probabilities.max()] = 0
    ordered, order = probabilities.sort(descending=True)
    before = ordered.cumsum(0) - ordered
    ordered[before >= sampling.top_p * ordered.sum()] = 0
    return int(order[torch.multinomial(ordered, 1, generator=generator)])


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
def reply_batch(chatbot: Chatbot, state: State, sampling: Sampling) -> list[list[int]]:
    """Replies of many lanes at once, without END; lanes do not depend on one another's length."""
    generator = sampling.generator()
    logits, state = chatbot.begin_reply(state)
    said: list[list[int]] = [[] for _ in range(len(logits))]
    open_lanes = list(range(len(logits)))
    while open_lanes:
        tokens = [
            choose(row, sampling, generator, said[lane], may_end=bool(said[lane]))
            for lane, row in zip(open_lanes, logits, strict=True)
        ]
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
