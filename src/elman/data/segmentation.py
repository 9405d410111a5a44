"""Endless chats into conversations: cut where people paused."""

import math
from collections import Counter
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass, field

from elman.data.conversation import SYSTEM, Chat, Conversation, Message

MAX_CONVERSATION_MESSAGES = 2_000
"""Messages. Where people never pause, it is cut here, as the speaker changes; or at twice that."""

DEFAULT_GAP_SECONDS = 3600.0
MIN_GAP_SECONDS, MAX_GAP_SECONDS = 900.0, 86_400.0
MIN_GAPS, MAX_GAPS_OF_CHAT = 100, 100_000
"""Below the first there is no shape to see, and `DEFAULT_GAP_SECONDS` is taken. After the second,
more gaps of one chat would change nothing.
"""

_BINS_PER_OCTAVE = 4
_MIN_WAIT_SECONDS = 30.0  # many messengers write minutes alone, so shorter gaps look like none

MAX_COUNTED_WAITS = 10_000
"""Different ones that are counted before their logarithms are taken, which is slow."""


@dataclass
class Gaps:
    """How long people waited between messages, as a histogram of the logarithm."""

    bins: Counter[int] = field(default_factory=Counter)

    def watch(self, messages: Iterable[Message]) -> Generator[Message, None, None]:
        """Yield the messages; those that have passed are counted when it is closed."""
        waits: Counter[float] = Counter()
        before: Message | None = None
        try:
            for message in messages:
                if before is not None and (wait := _wait(before, message)) is not None:
                    waits[wait] += 1
                    if len(waits) > MAX_COUNTED_WAITS:
                        self._count(waits)
                before = message
                yield message
        finally:
            self._count(waits)

    def _count(self, waits: Counter[float]) -> None:
        for wait, number in waits.items():
            self.bins[round(_BINS_PER_OCTAVE * math.log2(max(wait, _MIN_WAIT_SECONDS)))] += number
        waits.clear()

    def choose(self) -> float:
        """Choose the gap in seconds that parts short waits from long ones best.

        Waits within a conversation and between conversations are taken as two bell curves over
        the logarithm of time, and the cut is where confusing them costs least: the minimum error
        threshold of Kittler and Illingworth (1986), equation 15; that waits have this shape is
        seen by Halfaker et al. (2015).
        """
        if self.bins.total() < MIN_GAPS:
            return DEFAULT_GAP_SECONDS
        places = range(min(self.bins), max(self.bins) + 1)
        best, chosen = math.inf, None
        for place in places:
            if (cost := _cost(self.bins, place)) < best:
                best, chosen = cost, place
        if chosen is None or best >= _cost(self.bins, None):
            return DEFAULT_GAP_SECONDS  # one bell curve says it as well
        gap = 2 ** ((chosen + 0.5) / _BINS_PER_OCTAVE)
        return min(max(gap, MIN_GAP_SECONDS), MAX_GAP_SECONDS)


def _cost(bins: Counter[int], cut: int | None) -> float:
    """Compute what Kittler and Illingworth minimise; without a cut, that of one bell curve."""
    cost, total = 1.0, bins.total()
    sides = [True] if cut is None else [True, False]
    for low in sides:
        side = [(at, n) for at, n in bins.items() if cut is None or (at <= cut) == low]
        count = sum(n for _, n in side)
        if not count:
            return math.inf
        mean = sum(at * n for at, n in side) / count
        # A bin has a width of its own: that of a uniform spread within it.
        variance = sum((at - mean) ** 2 * n for at, n in side) / count + 1 / 12
        share = count / total
        cost += share * (math.log(variance) - 2 * math.log(share))
    return cost


def cut(chat: Chat, gap: float) -> Iterator[Conversation]:
    """Cut a chat into conversations: a new one begins where nobody spoke for longer than `gap`.

    An answer may be late: a pause before which only one person spoke ends nothing. So all
    conversations of a chat in which anybody answered have an answer in them, unless somebody
    speaks alone for more than `MAX_CONVERSATION_MESSAGES` messages.

    Args:
        gap: in seconds. Without times, only `MAX_CONVERSATION_MESSAGES` cuts.
    """
    held: list[Message] = []
    piece: list[Message] = []
    heard: set[str] = set()
    number = 0
    last: Message | None = None
    for message in chat.messages:
        if last is not None:
            paused = len(heard) > 1 and (wait := _wait(last, message)) is not None and wait > gap
            if paused or (
                len(piece) >= MAX_CONVERSATION_MESSAGES
                and (message.author != last.author or len(piece) >= 2 * MAX_CONVERSATION_MESSAGES)
            ):
                if held:
                    yield _conversation(chat, held, number)
                    number += 1
                held, piece = piece, []
                heard.clear()
        last = message
        piece.append(message)
        if message.author != SYSTEM:
            heard.add(message.author)
    if held and len(heard) < 2:
        held, piece = held + piece, []
    for rest in (held, piece):
        if rest:
            yield _conversation(chat, rest, number)
            number += 1


def _wait(before: Message, after: Message) -> float | None:
    """Return the seconds between them, where both have a time."""
    then, now = before[2], after[2]  # time, read faster so
    if then is None or now is None:
        return None
    if then.tzinfo is now.tzinfo is None:  # as below, and faster
        return (now - then).total_seconds()
    return (after.seconds or 0.0) - (before.seconds or 0.0)


def _conversation(chat: Chat, messages: list[Message], number: int) -> Conversation:
    time = messages[0].time
    return Conversation(tuple(messages), f"{chat.id} {number if time is None else time}")
