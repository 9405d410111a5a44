"""The contract between a bot and everything that lets it read and reply."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from elman.data.characters import Characters

State = tuple[Any, ...]
"""(rows, size) arrays as `Decoder.state_spec` lists them, of the decoder's own kind."""


class StatePart(NamedTuple):
    """One array of a state, (rows, size); `dtype` is the name that numpy and torch share."""

    name: str
    size: int
    dtype: str = "float32"


class Decoder(ABC):
    """Read messages and say replies, in many conversations side by side.

    Messages, tokens and logits are plain arrays, a row for each conversation. A state is a tuple of
    (rows, size) arrays of the decoder's own kind: whoever holds one takes rows of it by `select`,
    joins several by `join`, and hands it back. A message is its tokens from its role to its END.
    """

    copies: bool = False
    """Whether it can copy from what was said."""

    ends_by_step: bool
    """Whether saying END by `step` is what `end_message` does."""

    @property
    @abstractmethod
    def vocabulary_size(self) -> int:
        """How many tokens there are."""

    @property
    @abstractmethod
    def characters(self) -> Characters | None:
        """Which tokens keep a reply whole; None: any token may follow any other."""

    @property
    @abstractmethod
    def state_spec(self) -> list[StatePart]:
        """What a state is made of. Files and stores know only this."""

    @property
    @abstractmethod
    def weights_digest(self) -> str:
        """The digest of the weights: a state is valid only for the weights that made it."""

    def to_arrays(self, state: State) -> list[np.ndarray]:
        """Return a state as numpy arrays, which every decoder of these weights understands."""
        return list(state)

    def from_arrays(self, arrays: Sequence[np.ndarray]) -> State:
        """Return the state that `to_arrays` gave."""
        return tuple(arrays)

    @abstractmethod
    def initial_state(self, rows: int) -> State:
        """Return the state of conversations in which nothing was said."""

    @abstractmethod
    def select(self, state: State, rows: Sequence[int]) -> State:
        """Return some rows of a state, in that order."""

    @abstractmethod
    def join(self, states: Sequence[State]) -> State:
        """Return the rows of several states, at least one, below one another."""

    @abstractmethod
    def vectors(self, state: State) -> np.ndarray:
        """Return the layers' numbers side by side, (rows, S) float32, by which states compare."""

    @abstractmethod
    def parts(self, message: np.ndarray) -> list[np.ndarray]:
        """Cut a message into parts that may be read at different times.

        Of a message that would take too long, only what is read of it is there.
        """

    @abstractmethod
    def read(self, rows: Sequence[Sequence[np.ndarray]], state: State) -> State:
        """Return the state after some more messages.

        Args:
            rows: for each conversation at least one message, or part of one.
            state: before them.
        """

    @abstractmethod
    def score(
        self, rows: Sequence[Sequence[np.ndarray]], state: State
    ) -> tuple[list[np.ndarray], State]:
        """Read some more messages and tell how likely each was.

        Args:
            rows: for each conversation its messages, at least one.
            state: before them.

        Returns:
            For each conversation -log p in nats of each message's text and END, given its role and
            all before it, (messages,) float64; and the state after the last.
        """

    @abstractmethod
    def costs(self, messages: Sequence[np.ndarray], state: State) -> np.ndarray:
        """Return what `score` says of one message for each row, (rows,), without the states."""

    def costs_without_copies(self, messages: Sequence[np.ndarray], state: State) -> np.ndarray:
        """Return `costs` where nothing is copied. A decoder that `copies` has its own."""
        return self.costs(messages, state)

    def read_without_copies(
        self, messages: Sequence[np.ndarray], state: State
    ) -> tuple[np.ndarray, State]:
        """Return `costs_without_copies`, and the state after each message.

        A decoder that finds both at once has its own.
        """
        after = self.read([[message] for message in messages], state)
        return self.costs_without_copies(messages, state), after

    @abstractmethod
    def begin_reply(self, state: State) -> tuple[np.ndarray, State]:
        """Return the logits of a reply's first token, (rows, vocabulary_size), and the state."""

    @abstractmethod
    def step(self, tokens: np.ndarray, state: State) -> tuple[np.ndarray, State]:
        """Say a token in each row, (rows,) int64; return the next one's logits, and the state."""

    @abstractmethod
    def end_message(self, state: State) -> State:
        """Return the state after END was said."""
