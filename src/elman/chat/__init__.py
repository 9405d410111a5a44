"""Conversations with a bot."""

from elman.chat.memory import LOCAL, MemoryStore, Node
from elman.chat.recall import Memory
from elman.chat.session import Session

__all__ = ["LOCAL", "Memory", "MemoryStore", "Node", "Session"]
