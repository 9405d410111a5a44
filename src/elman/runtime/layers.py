"""Residual recurrent layers, one step at a time: what model/blocks.py and bptt/ compute."""

from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

import numpy as np

Arrays = Mapping[str, np.ndarray]

NORM_EPSILON = 1e-5
"""What torch adds to a variance before it divides by its root."""


def norm(arrays: Arrays, name: str, x: np.ndarray) -> np.ndarray:
    """Normalise each row of x, (B, H), to mean 0 and variance 1, then scale and shift it."""
    x = x - x.mean(1, keepdims=True)
    x /= np.sqrt((x * x).mean(1, keepdims=True) + np.float32(NORM_EPSILON))
    return x * arrays[f"{name}.weight"] + arrays[f"{name}.bias"]


def linear(arrays: Arrays, name: str, x: np.ndarray) -> np.ndarray:
    """Multiply x, (B, K), by a weight, (N, K), and add the bias if there is one."""
    y: np.ndarray = x @ arrays[f"{name}.weight"].T
    return y + arrays[f"{name}.bias"] if f"{name}.bias" in arrays else y


def sigmoid(x: np.ndarray) -> np.ndarray:
    """1 / (1 + e^-x), without overflow."""
    return np.float32(0.5) * (1 + np.tanh(np.float32(0.5) * x))


def _rnn(gx: np.ndarray, gh: np.ndarray, h: np.ndarray) -> tuple[np.ndarray, ...]:
    return (np.tanh(gx + gh),)


def _gru(gx: np.ndarray, gh: np.ndarray, h: np.ndarray) -> tuple[np.ndarray, ...]:
    (x_r, x_z, x_n), (h_r, h_z, h_n) = np.split(gx, 3, 1), np.split(gh, 3, 1)
    z, n = sigmoid(x_z + h_z), np.tanh(x_n + sigmoid(x_r + h_r) * h_n)
    return (n + z * (h - n),)


def _lstm(gx: np.ndarray, gh: np.ndarray, h: np.ndarray, c: np.ndarray) -> tuple[np.ndarray, ...]:
    i, f, g, o = np.split(gx + gh, 4, 1)
    c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
    return sigmoid(o) * np.tanh(c), c


def _mingru(gx: np.ndarray, gh: np.ndarray, h: np.ndarray) -> tuple[np.ndarray, ...]:
    z, n = np.split(gx, 2, 1)
    return (h + sigmoid(z) * (n - h),)


def _minlstm(gx: np.ndarray, gh: np.ndarray, h: np.ndarray) -> tuple[np.ndarray, ...]:
    f, i, n = np.split(gx, 3, 1)
    # f / (f + i) of their sigmoids: not as a quotient, both may be 0 in float32.
    share = sigmoid(np.logaddexp(0, -i) - np.logaddexp(0, -f))
    return (n + share * (h - n),)


class CellKind(NamedTuple):
    """A built-in cell.

    Args:
        gates: blocks of rows in its stacked weights.
        states: arrays of its state.
        recurrent: whether h is projected.
        step: the state after one step, from the two projections and the state before.
    """

    gates: int
    states: int
    recurrent: bool
    step: Callable[..., tuple[np.ndarray, ...]]


CELL_KINDS = {
    "rnn": CellKind(1, 1, True, _rnn),
    "gru": CellKind(3, 1, True, _gru),
    "lstm": CellKind(4, 2, True, _lstm),
    "mingru": CellKind(2, 1, False, _mingru),
    "minlstm": CellKind(3, 1, False, _minlstm),
}


class StackShape(NamedTuple):
    """Sizes of a stack.

    Args:
        cell: the short name of its cells.
        layers: how many.
        mlp: width of each layer's gated MLP, in hidden sizes; 0: none.
    """

    cell: str
    layers: int
    mlp: float

    @property
    def states(self) -> int:
        """Arrays of its state."""
        return self.layers * CELL_KINDS[self.cell].states

    def parts(self) -> Iterator[tuple[int, str]]:
        """Name the arrays of its state, in order: the layer and which of its arrays."""
        for layer in range(self.layers):
            yield from ((layer, part) for part in ("h", "c")[: CELL_KINDS[self.cell].states])

    def shapes(self, name: str, size: int) -> Iterator[tuple[str, tuple[int, ...]]]:
        """Name its weights, for inputs and states of some size, with their shapes."""
        gates, _, recurrent, _ = CELL_KINDS[self.cell]
        width = round(self.mlp * size)
        norms = [f"{name}.norm"]
        for layer in (f"{name}.layers.{number}" for number in range(self.layers)):
            for part in ("ih", "hh")[: 1 + recurrent]:
                yield f"{layer}.cell.weight_{part}", (gates * size, size)
                yield f"{layer}.cell.bias_{part}", (gates * size,)
            norms.append(f"{layer}.norm")
            if width:
                yield f"{layer}.mlp.up.weight", (2 * width, size)
                yield f"{layer}.mlp.down.weight", (size, width)
                norms.append(f"{layer}.mlp.norm")
        for norm_name in norms:
            yield f"{norm_name}.weight", (size,)
            yield f"{norm_name}.bias", (size,)


class Stack:
    """Residual recurrent layers and a norm on top, for one step of some rows.

    Args:
        arrays: the bot's.
        name: what theirs begin with.
        shape: its sizes.
    """

    def __init__(self, arrays: Arrays, name: str, shape: StackShape) -> None:
        self._arrays = arrays
        self._name = name
        self._cell = CELL_KINDS[shape.cell]
        self._layers = shape.layers
        self.states = shape.states

    def step(
        self, x: np.ndarray, state: tuple[np.ndarray, ...]
    ) -> tuple[np.ndarray, tuple[np.ndarray, ...]]:
        """Return the output, (B, H), and the state after, of x, (B, H), and the state before."""
        arrays, after = self._arrays, list[np.ndarray]()
        for layer in range(self._layers):
            name = f"{self._name}.layers.{layer}"
            own = state[len(after) : len(after) + self._cell.states]
            gx = norm(arrays, f"{name}.norm", x) @ arrays[f"{name}.cell.weight_ih"].T
            gx += arrays[f"{name}.cell.bias_ih"]
            gh = gx[:, :0]
            if self._cell.recurrent:
                gh = own[0] @ arrays[f"{name}.cell.weight_hh"].T + arrays[f"{name}.cell.bias_hh"]
            new = self._cell.step(gx, gh, *own)
            after.extend(new)
            x = x + new[0]
            if f"{name}.mlp.up.weight" in arrays:
                gate, value = np.split(
                    linear(arrays, f"{name}.mlp.up", norm(arrays, f"{name}.mlp.norm", x)), 2, 1
                )
                x = x + linear(arrays, f"{name}.mlp.down", gate * sigmoid(gate) * value)
        return norm(arrays, f"{self._name}.norm", x), tuple(after)
