"""Backpropagation through time: cells, the time loops, and how they are unfolded.

This package imports torch and nothing else of Elman. It knows masks, never messages.
"""

from elman.bptt.cell import Cell, Saved, State
from elman.bptt.cross_entropy import linear_cross_entropy
from elman.bptt.decode import PackedLinear, Stepper
from elman.bptt.gru import GRUCell
from elman.bptt.layers import GRU, LSTM, RNN, MinGRU, MinLSTM
from elman.bptt.loops import ProjectionTrace, Trace
from elman.bptt.lstm import LSTMCell
from elman.bptt.minimal import MinGRUCell, MinLSTMCell
from elman.bptt.recurrence import recurrence
from elman.bptt.rnn import ReLUCell, RNNCell
from elman.bptt.unfold import Checkpointed, Full, Truncated, Unfold

CELLS: dict[str, type[Cell]] = {
    "rnn": RNNCell,
    "gru": GRUCell,
    "lstm": LSTMCell,
    "mingru": MinGRUCell,
    "minlstm": MinLSTMCell,
}

__all__ = [
    "CELLS",
    "GRU",
    "LSTM",
    "RNN",
    "Cell",
    "Checkpointed",
    "Full",
    "GRUCell",
    "LSTMCell",
    "MinGRU",
    "MinGRUCell",
    "MinLSTM",
    "MinLSTMCell",
    "PackedLinear",
    "ProjectionTrace",
    "RNNCell",
    "ReLUCell",
    "Saved",
    "State",
    "Stepper",
    "Trace",
    "Truncated",
    "Unfold",
    "linear_cross_entropy",
    "recurrence",
]
