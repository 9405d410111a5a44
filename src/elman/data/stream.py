"""Continuous lanes of windows: how a token-level memory is fed."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from elman.data.corpus import Corpus, scored
from elman.data.order import Lanes, Layout, MessageOrigin
from elman.data.tokenizer import END


@dataclass(frozen=True)
class Window:
    """The next steps of every lane; T steps, B lanes.

    Args:
        inputs: token ids, (T, B) int64.
        targets: the token that follows each, (T, B) int64.
        weight: 1 where the target counts in the loss, else 0, (T, B) float32.
        keep: 0 where a conversation starts, so that the state before it is forgotten, (T, B) bool.
        conversation: the number of the conversation that the target is of, (T, B) int64.
        message: the number of the target's message in it, (T, B) int64.
        cut: 0 where the state passes but its gradient does not, (T, B) bool; None: nowhere.
    """

    inputs: Tensor
    targets: Tensor
    weight: Tensor
    keep: Tensor
    conversation: Tensor
    message: Tensor
    cut: Tensor | None = None

    def apart(self) -> list["Window"]:
        """Each lane by itself."""
        every: list[dict[str, Any]] = [
            {name: v if v is None else v[:, lane : lane + 1] for name, v in vars(self).items()}
            for lane in range(self.inputs.shape[1])
        ]
        return [Window(**each) for each in every]

    def by_message(self) -> Iterator[tuple[MessageOrigin, "Window"]]:
        """Each message that counts, and the window in which it alone does."""
        counts = self.weight > 0
        names = torch.stack([self.conversation[counts], self.message[counts]], dim=1)
        for conversation, message in names.unique(dim=0).tolist():
            own = counts & (self.conversation == conversation) & (self.message == message)
            place = MessageOrigin(conversation, message, self.targets[own].numpy())
            yield place, replace(self, weight=self.weight * own)


class Stream:
    """Endless windows over a corpus, in a new order each epoch.

    Each lane reads one conversation after another, without padding, and goes on in the next window
    where it stopped in the last: so the state of a lane can be carried from window to window.

    Args:
        corpus: at least one conversation of at least two tokens.
        layout: of unit "steps": windows of `unfold` steps.
    """

    def __init__(self, corpus: Corpus, layout: Layout) -> None:
        self._corpus = corpus
        self._window = layout.unfold
        self._learn_from = layout.learn_from
        self._lanes = Lanes(
            len(corpus), layout, self._load, lambda number: len(corpus[number]), 0, "offset"
        )

    @property
    def epochs(self) -> float:
        """How many times the corpus has been handed out to the lanes."""
        return self._lanes.epochs

    def next(self) -> Window:
        """The next window."""
        shape = (self._window, len(self._lanes))
        inputs = np.empty(shape, np.int64)
        targets = np.empty(shape, np.int64)
        weight = np.empty(shape, np.float32)
        keep = np.ones(shape, bool)
        conversation = np.empty(shape, np.int64)
        message = np.empty(shape, np.int64)
        for lane in range(len(self._lanes)):
            step = 0
            while step < self._window:
                number, (tokens, counts, numbers), begin = self._lanes.at(lane)
                end = min(begin + self._window - step, len(tokens) - 1)
                span = slice(step, step + end - begin)
                if begin == 0:
                    keep[step, lane] = False
                inputs[span, lane] = tokens[begin:end]
                targets[span, lane] = tokens[begin + 1 : end + 1]
                weight[span, lane] = counts[begin + 1 : end + 1]
                conversation[span, lane] = number
                message[span, lane] = numbers[begin + 1 : end + 1]
                step = span.stop
                self._lanes.move(lane, end, finished=end == len(tokens) - 1)
        arrays = (inputs, targets, weight, keep, conversation, message)
        return Window(*(torch.from_numpy(array) for array in arrays))

    def _load(self, conversation: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Its tokens, which of them count, and the number of each one's message."""
        tokens = self._corpus[conversation]
        ends = tokens == END
        return tokens, scored(tokens, self._learn_from), np.cumsum(ends) - ends

    def state_dict(self) -> dict[str, Any]:
        """The position, as plain numbers; with the same corpus and arguments it resumes exactly."""
        return self._lanes.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._lanes.load_state_dict(state)
