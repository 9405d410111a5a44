"""The memories that there are, by name."""

from elman.model.chatbot import Chatbot as Chatbot
from elman.model.config import ModelConfig
from elman.model.messages import MessagesChatbot
from elman.model.tokens import TokensChatbot

MEMORIES: dict[str, type[Chatbot]] = {"messages": MessagesChatbot, "tokens": TokensChatbot}


def step_unit(config: ModelConfig) -> str:
    """Say what one step through time reads in a memory: tokens or messages."""
    return MEMORIES[config.memory].step_unit


def build(config: ModelConfig, vocabulary_size: int) -> Chatbot:
    """Make a new chatbot with random weights."""
    return MEMORIES[config.memory](config, vocabulary_size)
