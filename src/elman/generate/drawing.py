"""Saying replies from a state: one as it grows, or many side by side."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from elman.data.tokenizer import END
from elman.generate.decoder import Decoder, State
from elman.generate.sampling import (
    LIKELIEST_TOP_P,
    ReplySampler,
    SamplingParams,
    choose,
)
from elman.generate.token_draw import token_nats


def reply(
    decoder: Decoder,
    state: State,
    params: SamplingParams,
    generator: np.random.Generator,
    recent: Sequence[int] = (),
) -> Iterator[tuple[int, State]]:
    """Make one reply, token by token.

    Args:
        decoder: who replies.
        state: of one conversation, after the message to be answered.
        params: how to choose each token.
        generator: where its seed comes from.
        recent: earlier tokens that fall under the repetition penalty, beside the reply's own.

    Yields:
        Each token, and the state in which the reply could be ended after it. The last is END, with
        the state after it.
    """
    [seed] = _seeds(1, generator)
    sampler = ReplySampler(params, recent, characters=decoder.characters, seed=seed)
    logits, state = decoder.begin_reply(state)
    while sampler.left > 0:
        [token] = choose(logits, [sampler])
        if token == END:
            break
        sampler.say(token)
        logits, state = decoder.step(np.array([token]), state)
        yield token, state
    yield END, decoder.end_message(state)


class Drawn(NamedTuple):
    """A reply.

    Args:
        tokens: without END.
        nats: -log p of it and of END, by the decoder's own logits, however it was drawn.
        state: in which END is yet to be said; None: it was not kept.
    """

    tokens: tuple[int, ...]
    nats: float
    state: State | None = None


def reply_batch(
    decoder: Decoder,
    state: State,
    params: SamplingParams,
    generator: np.random.Generator | None = None,
    recent: Sequence[int] = (),
    likeliest: Sequence[bool] | None = None,
    keep_states: bool = False,
) -> list[Drawn]:
    """Make a reply in each row; rows do not depend on one another's length.

    Args:
        decoder: who replies.
        state: (rows, size) arrays, after the messages to be answered.
        params: how to choose each token.
        generator: where their seeds come from; None: the seed of `params`.
        recent: tokens under the repetition penalty, beside each reply's own.
        likeliest: rows that take the likeliest token each time; None: none do.
        keep_states: whether the state of each is wanted: a megabyte or so with a long pointer.
    """
    generator = generator or params.generator()
    logits, state = decoder.begin_reply(state)
    greedy = params.model_copy(update={"top_p": LIKELIEST_TOP_P})
    own_params = [greedy if first else params for first in likeliest or [False] * len(logits)]
    samplers = [
        ReplySampler(own, recent, characters=decoder.characters, seed=seed)
        for own, seed in zip(own_params, _seeds(len(logits), generator), strict=True)
    ]
    nats = np.zeros(len(logits))
    states: list[State | None] = [None] * len(logits)
    rows = list(range(len(logits)))
    while rows:
        speaking = [samplers[row] for row in rows]
        tokens = choose(logits, speaking)
        tokens = [
            token if each.left > 0 else END for token, each in zip(tokens, speaking, strict=True)
        ]
        nats[rows] += token_nats(logits, np.array(tokens))
        going = [at for at, token in enumerate(tokens) if token != END]
        for at in set(range(len(rows))).difference(going) if keep_states else ():
            states[rows[at]] = decoder.select(state, [at])
        rows = [rows[at] for at in going]
        for row, at in zip(rows, going, strict=True):
            samplers[row].say(tokens[at])
        if rows:
            if len(going) < len(tokens):
                state = decoder.select(state, going)
            logits, state = decoder.step(np.array([tokens[at] for at in going]), state)
    said = [tuple(each.said) for each in samplers]
    return list(map(Drawn, said, nats.tolist(), states))


def _seeds(rows: int, generator: np.random.Generator) -> list[int]:
    """Draw a seed for each reply."""
    found: list[int] = generator.integers(2**64, size=rows, dtype=np.uint64).tolist()
    return found
