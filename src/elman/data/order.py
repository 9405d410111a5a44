"""The order in which conversations are handed out: a new one each epoch, from a seed."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from elman.data.corpus import Corpus


@dataclass(frozen=True)
class Layout:
    """How conversations become training batches.

    Args:
        lanes: conversations side by side.
        unfold: how many units back the gradient goes.
        unit: "steps" or "messages".
        slide: every reply is learned through exactly `unfold` messages (of unit "messages").
        learn_from: "bot" or "all".
        seed: decides the order.
    """

    lanes: int
    unfold: int
    unit: str
    slide: bool = False
    learn_from: str = "all"
    seed: int = 0

    def __post_init__(self) -> None:
        if self.lanes < 1 or self.unfold < 1:
            raise ValueError(
                f"lanes and unfold must be at least 1, got {self.lanes} and {self.unfold}"
            )


@dataclass(frozen=True)
class Place:
    """Where a message of a batch comes from.

    Args:
        conversation: its number in the corpus.
        message: the message's number in it, from 0.
        tokens: those of the message that are in the batch.
    """

    conversation: int
    message: int
    tokens: np.ndarray


def check_lanes(conversations: Sequence[int], lanes: int, corpus: Corpus) -> None:
    """Raises ValueError where lanes would read conversations that are not there; -1: none."""
    if len(conversations) != lanes:
        raise ValueError(f"there are {lanes} lanes, not {len(conversations)}")
    if strange := set(conversations) - set(range(-1, len(corpus))):
        raise ValueError(f"there is no conversation {min(strange)}")


class Order:
    """Endless numbers of conversations, each once an epoch.

    Args:
        count: how many conversations there are, at least one.
        seed: decides the order, together with the epoch.
    """

    def __init__(self, count: int, seed: int) -> None:
        self._count = count
        self._seed = seed
        self._epoch = 0
        self._taken = 0
        self._order = self._shuffled()

    @property
    def epochs(self) -> float:
        """How many times all of them have been handed out."""
        return self._epoch + self._taken / self._count

    def take(self) -> int:
        """The next conversation."""
        if self._taken == self._count:
            self._epoch, self._taken = self._epoch + 1, 0
            self._order = self._shuffled()
        self._taken += 1
        return int(self._order[self._taken - 1])

    def _shuffled(self) -> np.ndarray:
        return np.random.default_rng([self._seed, self._epoch]).permutation(self._count)

    def state_dict(self) -> dict[str, Any]:
        return {"epoch": self._epoch, "taken": self._taken}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        if state["taken"] > self._count:
            raise ValueError(f"{state['taken']} of {self._count} conversations were handed out")
        self._epoch, self._taken = state["epoch"], state["taken"]
        self._order = self._shuffled()
