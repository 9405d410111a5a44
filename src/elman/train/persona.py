"""A persona: the state in which a bot begins, learned from examples. Its weights stay."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from elman.bptt import Full, State
from elman.data.corpus import Corpus, scored
from elman.data.stream import Window
from elman.data.tokenizer import Tokenizer
from elman.errors import ElmanError
from elman.model.chatbot import Chatbot
from elman.model.tokens import TokensChatbot

PERSONA_ROWS, PERSONA_TOKENS = 16, 128
"""Conversations of a step, and how many tokens of the beginning of each are learned."""

PERSONA_STEPS, PERSONA_LR = 60, 0.2
"""Steps of Adam, and its learning rate, which falls to zero in a straight line."""

DEV_SHARE = 0.1
"""Of the examples, what is held out to tell whether anything was gained."""


@dataclass(frozen=True)
class Persona:
    """A state to begin with, and what it is worth.

    Args:
        state: of one row.
        before, after: bits per byte of held-out examples, without and with it; None of both where
            there are too few examples to hold any out.
    """

    state: State
    before: float | None
    after: float | None


def learn_persona(
    chatbot: Chatbot,
    corpus: Corpus,
    tokenizer: Tokenizer,
    learn_from: str,
    *,
    steps: int = PERSONA_STEPS,
    seed: int = 0,
) -> Persona:
    """Learn the state in which conversations like some examples begin.

    Args:
        chatbot: whose weights stay as they are.
        corpus: the examples.
        tokenizer: the chatbot's.
        learn_from: whose messages count, "bot" or "all".
        steps: of Adam.
        seed: of the order.

    Raises:
        ElmanError: for a memory of messages, or where nothing that counts is said.
    """
    if not isinstance(chatbot, TokensChatbot):
        raise ElmanError("a persona can be made for a bot whose memory is of tokens alone")
    order = np.random.default_rng(seed).permutation(len(corpus)).tolist()
    held_out = order[: int(DEV_SHARE * len(order))]
    learned = [n for n in order[len(held_out) :] if scored(corpus[n], learn_from).any()]
    if not learned:
        raise ElmanError("nobody says anything in the examples that the bot would say")
    chatbot.eval().requires_grad_(False)
    layers, record = chatbot.split(chatbot.initial_state(1))
    start = tuple(part.clone().requires_grad_() for part in layers)
    optimizer = torch.optim.Adam(start, PERSONA_LR)
    batches = _batches(learned, seed)
    for step in range(steps):
        window = _window(corpus, next(batches), learn_from)
        nats, count, _ = _nats(chatbot, window, (*start, *record), tokenizer)
        optimizer.zero_grad()
        (nats / count).backward()
        for group in optimizer.param_groups:
            group["lr"] = PERSONA_LR * (1 - step / steps)
        optimizer.step()
    state = (*(part.detach() for part in start), *record)
    return Persona(
        state,
        _bits(chatbot, corpus, held_out, learn_from, chatbot.initial_state(1), tokenizer),
        _bits(chatbot, corpus, held_out, learn_from, state, tokenizer),
    )


def _batches(numbers: list[int], seed: int) -> Iterator[list[int]]:
    generator = np.random.default_rng([seed, 1])
    while True:
        order = [numbers[n] for n in generator.permutation(len(numbers)).tolist()]
        for begin in range(0, len(order), PERSONA_ROWS):
            yield order[begin : begin + PERSONA_ROWS]


def _window(corpus: Corpus, numbers: list[int], learn_from: str) -> Window:
    """Lay out the beginnings of conversations, each in a row that goes on from a given state."""
    rows = [corpus[n][: PERSONA_TOKENS + 1] for n in numbers]
    steps = max(map(len, rows)) - 1
    ids = np.zeros((steps + 1, len(rows)), np.int64)
    weight = np.zeros((steps, len(rows)), np.float32)
    for row, tokens in enumerate(rows):
        ids[: len(tokens), row] = tokens
        weight[: len(tokens) - 1, row] = scored(tokens, learn_from)[1:]
    both = torch.from_numpy(ids)
    nothing = torch.zeros(steps, len(rows), dtype=torch.int64)
    keep = torch.ones(steps, len(rows), dtype=torch.bool)
    return Window(both[:-1], both[1:], torch.from_numpy(weight), keep, nothing, nothing)


def _nats(
    chatbot: Chatbot, window: Window, state: State, tokenizer: Tokenizer
) -> tuple[Tensor, int, int]:
    """Sum the cost of a window's tokens that count; how many they are, and the bytes of text."""
    rows = window.inputs.shape[1]
    loss = chatbot.loss(window, tuple(part.expand(rows, -1) for part in state), Full())
    text_bytes = int(tokenizer.piece_bytes[loss.targets.numpy()].sum())
    return loss.nats, max(1, len(loss.targets)), text_bytes


@torch.no_grad()
def _bits(
    chatbot: Chatbot,
    corpus: Corpus,
    numbers: list[int],
    learn_from: str,
    state: State,
    tokenizer: Tokenizer,
) -> float | None:
    """Compute bits per byte of the beginnings of conversations; None where nothing counts."""
    nats, text_bytes = 0.0, 0
    for begin in range(0, len(numbers), PERSONA_ROWS):
        window = _window(corpus, numbers[begin : begin + PERSONA_ROWS], learn_from)
        cost, _, size = _nats(chatbot, window, state, tokenizer)
        nats, text_bytes = nats + float(cost), text_bytes + size
    return nats / np.log(2) / text_bytes if text_bytes else None
