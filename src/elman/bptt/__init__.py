"""Backpropagation through time: cells, the time loops, and how they are unfolded.

This package imports torch and the compiled library, nothing else of Elman. It knows masks, never
messages.
"""

from elman.bptt.cell import Cell as Cell
from elman.bptt.cell import Saved as Saved
from elman.bptt.cell import State as State
from elman.bptt.cross_entropy import linear_cross_entropy as linear_cross_entropy
from elman.bptt.decode import PackedLinear as PackedLinear
from elman.bptt.decode import Stepper as Stepper
from elman.bptt.gru import GRUCell as GRUCell
from elman.bptt.inputs import Inputs as Inputs
from elman.bptt.layers import GRU as GRU
from elman.bptt.layers import LSTM as LSTM
from elman.bptt.layers import RNN as RNN
from elman.bptt.layers import MinGRU as MinGRU
from elman.bptt.layers import MinLSTM as MinLSTM
from elman.bptt.loops import ProjectionTrace as ProjectionTrace
from elman.bptt.loops import Trace as Trace
from elman.bptt.lstm import LSTMCell as LSTMCell
from elman.bptt.minimal import MinGRUCell as MinGRUCell
from elman.bptt.minimal import MinLSTMCell as MinLSTMCell
from elman.bptt.recurrence import recurrence as recurrence
from elman.bptt.rnn import ReLUCell as ReLUCell
from elman.bptt.rnn import RNNCell as RNNCell
from elman.bptt.unfold import Checkpointed as Checkpointed
from elman.bptt.unfold import Full as Full
from elman.bptt.unfold import Truncated as Truncated
from elman.bptt.unfold import Unfold as Unfold

CELLS: dict[str, type[Cell]] = {
    "rnn": RNNCell,
    "gru": GRUCell,
    "lstm": LSTMCell,
    "mingru": MinGRUCell,
    "minlstm": MinLSTMCell,
}
