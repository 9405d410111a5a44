"""A bot that is served."""

from dataclasses import dataclass

from elman.chat import MemoryStore, Recall
from elman.model.checkpoint import Bot
from elman.serve.batching import Batcher
from elman.serve.store.recent import RecentStates


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
