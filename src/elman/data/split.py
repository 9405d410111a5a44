"""A look over all conversations before training: who speaks, and what is held out."""

from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import groupby
from operator import attrgetter
from typing import Literal

from elman.data.conversation import SYSTEM, Conversation
from elman.errors import ElmanError

Part = Literal["train", "dev", "test"]
Split = Literal["auto", "time", "id"]

MIN_TAIL_TURNS = 2
"""Turns that are held out of a single conversation, at least."""

HELD_OUT_SHARE = 0.1
"""Share of all turns that is held out where the split is by time."""

MIN_HASHED_CONVERSATIONS = 60
"""Of so many conversations, one in so many is in the first bucket at least, unless they were
divided by it before and are the rest: then nearly nothing would be held out.
"""

MAX_HELD_OUT_SHARE = 0.3
"""Where conversations are so few and so long that more would be held out, ids decide."""


@dataclass
class Survey:
    """What one pass over the conversations found.

    Args:
        split: what decides what is held out. "time": the newest conversations, as a bot will be
            used after what it has learned from; "id": a hash of the id; "auto": time where every
            conversation has one.
    """

    split: Split = "id"
    conversations: int = 0
    turns: int = 0
    text_bytes: int = 0
    authors: Counter[str] = field(default_factory=Counter)
    """Turns of each author."""
    people: Counter[str] = field(default_factory=Counter)
    """Messages of each author."""
    text_bytes_of: Counter[str] = field(default_factory=Counter)
    """Bytes of text of each author."""
    largest_group: int = 0
    """People in one conversation, at most."""
    first: float | None = None
    """The earliest and the latest time of a message, in seconds since 1970."""
    last: float | None = None
    _buckets: Counter[int] = field(default_factory=Counter)
    _other_buckets: Counter[int] = field(default_factory=Counter)
    _lowest: tuple[int, str] | None = None
    _starts: "array[float]" = field(default_factory=lambda: array("d"))
    _turns: "array[int]" = field(default_factory=lambda: array("q"))

    def watch(self, conversations: Iterable[Conversation]) -> Iterator[Conversation]:
        """Yield the conversations, each counted as it passes."""
        for conversation in conversations:
            self.conversations += 1
            self._buckets[conversation.bucket] += 1
            self._other_buckets[conversation.other_bucket] += 1
            lowest = (conversation.bucket, conversation.id)
            self._lowest = lowest if self._lowest is None else min(self._lowest, lowest)
            self.largest_group = max(self.largest_group, len(conversation.authors))
            self.people.update(m.author for m in conversation.messages if m.author != SYSTEM)
            self._note_times(conversation)
            before = self.turns
            for author, text in conversation.runs():
                size = len(text.encode())
                self.turns += 1
                if author != SYSTEM:
                    self.authors[author] += 1
                    self.text_bytes_of[author] += size
                self.text_bytes += size
            self._turns.append(self.turns - before)
            yield conversation

    def _note_times(self, conversation: Conversation) -> None:
        start = conversation.start
        self._starts.append(float("nan") if start is None else start)
        times = (conversation.messages[0].seconds, conversation.messages[-1].seconds)
        for time in times:
            if time is not None:
                self.first = time if self.first is None else min(self.first, time)
                self.last = time if self.last is None else max(self.last, time)

    @property
    def by_time(self) -> bool:
        """Whether the newest conversations are held out.

        Raises:
            ElmanError: where time was asked for and cannot decide.
        """
        possible = all(start == start for start in self._starts)
        possible = possible and self._threshold(HELD_OUT_SHARE) is not None
        if self.split == "time" and not possible:
            raise ElmanError(
                "the split by time needs a time for every conversation, and several of them that "
                "are not much longer than the others: use 'id'"
            )
        return self.split != "id" and possible

    def _threshold(self, share: float) -> float | None:
        """Return the start from which on conversations hold that share of all turns, or a little
        more.

        None where that leaves nothing to learn from, or holds out too much.
        """
        found, held_out = self._newest(share)
        return found if held_out <= MAX_HELD_OUT_SHARE * self.turns else None

    def _newest(self, share: float) -> tuple[float | None, int]:
        """Return the start from which on conversations hold that share of all turns, and how many.

        The start is None where these are all.
        """
        newer, threshold = 0, None
        for start, turns in sorted(zip(self._starts, self._turns, strict=True), reverse=True):
            if newer >= share * self.turns and start != threshold:
                return threshold, newer
            newer += turns
            threshold = start
        return None, newer

    def most(self, text_bytes: int | None) -> Callable[[Conversation], bool]:
        """Return what says whether to learn from a conversation that is not held out.

        Of as many bytes as are asked for, the newest are learned from; without times, some by a
        hash of the id.
        """
        share = 1.0 if text_bytes is None else text_bytes / max(1, self.text_bytes)
        if share >= 1 or self.conversations == 1:
            return lambda conversation: True
        if not self.by_time:
            return lambda conversation: conversation.place < share
        _, held_out = self._newest(HELD_OUT_SHARE)
        begin, _ = self._newest(held_out / self.turns + share)
        return lambda conversation: begin is None or (conversation.start or 0.0) >= begin

    @property
    def chosen(self) -> str:
        """Which ones `most` chooses, in words."""
        return "the newest" if self.by_time else "drawn by a hash"

    @property
    def held_out(self) -> str:
        """What `divide` holds out, in words."""
        if self.conversations == 1:
            return "the last tenth of the conversation, if it is long enough"
        return "the newest tenth" if self.by_time else "one conversation in twenty, by a hash"

    def divide(
        self, conversations: Iterable[Conversation], test: bool = False
    ) -> Iterator[tuple[Part, Conversation]]:
        """Say of each conversation whether it is learned from or held out.

        By time: the newest tenth is dev; where a test part is wanted, it is the newer half of
        that. By hash of the id (`Conversation.bucket`, or `other_bucket` where they were divided
        by it before): 0 is dev; 1 is test, where one is wanted. The rest is train. Where that
        leaves train or dev empty, one conversation alone is dev; of a single conversation, the last
        tenth is.

        Args:
            conversations: the same ones that the survey saw.
            test: hold out a test part too.
        """
        if self.conversations == 1:
            for conversation in conversations:
                yield from _head_and_tail(conversation)
        elif self.by_time:
            yield from self._divide_by_time(conversations, test)
        else:
            yield from self._divide_by_id(conversations, test)

    def _divide_by_time(
        self, conversations: Iterable[Conversation], test: bool
    ) -> Iterator[tuple[Part, Conversation]]:
        dev_from = self._threshold(HELD_OUT_SHARE)
        test_from = self._threshold(HELD_OUT_SHARE / 2) if test else None
        assert dev_from is not None
        if test_from is not None and test_from <= dev_from:
            test_from = None  # one conversation is the whole tenth
        for conversation in conversations:
            start = conversation.start
            assert start is not None
            if test_from is not None and start >= test_from:
                yield "test", conversation
            else:
                yield ("dev" if start >= dev_from else "train"), conversation

    def _divide_by_id(
        self, conversations: Iterable[Conversation], test: bool
    ) -> Iterator[tuple[Part, Conversation]]:
        held_out = {0, 1} if test else {0}
        bucket_of, sizes = self._hash()
        in_dev = sizes[0]
        in_train = self.conversations - sum(sizes[bucket] for bucket in held_out)
        chosen = False
        for conversation in conversations:
            bucket = bucket_of(conversation)
            if not in_dev or not in_train:
                # Of conversations with one and the same id, only the first.
                alone = not chosen and (conversation.bucket, conversation.id) == self._lowest
                chosen = chosen or alone
                yield ("dev" if alone else "train"), conversation
            else:
                parts: dict[int, Part] = {0: "dev", 1: "test"}
                yield (parts[bucket] if bucket in held_out else "train"), conversation

    def _hash(self) -> tuple[Callable[[Conversation], int], Counter[int]]:
        """Return what divides by id, and how many conversations it puts in each bucket."""
        if (
            self.conversations >= MIN_HASHED_CONVERSATIONS
            and self._buckets[0] * MIN_HASHED_CONVERSATIONS < self.conversations
        ):
            return attrgetter("other_bucket"), self._other_buckets
        return attrgetter("bucket"), self._buckets


def _head_and_tail(conversation: Conversation) -> Iterator[tuple[Part, Conversation]]:
    runs = [len(list(run)) for _, run in groupby(conversation.messages, key=lambda m: m.author)]
    turns = max(MIN_TAIL_TURNS, len(runs) // 10)
    if len(runs) <= 2 * turns:
        # Too short to hold anything out; the caller sees that dev is empty.
        yield "train", conversation
        return
    tail = sum(runs[-turns:])
    yield "train", Conversation(conversation.messages[:-tail], conversation.id)
    yield "dev", Conversation(conversation.messages[-tail:], conversation.id)
