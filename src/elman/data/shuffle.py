"""Which conversation each row of a batch reads: in a new order each epoch, from a seed."""

from abc import ABC, abstractmethod
from typing import Any, ClassVar, Generic, TypeVar

import numpy as np

from elman.data.corpus import Corpus
from elman.data.layout import Layout

T = TypeVar("T")
"""What a row reads of a conversation."""
B = TypeVar("B")
"""A batch."""


class Shuffle:
    """Endless numbers of conversations, each once an epoch.

    Args:
        count: how many conversations there are, at least one.
        seed: decides the order, together with the epoch.
    """

    def __init__(self, count: int, seed: int) -> None:
        self.count = count
        self._seed = seed
        self._epoch = 0
        self._taken = 0
        self._order = self._shuffled()

    @property
    def epochs(self) -> float:
        """How many times all of them have been handed out."""
        return self._epoch + self._taken / self.count

    def take(self) -> int:
        """Hand out the next conversation."""
        if self._taken == self.count:
            self._epoch, self._taken = self._epoch + 1, 0
            self._order = self._shuffled()
        self._taken += 1
        return int(self._order[self._taken - 1])

    def _shuffled(self) -> np.ndarray:
        return np.random.default_rng([self._seed, self._epoch]).permutation(self.count)

    def state_dict(self) -> dict[str, Any]:
        return {"epoch": self._epoch, "taken": self._taken}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        if state["taken"] > self.count:
            raise ValueError(f"{state['taken']} of {self.count} conversations were handed out")
        self._epoch, self._taken = state["epoch"], state["taken"]
        self._order = self._shuffled()


class ShuffledRows(ABC, Generic[T, B]):
    """Endless batches whose rows each read one conversation after another.

    This class knows where each row is. A subclass says what a row reads of a conversation, and how
    the next batch is cut from that.

    Args:
        corpus: at least one conversation.
        layout: how many rows, how long, and the seed of their order.
    """

    _first: ClassVar[int]
    """The position from which a conversation is read."""
    _position_key: ClassVar[str]
    """The name of the positions in a saved state."""

    def __init__(self, corpus: Corpus, layout: Layout) -> None:
        self._corpus, self._layout = corpus, layout
        self._shuffle = Shuffle(len(corpus), layout.seed)
        self._conversation = [-1] * layout.batch_size  # -1: the row takes the next one
        self._position = [self._first] * layout.batch_size
        self._lengths = [0] * layout.batch_size
        self._loaded: list[T | None] = [None] * layout.batch_size

    @abstractmethod
    def next(self) -> B:
        """Cut the next batch."""

    @abstractmethod
    def _load(self, conversation: int) -> T:
        """Read a conversation, given its number."""

    @abstractmethod
    def _length(self, conversation: int) -> int:
        """Count the positions of a conversation, given its number."""

    @property
    def epochs(self) -> float:
        """How many times the corpus has been handed out to the rows."""
        return self._shuffle.epochs

    def _at(self, row: int) -> tuple[int, int, int]:
        """Say which conversation a row reads, its position there, and how long it is."""
        if self._conversation[row] < 0:
            self._conversation[row], self._position[row] = self._shuffle.take(), self._first
        if not self._lengths[row]:
            self._lengths[row] = self._length(self._conversation[row])
        return self._conversation[row], self._position[row], self._lengths[row]

    def _read(self, row: int) -> T:
        """Return what a row reads of its conversation, which is loaded once."""
        loaded = self._loaded[row]
        if loaded is None:
            loaded = self._loaded[row] = self._load(self._conversation[row])
        return loaded

    def _move(self, row: int, position: int, *, finished: bool) -> None:
        """Go on to a position; where the conversation is finished, the next one comes."""
        self._position[row] = position
        if finished:
            self._conversation[row], self._lengths[row], self._loaded[row] = -1, 0, None

    def state_dict(self) -> dict[str, Any]:
        """Return the position as plain numbers, from which the same corpus and layout resume."""
        return {
            **self._shuffle.state_dict(),
            "conversation": list(self._conversation),
            self._position_key: list(self._position),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a saved position.

        Raises:
            ValueError: where the rows or the conversations are others.
        """
        conversations, positions = list(state["conversation"]), list(state[self._position_key])
        if not len(conversations) == len(positions) == len(self._position):
            raise ValueError(f"there are {len(self._position)} rows, not {len(conversations)}")
        if strange := set(conversations) - set(range(-1, self._shuffle.count)):
            raise ValueError(f"there is no conversation {min(strange)}")
        for number, position in zip(conversations, positions, strict=True):
            if number >= 0 and position not in range(self._first, self._length(number) - 1):
                raise ValueError(f"conversation {number} has no {self._position_key} {position}")
        self._shuffle.load_state_dict(state)
        self._conversation, self._position = conversations, positions
        self._lengths, self._loaded = [0] * len(positions), [None] * len(positions)
