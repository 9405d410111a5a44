"""How conversations are laid out in batches, and what a batch is."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, Self

import numpy as np


@dataclass(frozen=True)
class Layout:
    """How conversations become training batches.

    Args:
        batch_size: conversations side by side, each in a row of the batch.
        unfold: how many units back the gradient goes.
        unit: "steps" or "messages".
        slide: every reply is learned through exactly `unfold` messages (of unit "messages").
        learn_from: "bot" or "all".
        seed: decides the order.
        own_rows: the rows that this process cuts; None: all. Every process deals the conversations
            to all rows, so that each knows whose turn it is, and makes batches of its own alone.
    """

    batch_size: int
    unfold: int
    unit: str
    slide: bool = False
    learn_from: str = "all"
    seed: int = 0
    own_rows: range | None = None

    def __post_init__(self) -> None:
        if self.batch_size < 1 or self.unfold < 1:
            raise ValueError(
                f"batch_size and unfold must be at least 1, got {self.batch_size} and {self.unfold}"
            )

    @property
    def rows(self) -> range:
        """The rows of which batches are made."""
        return range(self.batch_size) if self.own_rows is None else self.own_rows


@dataclass(frozen=True)
class MessageOrigin:
    """Where a message of a batch comes from.

    Args:
        conversation: its number in the corpus.
        message: the message's number in it, from 0.
        tokens: those of the message that are in the batch.
    """

    conversation: int
    message: int
    tokens: np.ndarray


class Batch(Protocol):
    """The next part of several conversations side by side."""

    def apart(self) -> Sequence[Self]:
        """Return each row by itself."""

    def by_message(self) -> Iterator[tuple[MessageOrigin, Self]]:
        """Yield each message that counts in the loss, and the batch in which it alone does."""
