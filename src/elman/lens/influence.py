"""Why the bot said that: what each earlier message did for a reply, computed after the reply.

Four answers stand side by side. Leaving a message out and reading the rest again is exact, and asks
what the reply would have been worth had it never been said. Hiding its words from the pointer alone
is exact, too, and asks what they were worth for being copied. One backward pass tells the former
to first order, in two ways: gradient times input (Simonyan et al., "Deep Inside Convolutional
Networks", 2013), the input being what the layers through time are given of a message; and gradient
times what the message changed in the state, which is the tangent of leaving it out. The layers
begin with a norm, which takes the length out of their input, so that the former sees little.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from elman.bptt import Full, State
from elman.data.message_stream import LaneWindow, MessageWindow
from elman.lens.chain import frozen
from elman.model.chatbot import Chatbot
from elman.model.checkpoint import Bot

MOST = 64
"""Messages that have a receipt; the cost grows with their square."""


@dataclass(frozen=True)
class Receipt:
    """What one message did for a reply.

    Args:
        message: its place among the turns, from 0.
        nats: log p(reply | all turns) - log p(reply | all but this one); above 0, it made the
            reply likelier.
        gradient: to first order, gradient times input.
        linear: to first order, gradient times what the message changed in the state; None where it
            was not asked for.
        copied: log p(reply) - log p(reply | the pointer does not see this turn's words); 0 where
            nothing can be copied.
    """

    message: int
    nats: float
    gradient: float
    linear: float | None = None
    copied: float = 0.0

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def work(turns: Sequence[np.ndarray], reply: np.ndarray) -> int:
    """Steps of all lanes that receipts of a reply take, about: each turn is read in a lane for
    every turn before it, the reply is scored twice in all lanes, and once all is differentiated.
    """
    read = sum(lanes * len(turn) for lanes, turn in enumerate(turns, 1))
    return read + 2 * (len(turns) + 1) * len(reply) + 2 * (sum(map(len, turns)) + len(reply))


def receipts(
    bot: Bot | Chatbot,
    turns: Sequence[np.ndarray],
    reply: np.ndarray,
    start: State | None = None,
    most: int = MOST,
    *,
    linear: bool = False,
    check: Callable[[], None] = lambda: None,
) -> list[Receipt]:
    """Receipts of a reply, for each turn before it.

    Args:
        bot: who replied; where others use its chatbot meanwhile, one that is `apart`.
        turns: what was said before, each from its role to its END.
        reply: likewise.
        start: the state before the first turn, (1, size) tensors; None: nothing was said before.
        most: only the last so many turns get a receipt; those before them are read, and stay.
        linear: whether to add what costs a second, slower backward pass.
        check: is called between the parts of the work, and ends it by raising.
    """
    chatbot = bot.chatbot if isinstance(bot, Bot) else bot
    state = chatbot.initial_state(1) if start is None else start
    first = max(0, len(turns) - most)
    for turn in turns[:first]:
        for piece in chatbot.pieces(turn):
            check()
            state = chatbot.absorb([[piece]], state)
    asked = turns[first:]
    if not asked:
        return []
    lanes = _leaving_out(chatbot, asked, state, check)
    nats = chatbot.costs_of([reply] * len(lanes[0]), lanes)
    exact = (nats[1:] - nats[0]).tolist()
    check()
    words = _hiding(chatbot, asked, reply, tuple(part[:1] for part in lanes)).tolist()
    check()
    effects = by_gradient(chatbot, asked, reply, state).tolist()
    changes = by_state(chatbot, asked, reply, state).tolist() if linear else [None] * len(asked)
    columns = zip(exact, effects, changes, words, strict=True)
    return [Receipt(first + n, *numbers) for n, numbers in enumerate(columns)]


@torch.no_grad()
def left_out(
    chatbot: Chatbot, turns: Sequence[np.ndarray], reply: np.ndarray, state: State
) -> Tensor:
    """-log p of a reply given all turns, and given all but each one: (turns + 1,) float64, nats."""
    lanes = _leaving_out(chatbot, turns, state)
    return chatbot.costs_of([reply] * len(lanes[0]), lanes)


@torch.no_grad()
def _leaving_out(
    chatbot: Chatbot,
    turns: Sequence[np.ndarray],
    state: State,
    check: Callable[[], None] = lambda: None,
) -> State:
    """The state after all turns, and after all but each one, (turns + 1, size) tensors.

    The state before a turn is that from which reading goes on without it; so each turn is read
    once, side by side in all lanes that have left out an earlier one.
    """
    read = chatbot.reader()
    lanes = state  # row 0 has heard everything, row n + 1 everything but turn n
    for turn in turns:
        check()
        after = read(turn, lanes)
        lanes = tuple(torch.cat([new, old[:1]]) for new, old in zip(after, lanes, strict=True))
    return lanes


@torch.no_grad()
def by_copying(
    chatbot: Chatbot, turns: Sequence[np.ndarray], reply: np.ndarray, state: State
) -> Tensor:
    """log p(reply), less log p of it where the pointer is blind to each turn: (turns,) float64, in
    nats. All else, as what the turn did to the state, stays.
    """
    for turn in turns:
        state = chatbot.read(turn, state)
    return _hiding(chatbot, turns, reply, state)


@torch.no_grad()
def _hiding(
    chatbot: Chatbot, turns: Sequence[np.ndarray], reply: np.ndarray, state: State
) -> Tensor:
    """The same, from the state after all turns."""
    layers, record = chatbot.split(state)
    if not record:
        return torch.zeros(len(turns), dtype=torch.float64)
    ids = record[0]
    each = ids.repeat(len(turns) + 1, 1)
    end = ids.shape[1]
    for lane in range(len(turns), 0, -1):
        begin = max(0, end - len(turns[lane - 1]))
        each[lane, begin:end] = 0
        end = begin
    lanes = [part.expand(len(each), -1) for part in state]
    lanes[len(layers)] = each
    nats = chatbot.costs_of([reply] * len(each), tuple(lanes))
    return nats[1:] - nats[0]


def by_gradient(
    chatbot: Chatbot, turns: Sequence[np.ndarray], reply: np.ndarray, state: State
) -> Tensor:
    """Gradient of log p(reply) times input, summed over each turn's steps: (turns,), in nats.

    The input is what the layers through time are given: the embeddings of a turn's tokens, or the
    vector that the encoder makes of it.
    """
    counted = [False] * len(turns) + [True]
    lane = LaneWindow([*turns, reply], counted, carry=len(turns), fresh=False)
    with frozen(chatbot), torch.enable_grad(), inputs_of(chatbot.through_time) as given:
        nats = chatbot.loss(MessageWindow([lane]), state, Full()).nats
    gradients = torch.autograd.grad(nats, given)
    parts = [(x * dx).sum(dim=(1, 2)) for x, dx in zip(given, gradients, strict=True)]
    steps = [chatbot.steps_of(turn) for turn in turns]
    of_turns = -torch.cat(parts).detach()[: sum(steps)]
    return torch.stack([part.sum() for part in of_turns.split(steps)])


def by_state(
    chatbot: Chatbot, turns: Sequence[np.ndarray], reply: np.ndarray, state: State
) -> Tensor:
    """Gradient of log p(reply) by the state after each turn, times what the turn changed in it,
    summed over the state: (turns,), in nats.
    """
    # Leaves of the graph, since no weight wants a gradient.
    states = [tuple(part.detach().clone().requires_grad_() for part in state)]
    with frozen(chatbot), torch.enable_grad():
        for turn in turns:
            states.append(chatbot.carry(turn, states[-1]))
        lane = LaneWindow([reply], [True], carry=0, fresh=False)
        nats = chatbot.loss(MessageWindow([lane]), states[-1], Full()).nats
    # Of the layers alone: a pointer's record moves on with every token, and is no sum of changes.
    layers = [chatbot.split(each)[0] for each in states]
    moved = [[part for part in after if part.requires_grad] for after in layers[1:]]
    gradients = iter(
        torch.autograd.grad(
            nats, [part for own in moved for part in own], allow_unused=True, materialize_grads=True
        )
    )
    effects = []
    for before, after in pairwise(layers):
        effect = nats.new_zeros(())
        for old, new in zip(before, after, strict=True):
            if new.requires_grad:
                effect = effect - (next(gradients) * (new - old)).sum()
        effects.append(effect.detach())
    return torch.stack(effects)


@contextmanager
def inputs_of(module: nn.Module) -> Iterator[list[Tensor]]:
    """Collects what a module is called with, as leaves, so that gradients can be asked for."""
    given: list[Tensor] = []

    def take(_: nn.Module, arguments: tuple[Any, ...]) -> tuple[Any, ...]:
        given.append(arguments[0].detach().requires_grad_())
        return given[-1], *arguments[1:]

    hook = module.register_forward_pre_hook(take)
    try:
        yield given
    finally:
        hook.remove()
