"""Residual recurrent layers as ONNX operators: what `runtime/layers.py` computes in numpy."""

from collections.abc import Callable

from elman.export.onnx_graph import OnnxGraph
from elman.runtime.layers import CELL_KINDS, StackShape

Step = Callable[[OnnxGraph, str, str, list[str]], list[str]]
"""A cell: the state after one step, from the two projections and the state before."""


def _rnn(g: OnnxGraph, gx: str, gh: str, state: list[str]) -> list[str]:
    return [g("Tanh", g("Add", gx, gh))]


def _gru(g: OnnxGraph, gx: str, gh: str, state: list[str]) -> list[str]:
    (h,) = state
    (x_r, x_z, x_n), (h_r, h_z, h_n) = (
        g.several("Split", 3, v, axis=1, num_outputs=3) for v in (gx, gh)
    )
    r, z = g("Sigmoid", g("Add", x_r, h_r)), g("Sigmoid", g("Add", x_z, h_z))
    n = g("Tanh", g("Add", x_n, g("Mul", r, h_n)))
    return [_between(g, n, h, z)]


def _lstm(g: OnnxGraph, gx: str, gh: str, state: list[str]) -> list[str]:
    _, c = state
    i, f, candidate, o = g.several("Split", 4, g("Add", gx, gh), axis=1, num_outputs=4)
    new = g("Mul", g("Sigmoid", i), g("Tanh", candidate))
    c = g("Add", g("Mul", g("Sigmoid", f), c), new)
    return [g("Mul", g("Sigmoid", o), g("Tanh", c)), c]


def _mingru(g: OnnxGraph, gx: str, gh: str, state: list[str]) -> list[str]:
    (h,) = state
    z, n = g.several("Split", 2, gx, axis=1, num_outputs=2)
    return [_between(g, h, n, g("Sigmoid", z))]


def _minlstm(g: OnnxGraph, gx: str, gh: str, state: list[str]) -> list[str]:
    (h,) = state
    f, i, n = g.several("Split", 3, gx, axis=1, num_outputs=3)
    share = g("Sub", g("Softplus", g("Neg", i)), g("Softplus", g("Neg", f)))
    return [_between(g, n, h, g("Sigmoid", share))]


def _between(g: OnnxGraph, begin: str, end: str, share: str) -> str:
    return g("Add", begin, g("Mul", share, g("Sub", end, begin)))


STEPS: dict[str, Step] = {
    "rnn": _rnn,
    "gru": _gru,
    "lstm": _lstm,
    "mingru": _mingru,
    "minlstm": _minlstm,
}


def step(
    g: OnnxGraph, name: str, shape: StackShape, x: str, state: list[str]
) -> tuple[str, list[str]]:
    """Add one step of a stack; return its output, (B, H), and the state after it.

    Args:
        g: the graph.
        name: what the names of its weights begin with.
        shape: its sizes.
        x: (B, H).
        state: before the step.
    """
    kind, after = CELL_KINDS[shape.cell], list[str]()
    for layer in (f"{name}.layers.{number}" for number in range(shape.layers)):
        own = state[len(after) : len(after) + kind.states]
        gx = _projected(g, layer, "ih", g.norm(f"{layer}.norm", x))
        gh = _projected(g, layer, "hh", own[0]) if kind.recurrent else ""
        new = STEPS[shape.cell](g, gx, gh, own)
        after += new
        x = g("Add", x, new[0])
        if g.has(f"{layer}.mlp.up.weight"):
            wide = g.linear(f"{layer}.mlp.up", g.norm(f"{layer}.mlp.norm", x))
            gate, value = g.several("Split", 2, wide, axis=1, num_outputs=2)
            gated = g("Mul", g("Mul", gate, g("Sigmoid", gate)), value)
            x = g("Add", x, g.linear(f"{layer}.mlp.down", gated))
    return g.norm(f"{name}.norm", x), after


def _projected(g: OnnxGraph, layer: str, part: str, x: str) -> str:
    weight, bias = (g.weight(f"{layer}.cell.{kind}_{part}") for kind in ("weight", "bias"))
    return g("Gemm", x, weight, bias, transB=1)
