"""Elman turns conversations into a small, private chatbot: a recurrent network trained by
backpropagation through time.

Names are imported when they are first used, so that `import elman` is quick.
"""

import warnings
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from elman.bptt import GRU as GRU
    from elman.bptt import LSTM as LSTM
    from elman.bptt import RNN as RNN
    from elman.bptt import Cell as Cell
    from elman.bptt import Checkpointed as Checkpointed
    from elman.bptt import Full as Full
    from elman.bptt import GRUCell as GRUCell
    from elman.bptt import LSTMCell as LSTMCell
    from elman.bptt import MinGRU as MinGRU
    from elman.bptt import MinGRUCell as MinGRUCell
    from elman.bptt import MinLSTM as MinLSTM
    from elman.bptt import MinLSTMCell as MinLSTMCell
    from elman.bptt import PackedLinear as PackedLinear
    from elman.bptt import RNNCell as RNNCell
    from elman.bptt import Stepper as Stepper
    from elman.bptt import Truncated as Truncated
    from elman.bptt import Unfold as Unfold
    from elman.bptt import linear_cross_entropy as linear_cross_entropy
    from elman.bptt import recurrence as recurrence
    from elman.bptt import unfold as unfold
    from elman.chat import MemoryStore as MemoryStore
    from elman.chat import Session as Session
    from elman.data.conversation import Conversation as Conversation
    from elman.data.conversation import Message as Message
    from elman.data.readers import read as read
    from elman.data.source import documents as documents
    from elman.data.tokenizer import Tokenizer as Tokenizer
    from elman.errors import ElmanError as ElmanError
    from elman.generate.replier import Replier as Replier
    from elman.generate.rerank import Ranking as Ranking
    from elman.generate.sampling import SamplingParams as SamplingParams
    from elman.model.checkpoint import load_bot as load_bot
    from elman.train import Config as Config

__version__ = "0.1.0"

_HOMES = {
    "Cell": "elman.bptt",
    "Checkpointed": "elman.bptt",
    "Config": "elman.train",
    "Conversation": "elman.data.conversation",
    "ElmanError": "elman.errors",
    "Full": "elman.bptt",
    "GRU": "elman.bptt",
    "GRUCell": "elman.bptt",
    "LSTM": "elman.bptt",
    "LSTMCell": "elman.bptt",
    "MemoryStore": "elman.chat",
    "Message": "elman.data.conversation",
    "MinGRU": "elman.bptt",
    "MinGRUCell": "elman.bptt",
    "MinLSTM": "elman.bptt",
    "MinLSTMCell": "elman.bptt",
    "PackedLinear": "elman.bptt",
    "RNN": "elman.bptt",
    "RNNCell": "elman.bptt",
    "Ranking": "elman.generate.rerank",
    "Replier": "elman.generate.replier",
    "SamplingParams": "elman.generate.sampling",
    "Session": "elman.chat",
    "Stepper": "elman.bptt",
    "Tokenizer": "elman.data.tokenizer",
    "Truncated": "elman.bptt",
    "Unfold": "elman.bptt",
    "documents": "elman.data.source",
    "linear_cross_entropy": "elman.bptt",
    "load_bot": "elman.model.checkpoint",
    "read": "elman.data.readers",
    "recurrence": "elman.bptt",
    "unfold": "elman.bptt",
}

_RENAMED = {"Sampling": "SamplingParams"}
"""Names of the release before, by the name that each has now."""

__all__ = ["__version__", *_HOMES]


def __getattr__(name: str) -> Any:
    if name in _RENAMED:
        warnings.warn(
            f"elman.{name} is called {_RENAMED[name]} now", DeprecationWarning, stacklevel=2
        )
        name = _RENAMED[name]
    if name not in _HOMES:
        raise AttributeError(f"module 'elman' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
