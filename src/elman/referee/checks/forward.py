"""The forward pass: the same twice, row by row, step by step, and in pieces of time."""

from collections.abc import Sequence
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor

from elman.referee.numbers import error_of, first_step, weighted_sum
from elman.referee.report import Fault, NotChecked
from elman.referee.subject import Subject, leaves

PIECES = (5, 1, 6)
"""Steps of the pieces that a sequence is cut into."""


def repeatable(subject: Subject) -> list[Fault]:
    """Check that a second call with the same input gives the same outputs."""
    x = subject.x(6)
    with torch.no_grad():
        torch.manual_seed(0)
        one = subject.run(x)[0].clone()
        torch.manual_seed(0)
        seeded = error_of(subject.run(x)[0], one)
        torch.manual_seed(1)
        other = error_of(subject.run(x)[0], one)
    if seeded > subject.tolerance:
        words = (
            "a second call with the same input gives other outputs: the layer keeps its state "
            "inside, from one call to the next"
        )
    elif other > subject.tolerance:
        words, seeded = "its outputs are random in eval mode: dropout or noise is left on", other
    else:
        return []
    lines = ("a, b = run(x)[0].detach().clone(), run(x)[0]", "print(float((a - b).abs().max()))")
    return [Fault("repeatable", words, seeded, subject.reproduction(*lines))]


def sizes(subject: Subject) -> list[Fault]:
    """Check that a batch of one row, and a sequence of one step, keep their dimensions."""
    for name, steps, rows in (("a batch of one row", 6, 1), ("a sequence of one step", 1, 2)):
        with torch.no_grad():
            got = tuple(subject.run(subject.x(steps, rows))[0].shape)
        if got[:2] != (steps, rows) or len(got) != 3:
            words = f"for {name} the outputs are {got}: ({steps}, {rows}, H) was expected"
            lines = (
                f"shape = run(x[:{steps}, :{rows}])[0].shape",
                f"print(0 if len(shape) == 3 and shape[:2] == ({steps}, {rows}) else 1)",
            )
            return [Fault("sizes", words, 1.0, subject.reproduction(*lines))]
    return []


def rows(subject: Subject) -> list[Fault]:
    """Check that no row of a batch is felt in another, forward or backward."""
    x = subject.x(8, 3).requires_grad_()
    together = subject.run(x)[0]
    with torch.no_grad():
        alone = subject.run(x[:, :1])[0]
    error = error_of(together[:, :1], alone)
    if error > subject.tolerance:
        step = first_step(together[:, :1].detach(), alone, subject.tolerance)
        words = f"a row's outputs depend on the other rows of its batch, from step {step} on"
        line = "print(float((run(x)[0][:, :1] - run(x[:, :1])[0]).abs().max()))"
        return [Fault("rows", words, error, subject.reproduction(line))]
    if not together.requires_grad:
        return []
    (grad,) = torch.autograd.grad(weighted_sum([together[:, 0]]), x)
    leaked = float(grad[:, 1:].abs().max() / grad.abs().max().clamp(min=1e-12))
    if leaked > subject.tolerance:
        words = "the gradient of a row's input holds something of another row's loss"
        back = "run(x)[0][:, 0].exp().sum().backward()"
        lines = (back, "print(float(x.grad[:, 1:].abs().max()))")
        return [Fault("rows", words, leaked, subject.reproduction(*lines))]
    return []


def causality(subject: Subject) -> list[Fault]:
    """Check that no output depends on an input that comes later."""
    if subject.looks_ahead:
        raise NotChecked("the layer says that it is bidirectional")
    x = subject.x(12)
    with torch.no_grad():
        whole = subject.run(x)[0][:7]
        changed = x.clone()
        changed[7:] += 1
        other = subject.run(changed)[0][:7]
    error = error_of(other, whole)
    if error <= subject.tolerance:
        return []
    step = first_step(other, whole, subject.tolerance)
    words = f"the output of step {step} changes with the input of step 7 or later"
    lines = (
        "y = x.detach().clone(); y[7:] += 1",
        "print(float((run(x)[0] - run(y)[0])[:7].abs().max()))",
    )
    return [Fault("causality", words, error, subject.reproduction(*lines))]


def plain_loop(subject: Subject) -> list[Fault]:
    """Check that one step at a time, its own state handed on, is the whole sequence."""
    _needs_a_state(subject)
    x = subject.x(12)
    return _compare(subject, x, [1] * 12, "plain loop")


def pieces(subject: Subject) -> list[Fault]:
    """Check that a sequence in pieces, the state handed on, is the whole; forward and backward."""
    _needs_a_state(subject)
    x = subject.x(12).requires_grad_()
    found = _compare(subject, x, PIECES, "pieces")
    if found:
        return found
    outputs, _ = _in_pieces(subject, x, PIECES)
    if not outputs.requires_grad or subject.window or subject.reach:
        return []
    (handed_on,) = torch.autograd.grad(weighted_sum([outputs[5]]), x, allow_unused=True)
    (whole,) = torch.autograd.grad(weighted_sum([subject.run(x)[0][5]]), x, allow_unused=True)
    if handed_on is None or whole is None or whole[:5].abs().max() == 0:
        return []
    if handed_on[:5].abs().max() == 0:
        subject.state_has_gradient = False
        words = (
            "no gradient passes from one call to the one before: the state that it returns is "
            "detached"
        )
        lines = (
            "state = run(x[:5])[1]; run(x[5:], state)[0][0].exp().sum().backward()",
            "print(float(x.grad[:5].abs().max() == 0))",
        )
        return [Fault("pieces", words, 1.0, subject.reproduction(*lines))]
    return []


def _needs_a_state(subject: Subject) -> None:
    if subject.looks_ahead:
        raise NotChecked("the layer says that it is bidirectional")
    if not subject.takes_state:
        raise NotChecked(subject.refused)


def _in_pieces(subject: Subject, x: Tensor, lengths: Sequence[int]) -> tuple[Tensor, Any]:
    outputs: list[Tensor] = []
    state: tuple[Any, ...] = ()
    begin = 0
    for length in lengths:
        out, after = subject.run(x[begin : begin + length], *state)
        outputs.append(out)
        state = (after,)
        begin += length
    return torch.cat(outputs), state[0]


def _compare(subject: Subject, x: Tensor, lengths: Sequence[int], name: str) -> list[Fault]:
    with torch.no_grad():
        whole, after = subject.run(x)
        parts, last = _in_pieces(subject, x, lengths)
    error = error_of(parts, whole)
    cut = "one step at a time" if name == "plain loop" else f"in pieces of {lengths} steps"
    loop = (
        f"out, state = run(x[:{lengths[0]}])",
        f"for part in x[{lengths[0]}:].split({list(lengths[1:])}): out, state = run(part, state)",
    )
    if error > subject.tolerance:
        step = first_step(parts, whole, subject.tolerance)
        words = f"run {cut}, it gives other outputs from step {step} on"
        if step == 0:
            words += ": already the first piece alone differs"
        elif step in accumulate(lengths):
            words += (
                ", the first after a state was handed on: what it returns as its state, or what "
                "it makes of a state that it is given, is not what it goes on from inside"
            )
        lines = (*loop, "print(float((out[-1] - run(x)[0][-1]).abs().max()))")
        return [Fault(name, words, error, subject.reproduction(*lines))]
    errors = [error_of(a, b) for a, b in zip(leaves(last), leaves(after), strict=True)]
    if max(errors, default=0) > subject.tolerance:
        at = errors.index(max(errors))
        words = f"run {cut}, its outputs agree and its last state does not (part {at} of the state)"
        lines = (
            *loop,
            "from elman.referee import distance; print(distance(state, run(x)[1]))",
        )
        return [Fault(name, words, max(errors), subject.reproduction(*lines))]
    return []
