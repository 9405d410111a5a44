"""What training alone shows: dropout, and checkpointing of activations."""

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from elman.referee.checks.gradients import loss_of, slopes_differ
from elman.referee.numbers import error_of, generator_of, slope_of, weighted_sum
from elman.referee.report import Fault, NotChecked
from elman.referee.subject import LayerCall, Subject

SEED = 3


def dropout(subject: Subject) -> list[Fault]:
    """Check that the backward pass uses the masks of the forward pass, and each call new ones."""
    layer = subject.layer
    if not isinstance(layer, nn.Module):
        raise NotChecked("a function has no training mode")
    layer.train()
    try:
        return _dropout(subject)
    finally:
        layer.eval()


def _dropout(subject: Subject) -> list[Fault]:
    layer, x = subject.layer, subject.x(6).requires_grad_()
    lines: tuple[str, ...]
    rate = getattr(layer, "dropout", 0)
    declared = (
        isinstance(rate, float | int) and 0 < rate < 1 and getattr(layer, "num_layers", 1) > 1
    )
    with torch.no_grad():
        one, same, other = (_seeded(subject, x, seed)[0] for seed in (0, 0, 1))
    if error_of(same, one) > subject.tolerance:
        raise NotChecked("in training it is not the same again under the same seed")
    again = error_of(other, one)
    if again == 0 and declared:
        with torch.no_grad():
            layer.eval()
            without = subject.run(x)[0]
            layer.train()
        nothing = error_of(one, without) == 0
        words = (
            f"dropout={rate} does nothing in training: its outputs are those of eval"
            if nothing
            else f"dropout={rate} drops the same units in every call: its masks are drawn once"
        )
        lines = (
            "layer.train(); a, b = run(x)[0], run(x)[0]",
            "print(float(bool((a == b).all())))",
        )
        return [Fault("dropout", words, 1.0, subject.reproduction(*lines))]
    if again == 0:
        raise NotChecked("nothing is random in training")
    torch.manual_seed(SEED)
    weights = subject.parameters
    loss = loss_of(subject, x)
    grads = torch.autograd.grad(
        loss, [x, *weights.values()], allow_unused=True, materialize_grads=True
    )

    def seeded_loss() -> Tensor:
        torch.manual_seed(SEED)
        return loss_of(subject, x)

    for (name, tensor), gradient in zip({"x": x, **weights}.items(), grads, strict=True):
        direction = torch.randn(tensor.shape, generator=generator_of(9), dtype=torch.float64)
        direction = direction.to(tensor.dtype)
        found = float((gradient * direction).sum())
        rights = [
            slope_of(seeded_loss, tensor, direction, step)
            for step in (subject.difference, subject.difference / 8)
        ]
        scale = float(gradient.norm())
        if all(slopes_differ(subject, found, right, scale) for right in rights):
            words = (
                f"in training the gradient of {name} is wrong, and in eval it is right: the "
                "backward pass does not use the dropout masks of the forward pass"
            )
            lines = (
                "layer.train(); d = torch.randn_like(x)",
                "f = lambda x: (torch.manual_seed(0), run(x)[0].exp().sum())[1]; f(x).backward()",
                "print(float((x.grad * d).sum() - (f(x + 1e-5 * d) - f(x - 1e-5 * d)) / 2e-5))",
            )
            return [Fault("dropout", words, abs(found - rights[0]), subject.reproduction(*lines))]
    return []


def _seeded(subject: Subject, x: Tensor, seed: int) -> tuple[Tensor, object]:
    torch.manual_seed(seed)
    result: tuple[Tensor, object] = subject.run(x)
    return result


def checkpointing(subject: Subject) -> list[Fault]:
    """Check that a forward pass that is run again in the backward pass gives the same gradient."""
    layer, x = subject.layer, subject.x(8).requires_grad_()
    if isinstance(layer, nn.Module):
        layer.train()
    try:
        right = _gradients(subject, x, subject.run)
        # Not the other kind, whose first use imports torch's compiler: that takes seconds.
        found = _gradients(subject, x, lambda x: checkpoint(subject.run, x, use_reentrant=True))
    finally:
        if isinstance(layer, nn.Module):
            layer.eval()
    error = max(error_of(a, b) for a, b in zip(found, right, strict=True))
    if error <= subject.tolerance:
        return []
    words = (
        "under torch.utils.checkpoint its gradient is another: run a second time, its forward "
        "pass does not give the same"
    )
    lines = (
        "from torch.utils.checkpoint import checkpoint; layer.train(); torch.manual_seed(0)",
        "f = lambda x: run(x)[0].exp().sum(); f(x).backward(); a = x.grad.clone()",
        "x.grad = None; torch.manual_seed(0); checkpoint(f, x, use_reentrant=True).backward()",
        "print(float((a - x.grad).abs().max()))",
    )
    return [Fault("checkpointing", words, error, subject.reproduction(*lines))]


def _gradients(subject: Subject, x: Tensor, run: LayerCall) -> list[Tensor]:
    """Return the gradients of x and the weights, as `backward` leaves them."""
    wanted = [x, *subject.parameters.values()]
    torch.manual_seed(SEED)
    outputs = run(x)[0]
    if not outputs.requires_grad:
        raise NotChecked("the outputs have no gradient")
    weighted_sum([outputs]).backward()
    found = [torch.zeros_like(t) if t.grad is None else t.grad.clone() for t in wanted]
    for tensor in wanted:
        tensor.grad = None
    return found
