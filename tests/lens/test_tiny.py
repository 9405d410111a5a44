"""The tiny step is held to autograd, to the engine and to torch's own optimizers."""

from collections.abc import Callable
from functools import cache
from itertools import pairwise

import pytest
import torch
from torch import Tensor

from elman.bptt import Cell, Truncated
from elman.lens.tiny import (
    ADAM_LR,
    BETAS,
    CLIP,
    EPS,
    MESSAGES,
    SGD_LR,
    SYMBOLS,
    TINY_CELLS,
    TINY_HIDDEN_SIZE,
    TinyStep,
    tiny_step,
)

EVERY_STEP = [
    pytest.param(cell, unfold, seed, id=f"{cell}-{unfold}-{seed}")
    for cell in TINY_CELLS
    for unfold in (1, 2, 3, 5, 7)
    for seed in (0, 1, 12345)
]
every_step = pytest.mark.parametrize(("cell", "unfold", "seed"), EVERY_STEP)
STEPS = len(MESSAGES)
made = cache(tiny_step)


def same(actual: object, expected: object) -> None:
    torch.testing.assert_close(actual, expected, rtol=1e-12, atol=1e-12)


def leaves(step: TinyStep, weights: dict[str, Tensor]) -> tuple[Cell, dict[str, Tensor]]:
    """A cell with these weights, and all weights as leaves of autograd: its own, and a readout."""
    cell = TINY_CELLS[step.cell](len(SYMBOLS), TINY_HIDDEN_SIZE, dtype=torch.float64)
    cell.load_state_dict({name: weights[name] for name in cell.state_dict()})
    params: dict[str, Tensor] = dict(cell.named_parameters())
    for name in ("weight_out", "bias_out"):
        params[name] = weights[name].clone().requires_grad_()
    return cell, params


def loss_at(params: dict[str, Tensor], h: Tensor, t: int) -> Tensor:
    logits = params["weight_out"] @ h + params["bias_out"]
    return torch.nn.functional.cross_entropy(logits, torch.tensor(t + 1))


def plain_loop(
    cell: Cell, params: dict[str, Tensor], cuts: Callable[[int], bool]
) -> tuple[list[Tensor], list[Tensor]]:
    """The states h (whose gradients are kept) and the losses, by autograd through a loop."""
    state = tuple(torch.zeros(1, TINY_HIDDEN_SIZE, dtype=torch.float64) for _ in range(cell.states))
    inputs = torch.eye(len(SYMBOLS), dtype=torch.float64)
    hs, losses = [], []
    for t in range(STEPS):
        if cuts(t):
            state = tuple(part.detach() for part in state)
        gx = inputs[t : t + 1] @ params["weight_ih"].T + params["bias_ih"]
        gh = state[0] @ params["weight_hh"].T + params["bias_hh"]
        state, _ = cell.step(gx, gh, state)
        hs.append(state[0])
        losses.append(loss_at(params, state[0][0], t))
    return hs, losses


@every_step
def test_every_gradient_is_autograds(cell: str, unfold: int, seed: int) -> None:
    step = made(cell, unfold, seed)
    module, params = leaves(step, step.weights)
    hs, losses = plain_loop(module, params, lambda t: t % unfold == 0)
    same([s.loss for s in step.steps], [loss.item() for loss in losses])
    same(torch.stack([s.after[0] for s in step.steps]), torch.cat(hs).detach())
    total = torch.stack(losses).sum()
    same(step.loss, total.item())
    for h in hs:
        h.retain_grad()
    total.backward()
    for name, param in params.items():
        same(step.gradient[name], param.grad)
    for s, h in zip(step.steps, hs, strict=True):
        assert h.grad is not None
        same(s.gradient, h.grad[0])
        same(s.gradient, s.direct + s.indirect)


@every_step
def test_direct_is_the_steps_own_loss_and_indirect_the_later_ones(
    cell: str, unfold: int, seed: int
) -> None:
    step = made(cell, unfold, seed)
    module, params = leaves(step, step.weights)
    hs, losses = plain_loop(module, params, lambda t: t % unfold == 0)
    for t, s in enumerate(step.steps):
        parts = [
            torch.autograd.grad(
                loss, hs[t], retain_graph=True, allow_unused=True, materialize_grads=True
            )[0][0]
            for loss in losses
        ]
        same(s.direct, parts[t])
        same(s.indirect, torch.stack([torch.zeros(3).double(), *parts[t + 1 :]]).sum(0))
        for earlier in parts[:t]:
            assert not earlier.any()


@every_step
def test_what_is_handed_back_arrives_unless_it_is_cut(cell: str, unfold: int, seed: int) -> None:
    steps = made(cell, unfold, seed).steps
    assert [s.cut for s in steps] == [t > 0 and t % unfold == 0 for t in range(STEPS)]
    for now, after in pairwise(steps):
        same(now.indirect, torch.zeros_like(now.indirect) if after.cut else after.back[0])
        same(now.after, after.before)
    assert not steps[-1].indirect.any()
    assert not any(part.any() for part in steps[0].before)


@every_step
def test_the_engine_gives_the_same(cell: str, unfold: int, seed: int) -> None:
    step = made(cell, unfold, seed)
    module, params = leaves(step, step.weights)
    x = torch.eye(len(SYMBOLS), dtype=torch.float64)[:STEPS, None]
    h, after = Truncated(unfold)(module, x)
    sum(loss_at(params, h[t, 0], t) for t in range(STEPS)).backward()  # type: ignore[union-attr]
    for name, param in params.items():
        same(step.gradient[name], param.grad)
    same(tuple(part[0].detach() for part in after), step.steps[-1].after)


@every_step
def test_the_shares_add_up(cell: str, unfold: int, seed: int) -> None:
    step = made(cell, unfold, seed)
    for name, gradient in step.gradient.items():
        assert gradient.shape == step.weights[name].shape
        same(sum(s.shares[name] for s in step.steps), gradient)
    for t, s in enumerate(step.steps):
        same(s.shares["weight_ih"][:, t], s.dgx)
        same(s.shares["weight_ih"].count_nonzero(), s.dgx.count_nonzero())
        same(s.shares["weight_hh"], torch.outer(s.dgh, s.before[0]))


@every_step
def test_clipping_and_both_updates_are_torchs(cell: str, unfold: int, seed: int) -> None:
    step = made(cell, unfold, seed)
    params = {name: w.clone().requires_grad_() for name, w in step.weights.items()}
    for name, param in params.items():
        param.grad = step.gradient[name].clone()
    norm = torch.nn.utils.get_total_norm([p.grad for p in params.values() if p.grad is not None])
    same(step.norm, float(norm))
    same(step.clipped_norm, min(CLIP, step.norm))
    for name, gradient in step.gradient.items():
        same(step.clipped[name], gradient * min(1.0, CLIP / step.norm))
    # torch adds 1e-6 to the norm before it divides.
    torch.nn.utils.clip_grad_norm_(params.values(), CLIP)
    for name, param in params.items():
        torch.testing.assert_close(step.clipped[name], param.grad, rtol=2e-6, atol=0)

    optimizers: tuple[tuple[dict[str, Tensor], Callable[..., torch.optim.Optimizer]], ...] = (
        (step.sgd, lambda ps: torch.optim.SGD(ps, lr=SGD_LR)),
        (step.adam, lambda ps: torch.optim.Adam(ps, lr=ADAM_LR, betas=BETAS, eps=EPS)),
    )
    for after, make in optimizers:
        fresh = {name: w.clone().requires_grad_() for name, w in step.weights.items()}
        for name, param in fresh.items():
            param.grad = step.clipped[name].clone()
        make(fresh.values()).step()
        for name, param in fresh.items():
            same(after[name], param.detach())


@every_step
def test_the_losses_after_are_computed_anew(cell: str, unfold: int, seed: int) -> None:
    step = made(cell, unfold, seed)
    for weights, loss in ((step.sgd, step.sgd_loss), (step.adam, step.adam_loss)):
        module, params = leaves(step, weights)
        same(loss, sum(one.item() for one in plain_loop(module, params, lambda _: False)[1]))
    assert step.sgd_loss < step.loss


def test_weights_are_tenths_and_belong_to_the_seed() -> None:
    step = tiny_step("gru", 5, 3)
    for name, w in step.weights.items():
        same((w * 10).round() / 10, w)
        assert w.abs().max() <= 0.9
        same(tiny_step("gru", 1, 3).weights[name], w)
    assert not torch.equal(tiny_step("gru", 5, 4).weights["weight_hh"], step.weights["weight_hh"])


def test_unfolding_changes_the_gradient_and_not_the_forward_pass() -> None:
    full, short = tiny_step(unfold=5), tiny_step(unfold=2)
    assert full.loss == short.loss
    assert not torch.equal(full.gradient["weight_hh"], short.gradient["weight_hh"])
    for name, gradient in tiny_step(unfold=100).gradient.items():
        same(gradient, full.gradient[name])
    with pytest.raises(ValueError, match="at least 1"):
        tiny_step(unfold=0)
