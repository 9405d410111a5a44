"""A look over all conversations before training: who speaks, and what is held out."""

from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import groupby
from operator import attrgetter
from typing import Literal

import numpy as np

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


@dataclass(frozen=True)
class Division:
    """What says of each conversation whether it is learned from or held out.

    Args:
        kind: "tail": the end of the only conversation is held out; "time": what began late; "id":
            by a hash of the id; "alone": one conversation, the one whose hash is lowest.
        dev_from, test_from: of "time", when the first held-out conversations began.
        bucket: of "id", which hash decides, as a name of `Conversation`.
        held_out: of "id", the part of each bucket that is not learned from.
        lowest: of "alone", the hash and the id of the one that is held out.
    """

    kind: Literal["tail", "time", "id", "alone"]
    dev_from: float | None = None
    test_from: float | None = None
    bucket: str = "bucket"
    held_out: tuple[Part, ...] = ()
    lowest: tuple[int, str] | None = None

    @property
    def needs_all(self) -> bool:
        """Whether it must see all conversations in order, and not each by itself."""
        return self.kind in ("tail", "alone")

    def parts(self, conversations: Iterable[Conversation]) -> Iterator[tuple[Part, Conversation]]:
        """Yield each conversation with its part."""
        if self.kind == "tail":
            for conversation in conversations:
                yield from _head_and_tail(conversation)
        elif self.kind == "alone":
            chosen = False  # of conversations with one and the same id, only the first
            for conversation in conversations:
                alone = not chosen and (conversation.bucket, conversation.id) == self.lowest
                chosen = chosen or alone
                yield ("dev" if alone else "train"), conversation
        else:
            part_of = self._by_time if self.kind == "time" else self._by_id
            for conversation in conversations:
                yield part_of(conversation), conversation

    def _by_time(self, conversation: Conversation) -> Part:
        start = conversation.start
        assert start is not None
        assert self.dev_from is not None
        if self.test_from is not None and start >= self.test_from:
            return "test"
        return "dev" if start >= self.dev_from else "train"

    def _by_id(self, conversation: Conversation) -> Part:
        bucket = attrgetter(self.bucket)(conversation)
        return self.held_out[bucket] if bucket < len(self.held_out) else "train"


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
    _turns: "array[int]" = field(default_factory=lambda: array("I"))
    _bucket_of: "array[int]" = field(default_factory=lambda: array("B"))
    _other_bucket_of: "array[int]" = field(default_factory=lambda: array("B"))

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
            self._bucket_of.append(conversation.bucket)
            self._other_bucket_of.append(conversation.other_bucket)
            yield conversation

    def add(self, later: "Survey") -> None:
        """Add what was found in the conversations after these."""
        for name in ("conversations", "turns", "text_bytes"):
            setattr(self, name, getattr(self, name) + getattr(later, name))
        for name in ("authors", "people", "text_bytes_of", "_buckets", "_other_buckets"):
            getattr(self, name).update(getattr(later, name))
        self.largest_group = max(self.largest_group, later.largest_group)
        self._lowest = min((x for x in (self._lowest, later._lowest) if x), default=None)
        self.first = min((x for x in (self.first, later.first) if x is not None), default=None)
        self.last = max((x for x in (self.last, later.last) if x is not None), default=None)
        for name in ("_starts", "_turns", "_bucket_of", "_other_bucket_of"):
            getattr(self, name).extend(getattr(later, name))

    def turns_learned(self, division: Division, first: int, count: int) -> int:
        """Count the turns that are learned from in some conversations.

        Args:
            division: of each conversation by itself.
            first, count: the number of the first of them, from 0, and how many they are.
        """
        some = slice(first, first + count)
        if division.kind == "time":
            learned = np.asarray(self._starts)[some] < division.dev_from
        else:
            learned = np.asarray(getattr(self, f"_{division.bucket}_of"))[some] >= len(
                division.held_out
            )
        return int(np.asarray(self._turns)[some].sum(where=learned, dtype=np.int64))

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
        possible = not np.isnan(np.asarray(self._starts)).any()
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
        starts = np.asarray(self._starts)
        turns = np.asarray(self._turns)
        if not len(starts):
            return None, 0

        def newer(start: float) -> int:
            return int(turns.sum(where=starts >= start, dtype=np.int64))

        # By halves, and in place: to sort them would take several times the memory.
        low, high = starts.min(), starts.max()
        while low < high:
            middle = low + (high - low) / 2
            middle = high if middle <= low else middle
            if newer(middle) >= share * self.turns:
                low = starts.min(where=starts >= middle, initial=np.inf)
            else:
                high = starts.max(where=starts < middle, initial=low)
        found = newer(low)
        return (None if found == self.turns else float(low)), found

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
        return self.division(test).parts(conversations)

    def division(self, test: bool = False) -> Division:
        """Return what `divide` does, without what was counted."""
        if self.conversations == 1:
            return Division("tail")
        if self.by_time:
            dev_from = self._threshold(HELD_OUT_SHARE)
            test_from = self._threshold(HELD_OUT_SHARE / 2) if test else None
            assert dev_from is not None
            # Where they are the same, one conversation is the whole tenth.
            later = test_from is not None and test_from > dev_from
            return Division("time", dev_from, test_from if later else None)
        held_out: tuple[Part, ...] = ("dev", "test") if test else ("dev",)
        bucket, sizes = self._hash()
        in_train = self.conversations - sum(sizes[number] for number in range(len(held_out)))
        if not sizes[0] or not in_train:
            return Division("alone", lowest=self._lowest)
        return Division("id", bucket=bucket, held_out=held_out)

    def _hash(self) -> tuple[str, Counter[int]]:
        """Return what divides by id, and how many conversations it puts in each bucket."""
        if (
            self.conversations >= MIN_HASHED_CONVERSATIONS
            and self._buckets[0] * MIN_HASHED_CONVERSATIONS < self.conversations
        ):
            return "other_bucket", self._other_buckets
        return "bucket", self._buckets


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
