"""What the recurrent layers share: torch's arguments, weights and layout over Elman's engine."""

import os
import warnings
from collections.abc import Sequence
from typing import ClassVar, Generic, TypeVar, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.rnn import PackedSequence

from elman.bptt.cell import Cell, State
from elman.bptt.kernels.native import load
from elman.bptt.loops import Trace
from elman.bptt.lstm import LSTMCell
from elman.bptt.precision import is_mixed
from elman.bptt.transforms import as_it_is, is_compiled, is_recorded, is_transformed
from elman.bptt.unfold import Full, Unfold

MAX_ONEDNN_LSTM_ROWS = 4096
"""Steps times batch size up to which oneDNN's LSTM is taken."""

Hx = TypeVar("Hx", bound=Tensor | tuple[Tensor, Tensor])


class RecurrentLayers(nn.Module, Generic[Hx]):
    """Recurrent layers of one kind of cell, one above the other.

    A subclass names its `cell`, and `_torch_name` where torch has an operator for the same.
    """

    bidirectional: ClassVar[bool] = False
    proj_size: ClassVar[int] = 0
    cell: type[Cell]
    _torch_name: str | None = None

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        proj_size: int = 0,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        if bidirectional:
            raise NotImplementedError(
                "bidirectional=True is not offered: run a second layer over x.flip(0), flip its "
                "output back, and concatenate the two"
            )
        if proj_size:
            raise NotImplementedError(
                f"proj_size={proj_size} is not offered: put an nn.Linear behind the layer"
            )
        if num_layers < 1:
            raise ValueError(f"num_layers must be at least 1, got {num_layers}")
        if not 0 <= dropout <= 1:
            raise ValueError(f"dropout must be from 0 to 1, got {dropout}")
        if dropout > 0 and num_layers == 1:
            warnings.warn("dropout acts between layers, and there is only one", stacklevel=2)
        self.input_size, self.hidden_size = input_size, hidden_size
        self.num_layers, self.bias = num_layers, bias
        self.batch_first, self.dropout = batch_first, dropout
        # The parameters are this module's own, under torch's names; the cells lend their steps. In
        # a tuple they are no submodules, and on "meta" they hold no memory.
        self._cells = tuple(
            self.cell(hidden_size if layer else input_size, hidden_size, bias, device="meta")
            for layer in range(num_layers)
        )
        for layer, cell in enumerate(self._cells):
            for name, like in cell.named_parameters():
                weight = nn.Parameter(torch.empty(like.shape, device=device, dtype=dtype))
                self.register_parameter(f"{name}_l{layer}", weight)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw every parameter from U(-1/sqrt(H), 1/sqrt(H)), in the order of torch."""
        bound = self.hidden_size**-0.5
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -bound, bound)

    def flatten_parameters(self) -> None:
        """Do nothing: code for torch's layers calls this, and no layout is to be restored here."""

    @property
    def all_weights(self) -> list[list[Tensor]]:
        """The parameters of each layer, in the order of torch."""
        return [list(self._cell_at(layer).parameters()) for layer in range(self.num_layers)]

    def extra_repr(self) -> str:
        usual = {"num_layers": 1, "bias": True, "batch_first": False, "dropout": 0.0}
        options = {name: getattr(self, name) for name in usual}
        unusual = [f"{name}={options[name]}" for name in usual if options[name] != usual[name]]
        return ", ".join([str(self.input_size), str(self.hidden_size), *unusual])

    def forward(
        self,
        input: Tensor,  # noqa: A002 (torch's name)
        hx: Hx | None = None,
        # By position, too: torch's older ONNX exporter gives every default so.
        keep: Tensor | None = None,
        unfold: Unfold | None = None,
        trace: Trace | Sequence[Trace | None] | None = None,
    ) -> tuple[Tensor, Hx]:
        """Run all layers over all steps, as torch's layers do.

        With I = `input_size`, H = `hidden_size`, L = `num_layers`. A single sequence has no B
        in any shape.

        Args:
            input: (T, B, I), or (B, T, I) where `batch_first`.
            hx: h_0, or for an LSTM (h_0, c_0), each (L, B, H); zeros if None.
            keep: (T, B), or (B, T) where `batch_first`. 0 where a sequence starts: every layer
                forgets its state before that step; anything else: it passes.
            unfold: how each layer is differentiated; `Full()` if None.
            trace: one for each layer (or None), the lowest first; where L is 1, also one alone.

        Returns:
            h of the last layer at every step, laid out as `input`, and the state after the last
            step, laid out as `hx`. Both have the dtype of the weights. Under autocast only the
            products are of the low precision; what torch's own layers return then depends on the
            layer and the device.

        Raises:
            TypeError: for a PackedSequence, or an `hx` made for another kind of layer.
            ValueError: where a shape, dtype or device does not fit, or T is 0.
        """
        if is_compiled():
            call = as_it_is(type(self).forward)
            return call(self, input, hx, keep=keep, unfold=unfold, trace=trace)
        state = self._first_state(input, hx, keep)
        traces = trace if isinstance(trace, Sequence) else [trace]
        if trace is None:
            traces = [None] * self.num_layers
        if len(traces) != self.num_layers:
            raise ValueError(f"trace must be one a layer, {self.num_layers}, got {len(traces)}")

        batched = input.dim() == 3
        batch_dim = 0 if self.batch_first else 1

        def steps_first(tensor: Tensor) -> Tensor:
            return tensor.movedim(batch_dim, 1) if batched else tensor.unsqueeze(1)

        x = steps_first(input)
        keep = None if keep is None else steps_first(keep)
        run = unfold or Full()
        if self._torch_is_faster(x) and run == Full() and keep is None and trace is None:
            h, after = self._by_torch(x, state)
        else:
            h, after = self._by_elman(x, state, keep, run, traces)
        if batched:
            output = h.movedim(1, batch_dim)
        else:
            output, after = h.squeeze(1), tuple(tensor.squeeze(1) for tensor in after)
        return output, cast(Hx, after if self.cell.states > 1 else after[0])

    def _by_elman(
        self,
        x: Tensor,
        state: State | None,
        keep: Tensor | None,
        unfold: Unfold,
        traces: Sequence[Trace | None],
    ) -> tuple[Tensor, State]:
        """Run all layers by the engine; x is (T, B, I), keep (T, B)."""
        ends: list[State] = []
        for layer in range(self.num_layers):
            if layer > 0:
                x = F.dropout(x, self.dropout, self.training)
            first = None if state is None else tuple(tensor[layer] for tensor in state)
            x, end = unfold(self._cell_at(layer), x, first, keep, trace=traces[layer])
            ends.append(end)
        return x, tuple(torch.stack(parts) for parts in zip(*ends, strict=True))

    def _torch_is_faster(self, x: Tensor) -> bool:
        """Tell whether torch runs such a layer faster over x, (T, B, I), or records it shorter.

        On a GPU cuDNN is faster. On a CPU torch is faster where the loops were not compiled, and
        for few rows of an LSTM: there `benchmarks/bptt.py` has oneDNN ahead more often than not.
        """
        if self._torch_name is None:
            return False
        if is_recorded():  # its operator is one that every exporter knows, if not every transform
            return not is_transformed()
        if x.device.type == "cpu":
            if x.dtype != torch.float32 or torch.is_autocast_enabled("cpu"):
                return False
            # oneDNN's LSTM is wrong, and silent, where it gets fewer threads than it asked for.
            if self.cell is LSTMCell and "OMP_THREAD_LIMIT" in os.environ:
                return False
            few = self.cell is LSTMCell and x.shape[0] * x.shape[1] <= MAX_ONEDNN_LSTM_ROWS
            if not few and load()[0] is not None:
                return False
        return not is_transformed()  # not every transform knows its operator

    def _by_torch(self, x: Tensor, state: State | None) -> tuple[Tensor, State]:
        """Run all layers by torch's own operator; x is (T, B, I)."""
        if state is None:
            shape = (self.num_layers, x.shape[1], self.hidden_size)
            state = tuple(x.new_zeros(shape) for _ in range(self.cell.states))
        run = getattr(torch, str(self._torch_name))
        weights = [tensor for layer in self.all_weights for tensor in layer]
        h, *after = run(
            x, state if self.cell.states > 1 else state[0], weights, self.bias, self.num_layers,
            self.dropout, self.training, False, False,
        )  # fmt: skip
        return h, tuple(after)

    def _cell_at(self, layer: int) -> Cell:
        """Make the cell of a layer, with the weights that this module has at this moment.

        A new one each time: `functional_call` may have put other tensors in place of the
        parameters, and they must stay with the call that they were given for.
        """
        like = self._cells[layer]
        cell = object.__new__(type(like))  # not copy.copy, into which torch.export may not look
        cell.__dict__.update(like.__dict__)
        cell._parameters = {name: getattr(self, f"{name}_l{layer}") for name in cell._parameters}
        return cell

    def _first_state(self, x: Tensor, hx: Hx | None, keep: Tensor | None) -> State | None:
        """Check the arguments of `forward`; return the first state, each (L, B, H)."""
        if isinstance(x, PackedSequence):
            raise TypeError(
                "input must be a Tensor, got a PackedSequence: give padded sequences, or lay them "
                "end to end with a 0 in `keep` where each starts"
            )
        size = self.input_size
        steps = 1 if self.batch_first and x.dim() == 3 else 0
        if x.dim() not in (2, 3) or x.shape[-1] != size or x.shape[steps] == 0:
            shape = f"(B, T, {size})" if self.batch_first else f"(T, B, {size})"
            got = tuple(x.shape)
            raise ValueError(f"input must be {shape} or (T, {size}), T at least 1, got {got}")
        weight = self._cell_at(0).weight_ih
        _check("input", x, x.shape, weight)
        if keep is not None:
            _check("keep", keep, x.shape[:-1], weight, any_dtype=True)
        if hx is None:
            return None
        names = ["hx"] if self.cell.states == 1 else ["h_0", "c_0"]
        parts = (hx,) if isinstance(hx, Tensor) else tuple(hx)
        if isinstance(hx, Tensor) != (len(names) == 1) or len(parts) != len(names):
            expected = "h_0, a Tensor" if len(names) == 1 else "(h_0, c_0), two Tensors"
            raise TypeError(f"hx must be {expected}, got a {type(hx).__name__} of {len(hx)}")
        batch = x.shape[:-2] if self.batch_first else x.shape[1:-1]
        for name, part in zip(names, parts, strict=True):
            _check(name, part, (self.num_layers, *batch, self.hidden_size), weight)
        return tuple((p if x.dim() == 3 else p.unsqueeze(1)).to(weight.dtype) for p in parts)


def _check(
    name: str, tensor: Tensor, shape: Sequence[int], weight: Tensor, any_dtype: bool = False
) -> None:
    """Raise ValueError unless a tensor has the shape, and the device and dtype of the weights."""
    if tensor.shape != tuple(shape):
        raise ValueError(f"{name} must be {tuple(shape)}, got {tuple(tensor.shape)}")
    if tensor.device != weight.device:
        raise ValueError(f"{name} must be on {weight.device} like the weights, got {tensor.device}")
    mixed = is_mixed(weight.device) and tensor.is_floating_point()
    if not (tensor.dtype == weight.dtype or any_dtype or mixed):
        raise ValueError(f"{name} must be {weight.dtype} like the weights, got {tensor.dtype}")
