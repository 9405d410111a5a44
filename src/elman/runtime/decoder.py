"""The contract of generate/ on plain arrays, over one operation: read the tokens of some rows."""

from abc import abstractmethod
from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np

from elman.data.characters import Characters
from elman.data.tokenizer import END, ROLES
from elman.generate.decoder import Decoder, State, StatePart
from elman.model.reading import parts
from elman.runtime.weights import Weights

ArrayState = State
"""(rows, size) float32 arrays: the same numbers as torch's."""

Wanted = Literal["state", "logits", "nats", "nats without copies"]


class Found(NamedTuple):
    """What reading some tokens gives.

    Args:
        logits: of the token after the last of each row, (rows, V) float32.
        nats: for each row -log p of its tokens, (T_i,) float64; 0 of the first and of roles.
            Without copies p is the vocabulary's share alone: no pointer's, and no counts'.
        state: after the last.
    """

    logits: np.ndarray
    nats: list[np.ndarray]
    state: ArrayState


class ArrayDecoder(Decoder):
    """Let a bot read and reply; a subclass says how tokens are read.

    Args:
        weights: of the bot.
    """

    def __init__(self, weights: Weights) -> None:
        self._weights = weights
        self._state_spec = [StatePart(*part) for part in weights.state_spec()]
        self._weights_digest = weights.digest()
        self.copies = weights.config.pointer > 0
        self.ends_by_step = weights.config.memory == "tokens"

    @abstractmethod
    def run(self, rows: Sequence[np.ndarray], state: ArrayState, wanted: Wanted) -> Found:
        """Read some tokens in each row, at least one.

        Args:
            rows: the tokens of each, (T_i,) of any integers within the vocabulary.
            state: before them; it stays as it is.
            wanted: what is computed beside the state; the rest of what is found means nothing.
        """

    @property
    def vocabulary_size(self) -> int:
        return self._weights.vocabulary_size

    @property
    def characters(self) -> Characters | None:
        return self._weights.characters

    @property
    def state_spec(self) -> list[StatePart]:
        return self._state_spec

    @property
    def weights_digest(self) -> str:
        return self._weights_digest

    def initial_state(self, rows: int) -> ArrayState:
        return tuple(np.zeros((rows, size), np.float32) for _, size, _ in self.state_spec)

    def select(self, state: ArrayState, rows: Sequence[int]) -> ArrayState:
        return tuple(array[list(rows)] for array in state)

    def join(self, states: Sequence[ArrayState]) -> ArrayState:
        return tuple(map(np.concatenate, zip(*states, strict=True)))

    def vectors(self, state: ArrayState) -> np.ndarray:
        return np.concatenate(state[: self._weights.layer_states], 1)

    def parts(self, message: np.ndarray) -> list[np.ndarray]:
        return parts(message) if self.ends_by_step else [message]

    def read(self, rows: Sequence[Sequence[np.ndarray]], state: ArrayState) -> ArrayState:
        return self.run([np.concatenate(own) for own in rows], state, "state").state

    def score(
        self, rows: Sequence[Sequence[np.ndarray]], state: ArrayState
    ) -> tuple[list[np.ndarray], ArrayState]:
        _, nats, state = self.run([np.concatenate(own) for own in rows], state, "nats")
        begins = [np.cumsum([0, *map(len, own)])[:-1] for own in rows]
        return [np.add.reduceat(each, at) for each, at in zip(nats, begins, strict=True)], state

    def costs(self, messages: Sequence[np.ndarray], state: ArrayState) -> np.ndarray:
        return np.array([each.sum() for each in self.run(messages, state, "nats").nats])

    def costs_without_copies(self, messages: Sequence[np.ndarray], state: ArrayState) -> np.ndarray:
        return self.read_without_copies(messages, state)[0]

    def read_without_copies(
        self, messages: Sequence[np.ndarray], state: ArrayState
    ) -> tuple[np.ndarray, ArrayState]:
        _, nats, state = self.run(messages, state, "nats without copies")
        return np.array([each.sum() for each in nats]), state

    def begin_reply(self, state: ArrayState) -> tuple[np.ndarray, ArrayState]:
        return self.step(np.full(len(state[0]), ROLES["bot"]), state)

    def step(self, tokens: np.ndarray, state: ArrayState) -> tuple[np.ndarray, ArrayState]:
        logits, _, state = self.run(list(tokens[:, None]), state, "logits")
        return logits, state

    def end_message(self, state: ArrayState) -> ArrayState:
        return self.run([np.array([END])] * len(state[0]), state, "state").state
