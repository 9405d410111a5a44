"""Why the bot said that: what each earlier message did for a reply, computed after the reply.

Three answers stand side by side. Leaving a message out and reading the rest again is exact, and
asks what the reply would have been worth had it never been said. One backward pass tells the same
to first order, in two ways: gradient times input (Simonyan et al., "Deep Inside Convolutional
Networks", 2013), the input being what the layers through time are given of a message; and gradient
times what the message changed in the state, which is the tangent of leaving it out. The layers
begin with a norm, which takes the length out of their input, so that the former sees little.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor

from elman.bptt import Full, State
from elman.data.message_stream import LaneWindow, MessageWindow
from elman.lens.chain import check_chain, frozen
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
        linear: to first order, gradient times what the message changed in the state.
    """

    message: int
    nats: float
    gradient: float
    linear: float

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def receipts(
    bot: Bot,
    turns: Sequence[np.ndarray],
    reply: np.ndarray,
    start: State | None = None,
    most: int = MOST,
) -> list[Receipt]:
    """Receipts of a reply, for each turn before it.

    Args:
        bot: who replied.
        turns: what was said before, each from its role to its END.
        reply: likewise.
        start: the state before the first turn, (1, size) tensors; None: nothing was said before.
        most: only the last so many turns get a receipt; those before them are read, and stay.
    """
    chatbot = bot.chatbot
    check_chain(chatbot)
    state = chatbot.initial_state(1) if start is None else start
    first = max(0, len(turns) - most)
    for turn in turns[:first]:
        state = chatbot.read(turn, state)
    asked = turns[first:]
    if not asked:
        return []
    nats = left_out(chatbot, asked, reply, state)
    exact = (nats[1:] - nats[0]).tolist()
    of_inputs, of_states = by_gradient(chatbot, asked, reply, state)
    columns = zip(exact, of_inputs.tolist(), of_states.tolist(), strict=True)
    return [Receipt(first + n, *numbers) for n, numbers in enumerate(columns)]


@torch.no_grad()
def left_out(
    chatbot: Chatbot, turns: Sequence[np.ndarray], reply: np.ndarray, state: State
) -> Tensor:
    """-log p of a reply in nats, given all turns, and given all but each one: (turns + 1,) float64.

    The state before a turn is that from which reading goes on without it; so each turn is read
    once, side by side in all lanes that have left out an earlier one.
    """
    lanes = state  # row 0 has heard everything, row n + 1 everything but turn n
    for turn in turns:
        after = chatbot.carry(chatbot.inputs(turn), lanes)
        lanes = tuple(torch.cat([new, old[:1]]) for new, old in zip(after, lanes, strict=True))
    nats, _ = chatbot.score([[reply]] * len(lanes[0]), lanes)
    return torch.cat(nats)


def by_gradient(
    chatbot: Chatbot, turns: Sequence[np.ndarray], reply: np.ndarray, state: State
) -> tuple[Tensor, Tensor]:
    """What each turn adds to log p(reply) in nats, to first order, by one backward pass.

    Returns:
        The gradient times the input, summed over the turn's steps: the embeddings of its tokens, or
        the vector that the encoder makes of it, (turns,). And the gradient by the state after the
        turn times what the turn changed in it, summed over the state, (turns,).
    """
    # Leaves of the graph, since no weight wants a gradient.
    states = [tuple(part.detach().clone().requires_grad_() for part in state)]
    with frozen(chatbot), torch.enable_grad():
        inputs = [chatbot.inputs(turn).detach().requires_grad_() for turn in turns]
        for given in inputs:
            states.append(chatbot.carry(given, states[-1]))
        lane = LaneWindow([reply], [True], carry=0, fresh=False)
        nats = chatbot.loss(MessageWindow([lane]), states[-1], Full()).nats
    # Each with what its gradient is multiplied by; parts that a memory leaves empty have none.
    along = [(given, given) for given in inputs]
    for before, after in pairwise(states):
        along += [(new, new - old) for old, new in zip(before, after, strict=True)]
    wanted = [(at, times) for at, times in along if at.requires_grad]
    gradients = iter(
        torch.autograd.grad(
            -nats, [at for at, _ in wanted], allow_unused=True, materialize_grads=True
        )
    )
    effects = torch.stack(
        [
            (next(gradients) * times).sum().detach() if at.requires_grad else nats.new_zeros(())
            for at, times in along
        ]
    )
    return effects[: len(turns)], effects[len(turns) :].view(len(turns), -1).sum(1)
