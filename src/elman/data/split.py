"""A look over all conversations before training: who speaks, and what is held out."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import groupby
from typing import Literal

from elman.data.conversation import SYSTEM, Conversation
from elman.errors import ElmanError

Part = Literal["train", "dev", "test"]

SHORTEST_TAIL = 2
"""Turns that are held out of a single conversation, at least."""


@dataclass
class Survey:
    """What one pass over the conversations found."""

    conversations: int = 0
    turns: int = 0
    text_bytes: int = 0
    authors: Counter[str] = field(default_factory=Counter)
    """Turns of each author."""
    _buckets: Counter[int] = field(default_factory=Counter)
    _lowest: tuple[int, str] | None = None

    def texts(self, conversations: Iterable[Conversation]) -> Iterator[str]:
        """The text of every turn, counted while it passes."""
        for conversation in conversations:
            self.conversations += 1
            self._buckets[conversation.bucket] += 1
            first = (conversation.bucket, conversation.id)
            self._lowest = first if self._lowest is None else min(self._lowest, first)
            for author, text in conversation.runs():
                self.turns += 1
                if author != SYSTEM:
                    self.authors[author] += 1
                self.text_bytes += len(text.encode())
                yield text

    def check_bot(self, bot: str) -> None:
        """Raises ElmanError where nobody has that name; it lists the names there are."""
        if bot in self.authors:
            return
        names = [f"{name} ({turns:,} messages)" for name, turns in self.authors.most_common(20)]
        more = f" and {len(self.authors) - 20:,} more" if len(self.authors) > 20 else ""
        raise ElmanError(f"--bot {bot!r}: nobody has that name; there are {', '.join(names)}{more}")

    def divide(
        self, conversations: Iterable[Conversation], test: bool = False
    ) -> Iterator[tuple[Part, Conversation]]:
        """Say of each conversation whether it is learned from or held out.

        By hash of its id (`Conversation.bucket`): 0 is dev; 1 is test, where one is wanted; the
        rest is train. Where that leaves train or dev empty, one conversation alone is dev; of a
        single conversation, the last tenth is.

        Args:
            conversations: the same ones that the survey saw.
            test: hold out a test part too.
        """
        held_out = {0, 1} if test else {0}
        in_dev = self._buckets[0]
        in_train = self.conversations - sum(self._buckets[bucket] for bucket in held_out)
        chosen = False
        for conversation in conversations:
            bucket = conversation.bucket
            if self.conversations == 1:
                yield from _head_and_tail(conversation)
            elif not in_dev or not in_train:
                # Of conversations with one and the same id, only the first.
                alone = not chosen and (bucket, conversation.id) == self._lowest
                chosen = chosen or alone
                yield ("dev" if alone else "train"), conversation
            else:
                parts: dict[int, Part] = {0: "dev", 1: "test"}
                yield (parts[bucket] if bucket in held_out else "train"), conversation


def _head_and_tail(conversation: Conversation) -> Iterator[tuple[Part, Conversation]]:
    runs = [len(list(run)) for _, run in groupby(conversation.messages, key=lambda m: m.author)]
    turns = max(SHORTEST_TAIL, len(runs) // 10)
    if len(runs) <= 2 * turns:
        # Too short to hold anything out; the caller sees that dev is empty.
        yield "train", conversation
        return
    tail = sum(runs[-turns:])
    yield "train", Conversation(conversation.messages[:-tail], conversation.id)
    yield "dev", Conversation(conversation.messages[-tail:], conversation.id)
