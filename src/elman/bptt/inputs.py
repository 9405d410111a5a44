"""What a recurrence is run over, as one value, and the check that it fits its cell."""

from typing import NamedTuple

from torch import Tensor

from elman.bptt.cell import Cell, State
from elman.bptt.precision import is_mixed


class Inputs(NamedTuple):
    """What a recurrence is run over; `checked` makes one that fits its cell.

    Args:
        x: (T, B, input_size), T at least 1.
        state: the state before the first step, each tensor (B, hidden_size).
        keep: (T, B) or None. 0 where the state before that step is forgotten.
        cut: (T, B) or None. 0 where the state before that step passes and its gradient does not.
    """

    x: Tensor
    state: State
    keep: Tensor | None = None
    cut: Tensor | None = None


def checked(
    cell: Cell, x: Tensor, state: State | None, keep: Tensor | None, cut: Tensor | None
) -> Inputs:
    """Check shapes, dtypes and devices, and set a state of None to zeros.

    The state is copied into the weights' dtype: the caller may write into its own before the
    backward pass needs it.

    Raises:
        ValueError: where something does not fit.
    """
    weight = cell.weight_ih
    if x.dim() != 3 or x.shape[2] != cell.input_size:
        raise ValueError(f"x must be (T, B, {cell.input_size}), got {tuple(x.shape)}")
    steps, batch, _ = x.shape
    if steps == 0:
        raise ValueError(f"x needs at least one step, got {tuple(x.shape)}")
    if state is not None:
        shape = (batch, cell.hidden_size)
        if len(state) != cell.states or any(tensor.shape != shape for tensor in state):
            got = [tuple(tensor.shape) for tensor in state]
            raise ValueError(f"the state must be {cell.states} tensors of {shape}, got {got}")
    for name, mask in (("keep", keep), ("cut", cut)):
        if mask is not None and mask.shape != (steps, batch):
            raise ValueError(f"{name} must be {(steps, batch)}, got {tuple(mask.shape)}")
    mixed = is_mixed(weight.device)
    given = {"x": x, **{f"state[{n}]": tensor for n, tensor in enumerate(state or ())}}
    for name, tensor in given.items():
        if tensor.device != weight.device:
            raise ValueError(f"{name} must be on {weight.device}, got {tensor.device}")
        if tensor.dtype != weight.dtype and not (mixed and tensor.is_floating_point()):
            raise ValueError(f"{name} must be {weight.dtype}, got {tensor.dtype}")
    if state is None:
        return Inputs(x, cell.initial_state(batch), keep, cut)
    return Inputs(x, tuple(part.to(weight.dtype, copy=True) for part in state), keep, cut)


def check_finite(x: Tensor) -> None:
    """Raise ValueError where x, (T, B, input_size), is not finite; it names the first step."""
    bad = (~x.isfinite()).flatten(1).any(dim=1).nonzero()
    if len(bad):
        t = int(bad[0])
        row = int((~x[t].isfinite()).any(dim=1).nonzero()[0])
        values = x[t, row]
        value = values[~values.isfinite()][0].item()
        raise ValueError(f"x must be finite, got {value} first at step {t}, in row {row}")
