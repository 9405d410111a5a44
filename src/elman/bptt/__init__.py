"""Backpropagation through time: cells, the time loops, and how they are unfolded.

This package imports torch and nothing else of Elman. It knows masks, never messages.
"""

from elman.bptt.cell import Cell, Saved, State
from elman.bptt.gru import GRUCell
from elman.bptt.lstm import LSTMCell
from elman.bptt.recurrence import Trace, recurrence
from elman.bptt.rnn import RNNCell
from elman.bptt.unfold import Full, Truncated, Unfold

CELLS: dict[str, type[Cell]] = {"rnn": RNNCell, "gru": GRUCell, "lstm": LSTMCell}

__all__ = [
    "CELLS",
    "Cell",
    "Full",
    "GRUCell",
    "LSTMCell",
    "RNNCell",
    "Saved",
    "State",
    "Trace",
    "Truncated",
    "Unfold",
    "recurrence",
]
