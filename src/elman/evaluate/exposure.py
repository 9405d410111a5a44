"""How much likelier a bot finds the secrets that were planted in what it learned than others.

Exposure is log2 of the number of secrets minus log2 of the rank of the planted one among them
(Carlini et al. 2019). The rank is estimated by sampling: among 511 other secrets that are drawn
like it. So exposure is at most 9 bits here, and a secret that was never learned has 1.44 bits on
average, for its rank is as likely to be any as any other.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import log2

import numpy as np

from elman.data.canaries import CANARY_OPENING, Canary, other_secrets
from elman.data.conversation import Turn
from elman.data.tokenizer import Tokenizer
from elman.generate.decoder import Decoder
from elman.generate.likelihood import as_message

OTHER_SECRETS = 511
MAX_EXPOSURE_BITS = log2(OTHER_SECRETS + 1)

SECRETS_AT_ONCE = 128
"""Secrets that are scored side by side."""


@dataclass(frozen=True)
class Planted:
    """A canary and the conversation that carries it, as the bot sees it."""

    canary: Canary
    turns: tuple[Turn, ...]


@dataclass(frozen=True)
class Exposed:
    """How a bot ranks one canary.

    Args:
        canary: which one.
        bits: its exposure.
        unlearned_bits: that of another secret at the same place, which was never planted.
    """

    canary: Canary
    bits: float
    unlearned_bits: float


def exposures(
    decoder: Decoder, tokenizer: Tokenizer, planted: Sequence[Planted], seed: int
) -> list[Exposed]:
    """Measure the exposure of canaries, each after the messages before it in its conversation."""
    return [_exposed(decoder, tokenizer, each, seed) for each in planted]


def _exposed(decoder: Decoder, tokenizer: Tokenizer, planted: Planted, seed: int) -> Exposed:
    canary = planted.canary
    at = next(n for n, turn in enumerate(planted.turns) if canary.text in turn.text)
    turn = planted.turns[at]
    # The last of the others stands for what was never planted.
    secrets = [canary.secret, *other_secrets(canary, OTHER_SECRETS + 1, seed)]
    said = (turn.text.replace(canary.text, f"{CANARY_OPENING} {secret}") for secret in secrets)
    messages = [_message(tokenizer, Turn(turn.role, text)) for text in said]
    history = [_message(tokenizer, each) for each in planted.turns[:at]]
    state = decoder.initial_state(1)
    if history:
        state = decoder.read([history], state)
    costs = np.concatenate(
        [
            decoder.costs(some, decoder.select(state, [0] * len(some)))
            for begin in range(0, len(messages), SECRETS_AT_ONCE)
            if (some := messages[begin : begin + SECRETS_AT_ONCE])
        ]
    )
    own, others, unlearned = costs[0], costs[1:-1], costs[-1]
    return Exposed(canary, _bits(own, others), _bits(unlearned, others))


def _bits(cost: float, others: np.ndarray) -> float:
    rank = 1 + int((others <= cost).sum())
    return log2(len(others) + 1) - log2(rank)


def _message(tokenizer: Tokenizer, turn: Turn) -> np.ndarray:
    return as_message(tokenizer.encode(turn.text), turn.role)
