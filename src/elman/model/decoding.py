"""From logits to tokens: sampling a reply."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor
from torch.nn import functional as F

from elman.bptt import State
from elman.data.characters import Characters
from elman.data.tokenizer import END, SPECIALS
from elman.model.chatbot import Chatbot

ALMOST_NOTHING = 1e-9
"""A share of probability that the likeliest token has alone."""

COPIES, LOOP = 3, 4
"""A reply that ends in so many copies of something, and in so many tokens of them, does not begin
another. Of people's messages one in a thousand does (LOG.md); a pointer that copies what it has
just said would never end.
"""


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
    said: Sequence[int] = (),
    recent: Sequence[int] = (),
    characters: Characters | None = None,
) -> int:
    """One token; no role, not END as the first of a reply, nothing that goes on with a loop or
    that leaves a character unfinished.

    Args:
        logits: (vocabulary_size,).
        sampling: how to choose.
        generator: where the randomness comes from.
        said: the reply so far, under the repetition penalty.
        recent: earlier tokens under it.
        characters: of the vocabulary; None: any token may follow any other.
    """
    return choose_each(
        logits.unsqueeze(0), sampling, generator, [said], recent, characters=characters
    )[0]


def choose_each(
    logits: Tensor,
    sampling: Sampling,
    generator: torch.Generator,
    said: Sequence[Sequence[int]],
    recent: Sequence[int] = (),
    likeliest: Sequence[bool] | None = None,
    characters: Characters | None = None,
) -> list[int]:
    """One token for each lane of (batch, vocabulary_size) logits; END where a character could not
    be finished in `sampling.longest` tokens.

    Args:
        logits, sampling, generator, recent, characters: as for `choose`.
        said: of each lane.
        likeliest: lanes that take the likeliest token whatever the temperature.
    """
    changed = logits.numpy().copy()
    left = [sampling.longest - len(own) for own in said]
    forbid(changed, said, left, [looping(own) for own in said], characters)
    seen = set(recent)
    repeated = [(n, t) for n, own in enumerate(said) for t in seen.union(own) if t >= SPECIALS]
    if repeated and sampling.repetition_penalty != 1:
        rows, tokens = np.array(repeated).T
        values, penalty = changed[rows, tokens], sampling.repetition_penalty
        changed[rows, tokens] = np.where(values > 0, values / penalty, values * penalty)
    if sampling.temperature == 0:
        found = changed.argmax(1)
    else:
        points = torch.rand(len(changed), generator=generator).numpy()
        top_p = np.where(likeliest or False, ALMOST_NOTHING, sampling.top_p)
        found = drawn(changed, sampling.temperature, top_p, sampling.min_p, points)
    return [
        token if characters is None or characters.fits(own, token, rest) else END
        for token, own, rest in zip(found.tolist(), said, left, strict=True)
    ]


def forbid(
    logits: np.ndarray,
    said: Sequence[Sequence[int]],
    left: Sequence[int],
    loops: Sequence[Sequence[int]],
    characters: Characters | None,
) -> None:
    """Set to -inf what no reply says next: a role, END as its first token, what goes on with a
    loop (unless nothing else may come), and what leaves a character unfinished.

    Args:
        logits: (lanes, vocabulary_size), changed in place.
        said: of each lane.
        left: tokens that may still be said in each lane.
        loops: what `looping` found in each lane.
        characters: of the vocabulary; None: any token may follow any other.
    """
    logits[:, END + 1 : SPECIALS] = -np.inf
    if characters is not None:
        characters.refuse(logits, said, left)
    for lane, (own, loop) in enumerate(zip(said, loops, strict=True)):
        if not own:
            logits[lane, END] = -np.inf
        elif loop:
            before = logits[lane, loop]
            logits[lane, loop] = -np.inf
            if logits[lane].max() == -np.inf:
                logits[lane, loop] = before


def looping(said: Sequence[int]) -> list[int]:
    """What would begin one more copy of something that a reply ends in copies of."""
    found = []
    for size in range(1, len(said) // COPIES + 1):
        length = max(COPIES * size, LOOP)
        if said[-1] != said[-1 - size] or length > len(said):
            continue
        tail = said[-length:]
        if tail[size:] == tail[:-size]:
            found.append(said[-size])
    return found


def drawn(
    logits: np.ndarray,
    temperature: ArrayLike,
    top_p: ArrayLike,
    min_p: ArrayLike,
    points: ArrayLike,
) -> np.ndarray:
    """One token for each lane, (lanes,), as `Sampling` says.

    Args:
        logits: (lanes, vocabulary_size); -inf is never drawn.
        temperature, top_p, min_p: of each lane, (lanes,), or of all; no temperature is 0.
        points: drawn evenly from 0 to 1, (lanes,).
    """
    lanes = np.arange(len(logits))
    heat, share, floor, points = (
        np.broadcast_to(each, len(lanes)) for each in (temperature, top_p, min_p, points)
    )
    best = logits.argmax(1)
    top = logits[lanes, best]
    with np.errstate(divide="ignore"):
        least = np.maximum(top + heat * np.log(floor), np.finfo(logits.dtype).min)
    # To sort the whole vocabulary would take longer than all else.
    likely = logits >= least.astype(logits.dtype)[:, None]
    likely[lanes, best] = True
    rows, tokens = likely.nonzero()
    p = np.exp((logits[rows, tokens] - top[rows]) / heat[rows], dtype=np.float64)
    order = np.lexsort((-p, rows))
    # Each lane in a row of its own, behind its end nothing: its sums are nobody else's.
    column = np.arange(len(rows)) - rows.searchsorted(lanes)[rows]
    weights = np.zeros((len(lanes), column.max() + 1))
    ids = np.zeros(weights.shape, np.int64)
    weights[rows, column], ids[rows, column] = p[order], tokens[order]
    upto = weights.cumsum(1)
    within = np.zeros(upto.shape, bool)
    within[:, 0] = True
    within[:, 1:] = upto[:, :-1] < share[:, None] * upto[:, -1:]
    last = within.sum(1) - 1
    passed = within & (upto <= (points * upto[lanes, last])[:, None])
    found: np.ndarray = ids[lanes, np.minimum(passed.sum(1), last)]
    return found


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
        token = choose(logits[0], sampling, generator, said, recent, chatbot.characters)
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
            [said[lane] for lane in lanes],
            recent,
            likeliest and [likeliest[lane] for lane in lanes],
            chatbot.characters,
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
