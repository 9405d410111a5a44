"""The recurrent layers of torch.nn over Elman's engine: the same weights, names and results."""

import torch
from torch import Tensor

from elman.bptt.cell import Cell
from elman.bptt.gru import GRUCell
from elman.bptt.lstm import LSTMCell
from elman.bptt.minimal import MinGRUCell, MinLSTMCell
from elman.bptt.recurrent_layers import RecurrentLayers
from elman.bptt.rnn import ReLUCell, RNNCell


class RNN(RecurrentLayers[Tensor]):
    """`torch.nn.RNN`, the simple recurrent network of Elman (1990): see `RNNCell`.

    It takes the arguments of torch's layer and computes the same numbers. Its parameters have the
    same names, so state dicts load both ways, and the same seed draws the same weights. `keep`,
    `unfold` and `trace` are Elman's own: see `forward`.

    Raises:
        NotImplementedError: for bidirectional=True, or a proj_size.
        ValueError: for a size below 1, a dropout outside [0, 1] or an unknown nonlinearity.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        nonlinearity: str = "tanh",
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        cells: dict[str, type[Cell]] = {"tanh": RNNCell, "relu": ReLUCell}
        if nonlinearity not in cells:
            raise ValueError(f"nonlinearity must be 'tanh' or 'relu', got {nonlinearity!r}")
        self.nonlinearity, self.cell = nonlinearity, cells[nonlinearity]
        self._torch_name = f"rnn_{nonlinearity}"
        super().__init__(
            input_size,
            hidden_size,
            num_layers,
            bias,
            batch_first,
            dropout,
            bidirectional,
            device=device,
            dtype=dtype,
        )


class GRU(RecurrentLayers[Tensor]):
    """`torch.nn.GRU`: see `GRUCell`, and `RNN` for what all these layers share."""

    cell = GRUCell
    _torch_name = "gru"


class LSTM(RecurrentLayers[tuple[Tensor, Tensor]]):
    """`torch.nn.LSTM`: see `LSTMCell`, and `RNN` for what all these layers share."""

    cell = LSTMCell
    _torch_name = "lstm"


class MinGRU(RecurrentLayers[Tensor]):
    """Layers of `MinGRUCell`, with the arguments and the call of `GRU`; torch has none like it."""

    cell = MinGRUCell


class MinLSTM(RecurrentLayers[Tensor]):
    """Layers of `MinLSTMCell`, with the arguments and the call of `GRU`: its state is h alone."""

    cell = MinLSTMCell
