"""Who made a gradient large, or no number: the conversation of a batch, and its message."""

from dataclasses import dataclass
from math import isfinite
from typing import Any

import torch

from elman.bptt import Full, State
from elman.data.layout import MessageOrigin
from elman.data.tokenizer import Tokenizer
from elman.model.chatbot import Chatbot

MAX_EXCERPT_CHARS = 80
"""Of a message, in words."""


@dataclass(frozen=True)
class Culprit:
    """Who made a gradient large.

    Args:
        row: of the batch, which its conversation is in.
        conversation_norm: of the gradient of its conversation's loss.
        message_norm: of the gradient of that one message's loss.
        origin: of the message.
    """

    row: int
    conversation_norm: float
    message_norm: float
    origin: MessageOrigin

    def to_json(self, tokenizer: Tokenizer) -> dict[str, Any]:
        """Name its conversation and message in the training data, from 0, with their text."""
        said = " ".join(tokenizer.decode(self.origin.tokens.tolist()).split())
        return {
            "row": self.row,
            "conversation": self.origin.conversation,
            "message": self.origin.message,
            "said": said,
        }

    def in_words(self, tokenizer: Tokenizer) -> str:
        """Name its conversation and message, counted from 1, and how that begins."""
        said = self.to_json(tokenizer)["said"]
        excerpt = said if len(said) <= MAX_EXCERPT_CHARS else said[: MAX_EXCERPT_CHARS - 1] + "…"
        conversation, message = self.origin.conversation + 1, self.origin.message + 1
        return f"conversation {conversation:,}, message {message:,}: “{excerpt}”"


def culprit(chatbot: Chatbot, batch: Any, state: State | None) -> Culprit | None:
    """Find the conversation of a batch whose loss has the largest gradient, and its message.

    Each row is differentiated by itself, and then each message of the worst row. Norms are of the
    whole gradient of their part of the batch's mean loss, without dropout.

    Args:
        chatbot: what is trained; neither its weights nor their gradients are changed.
        batch: a window of steps or of messages.
        state: before it.
    """
    training = chatbot.training
    chatbot.eval()
    try:
        rows = batch.apart()
        states = [
            None if state is None else tuple(part[n : n + 1] for part in state)
            for n in range(len(rows))
        ]
        norms = [_norm(chatbot, row, own) for row, own in zip(rows, states, strict=True)]
        count = sum(targets for _, targets in norms)
        worst = max(range(len(rows)), key=lambda n: _size(norms[n][0]))
        messages = [
            (_norm(chatbot, alone, states[worst])[0], origin)
            for origin, alone in rows[worst].by_message()
        ]
    finally:
        chatbot.train(training)
    if not messages:
        return None
    norm, origin = max(messages, key=lambda message: _size(message[0]))
    return Culprit(worst, norms[worst][0] / count, norm / count, origin)


def _norm(chatbot: Chatbot, batch: Any, state: State | None) -> tuple[float, int]:
    """Measure the gradient of a batch's whole loss: its norm, and how many tokens count."""
    with torch.enable_grad():
        loss = chatbot.loss(batch, state, Full())
    if not len(loss.targets):
        return 0.0, 0
    weights = [p for p in chatbot.parameters() if p.requires_grad]
    found = torch.autograd.grad(loss.nats, weights, allow_unused=True)
    return float(torch.nn.utils.get_total_norm([g for g in found if g is not None])), len(
        loss.targets
    )


def _size(norm: float) -> float:
    """For comparing: what is not a number is the largest."""
    return norm if isfinite(norm) else float("inf")
