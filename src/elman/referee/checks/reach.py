"""Which step's gradient reaches where: detached states, truncated and sliding windows."""

from itertools import pairwise

import torch
from torch import Tensor

from elman.referee.numbers import error_of, moved, weighted_sum
from elman.referee.report import Fault, NotChecked
from elman.referee.subject import Subject, map_state

REACH_STEPS = (40, 12)
"""Steps of the sequence; the second where the layer takes no such long one."""
MIN_INFLUENCE = 1e-12
"""A change of an output that cannot be rounding, where an input moved by `MOVE`."""
MOVE = 1e-4


def reach(subject: Subject) -> list[Fault]:
    """Check that the gradient of each step's output reaches back as far as it should."""
    x, outputs = _run(subject)
    if not outputs.requires_grad:
        words = "the outputs have no gradient: they are cut off from the input and the weights"
        line = "print(float(not run(x)[0].requires_grad))"
        return [Fault("reach", words, 1.0, subject.reproduction(line))]
    wanted = [_wanted(subject, t) for t in range(len(x))]
    found = []
    grads = []
    for t in range(len(x)):
        (grad,) = torch.autograd.grad(
            weighted_sum([outputs[t]]), x, retain_graph=True, allow_unused=True
        )
        grad = torch.zeros_like(x) if grad is None else grad
        grads.append(grad)
        felt = grad.flatten(1).abs().amax(1) > 0
        found.append(int(felt.nonzero()[0]) if felt.any() else t + 1)
    short = [
        t for t in range(len(x)) if found[t] > wanted[t] and _felt(subject, x, found[t] - 1, t)
    ]
    far = [t for t in range(len(x)) if found[t] < wanted[t]]
    if short or far:
        t = (short or far)[0]
        words = _in_words(found, wanted, short, far)
        s = found[t] - 1 if short else found[t]
        lines = (
            f"run(x)[0][{t}].exp().sum().backward()",
            f"print(float(x.grad[{s}].abs().max() {'==' if short else '!='} 0))",
        )
        return [Fault("reach", words, 1.0, subject.reproduction(*lines, steps=len(x)))]
    return _windows(subject, x, grads)


def _run(subject: Subject) -> tuple[Tensor, Tensor]:
    for steps in REACH_STEPS:
        x = subject.x(steps).requires_grad_()
        try:
            return x, subject.run(x)[0]
        except Exception:  # a layer may have a longest sequence
            if steps == REACH_STEPS[-1]:
                raise
    raise AssertionError


def _wanted(subject: Subject, t: int) -> int:
    """Return the first step that the output of step `t` should reach."""
    if subject.window:
        return t - t % subject.window
    return max(0, t + 1 - subject.reach) if subject.reach else 0


def _felt(subject: Subject, x: Tensor, s: int, t: int) -> bool:
    """Tell whether the output of step `t` changes with the input of step `s`."""
    by = torch.zeros_like(x)
    by[s] = MOVE
    with torch.no_grad():
        before = subject.run(x)[0][t]
        with moved(x, by):
            after = subject.run(x)[0][t]
    return float((after - before).abs().max()) > MIN_INFLUENCE


def _in_words(found: list[int], wanted: list[int], short: list[int], far: list[int]) -> str:
    expected = " instead of where it was said to" if any(wanted) else ""
    if not short:
        t = far[0]
        return (
            f"the gradient is not cut where it was said to be: that of step {t}'s output reaches "
            f"back to step {found[t]}, and should end at step {wanted[t]}"
        )
    if found[short[0]] > short[0]:
        return (
            f"the output of step {short[0]} gives no gradient to any input, not even to its own: "
            "it is cut off from the graph"
        )
    lags = {t - found[t] for t in range(len(found)) if found[t] > 0}
    edges = sorted({first for first in found if first > 0})
    if lags == {0}:
        return (
            "no gradient passes from a step to the one before: the state is detached at every "
            f"step{expected}"
        )
    if len(edges) == 1:
        return f"the gradient of x stops at step {edges[0]}: the state is detached there{expected}"
    gaps = {b - a for a, b in pairwise(edges)}
    if len(lags) == 1:
        return (
            f"the gradient reaches {lags.pop() + 1} steps back and no further: each output has a "
            f"window that slides along{expected}"
        )
    if len(gaps) == 1:
        return (
            f"the gradient is cut every {gaps.pop()} steps, first before step {edges[0]}: the "
            f"state is detached there (truncated windows){expected}"
        )
    named = ", ".join(map(str, edges[:6]))
    return f"the gradient stops at steps {named}: the state is detached there{expected}"


def _windows(subject: Subject, x: Tensor, grads: list[Tensor]) -> list[Fault]:
    """Check what reaches within declared windows against calls whose first state is detached."""
    if not subject.window and not subject.reach:
        return []
    if not subject.takes_state:
        raise NotChecked("where it is cut is right; the layer takes no state, so no window alone")
    for t in (len(x) - 1, len(x) // 2):
        first = _wanted(subject, t)
        if not first:
            continue
        with torch.no_grad():
            state = map_state(torch.clone, subject.run(x[:first])[1])
        window = x[first : t + 1].detach().requires_grad_()
        (right,) = torch.autograd.grad(weighted_sum([subject.run(window, state)[0][-1]]), window)
        error = error_of(grads[t][first : t + 1], right)
        if error > subject.tolerance:
            words = (
                f"the gradient of step {t}'s output ends at step {first}, as said, and within "
                "this window it is not what the window alone gives"
            )
            lines = (
                f"a = torch.autograd.grad(run(x)[0][{t}].exp().sum(), x)[0][{first}:{t + 1}]",
                f"s = run(x.detach()[:{first}])[1]",
                f"w = x.detach()[{first}:{t + 1}].requires_grad_()",
                "b = torch.autograd.grad(run(w, s)[0][-1].exp().sum(), w)[0]",
                "print(float((a - b).abs().max()))",
            )
            return [Fault("reach", words, error, subject.reproduction(*lines, steps=len(x)))]
    return []
