"""A recurrence as torch's own operators, one step after the other.

Slower than the loops, and open to whatever torch can do with operators: derivatives of any order,
`torch.func`, forward mode, tracing and exporting.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

from elman.bptt.cell import Cell, State
from elman.bptt.inputs import Inputs
from elman.bptt.precision import is_mixed


def recurrence_of_operators(cell: Cell, inputs: Inputs, low: torch.dtype) -> tuple[Tensor, State]:
    """Run `cell` over `inputs`, results as of `recurrence`; products are of the precision `low`."""
    if is_mixed(inputs.x.device):
        with torch.autocast(inputs.x.device.type, enabled=False):
            return _steps(cell, inputs, low)
    return _steps(cell, inputs, low)


def _steps(cell: Cell, inputs: Inputs, low: torch.dtype) -> tuple[Tensor, State]:
    x, state, keep, cut = inputs
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
    inputs: Inputs,
    weights: Sequence[Tensor | None],
    low: torch.dtype,
    wanted: Sequence[bool],
    doutputs: Sequence[Tensor],
) -> tuple[Tensor | None, ...]:
    """Differentiate a recurrence; the gradients are differentiable where gradients are enabled.

    Args:
        inputs: what it was run over.
        weights: weight_ih, weight_hh, bias_ih, bias_hh and the extra parameters.
        wanted: whether the gradient is wanted of x, the first four weights, each tensor of the
            state, and each extra parameter, in that order.
        doutputs: the gradients of h of every step, and of the state after the last.

    Returns:
        The gradients in the order of `wanted`; None where one is not wanted.
    """
    create_graph = torch.is_grad_enabled()
    given = [inputs.x, *weights[:4], *inputs.state, *weights[4:]]
    names = ["weight_ih", "weight_hh", "bias_ih", "bias_hh"]
    names += [name for name, _ in cell.named_parameters() if name not in names]
    with torch.enable_grad():
        # Views: where one was made of another, its gradient must not run on into that one.
        views = [None if tensor is None else tensor.view_as(tensor) for tensor in given]
        x, *projections = views[:5]
        assert x is not None
        end = 5 + cell.states
        state = tuple(view for view in views[5:end] if view is not None)
        parameters = {
            f"cell.{name}": weight
            for name, weight in zip(names, [*projections, *views[end:]], strict=True)
            if weight is not None
        }
        arguments = (Inputs(x, state, inputs.keep, inputs.cut), low)
        outputs = functional_call(_Recurrent(cell), parameters, arguments)
        reached = [n for n, output in enumerate(outputs) if output.requires_grad]
        differentiated = [
            view for view, wants in zip(views, wanted, strict=True) if view is not None and wants
        ]
        grads = iter(
            torch.autograd.grad(
                [outputs[n] for n in reached],
                differentiated,
                [doutputs[n] for n in reached],
                create_graph=create_graph,
                allow_unused=True,
            )
        )
    return tuple(
        next(grads) if view is not None and wants else None
        for view, wants in zip(views, wanted, strict=True)
    )


class _Recurrent(nn.Module):
    """A recurrence as a module, which `functional_call` gives other parameters."""

    def __init__(self, cell: Cell) -> None:
        super().__init__()
        self.cell = cell

    def forward(self, inputs: Inputs, low: torch.dtype) -> tuple[Tensor, ...]:
        h, after = recurrence_of_operators(self.cell, inputs, low)
        return (h, *after)
