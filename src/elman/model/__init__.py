"""The chatbot: a recurrent language model over a conversation, its state, and its files.

The memories need torch; they are imported when they are first used, so that what only reads a
bot's folder does without.
"""

from typing import TYPE_CHECKING, Any

from elman.model.config import ModelConfig

if TYPE_CHECKING:
    from elman.model.chatbot import Chatbot
    from elman.model.memories import MEMORIES, build, step_unit
    from elman.model.messages import MessagesChatbot
    from elman.model.tokens import TokensChatbot

__all__ = [
    "MEMORIES",
    "Chatbot",
    "MessagesChatbot",
    "ModelConfig",
    "TokensChatbot",
    "build",
    "step_unit",
]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'elman.model' has no attribute {name!r}")
    from elman.model import memories

    return getattr(memories, name)
