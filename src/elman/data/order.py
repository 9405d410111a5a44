"""Which conversation each lane of a batch reads: in a new order each epoch, from a seed."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import numpy as np

T = TypeVar("T")


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


class Order:
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
        """The next conversation."""
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


class Lanes(Generic[T]):
    """Several lanes, each of which reads one conversation after another.

    Args:
        count: how many conversations there are, at least one.
        layout: how many lanes; and the seed of their order.
        load: what a lane reads of a conversation, given its number.
        length: how many positions a conversation has, given its number.
        start: the position from which a conversation is read.
        position: the name of the positions in a saved state.
    """

    def __init__(
        self,
        count: int,
        layout: Layout,
        load: Callable[[int], T],
        length: Callable[[int], int],
        start: int,
        position: str,
    ) -> None:
        self._order = Order(count, layout.seed)
        self._load, self._length = load, length
        self._start, self._name = start, position
        self._conversation = [-1] * layout.lanes  # -1: the lane takes the next one
        self._position = [start] * layout.lanes
        self._loaded: list[T | None] = [None] * layout.lanes

    def __len__(self) -> int:
        return len(self._conversation)

    @property
    def epochs(self) -> float:
        """How many times the corpus has been handed out to the lanes."""
        return self._order.epochs

    def at(self, lane: int) -> tuple[int, T, int]:
        """The number of the lane's conversation, what it reads of it, and its position there."""
        if self._conversation[lane] < 0:
            self._conversation[lane], self._position[lane] = self._order.take(), self._start
        loaded = self._loaded[lane]
        if loaded is None:
            loaded = self._loaded[lane] = self._load(self._conversation[lane])
        return self._conversation[lane], loaded, self._position[lane]

    def move(self, lane: int, position: int, *, finished: bool) -> None:
        """Go on to a position; where the conversation is finished, the next one comes."""
        self._position[lane] = position
        if finished:
            self._conversation[lane], self._loaded[lane] = -1, None

    def state_dict(self) -> dict[str, Any]:
        """The position, as plain numbers; with the same corpus and layout it resumes exactly."""
        return {
            **self._order.state_dict(),
            "conversation": list(self._conversation),
            self._name: list(self._position),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a saved position.

        Raises:
            ValueError: where the lanes or the conversations are others.
        """
        conversations, positions = list(state["conversation"]), list(state[self._name])
        if not len(conversations) == len(positions) == len(self):
            raise ValueError(f"there are {len(self)} lanes, not {len(conversations)}")
        if strange := set(conversations) - set(range(-1, self._order.count)):
            raise ValueError(f"there is no conversation {min(strange)}")
        for number, position in zip(conversations, positions, strict=True):
            if number >= 0 and position not in range(self._start, self._length(number) - 1):
                raise ValueError(f"conversation {number} has no {self._name} {position}")
        self._order.load_state_dict(state)
        self._conversation, self._position = conversations, positions
        self._loaded = [None] * len(self)
