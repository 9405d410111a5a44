"""A conversation seen through rounded weights: losses and states, and no gradient."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from elman.bptt import State
from elman.lens.view import (
    WARMUP_MESSAGES,
    LensView,
    TellText,
    ViewedMessage,
    seen_forward,
    stretch,
)
from elman.model.chatbot import Chatbot

_LOST = (
    "weights rounded to {} have no gradient: the gradient of every message, the unfold lengths, "
    "the lags, the shares of the weights and the gates are lost; --precision float32 shows them"
)


def listen(
    chatbot: Chatbot, said: Sequence[ViewedMessage], precision: str, tell: TellText
) -> LensView:
    """See a conversation through rounded weights: what the bot expects, how its state moves."""
    first = stretch(said)
    seen = list(said[first:])
    state = chatbot.initial_state(1)
    with torch.no_grad():
        if before := [each.tokens for each in said[max(0, first - WARMUP_MESSAGES) : first]]:
            _, state = chatbot.score([before], state)
        token_nats, states = [], []
        for number, each in enumerate(seen):
            if number % 16 == 0:
                tell(f"reading message {number + 1:,} of {len(seen):,}")
            costs, state = _said_by(chatbot, each.tokens, state)
            token_nats.append(costs if each.counts else torch.zeros_like(costs))
            states.append(_hidden(chatbot, state))
    view = seen_forward(seen, first, token_nats, torch.stack(states))
    view.exact = [f"losses and states, as the bot speaks with {precision} weights"]
    view.lost = [_LOST.format(precision)]
    return view


def _said_by(chatbot: Chatbot, tokens: np.ndarray, state: State) -> tuple[Tensor, State]:
    """Compute -log p of each token of a message, as the bot would say it, and the state after."""
    costs = torch.zeros(len(tokens), dtype=torch.float64)
    for place, token in enumerate(tokens[:-1].tolist()):
        logits, state = chatbot.step(torch.tensor([token]), state)
        costs[place + 1] = -float(logits.log_softmax(1)[0, int(tokens[place + 1])])
    return costs, chatbot.end_message(state)


def _hidden(chatbot: Chatbot, state: State) -> Tensor:
    """Take h of the layers that carry the state, (L, H)."""
    stack = chatbot.through_time
    return torch.cat(stack.own_state(state)[:: stack.states_per_layer])
