"""A bot that is served, and those of its states that were used last."""

from collections import OrderedDict
from dataclasses import dataclass
from threading import Lock
from typing import NamedTuple

import torch

from elman.bptt import State
from elman.chat import MemoryStore, Recall
from elman.generate.network import NetworkBot
from elman.model.chatbot import Chatbot
from elman.serve.batching import Batcher

MAX_RECENT_BYTES = 32 << 20
"""Of states, for each bot: a conversation that goes on is not looked up on disk."""


class RecentState(NamedTuple):
    """The state after a message, and how many tokens were read up to it."""

    state: State
    tokens: int


class RecentStates:
    """Keeps a chatbot's states by key, in the rows of a few tensors that are made once.

    Thousands of small tensors that come and go would leave holes in the process's memory, which
    would then grow under load.
    """

    def __init__(self, chatbot: Chatbot, max_bytes: int = MAX_RECENT_BYTES) -> None:
        size = sum(part.size * part.dtype.itemsize for part in chatbot.state_spec)
        self._rows: State = chatbot.initial_state(max(1, max_bytes // size))
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
            return RecentState(
                tuple(tensor[row : row + 1].clone() for tensor in self._rows), tokens
            )

    def put(self, key: bytes, state: State, tokens: int) -> None:
        """Keep a state in the place of the one that was not used for longest."""
        with self._lock, torch.no_grad():
            if key in self._kept:
                row, _ = self._kept.pop(key)
            else:
                row = self._free.pop() if self._free else self._kept.popitem(last=False)[1][0]
            for kept, tensor in zip(self._rows, state, strict=True):
                kept[row] = tensor[0]
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
    bot: NetworkBot
    fingerprint: bytes
    created: int
    batcher: Batcher
    recent: RecentStates

    def recall(self, store: MemoryStore, owner: str) -> Recall:
        """Return what it can recall of an owner's conversations."""
        return Recall(store, self.bot, owner, self.fingerprint)
