"""The public names of Elman, and where each is: the one list, which `__init__.py` reads."""

from elman import functional as functional
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
from elman.export.hub import push_to_hub as push_to_hub
from elman.generate.network import load_network_bot as load_network_bot
from elman.generate.replier import Replier as Replier
from elman.generate.rerank import Ranking as Ranking
from elman.generate.sampling import SamplingParams as SamplingParams
from elman.referee import check as check
from elman.runtime.choose import load_bot as load_bot
from elman.train import Config as Config

__version__: str
