"""Precision and layout of memory: float64 stays float64, and strides do not matter."""

import copy
from typing import Any

import torch
from torch import nn

from elman.referee.numbers import error_of
from elman.referee.report import Fault, NotChecked, in_one_line
from elman.referee.subject import Subject, leaves, map_state


def arguments(subject: Subject) -> list[Fault]:
    """Check that neither the input nor the state that is given is written to."""
    x = subject.x(6)
    state: tuple[Any, ...] = ()
    lines: tuple[str, ...]
    given = x.clone()
    if subject.takes_state:
        state = (subject.reached_state(),)
    kept = map_state(torch.clone, state)
    with torch.no_grad():
        subject.run(given, *state)
    if not torch.equal(given, x):
        words = "it writes into the input that it is given"
        lines = ("y = x.detach().clone(); run(y)", "print(float((x - y).abs().max()))")
        return [Fault("arguments", words, error_of(given, x), subject.reproduction(*lines))]
    if any(not torch.equal(a, b) for a, b in zip(leaves(state), leaves(kept), strict=True)):
        words = "it writes into the state that it is given"
        lines = (
            "import copy; x = x.detach(); torch.set_grad_enabled(False)",
            "given = run(x)[1]; kept = copy.deepcopy(given); run(x, given)",
            "from elman.referee import distance; print(distance(given, kept))",
        )
        return [Fault("arguments", words, 1.0, subject.reproduction(*lines))]
    return []


def precision(subject: Subject) -> list[Fault]:
    """Check that float64 is not rounded to less; else the other checks allow for it."""
    x = subject.x(6)
    with torch.no_grad():
        outputs = subject.run(x)[0]
        nearly = subject.run(x * (1 + 1e-11))[0]
    if outputs.dtype == torch.float64 and not torch.equal(outputs, nearly):
        return []
    subject.tolerance, subject.difference, subject.slope_tolerance = 1e-4, 1e-2, 3e-2
    if subject.of_arrays:
        raise NotChecked("the arrays are of less than float64, so all is checked less exactly")
    how = (
        f"returns {outputs.dtype} for an input and weights of torch.float64"
        if outputs.dtype != torch.float64
        else "computes in less than float64: a change of 1e-11 of its input is not felt"
    )
    words = f"the layer {how}; all that follows is checked less exactly"
    lines = (
        "y = x * (1 + 1e-11)",
        "print(float(run(x)[0].dtype != x.dtype or bool((run(x)[0] == run(y)[0]).all())))",
    )
    return [Fault("precision", words, 1.0, subject.reproduction(*lines))]


def float32(subject: Subject) -> list[Fault]:
    """Check that the layer in float32 returns float32, and nearly the numbers of float64."""
    if subject.of_arrays or not isinstance(subject.layer, nn.Module) or subject.tolerance > 1e-6:
        raise NotChecked("the layer has one precision")
    x = subject.x(8)
    with torch.no_grad():
        right = subject.run(x)[0]
        low = copy.deepcopy(subject.layer).float()
        found = subject.remade(low)(x.float())[0]
    error = error_of(found, right)
    if found.dtype == torch.float32 and error < 1e-3:
        return []
    words = (
        f"in float32 it returns {found.dtype}"
        if found.dtype != torch.float32
        else "in float32 it gives other numbers than in float64"
    )
    lines = (
        "a = run(x)[0].detach(); layer.float(); b = run(x.float())[0]",
        "print(float(b.dtype != torch.float32 or (a - b).abs().max() > 1e-3))",
    )
    return [Fault("float32", words, error, subject.reproduction(*lines))]


def memory_layout(subject: Subject) -> list[Fault]:
    """Check that an input that is not contiguous gives the same as one that is."""
    base = subject.x(8).requires_grad_()
    right = subject.run(base)[0]
    strided = base.detach().permute(2, 1, 0).contiguous().permute(2, 1, 0)
    wide = torch.zeros(8, 2, 2 * subject.input_size, dtype=torch.float64)
    wide[..., ::2] = base.detach()
    line = "y = x.detach().permute(2, 1, 0).contiguous().permute(2, 1, 0)"
    for x in (strided.requires_grad_(), wide.requires_grad_()[..., ::2]):
        try:
            found = subject.run(x)[0]
        except Exception as raised:  # whatever a stranger's code raises
            said = in_one_line(raised)[:160]
            words = f"it raises for an input that is not contiguous ({said})"
            lines: tuple[str, ...] = (
                line,
                "try: run(y); print(0.0)",
                "except Exception: print(1.0)",
            )
            return [Fault("layout", words, 1.0, subject.reproduction(*lines))]
        error = error_of(found, right)
        if error > subject.tolerance:
            words = "an input that is not contiguous gives other outputs than the same in order"
            lines = (line, "print(float((run(x)[0] - run(y)[0]).abs().max()))")
            return [Fault("layout", words, error, subject.reproduction(*lines))]
    return []
