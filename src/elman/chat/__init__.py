"""Conversations with a bot."""

from elman.chat.session import Session

__all__ = ["Session"]
