"""Attribution by message: what each earlier message did for a reply, computed after the reply.

There are four answers, side by side. Two are exact. *Leaving out* reads everything again without
the message, and asks what the reply would have been worth then. *Hiding* keeps the words of the
message from the pointer alone, and asks what they were worth for being copied.

Two are to first order, and come from a backward pass. *Gradient times input* takes for the input
what the layers through time are given of a message (Simonyan et al., "Deep Inside Convolutional
Networks", 2013). It sees little, since the layers begin with a norm, which takes the length out of
their input. *Gradient times change of state* is the tangent of leaving out.
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
from elman.data.message_stream import MessageWindow, RowWindow
from elman.generate.network import NetworkBot
from elman.lens.chain import frozen
from elman.model.chatbot import Chatbot

MAX_ATTRIBUTED_MESSAGES = 64
"""Messages before a reply that are looked at. The cost grows with their square."""


@dataclass(frozen=True)
class Attribution:
    """What one message did for a reply, in nats of its log-likelihood.

    Args:
        message: its position among the turns, from 0.
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


def attribution_steps(turns: Sequence[np.ndarray], reply: np.ndarray) -> int:
    """Estimate the work of `attribute`, in steps of single rows.

    Each turn is read once for every turn before it; the reply is scored twice for every turn; and
    once everything is differentiated.
    """
    read = sum(rows * len(turn) for rows, turn in enumerate(turns, 1))
    return read + 2 * (len(turns) + 1) * len(reply) + 2 * (sum(map(len, turns)) + len(reply))


def attribute(
    bot: NetworkBot | Chatbot,
    turns: Sequence[np.ndarray],
    reply: np.ndarray,
    start: State | None = None,
    max_messages: int = MAX_ATTRIBUTED_MESSAGES,
    *,
    linear: bool = False,
    check: Callable[[], None] = lambda: None,
) -> list[Attribution]:
    """Say of each turn before a reply what it did for it.

    Args:
        bot: who replied. Where others use its chatbot meanwhile, give one that is `apart`.
        turns: what was said before, each from its role to its END.
        reply: likewise.
        start: the state before the first turn, (1, size) tensors; None: nothing was said before.
        max_messages: how many turns are looked at, the last ones. Those before them are only read.
        linear: whether to add what costs a second, slower backward pass.
        check: called between the parts of the work; it ends the work by raising.
    """
    chatbot = bot.chatbot if isinstance(bot, NetworkBot) else bot
    state = chatbot.initial_state(1) if start is None else start
    first = max(0, len(turns) - max_messages)
    for turn in turns[:first]:
        for piece in chatbot.pieces(turn):
            check()
            state = chatbot.absorb([[piece]], state)
    asked = turns[first:]
    if not asked:
        return []
    states = without_each(chatbot, asked, state, check)
    nats = chatbot.costs_of([reply] * len(states[0]), states)
    exact = (nats[1:] - nats[0]).tolist()
    check()
    copied = by_hiding(chatbot, asked, reply, tuple(part[:1] for part in states)).tolist()
    check()
    effects = by_gradient(chatbot, asked, reply, state).tolist()
    changes = by_state(chatbot, asked, reply, state).tolist() if linear else [None] * len(asked)
    columns = zip(exact, effects, changes, copied, strict=True)
    return [Attribution(first + n, *numbers) for n, numbers in enumerate(columns)]


@torch.no_grad()
def without_each(
    chatbot: Chatbot,
    turns: Sequence[np.ndarray],
    state: State,
    check: Callable[[], None] = lambda: None,
) -> State:
    """Read turns once with all of them, and once without each.

    The state before a turn is the one from which reading goes on without it. So each turn is read
    once, side by side for all rows that have left out an earlier one.

    Returns:
        The state after all turns, then after all but the first, and so on: (turns + 1, size) each.
    """
    read = chatbot.reader()
    states = state
    for turn in turns:
        check()
        after = read(turn, states)
        states = tuple(torch.cat([new, old[:1]]) for new, old in zip(after, states, strict=True))
    return states


@torch.no_grad()
def by_hiding(
    chatbot: Chatbot, turns: Sequence[np.ndarray], reply: np.ndarray, state: State
) -> Tensor:
    """log p(reply), less log p(reply | the pointer does not see a turn): (turns,) float64, in nats.

    All else that the turn did to the state stays.

    Args:
        chatbot: who replied.
        turns: what was said before.
        reply: from its role to its END.
        state: after all turns, (1, size) tensors.
    """
    layers, record = chatbot.split(state)
    if not record:
        return torch.zeros(len(turns), dtype=torch.float64)
    ids = record[0].repeat(len(turns) + 1, 1)
    end = ids.shape[1]
    for row in range(len(turns), 0, -1):
        begin = max(0, end - len(turns[row - 1]))
        ids[row, begin:end] = 0
        end = begin
    states = [part.expand(len(ids), -1) for part in state]
    states[len(layers)] = ids
    nats = chatbot.costs_of([reply] * len(ids), tuple(states))
    return nats[1:] - nats[0]


def by_gradient(
    chatbot: Chatbot, turns: Sequence[np.ndarray], reply: np.ndarray, state: State
) -> Tensor:
    """Gradient of log p(reply) times input, summed over each turn's steps: (turns,), in nats.

    The input is what the layers through time are given: the embeddings of a turn's tokens, or one
    vector that is made of the turn.
    """
    counted = [False] * len(turns) + [True]
    window = RowWindow([*turns, reply], counted, carry=len(turns), fresh=False)
    with frozen(chatbot), torch.enable_grad(), inputs_of(chatbot.through_time) as given:
        nats = chatbot.loss(MessageWindow([window]), state, Full()).nats
    gradients = torch.autograd.grad(nats, given)
    parts = [(x * dx).sum(dim=(1, 2)) for x, dx in zip(given, gradients, strict=True)]
    steps = [chatbot.steps_of(turn) for turn in turns]
    of_turns = -torch.cat(parts).detach()[: sum(steps)]
    return torch.stack([part.sum() for part in of_turns.split(steps)])


def by_state(
    chatbot: Chatbot, turns: Sequence[np.ndarray], reply: np.ndarray, state: State
) -> Tensor:
    """Gradient of log p(reply) by the state after each turn, times what the turn changed in that
    state, summed over the state: (turns,), in nats.
    """
    # Leaves of the graph, since no weight wants a gradient.
    states = [tuple(part.detach().clone().requires_grad_() for part in state)]
    with frozen(chatbot), torch.enable_grad():
        for turn in turns:
            states.append(chatbot.carry(turn, states[-1]))
        window = RowWindow([reply], [True], carry=0, fresh=False)
        nats = chatbot.loss(MessageWindow([window]), states[-1], Full()).nats
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
    """Collect what a module is called with, as leaves, so that gradients can be asked for."""
    given: list[Tensor] = []

    def take(_: nn.Module, arguments: tuple[Any, ...]) -> tuple[Any, ...]:
        given.append(arguments[0].detach().requires_grad_())
        return given[-1], *arguments[1:]

    hook = module.register_forward_pre_hook(take)
    try:
        yield given
    finally:
        hook.remove()
