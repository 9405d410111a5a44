"""The recurrences as pure functions: input, state and weights in, outputs and state out.

One function a cell, for whoever keeps the weights outside of modules: `rnn`, `rnn_relu`, `gru`,
`lstm`, `mingru` and `minlstm`. All can be used under `torch.func`: `grad`, `jacrev`, `jvp`, `vmap`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from elman.bptt import (
    Cell,
    Full,
    GRUCell,
    LSTMCell,
    MinGRUCell,
    MinLSTMCell,
    RNNCell,
    State,
    Unfold,
)
from elman.bptt.rnn import ReLUCell

WEIGHT_NAMES = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
"""The weights of a cell in the order of `Cell.parameters()` and of a layer's `all_weights`."""


@dataclass(frozen=True)
class CellFunction:
    """A recurrence of one kind of cell, without any weights of its own.

    Args:
        kind: the cell, whose class says what is computed.
    """

    kind: type[Cell]

    def __call__(
        self,
        x: Tensor,
        state: State | None,
        weights: Sequence[Tensor],
        keep: Tensor | None = None,
        cut: Tensor | None = None,
        unfold: Unfold | None = None,
    ) -> tuple[Tensor, State]:
        """Run the cell over the steps of `x`, with G = `kind.gates`.

        Args:
            x: (T, B, I).
            state: the state before the first step, a tuple of (B, H), h first; zeros if None.
            weights: weight_ih (G * H, I), weight_hh (G * H, H), and perhaps bias_ih and bias_hh
                (G * H,). That is `layer.all_weights[0]`, of torch's layers as of Elman's. The
                minimal cells have no weight_hh and no bias_hh.
            keep: (T, B), 0 where the state before that step is forgotten.
            cut: (T, B), 0 where the state before that step passes but its gradient does not.
            unfold: how it is differentiated; `Full()` if None.

        Returns:
            h of every step, (T, B, H), and the state after the last.

        Raises:
            ValueError: where a number of weights, a shape, a dtype or a device does not fit.
        """
        return (unfold or Full())(self.cell(weights), x, state, keep, cut)

    def cell(self, weights: Sequence[Tensor]) -> Cell:
        """Make a cell that has these weights."""
        kind = self.kind
        names = [name for name in WEIGHT_NAMES if kind.recurrent or not name.endswith("_hh")]
        half = len(names) // 2
        if len(weights) not in (half, len(names)):
            needed, perhaps = " and ".join(names[:half]), " and ".join(names[half:])
            got = f"got {len(weights)} tensors"
            raise ValueError(f"weights must be {needed}, and perhaps {perhaps}: {got}")
        weight_ih = weights[0]
        if weight_ih.dim() != 2 or weight_ih.shape[0] % kind.gates or not weight_ih.numel():
            got = f"got {tuple(weight_ih.shape)}"
            raise ValueError(f"weight_ih must be ({kind.gates} * H, I), {got}")
        rows, inputs = weight_ih.shape
        size = rows // kind.gates
        shapes = {"weight_ih": (rows, inputs), "weight_hh": (rows, size)}
        given = dict(zip(names, weights, strict=False))
        for name, weight in given.items():
            if weight.shape != (shape := shapes.get(name, (rows,))):
                raise ValueError(f"{name} must be {shape}, got {tuple(weight.shape)}")
        # Not by its constructor, which draws weights: `vmap` forbids what is random.
        cell = kind.__new__(kind)
        nn.Module.__init__(cell)
        cell.input_size, cell.hidden_size = inputs, size
        cell.__dict__["_parameters"] = {name: given.get(name) for name in WEIGHT_NAMES}
        return cell


rnn = CellFunction(RNNCell)
rnn_relu = CellFunction(ReLUCell)
gru = CellFunction(GRUCell)
lstm = CellFunction(LSTMCell)
mingru = CellFunction(MinGRUCell)
minlstm = CellFunction(MinLSTMCell)
