"""A layer with the weights of a known cell against that cell, one step after the other."""

import re
from collections.abc import Sequence
from itertools import permutations

import torch
from torch import Tensor, nn

from elman import functional
from elman.bptt import Cell, Inputs
from elman.bptt.operators import recurrence_of_operators
from elman.functional import WEIGHT_NAMES, CellFunction
from elman.referee.numbers import error_of, first_step, weighted_sum
from elman.referee.report import Fault, NotChecked
from elman.referee.subject import Subject

BY_GATES = {1: functional.rnn, 3: functional.gru, 4: functional.lstm}
TORCH_NAMES = {
    functional.rnn: "torch.nn.RNN",
    functional.rnn_relu: "torch.nn.RNN",
    functional.gru: "torch.nn.GRU",
    functional.lstm: "torch.nn.LSTM",
}
GATE_NAMES = {3: "rzn", 4: "ifgo"}
LayerWeights = Sequence[Sequence[Tensor]]


def definition(subject: Subject) -> list[Fault]:
    """Check outputs and gradients against the cell whose weights the layer has."""
    function, weights = known(subject.layer)
    x = subject.x(12).requires_grad_()
    found = subject.run(x)[0]
    right = reference(function, weights, x)
    named = TORCH_NAMES.get(function, function.kind.__name__)
    attributes = _code(subject.layer, function)
    lines = (attributes, "print(float((run(x)[0] - h).abs().max()))")
    error = error_of(found.detach(), right.detach())
    if error > subject.tolerance:
        step = first_step(found.detach(), right.detach(), subject.tolerance)
        words = (
            f"its weights are named and shaped as those of {named}, and its outputs are others "
            f"from step {step} on"
        )
        words += _order_of_gates(subject, function, x.detach(), weights, found.detach())
        return [Fault("definition", words, error, subject.reproduction(*lines))]
    if not found.requires_grad or subject.window or subject.reach:
        return []
    parameters = subject.parameters
    wanted = [x, *parameters.values()]
    ours = torch.autograd.grad(
        weighted_sum([found]), wanted, allow_unused=True, materialize_grads=True
    )
    theirs = torch.autograd.grad(
        weighted_sum([right]), wanted, allow_unused=True, materialize_grads=True
    )
    errors = {
        name: error_of(a, b) for name, a, b in zip(["x", *parameters], ours, theirs, strict=True)
    }
    wrong = [name for name, error in errors.items() if error > 10 * subject.tolerance]
    if not wrong:
        return []
    words = (
        f"its outputs are those of {named}, and its gradient of {' and '.join(wrong)} is not that "
        "of the plain loop"
    )
    grown = (
        attributes,
        "a = torch.autograd.grad(run(x)[0].exp().sum(), [x, *layer.parameters()])",
        "b = torch.autograd.grad(h.exp().sum(), [x, *layer.parameters()])",
        "print(max(float((p - q).abs().max()) for p, q in zip(a, b)))",
    )
    return [Fault("definition", words, max(errors.values()), subject.reproduction(*grown))]


def known(layer: object) -> tuple[CellFunction, LayerWeights]:
    """Return the cell that a layer's weights belong to, and those of each layer, the lowest first.

    Raises:
        NotChecked: where the weights are no known cell's, or more than those.
    """
    if not isinstance(layer, nn.Module):
        raise NotChecked("a function's weights are not known")
    given = dict(layer.named_parameters())
    if isinstance(layer, Cell) and set(given) <= set(WEIGHT_NAMES):
        return CellFunction(type(layer)), [list(given.values())]
    cell = getattr(layer, "cell", None)
    kind = cell if isinstance(cell, type) and issubclass(cell, Cell) else None
    suffixes = sorted({re.sub("^(weight|bias)_[ih]h", "", name) for name in given})
    names = {name + suffix for name in WEIGHT_NAMES for suffix in suffixes}
    single = suffixes == [""]
    numbered = all(re.fullmatch(r"_l\d+", suffix) for suffix in suffixes)
    plain = bool(given) and set(given) <= names and not list(layer.buffers())
    if (
        not plain
        or not (single or numbered)
        or (kind is None and "weight_hh" + suffixes[0] not in given)
    ):
        raise NotChecked("its weights are not named as those of a known cell")
    weights = [
        [given[name + suffix] for name in WEIGHT_NAMES if name + suffix in given]
        for suffix in sorted(suffixes, key=lambda s: (len(s), s))
    ]
    if kind is not None:
        return CellFunction(kind), weights
    rows, size = weights[0][1].shape
    gates, rest = divmod(rows, size)
    if rest or gates not in BY_GATES or len(weights[0]) == 3:
        raise NotChecked("its weights are not shaped as those of a known cell")
    relu = gates == 1 and getattr(layer, "nonlinearity", "tanh") == "relu"
    return functional.rnn_relu if relu else BY_GATES[gates], weights


def reference(function: CellFunction, weights: LayerWeights, x: Tensor) -> Tensor:
    """Run layers of a cell from zeros, one step after the other, by torch's own operators."""
    for own in weights:
        cell = function.cell(own)
        zeros = x.new_zeros(x.shape[1], cell.hidden_size)
        x, _ = recurrence_of_operators(cell, Inputs(x, (zeros,) * cell.states), x.dtype)
    return x


def _order_of_gates(
    subject: Subject, function: CellFunction, x: Tensor, weights: LayerWeights, found: Tensor
) -> str:
    names = GATE_NAMES.get(function.kind.gates)
    if names is None:
        return ""
    for order in permutations(range(len(names))):
        with torch.no_grad():
            moved = [
                [torch.cat([w.chunk(len(names))[n] for n in order]) for w in own] for own in weights
            ]
            if error_of(reference(function, moved, x), found) <= subject.tolerance:
                theirs = [names[order.index(n)] for n in range(len(names))]
                return (
                    f": its gates are in the order {', '.join(theirs)}, torch's {', '.join(names)}"
                )
    return ""


def _code(layer: object, function: CellFunction) -> str:
    """Write lines that run the reference."""
    name = next(n for n, f in vars(functional).items() if f == function)
    return (
        f"from elman.referee.checks.definition import known, reference; "
        f"h = reference(*known(layer), x)  # elman.functional.{name}, step by step"
    )
