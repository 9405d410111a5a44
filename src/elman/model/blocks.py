"""Residual layers around a recurrent cell."""

import importlib

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from elman.bptt import CELLS, Cell, Full, State, Unfold
from elman.errors import ElmanError


def cell_class(name: str) -> type[Cell]:
    """The cell of a short name, or of `my.module:Name`.

    Raises:
        ElmanError: where there is no such cell.
    """
    if name in CELLS:
        return CELLS[name]
    module, colon, attribute = name.partition(":")
    if not colon:
        raise ElmanError(f"no cell {name!r}; there are {', '.join(CELLS)}, or my.module:Name")
    try:
        found = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise ElmanError(f"cell {name!r} cannot be imported: {error}") from None
    if not (isinstance(found, type) and issubclass(found, Cell)):
        raise ElmanError(f"{name!r} is not a Cell")
    return found


LONGEST_RUN = 256
"""Steps that `ragged` runs at once: bounds the memory of the gates' projections."""


class RecurrentBlock(nn.Module):
    """x + dropout(cell(norm(x))): what makes a stack of recurrent layers trainable.

    Args:
        cell: a cell whose input and hidden sizes are equal.
        dropout: of the cell's output, while training.
    """

    def __init__(self, cell: Cell, dropout: float = 0.0) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(cell.input_size)
        self.cell = cell
        self.dropout = dropout

    def forward(
        self,
        x: Tensor,
        state: State,
        keep: Tensor | None = None,
        cut: Tensor | None = None,
        unfold: Unfold | None = None,
    ) -> tuple[Tensor, State]:
        """x and the result are (T, B, H); masks as in `elman.bptt.recurrence`."""
        h, state = (unfold or Full())(self.cell, self.norm(x), state, keep, cut)
        return x + F.dropout(h, self.dropout, self.training), state


class RecurrentStack(nn.Module):
    """Residual recurrent layers, one above the other, and a norm on top."""

    def __init__(self, cell: str, layers: int, hidden_size: int, dropout: float = 0.0) -> None:
        super().__init__()
        make = cell_class(cell)
        self.layers = nn.ModuleList(
            RecurrentBlock(make(hidden_size, hidden_size), dropout) for _ in range(layers)
        )
        self.norm = nn.LayerNorm(hidden_size)
        self.states_per_layer = make.states

    def forward(
        self,
        x: Tensor,
        state: State,
        keep: Tensor | None = None,
        cut: Tensor | None = None,
        unfold: Unfold | None = None,
    ) -> tuple[Tensor, State]:
        """All layers over all steps; the state is that of layer 0, then of layer 1, and so on."""
        after: list[Tensor] = []
        for layer in self.layers:
            own = state[len(after) : len(after) + self.states_per_layer]
            x, new = layer(x, own, keep, cut, unfold)
            after.extend(new)
        return self.norm(x), tuple(after)


def ragged(stack: RecurrentStack, x: list[Tensor], state: State) -> tuple[list[Tensor], State]:
    """Run lanes of different lengths, each only as far as it goes, so that nothing is padded.

    Args:
        stack: the layers.
        x: one (T_i, H) tensor for each lane, T_i at least 1.
        state: of each lane before its first step.

    Returns:
        One (T_i, H) tensor for each lane, and the state of each lane after its last step.
    """
    lengths = torch.tensor([len(lane) for lane in x])
    order = torch.argsort(lengths, descending=True, stable=True)
    padded = nn.utils.rnn.pad_sequence([x[i] for i in order.tolist()])
    state = tuple(tensor[order] for tensor in state)
    final = tuple(torch.empty_like(tensor) for tensor in state)
    hidden = torch.empty_like(padded)
    ends = lengths[order]
    begin = 0
    longest = int(ends[0])
    stops = {*lengths.tolist(), *range(LONGEST_RUN, longest, LONGEST_RUN)}
    for end in sorted(stops):
        active = int((ends >= end).sum())
        lanes = tuple(tensor[:active] for tensor in state)
        hidden[begin:end, :active], state = stack(padded[begin:end, :active], lanes)
        for whole, part in zip(final, state, strict=True):
            whole[:active] = part
        begin = end
    back = torch.argsort(order)
    outputs = [hidden[: len(lane), int(row)] for lane, row in zip(x, back, strict=True)]
    return outputs, tuple(tensor[back] for tensor in final)
