"""The state before the first step: it must be used, and its gradient must be right."""

from functools import partial

import torch
from torch import Tensor

from elman.referee.checks.gradients import loss_of, slopes_differ
from elman.referee.numbers import error_of, generator_of, slope_of
from elman.referee.report import Fault, NotChecked
from elman.referee.subject import Subject, leaves, map_state


def initial_state(subject: Subject) -> list[Fault]:
    """Check that a state that is given is gone on from, forward and backward."""
    if not subject.takes_state:
        raise NotChecked(subject.refused)
    steps = min(6, subject.window or 6, subject.reach or 6)
    x, reached = subject.x(steps), subject.reached_state()
    with torch.no_grad():
        without = subject.run(x)[0]
        # A ReLU may be closed for one state, and rightly so: it is opened by one of these.
        others = [map_state(partial(torch.add, other=by), reached) for by in (0, 3, -3)]
        if all(error_of(subject.run(x, other)[0], without) == 0 for other in others):
            words = "the state that it is given is ignored: the outputs are those of no state"
            lines = (
                "state = run(x)[1]",
                "print(float(bool((run(x, state)[0] == run(x)[0]).all())))",
            )
            return [Fault("initial state", words, 1.0, subject.reproduction(*lines))]
    given = map_state(lambda leaf: leaf.detach().clone().requires_grad_(), reached)
    parts = [leaf for leaf in leaves(given) if leaf.requires_grad]
    found = torch.autograd.grad(
        loss_of(subject, x, given), parts, allow_unused=True, materialize_grads=True
    )
    for number, (part, gradient) in enumerate(zip(parts, found, strict=True)):
        fault = _of_part(subject, x, given, part, gradient, number, len(parts))
        if fault:
            return [fault]
    return []


def _of_part(
    subject: Subject,
    x: Tensor,
    given: object,
    part: Tensor,
    gradient: Tensor,
    number: int,
    count: int,
) -> Fault | None:
    named = "the initial state" if count == 1 else f"part {number} of the initial state"
    direction = torch.randn(part.shape, generator=generator_of(7), dtype=torch.float64)
    direction = direction.to(part.dtype)
    found = float((gradient * direction).sum())
    for step in (subject.difference, subject.difference / 8):
        right = slope_of(lambda: loss_of(subject, x, given), part, direction, step)
        if not slopes_differ(subject, found, right, float(gradient.norm())):
            return None
    zero = gradient.abs().max() == 0
    words = f"the gradient of {named} is " + (
        "zero, and the outputs depend on it: it is detached where the layer takes it"
        if zero
        else "wrong"
    )
    lines = (
        "from torch.utils._pytree import tree_map; s = tree_map(torch.Tensor.detach, run(x)[1])",
        "f = lambda k: run(x, tree_map(lambda part: part * k, s))[0].exp().sum()",
        "k = torch.ones((), dtype=torch.float64, requires_grad=True); f(k).backward()",
        "print(float((k.grad or 0) - (f(1 + 1e-5) - f(1 - 1e-5)) / 2e-5))",
    )
    return Fault("initial state", words, abs(found - right), subject.reproduction(*lines))
