"""Windows of time steps: how a token-level memory is fed."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from elman.data.corpus import scored
from elman.data.layout import MessageOrigin
from elman.data.shuffle import ShuffledRows
from elman.data.tokenizer import END


@dataclass(frozen=True)
class Window:
    """The next steps of every row; T steps, B rows.

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
        """Return each row by itself."""
        every: list[dict[str, Any]] = [
            {name: v if v is None else v[:, row : row + 1] for name, v in vars(self).items()}
            for row in range(self.inputs.shape[1])
        ]
        return [Window(**each) for each in every]

    def by_message(self) -> Iterator[tuple[MessageOrigin, "Window"]]:
        """Yield each message that counts, and the window in which it alone does."""
        counts = self.weight > 0
        names = torch.stack([self.conversation[counts], self.message[counts]], dim=1)
        for conversation, message in names.unique(dim=0).tolist():
            own = counts & (self.conversation == conversation) & (self.message == message)
            origin = MessageOrigin(conversation, message, self.targets[own].numpy())
            yield origin, replace(self, weight=self.weight * own)


Loaded = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Of a conversation: its tokens, which of them count, and the number of each one's message."""


class Stream(ShuffledRows[Loaded, Window]):
    """Endless windows of steps, without padding.

    A row goes on in the next window where it stopped in the last, so its state can be carried from
    window to window.

    Args:
        corpus: at least one conversation of at least two tokens.
        layout: of unit "steps": windows of `unfold` steps.
    """

    _first = 0
    _position_key = "offset"

    def next(self) -> Window:
        """Cut the next window."""
        steps = self._layout.unfold
        own = self._layout.rows
        shape = (steps, len(own))
        inputs = np.empty(shape, np.int64)
        targets = np.empty(shape, np.int64)
        weight = np.empty(shape, np.float32)
        keep = np.ones(shape, bool)
        conversation = np.empty(shape, np.int64)
        message = np.empty(shape, np.int64)
        for row in range(self._layout.batch_size):
            step = 0
            while step < steps:
                number, begin, length = self._at(row)
                end = min(begin + steps - step, length - 1)
                span = slice(step, step + end - begin)
                if row in own:
                    tokens, counts, numbers = self._read(row)
                    column = row - own.start
                    if begin == 0:
                        keep[step, column] = False
                    inputs[span, column] = tokens[begin:end]
                    targets[span, column] = tokens[begin + 1 : end + 1]
                    weight[span, column] = counts[begin + 1 : end + 1]
                    conversation[span, column] = number
                    message[span, column] = numbers[begin + 1 : end + 1]
                step = span.stop
                self._move(row, end, finished=end == length - 1)
        arrays = (inputs, targets, weight, keep, conversation, message)
        return Window(*(torch.from_numpy(array) for array in arrays))

    def _load(self, conversation: int) -> Loaded:
        tokens = self._corpus[conversation]
        ends = tokens == END
        return tokens, scored(tokens, self._layout.learn_from), np.cumsum(ends) - ends

    def _length(self, conversation: int) -> int:
        return len(self._corpus[conversation])
