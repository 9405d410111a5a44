"""A recurrence as torch's own operators, one step after the other.

Slower than the loops, and open to whatever torch can do with operators: derivatives of any order,
`torch.func`, forward mode, tracing and exporting.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

from elman.bptt.cell import Cell, State
from elman.bptt.precision import is_mixed


def recurrence_of_operators(
    cell: Cell,
    x: Tensor,
    state: State,
    keep: Tensor | None,
    cut: Tensor | None,
    low: torch.dtype,
) -> tuple[Tensor, State]:
    """Arguments and results of `recurrence`; products are taken in the precision `low`."""
    if is_mixed(x.device):
        with torch.autocast(x.device.type, enabled=False):
            return _steps(cell, x, state, keep, cut, low)
    return _steps(cell, x, state, keep, cut, low)


def _steps(
    cell: Cell,
    x: Tensor,
    state: State,
    keep: Tensor | None,
    cut: Tensor | None,
    low: torch.dtype,
) -> tuple[Tensor, State]:
    outputs = []
    # A traced program asks for as many steps as it was traced with, where an index would not.
    keeps = None if keep is None else (keep != 0).unsqueeze(2).unbind(0)
    cuts = None if cut is None else (cut != 0).unsqueeze(2).unbind(0)
    for t, gx in enumerate(_product(x, cell.weight_ih, cell.bias_ih, low).unbind(0)):
        if keeps is not None:
            state = tuple(torch.where(keeps[t], part, part.new_zeros(())) for part in state)
        if cuts is not None:
            state = tuple(torch.where(cuts[t], part, part.detach()) for part in state)
        h = state[0]
        gh = h[:, :0] if cell.weight_hh is None else _product(h, cell.weight_hh, cell.bias_hh, low)
        state, _ = cell.step(gx, gh, state)
        outputs.append(state[0])
    return torch.stack(outputs), state


def _product(rows: Tensor, weight: Tensor, bias: Tensor | None, low: torch.dtype) -> Tensor:
    if low == weight.dtype and rows.dtype == low:
        return F.linear(rows, weight, bias)
    product = F.linear(rows.to(low), weight.to(low)).to(weight.dtype)
    return product if bias is None else product + bias


def gradients_of_operators(
    cell: Cell,
    given: Sequence[Tensor | None],
    keep: Tensor | None,
    cut: Tensor | None,
    low: torch.dtype,
    wanted: Sequence[bool],
    doutputs: Sequence[Tensor],
) -> tuple[Tensor | None, ...]:
    """The gradients of a recurrence, differentiable themselves where gradients are enabled.

    Args:
        given: x, weight_ih, weight_hh, bias_ih, bias_hh, the first state and the extra parameters.
        wanted: of which of `given`.
        doutputs: the gradients of h of every step, and of the state after the last.

    Returns:
        One for each of `given`; None where it is not wanted.
    """
    create_graph = torch.is_grad_enabled()
    with torch.enable_grad():
        # Views: where one was made of another, its gradient must not run on into that one.
        views = [None if tensor is None else tensor.view_as(tensor) for tensor in given]
        outputs = functional_call(_Call(cell), *_arguments(cell, views, keep, cut, low))
        reached = [n for n, output in enumerate(outputs) if output.requires_grad]
        inputs = [v for v, wants in zip(views, wanted, strict=True) if v is not None and wants]
        grads = iter(
            torch.autograd.grad(
                [outputs[n] for n in reached],
                inputs,
                [doutputs[n] for n in reached],
                create_graph=create_graph,
                allow_unused=True,
            )
        )
    return tuple(
        next(grads) if v is not None and wants else None
        for v, wants in zip(views, wanted, strict=True)
    )


def _arguments(
    cell: Cell,
    given: Sequence[Tensor | None],
    keep: Tensor | None,
    cut: Tensor | None,
    low: torch.dtype,
) -> tuple[dict[str, Tensor], tuple[Any, ...]]:
    """Parameters and arguments of `_Call`."""
    x, *projections = given[:5]
    state, extra = given[5 : 5 + cell.states], given[5 + cell.states :]
    names = ["weight_ih", "weight_hh", "bias_ih", "bias_hh"]
    names += [name for name, _ in cell.named_parameters() if name not in names]
    weights = zip(names, [*projections, *extra], strict=True)
    parameters = {f"cell.{name}": weight for name, weight in weights if weight is not None}
    return parameters, (x, tuple(state), keep, cut, low)


class _Call(nn.Module):
    """A recurrence as a module, which `functional_call` gives other parameters."""

    def __init__(self, cell: Cell) -> None:
        super().__init__()
        self.cell = cell

    def forward(self, *arguments: Any) -> tuple[Tensor, ...]:
        h, after = recurrence_of_operators(self.cell, *arguments)
        return (h, *after)
