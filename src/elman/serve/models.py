"""A bot that is served, and those of its states that were used last."""

from collections import OrderedDict
from dataclasses import dataclass
from threading import Lock
from typing import NamedTuple

from elman.chat import MemoryStore, Recall
from elman.generate.bot import Bot
from elman.generate.decoder import Decoder, State
from elman.serve.batching import Batcher

MAX_RECENT_BYTES = 32 << 20
"""Of states, for each bot: a conversation that goes on is not looked up on disk."""


class RecentState(NamedTuple):
    """The state after a message, and how many tokens were read up to it."""

    state: State
    tokens: int


def state_bytes(decoder: Decoder) -> int:
    """Return how many bytes the state of a conversation has."""
    return sum(part.nbytes for part in decoder.initial_state(1))


class RecentStates:
    """Keeps a bot's states by key, in the rows of a few arrays that are made once.

    Thousands of small arrays that come and go would leave holes in the process's memory, which
    would then grow under load.
    """

    def __init__(self, decoder: Decoder, max_bytes: int = MAX_RECENT_BYTES) -> None:
        self._decoder = decoder
        size = state_bytes(decoder)
        self._rows: State = decoder.initial_state(max(1, max_bytes // size))
        self._kept: OrderedDict[bytes, tuple[int, int]] = OrderedDict()
        self._free = list(range(len(self._rows[0])))
        self._lock = Lock()

    def get(self, key: bytes) -> RecentState | None:
        """Return a copy of the state under a key, if it is here."""
        with self._lock:
            found = self._kept.get(key)
            if found is None:
                return None
            self._kept.move_to_end(key)
            row, tokens = found
            return RecentState(self._decoder.select(self._rows, [row]), tokens)

    def put(self, key: bytes, state: State, tokens: int) -> None:
        """Keep a state in the place of the one that was not used for longest."""
        with self._lock:
            if key in self._kept:
                row, _ = self._kept.pop(key)
            else:
                row = self._free.pop() if self._free else self._kept.popitem(last=False)[1][0]
            for kept, own in zip(self._rows, state, strict=True):
                kept[row] = own[0]
            self._kept[key] = (row, tokens)


@dataclass(frozen=True)
class Model:
    """A bot that is served.

    Args:
        fingerprint: the digest of what makes its states.
        created: when its weights were written, in seconds since 1970.
        recent: its states that were used last.
    """

    name: str
    bot: Bot
    fingerprint: bytes
    created: int
    batcher: Batcher
    recent: RecentStates

    def recall(self, store: MemoryStore, owner: str) -> Recall:
        """Return what it can recall of an owner's conversations."""
        return Recall(store, self.bot, owner, self.fingerprint)
