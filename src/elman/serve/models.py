"""A bot that is served, and those of its states that were used last."""

from collections import OrderedDict
from dataclasses import dataclass
from threading import Lock
from typing import NamedTuple

from elman.chat import MemoryStore, Recall
from elman.generate.bot import Bot
from elman.generate.decoder import Decoder, State
from elman.generate.replier import Replier
from elman.serve.batching import Batcher

MAX_RECENT_BYTES = 32 << 20
"""Of states, for each bot: a conversation that goes on is not looked up on disk."""

BLOCK_STATES = 64
"""States for which memory is taken at once."""


class RecentState(NamedTuple):
    """The state after a message, and how many tokens were read up to it."""

    state: State
    tokens: int


def state_bytes(decoder: Decoder) -> int:
    """Return how many bytes the state of a conversation has."""
    return sum(part.nbytes for part in decoder.initial_state(1))


class RecentStates:
    """Keeps a bot's states by key, in the rows of arrays that are made once, a block at a time.

    Thousands of small arrays that come and go would leave holes in the process's memory, which
    would then grow under load.
    """

    def __init__(self, decoder: Decoder, max_bytes: int = MAX_RECENT_BYTES) -> None:
        self._decoder = decoder
        self._max_blocks = max(1, max_bytes // (state_bytes(decoder) * BLOCK_STATES))
        self._blocks = 0
        self._kept: OrderedDict[bytes, tuple[State, int, int]] = OrderedDict()
        self._free: list[tuple[State, int]] = []
        self._lock = Lock()

    def get(self, key: bytes) -> RecentState | None:
        """Return a copy of the state under a key, if it is here."""
        with self._lock:
            found = self._kept.get(key)
            if found is None:
                return None
            self._kept.move_to_end(key)
            block, row, tokens = found
            return RecentState(self._decoder.select(block, [row]), tokens)

    def put(self, key: bytes, state: State, tokens: int) -> None:
        """Keep a state in the place of the one that was not used for longest."""
        with self._lock:
            block, row = self._place(key)
            for kept, own in zip(block, state, strict=True):
                kept[row] = own[0]
            self._kept[key] = (block, row, tokens)

    def _place(self, key: bytes) -> tuple[State, int]:
        if key in self._kept:
            return self._kept.pop(key)[:2]
        if not self._free and self._blocks < self._max_blocks:
            block = self._decoder.initial_state(BLOCK_STATES)
            self._free += [(block, row) for row in range(BLOCK_STATES)]
            self._blocks += 1
        return self._free.pop() if self._free else self._kept.popitem(last=False)[1][:2]


@dataclass(frozen=True)
class Model:
    """A bot that is served.

    Args:
        fingerprint: the digest of what makes its states.
        created: when its weights were written, in seconds since 1970.
        recent: its states that were used last.
        replier: chooses replies; None: they are drawn.
    """

    name: str
    bot: Bot
    fingerprint: bytes
    created: int
    batcher: Batcher
    recent: RecentStates
    replier: Replier | None = None

    def recall(self, store: MemoryStore, owner: str) -> Recall:
        """Return what it can recall of an owner's conversations."""
        return Recall(store, self.bot, owner, self.fingerprint)
