"""Conversations with a bot."""

from elman.chat.memory import LOCAL, MemoryStore, Node
from elman.chat.recall import Recall
from elman.chat.session import Session

__all__ = ["LOCAL", "MemoryStore", "Node", "Recall", "Session"]
