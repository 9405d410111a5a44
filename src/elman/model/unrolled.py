"""Conversations as what goes through time: the one view that the lens has of every memory."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from torch import Tensor

Predict = Callable[[Sequence[Tensor], Sequence[Sequence[bool]]], Tensor]


@dataclass(frozen=True)
class Unrolled:
    """Some conversations, each a chain of steps that carries a state.

    `Chatbot.through_time` takes `x` to outputs, and `predict` takes outputs to hidden states, of
    which `Chatbot.logits` makes the logits of tokens. Where gradients are wanted, `x` and `keys`
    have their graph.

    Args:
        x: what `through_time` reads of each conversation, (N_i, H).
        predict: given the outputs of each conversation, (N_i, H), and which of its messages are
            wanted, returns the hidden states that their text and END are predicted from, (K, H),
            one conversation after another. It builds its own graph, which begins at the outputs.
        keys: what the pointer writes down for each token of each conversation, (T_i, H); None: the
            outputs themselves, one for each token.
        owners: by the name of each part of the network, for each of its calls in their order: which
            message every row of its input belongs to, int64 of the input's shape without features.
            Messages are numbered through all conversations; a row of none has their count. The
            calls of `predict` are added when it is called. The pointer is not listed.
    """

    x: list[Tensor]
    predict: Predict
    keys: list[Tensor] | None = None
    owners: dict[str, list[Tensor]] = field(default_factory=dict)
