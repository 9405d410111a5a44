"""The gradients of the input and the weights against finite differences, and what is wrong."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from elman.referee.numbers import error_of, generator_of, moved, slope_of, weighted_sum
from elman.referee.report import Fault, NotChecked
from elman.referee.subject import Subject, leaves

GRADIENT_STEPS = 8
DIRECTIONS_PER_WEIGHT = 2
"""Random directions that each weight is differentiated along."""
MAX_SEARCHED_STEPS = 4
MAX_NUMERIC_ELEMENTS = 1000
"""Elements of a weight that is differentiated by each of them."""


def loss_of(subject: Subject, x: Tensor, *state: object) -> Tensor:
    """Weigh every output and every part of the last state."""
    outputs, after = subject.run(x, *state)
    parts = leaves(after) if subject.state_has_gradient else []
    return weighted_sum([outputs, *(leaf for leaf in parts if leaf.is_floating_point())])


def slopes_differ(subject: Subject, found: float, right: float, scale: float) -> bool:
    """Tell whether a slope is wrong beyond the error of finite differences."""
    return abs(found - right) > subject.slope_tolerance * max(scale, abs(right), 1e-3)


def gradients(subject: Subject) -> list[Fault]:
    """Check the gradients of x, step by step, and of each weight."""
    steps = min(GRADIENT_STEPS, subject.window or GRADIENT_STEPS, subject.reach or GRADIENT_STEPS)
    if steps < 2:
        raise NotChecked("every step is a window of its own")
    x = subject.x(steps).requires_grad_()
    parameters = subject.parameters
    loss = loss_of(subject, x)
    if not loss.requires_grad:
        raise NotChecked("the outputs have no gradient")
    found = torch.autograd.grad(
        loss, [x, *parameters.values()], allow_unused=True, materialize_grads=True
    )
    wrong = wrong_steps(subject, x, found[0])
    faults = []
    if wrong:
        faults.append(_of_x(subject, x, found[0], wrong))
    given = dict(zip(parameters, found[1:], strict=True))
    bad = [name for name, p in parameters.items() if _weight_is_wrong(subject, x, p, given[name])]
    # LayerWeights whose gradient is made of a wrong gradient of x are wrong with it.
    if bad and not wrong:
        faults.append(_of_weights(subject, x, given, bad))
    return faults


def wrong_steps(subject: Subject, x: Tensor, gradient: Tensor) -> list[int]:
    """List the steps whose gradient of x is wrong, on two random directions of each."""
    scale = float(gradient.flatten(1).norm(dim=1).max())
    wrong = []
    for step in range(len(x)):
        direction = torch.zeros_like(x)
        direction[step] = torch.randn(x.shape[1:], generator=generator_of(10 + step), dtype=x.dtype)
        if _wrong_along(subject, lambda: loss_of(subject, x), x, gradient, direction, scale):
            wrong.append(step)
    return wrong


def _wrong_along(
    subject: Subject,
    loss: Callable[[], Tensor],
    tensor: Tensor,
    gradient: Tensor,
    direction: Tensor,
    scale: float,
) -> bool:
    found = float((gradient.double() * direction.double()).sum())
    # A kink (of relu) between the two points is not there between two nearer ones.
    for step in (subject.difference, subject.difference / 8):
        if not slopes_differ(subject, found, slope_of(loss, tensor, direction, step), scale):
            return False
    return True


def _weight_is_wrong(subject: Subject, x: Tensor, p: Tensor, gradient: Tensor) -> bool:
    scale = float(gradient.norm())
    for number in range(DIRECTIONS_PER_WEIGHT):
        direction = torch.randn(p.shape, generator=generator_of(number), dtype=torch.float64)
        direction = direction.to(p.dtype)
        if _wrong_along(subject, lambda: loss_of(subject, x), p, gradient, direction, scale):
            return True
    return False


def _of_x(subject: Subject, x: Tensor, gradient: Tensor, wrong: list[int]) -> Fault:
    right = numeric_gradient(lambda: loss_of(subject, x), x, subject.difference)
    error = error_of(gradient, right)
    words = f"the gradient of x is wrong at {_named(wrong, len(x))}"
    if ratio := _constant_ratio(gradient, right):
        words += f": {ratio:.4g} times what it should be, everywhere"
    elif gradient.abs().max() == 0:
        words += ": it is zero"
    else:
        words += _by_length(subject)
    slope = (
        "d = torch.randn_like(x); f = lambda x: run(x)[0].exp().sum(); f(x).backward()",
        "slope = (f(x + 1e-5 * d) - f(x - 1e-5 * d)) / 2e-5",
        "print(float((x.grad * d).sum() - slope))",
    )
    return Fault("gradients", words, error, subject.reproduction(*slope))


def _by_length(subject: Subject) -> str:
    """Say from which length of sequence on the gradient is wrong, and whether by the order."""
    for steps in range(1, MAX_SEARCHED_STEPS + 1):
        x = subject.x(steps).requires_grad_()
        (gradient,) = torch.autograd.grad(loss_of(subject, x), x)
        if wrong_steps(subject, x, gradient):
            break
    else:
        return f", and right in sequences of up to {MAX_SEARCHED_STEPS} steps"
    if steps == 1:
        return ", in a sequence of one step already: the step's own derivative is wrong"
    if order_is_reversed(subject):
        return (
            ": the backward pass multiplies the steps' Jacobians in the order of the forward pass, "
            "and should go from the last step to the first"
        )
    if steps == 2:
        return (
            ", and right in a sequence of one step: what passes from a step to the one before it "
            "is wrong"
        )
    return f", and right in sequences of up to {steps - 1} steps: the backward chain is wrong"


def order_is_reversed(subject: Subject) -> bool:
    """Tell whether a state's gradient is the product of the Jacobians in the wrong order."""
    if not subject.takes_state:
        return False
    x, state = subject.x(3, 1), subject.reached_state(1)
    if len(leaves(state)) != 1 or not isinstance(state, Tensor):
        return False
    states, jacobians = [state], []
    for t in range(3):

        def step(before: Tensor, t: int = t) -> Tensor:
            after: Tensor = subject.run(x[t : t + 1], before)[1]
            return after.flatten()

        jacobian = torch.autograd.functional.jacobian(step, states[-1])
        jacobians.append(jacobian.reshape(state.numel(), state.numel()))
        states.append(subject.run(x[t : t + 1], states[-1])[1].detach())
    first = state.clone().requires_grad_()
    v = torch.randn(state.numel(), generator=generator_of(4), dtype=state.dtype)
    last = subject.run(x, first)[1].flatten()
    (found,) = torch.autograd.grad((last * v).sum(), first)
    a, b, c = jacobians
    return error_of(found.flatten(), v @ a @ b @ c) < 1e-6 < error_of(v @ c @ b @ a, v @ a @ b @ c)


def numeric_gradient(loss: Callable[[], Tensor], tensor: Tensor, step: float) -> Tensor:
    """Differentiate by each element in turn."""
    slopes = []
    for n in range(tensor.numel()):
        direction = torch.zeros(tensor.numel(), dtype=tensor.dtype)
        direction[n] = 1
        slopes.append(slope_of(loss, tensor, direction.view_as(tensor), step))
    return torch.tensor(slopes, dtype=torch.float64).view_as(tensor)


def _constant_ratio(found: Tensor, right: Tensor) -> float | None:
    """Return how many times as large as it should be a gradient is, if that is one number."""
    ratio = float((found * right).sum() / right.square().sum().clamp(min=1e-30))
    same = error_of(found, ratio * right) < 1e-5
    return ratio if same and abs(ratio) > 1e-9 else None


def _named(steps: list[int], count: int) -> str:
    if len(steps) == count:
        return "every step"
    if len(steps) == 1:
        return f"step {steps[0]} of {count}"
    if steps == list(range(steps[0], steps[-1] + 1)):
        return f"steps {steps[0]} to {steps[-1]} of {count}"
    return f"steps {', '.join(map(str, steps))} of {count}"


def _of_weights(subject: Subject, x: Tensor, given: dict[str, Tensor], bad: list[str]) -> Fault:
    """Say which weights have a wrong gradient, and of the first small one what is wrong with it."""
    parameters = subject.parameters
    words = f"the gradient of {' and '.join(bad)} is wrong, and that of x is right"
    name = min(bad, key=lambda name: parameters[name].numel() > MAX_NUMERIC_ELEMENTS)
    error = 1.0
    if parameters[name].numel() <= MAX_NUMERIC_ELEMENTS:
        right = numeric_gradient(lambda: loss_of(subject, x), parameters[name], subject.difference)
        error = error_of(given[name], right)
        words += _why(subject, x, name, given, right)
    lines = (
        f"p = layer.get_parameter({name!r}); d = torch.randn_like(p)",
        "f = lambda: run(x)[0].exp().sum(); f().backward(); g = (p.grad * d).sum()",
        "p.data += 1e-5 * d; up = f(); p.data -= 2e-5 * d",
        "print(float(g - (up - f()) / 2e-5))",
    )
    return Fault("gradients", words, error, subject.reproduction(*lines))


def _why(subject: Subject, x: Tensor, name: str, given: dict[str, Tensor], right: Tensor) -> str:
    found = given[name]
    if found.abs().max() == 0:
        return ": it is zero, as if the weight were not used"
    for other, gradient in given.items():
        if other != name and error_of(found, gradient) < subject.slope_tolerance:
            return f": {name} gets that of {other}"
    if ratio := _constant_ratio(found, right):
        return f": that of {name} is {ratio:.4g} times what it should be"
    if not subject.takes_state:
        return ""
    directions = [
        torch.randn(found.shape, generator=generator_of(20 + n), dtype=found.dtype)
        for n in range(DIRECTIONS_PER_WEIGHT)
    ]
    shares = torch.tensor([_shares(subject, x, name, along) for along in directions])
    sums = torch.tensor([float((found * along).sum()) for along in directions]).unsqueeze(1)
    scale = shares.abs().max() * subject.slope_tolerance
    alone = ((shares - sums).abs() < scale).all(0)
    lacking = ((shares.sum(1, keepdim=True) - shares - sums).abs() < scale).all(0)
    if alone.any():
        step = int(alone.nonzero()[0])
        return f": that of {name} counts step {step} of {len(x)} alone, and should sum up all"
    if lacking.any():
        return f": that of {name} leaves out step {int(lacking.nonzero()[0])} of {len(x)}"
    return ""


def _shares(subject: Subject, x: Tensor, name: str, direction: Tensor) -> list[float]:
    """Return each step's share of a weight's slope, by moving the weight in that step alone."""
    weight = subject.parameters[name]

    def loss(moved_step: int, by: float) -> float:
        outputs: list[Tensor] = []
        state: tuple[Any, ...] = ()
        for t in range(len(x)):
            with moved(weight, by * direction if t == moved_step else torch.zeros_like(weight)):
                out, after = subject.run(x[t : t + 1], *state)
            outputs.append(out)
            state = (after,)
        parts = leaves(after) if subject.state_has_gradient else []
        return float(weighted_sum([torch.cat(outputs), *parts]))

    step = subject.difference
    with torch.no_grad():
        return [(loss(t, step) - loss(t, -step)) / (2 * step) for t in range(len(x))]
