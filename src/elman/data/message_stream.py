"""Windows of whole messages: how a memory is unfolded over the last K messages."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from elman.data.corpus import scored
from elman.data.layout import MessageOrigin
from elman.data.shuffle import ShuffledRows
from elman.data.tokenizer import END


@dataclass(frozen=True)
class RowWindow:
    """The next messages of one row, all of one conversation.

    Args:
        messages: each from its role to its END.
        loss_mask: which of them count in the loss.
        carry: after how many of them the state is the one that the next window begins with.
        fresh: whether a conversation begins here, so that the state before is forgotten.
        conversation: its number in the corpus.
        first: the number of the first message in it.
    """

    messages: list[np.ndarray]
    loss_mask: list[bool]
    carry: int
    fresh: bool
    conversation: int = 0
    first: int = 0


def token_loss_mask(row: RowWindow) -> np.ndarray:
    """Return which tokens count in the loss: text and END of messages that do, (T,) bool."""
    return np.concatenate(
        [
            np.r_[False, np.full(len(message) - 1, counts)]
            for message, counts in zip(row.messages, row.loss_mask, strict=True)
        ]
    )


@dataclass(frozen=True)
class MessageWindow:
    """The next messages of every row."""

    rows: list[RowWindow]

    def apart(self) -> list["MessageWindow"]:
        """Return each row by itself."""
        return [MessageWindow([row]) for row in self.rows]

    def by_message(self) -> Iterator[tuple[MessageOrigin, "MessageWindow"]]:
        """Yield each message that counts, and the window in which it alone does."""
        for number, row in enumerate(self.rows):
            for n in (n for n, counts in enumerate(row.loss_mask) if counts):
                rows = [
                    replace(each, loss_mask=[False] * len(each.loss_mask)) for each in self.rows
                ]
                rows[number].loss_mask[n] = True
                origin = MessageOrigin(row.conversation, row.first + n, row.messages[n])
                yield origin, MessageWindow(rows)


class MessageStream(ShuffledRows[list[np.ndarray], MessageWindow]):
    """Endless windows in which a reply is learned through the messages before it.

    A window holds K + 1 messages: K that are read, and the replies to them. Without `slide`,
    windows follow one another: the reply to the first message is learned through 1 message, that
    to the last through K. With `slide` each window moves on by one message, and only its last
    message counts: every reply is learned through exactly the K messages before it, or all there
    are.

    Args:
        corpus: at least one conversation.
        layout: of unit "messages"; its `unfold` is K, and with `slide` windows overlap.
    """

    _first = -1
    """A row's position is the last message whose loss was counted."""
    _position_key = "counted"

    def next(self) -> MessageWindow:
        """Cut the next window."""
        every = [self._advance(row) for row in range(self._layout.batch_size)]
        return MessageWindow([window for window in every if window is not None])

    def _advance(self, row: int) -> RowWindow | None:
        """Move a row on; return its window if the row is one of this process's own."""
        unfold = self._layout.unfold
        conversation, done, length = self._at(row)
        if self._layout.slide:
            last = done + 1
            first = max(0, last - unfold)
            due = {last}
            carry = 1 if last + 1 > unfold else 0
        else:
            first = max(0, done)
            last = min(first + unfold, length - 1)
            due = set(range(done + 1, last + 1))
            carry = last - first
        window = None
        if row in self._layout.rows:
            messages = self._read(row)
            window = RowWindow(
                messages[first : last + 1],
                [n in due and self._learns(messages[n]) for n in range(first, last + 1)],
                carry,
                fresh=first == 0,
                conversation=conversation,
                first=first,
            )
        self._move(row, last, finished=last == length - 1)
        return window

    def _learns(self, message: np.ndarray) -> bool:
        return bool(scored(message, self._layout.learn_from).any())

    def _load(self, conversation: int) -> list[np.ndarray]:
        return self._corpus.messages(conversation)

    def _length(self, conversation: int) -> int:
        return int((self._corpus[conversation] == END).sum())
