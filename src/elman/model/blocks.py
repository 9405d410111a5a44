"""Residual layers around a recurrent cell."""

import importlib
from collections.abc import Sequence
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from elman.bptt import CELLS, Cell, Full, PackedLinear, State, Stepper, Unfold
from elman.bptt.decode import Precision
from elman.errors import ElmanError


class StateSpec(NamedTuple):
    """One tensor of a state, (batch, size)."""

    name: str
    size: int
    dtype: torch.dtype


def cell_class(name: str) -> type[Cell]:
    """Find the cell of a short name, or of `my.module:Name`.

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
    except Exception as error:  # whatever that module does
        why = f"{type(error).__name__}: {error}"
        raise ElmanError(f"cell {name!r} cannot be imported: {why}") from None
    if not (isinstance(found, type) and issubclass(found, Cell)):
        raise ElmanError(f"{name!r} is not a Cell")
    return found


MAX_RUN_STEPS = 256
"""Steps that rows are run over at once: bounds the memory of the gates' projections."""


class SlowLinear(nn.Linear):
    """A linear map of x / I, for inputs of size I: it begins small and is learned slowly."""

    def forward(self, x: Tensor) -> Tensor:
        """(..., I) to (..., H)."""
        return F.linear(x, self.weight / self.in_features, self.bias)


class GatedMLP(nn.Module):
    """x + down(silu(gate x') * up x') with x' = norm(x): mixes features within a step.

    Source: Shazeer, "GLU Variants Improve Transformer" (2020), SwiGLU. It begins as nothing: `down`
    is zero.

    Args:
        size: H, of x.
        width: M, of what is gated.
        dropout: of what is added to x, while training.
    """

    def __init__(self, size: int, width: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(size)
        self.up = nn.Linear(size, 2 * width, bias=False)
        self.down = nn.Linear(width, size, bias=False)
        nn.init.zeros_(self.down.weight)
        self.dropout = dropout

    def forward(self, x: Tensor) -> Tensor:
        """(..., H) to (..., H)."""
        return x + F.dropout(self.down(gated(self.up(self.norm(x)))), self.dropout, self.training)


def gated(both: Tensor) -> Tensor:
    """(..., 2 M) to (..., M): what the first half lets through of the second."""
    gate, value = both.chunk(2, dim=-1)
    return F.silu(gate) * value


class RecurrentBlock(nn.Module):
    """x + dropout(cell(norm(x))), and a gated MLP: what makes a stack of layers trainable.

    Args:
        cell: a cell whose input and hidden sizes are equal.
        dropout: of what the cell and the MLP add to x, while training.
        mlp: the MLP's width, in hidden sizes; 0: none.
    """

    def __init__(self, cell: Cell, dropout: float = 0.0, mlp: float = 0.0) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(cell.input_size)
        self.cell = cell
        self.dropout = dropout
        width = round(mlp * cell.hidden_size)
        self.mlp = GatedMLP(cell.hidden_size, width, dropout) if width else None

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
        x = x + F.dropout(h, self.dropout, self.training)
        return (x if self.mlp is None else self.mlp(x)), state


class RecurrentStack(nn.Module):
    """Residual recurrent layers, one above the other, and a norm on top.

    Args:
        cell: its short name, or `my.module:Name`.
        layers: how many.
        hidden_size: H, of inputs, states and outputs.
        dropout, mlp: of each layer, as `RecurrentBlock` has them.
    """

    def __init__(
        self, cell: str, layers: int, hidden_size: int, dropout: float = 0.0, mlp: float = 0.0
    ) -> None:
        super().__init__()
        make = cell_class(cell)
        self.cell_name = cell
        self.layers = nn.ModuleList(
            RecurrentBlock(make(hidden_size, hidden_size), dropout, mlp) for _ in range(layers)
        )
        self.norm = nn.LayerNorm(hidden_size)
        self.states_per_layer = make.states

    @property
    def blocks(self) -> list[RecurrentBlock]:
        return [cast(RecurrentBlock, block) for block in self.layers]

    def state_spec(self, name: str) -> list[StateSpec]:
        """List the tensors of the layers' state, under a name."""
        return [
            StateSpec(
                f"{name}.layer{layer}.{part}", block.cell.hidden_size, block.cell.weight_ih.dtype
            )
            for layer, block in enumerate(self.blocks)
            for part in ["h", "c", *map(str, range(2, self.states_per_layer))][
                : self.states_per_layer
            ]
        ]

    def own_state(self, state: State) -> State:
        """Take the layers' part of a state that begins with it."""
        return state[: len(self.layers) * self.states_per_layer]

    def initial_state(self, batch: int) -> State:
        """Zeros, (batch, H) each."""
        return tuple(tensor for block in self.blocks for tensor in block.cell.initial_state(batch))

    def forward(
        self,
        x: Tensor,
        state: State,
        keep: Tensor | None = None,
        cut: Tensor | None = None,
        unfold: Unfold | None = None,
    ) -> tuple[Tensor, State]:
        """Run all layers over all steps. The state is layer 0's, then layer 1's, and so on."""
        after: list[Tensor] = []
        for block in self.blocks:
            own = state[len(after) : len(after) + self.states_per_layer]
            x, new = block(x, own, keep, cut, unfold)
            after.extend(new)
        return self.norm(x), tuple(after)

    def shared(
        self,
        x: Tensor,
        state: State,
        packed: Sequence[Stepper] | None = None,
        *,
        outputs: bool = True,
    ) -> tuple[Tensor | None, State]:
        """Run the same inputs from several states.

        Args:
            x: (T, H), at least one step.
            state: of each row before.
            packed: each layer's cell with its weights packed already; then there is no gradient.
            outputs: whether the output is wanted, and not the state alone.

        Returns:
            The output, (T, rows, H), or None; and the state of each row after.
        """
        rows, size = len(state[0]), self.states_per_layer
        found = []
        for part in x.split(MAX_RUN_STEPS):
            hidden = part.unsqueeze(1)
            after: list[Tensor] = []
            for number, block in enumerate(self.blocks):
                read = block.norm(hidden)
                own = state[number * size : (number + 1) * size]
                if packed is None:
                    h, new = Full()(block.cell, read.expand(-1, rows, -1), own)
                else:
                    gx = F.linear(read, block.cell.weight_ih, block.cell.bias_ih)
                    h, new = packed[number].through(gx.expand(-1, rows, -1), own)
                after.extend(new)
                if outputs or number + 1 < len(self.blocks):
                    hidden = hidden + F.dropout(h, block.dropout, self.training)
                    hidden = hidden if block.mlp is None else block.mlp(hidden)
            state = tuple(after)
            found.append(hidden)
        return (self.norm(torch.cat(found)) if outputs else None), state


class _PackedMLP:
    def __init__(self, mlp: GatedMLP, precision: Precision) -> None:
        self._norm = mlp.norm
        self._up = PackedLinear(mlp.up.weight, None, precision)
        self._down = PackedLinear(mlp.down.weight, None, precision)

    def __call__(self, x: Tensor) -> Tensor:
        return x + self._down(gated(self._up(self._norm(x))))


class PackedStack:
    """A stack for decoding: the same layers, without gradient, from weights packed once.

    Args:
        stack: its weights are copied.
        precision: what they are rounded to.
    """

    def __init__(self, stack: RecurrentStack, precision: Precision) -> None:
        self._layers = [
            (
                block.norm,
                Stepper(block.cell, precision),
                None if block.mlp is None else _PackedMLP(block.mlp, precision),
            )
            for block in stack.blocks
        ]
        self._norm = stack.norm

    @torch.no_grad()
    def __call__(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """As `RecurrentStack.forward`."""
        after: list[Tensor] = []
        for norm, step, mlp in self._layers:
            own = state[len(after) : len(after) + step.cell.states]
            h, new = step(norm(x), own)
            x = x + h if mlp is None else mlp(x + h)
            after.extend(new)
        return self._norm(x), tuple(after)
