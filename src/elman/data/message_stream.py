"""Windows of whole messages: how a memory is unfolded over the last K messages."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from elman.data.corpus import Corpus, scored
from elman.data.order import Layout, Order, Place, check_lanes


@dataclass(frozen=True)
class LaneWindow:
    """The next messages of one lane, all of one conversation.

    Args:
        messages: each from its role to its END.
        counted: which of them count in the loss.
        carry: after how many of them the state is the one that the next window begins with.
        fresh: whether a conversation begins here, so that the state before is forgotten.
        conversation: its number in the corpus.
        first: the number of the first message in it.
    """

    messages: list[np.ndarray]
    counted: list[bool]
    carry: int
    fresh: bool
    conversation: int = 0
    first: int = 0


def counted_tokens(lane: LaneWindow) -> np.ndarray:
    """Which tokens of a lane's window count: text and END of counted messages, (T,) bool."""
    return np.concatenate(
        [
            np.r_[False, np.full(len(message) - 1, counts)]
            for message, counts in zip(lane.messages, lane.counted, strict=True)
        ]
    )


@dataclass(frozen=True)
class MessageWindow:
    """The next messages of every lane."""

    lanes: list[LaneWindow]

    def apart(self) -> list["MessageWindow"]:
        """Each lane by itself."""
        return [MessageWindow([lane]) for lane in self.lanes]

    def by_message(self) -> Iterator[tuple[Place, "MessageWindow"]]:
        """Each message that counts, and the window in which it alone does."""
        for number, lane in enumerate(self.lanes):
            for n in (n for n, counts in enumerate(lane.counted) if counts):
                lanes = [replace(each, counted=[False] * len(each.counted)) for each in self.lanes]
                lanes[number].counted[n] = True
                place = Place(lane.conversation, lane.first + n, lane.messages[n])
                yield place, MessageWindow(lanes)


class MessageStream:
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

    def __init__(self, corpus: Corpus, layout: Layout) -> None:
        lanes = layout.lanes
        self._corpus = corpus
        self._unfold = layout.unfold
        self._slide = layout.slide
        self._learn_from = layout.learn_from
        self._order = Order(len(corpus), layout.seed)
        # For each lane: the conversation it reads, and the last message whose loss was counted.
        self._conversation = [-1] * lanes
        self._counted = [-1] * lanes
        self._loaded: list[list[np.ndarray] | None] = [None] * lanes

    @property
    def epochs(self) -> float:
        """How many times the corpus has been handed out to the lanes."""
        return self._order.epochs

    def next(self) -> MessageWindow:
        """The next window."""
        return MessageWindow([self._advance(lane) for lane in range(len(self._conversation))])

    def _advance(self, lane: int) -> LaneWindow:
        messages = self._loaded[lane]
        if messages is None:
            if self._conversation[lane] < 0:
                self._conversation[lane], self._counted[lane] = self._order.take(), -1
            messages = self._loaded[lane] = self._corpus.messages(self._conversation[lane])
        done = self._counted[lane]
        if self._slide:
            last = done + 1
            first = max(0, last - self._unfold)
            due = {last}
            carry = 1 if last + 1 > self._unfold else 0
        else:
            first = max(0, done)
            last = min(first + self._unfold, len(messages) - 1)
            due = set(range(done + 1, last + 1))
            carry = last - first
        window = LaneWindow(
            messages[first : last + 1],
            [n in due and self._learns(messages[n]) for n in range(first, last + 1)],
            carry,
            fresh=first == 0,
            conversation=self._conversation[lane],
            first=first,
        )
        self._counted[lane] = last
        if last == len(messages) - 1:
            self._conversation[lane], self._loaded[lane] = -1, None
        return window

    def _learns(self, message: np.ndarray) -> bool:
        return bool(scored(message, self._learn_from).any())

    def state_dict(self) -> dict[str, Any]:
        """The position, as plain numbers; with the same corpus and arguments it resumes exactly."""
        return {
            **self._order.state_dict(),
            "conversation": list(self._conversation),
            "counted": list(self._counted),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._order.load_state_dict(state)
        self._conversation, self._counted = list(state["conversation"]), list(state["counted"])
        check_lanes(self._conversation, len(self._loaded), self._corpus)
        for conversation, counted in zip(self._conversation, self._counted, strict=True):
            if conversation >= 0 and counted not in range(
                -1, len(self._corpus.messages(conversation)) - 1
            ):
                raise ValueError(f"conversation {conversation} has no message {counted}")
        self._loaded = [None] * len(self._conversation)
