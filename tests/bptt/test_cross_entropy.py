"""The chunked cross-entropy is torch's own, and never makes a table of tokens times vocabulary."""

from typing import Any

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from elman import linear_cross_entropy
from elman.bptt import precision
from elman.bptt.cross_entropy import _compiled_softmax, _plain_softmax, cross_entropy_of_each
from elman.bptt.kernels.native import load

N, V, H = 7, 11, 5
# Sums of these sizes differ by some 1e-15 where they are taken in another order.
EXACT: dict[str, Any] = {"rtol": 0.0, "atol": 1e-12}


def problem(
    n: int = N, v: int = V, h: int = H, dtype: torch.dtype = torch.float64, seed: int = 0
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """hidden, weight, targets and bias."""
    draw = torch.Generator().manual_seed(seed)

    def randn(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=draw, dtype=dtype).requires_grad_()

    return randn(n, h), randn(v, h), torch.randint(v, (n,), generator=draw), randn(v)


def plain(
    hidden: Tensor, weight: Tensor, targets: Tensor, bias: Tensor | None, reduction: str = "sum"
) -> Tensor:
    logits = F.linear(hidden, weight, bias)
    return F.cross_entropy(logits.to(weight.dtype), targets, reduction=reduction)


class Largest(TorchDispatchMode):
    """Records how many elements the largest tensor has that any operation gives."""

    elements = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        for tensor in out if isinstance(out, tuple | list) else [out]:
            if isinstance(tensor, Tensor):
                self.elements = max(self.elements, tensor.numel())
        return out


@given(
    n=st.integers(0, 20),
    v=st.integers(1, 12),
    h=st.integers(1, 6),
    chunk=st.one_of(st.none(), st.integers(1, 25)),
    reduction=st.sampled_from(["sum", "mean"]),
    biased=st.booleans(),
    seed=st.integers(0, 100),
)
@settings(max_examples=150, deadline=None)
def test_loss_and_gradients_are_those_of_torch(
    n: int, v: int, h: int, chunk: int | None, reduction: Any, biased: bool, seed: int
) -> None:
    assume(n > 0 or reduction == "sum")
    hidden, weight, targets, bias = problem(n, v, h, seed=seed)
    inputs = [hidden, weight, *([bias] if biased else [])]
    loss = linear_cross_entropy(
        hidden, weight, targets, bias if biased else None, reduction=reduction, chunk=chunk
    )
    expected = plain(hidden, weight, targets, bias if biased else None, reduction)
    torch.testing.assert_close(loss, expected, **EXACT)
    # The gradient that comes from above is not 1.
    found = torch.autograd.grad(-1.7 * loss, inputs)
    for gradient, right in zip(found, torch.autograd.grad(-1.7 * expected, inputs), strict=True):
        torch.testing.assert_close(gradient, right, **EXACT)


@pytest.mark.parametrize("chunk", [1, 3, N, None])
def test_gradcheck(chunk: int | None) -> None:
    hidden, weight, targets, bias = problem()
    assert torch.autograd.gradcheck(
        lambda h, w, b: linear_cross_entropy(h, w, targets, b, reduction="mean", chunk=chunk),
        (hidden, weight, bias),
    )


@pytest.mark.parametrize("needed", range(8))
def test_no_gradient_is_made_that_nobody_wants(needed: int) -> None:
    hidden, weight, targets, bias = problem()
    inputs = [hidden, weight, bias]
    for place, tensor in enumerate(inputs):
        tensor.requires_grad_(bool(needed >> place & 1))
    loss = linear_cross_entropy(hidden, weight, targets, bias, chunk=3)
    wanted = [tensor for tensor in inputs if tensor.requires_grad]
    assert loss.requires_grad == bool(wanted)
    if wanted:
        kept: Any = loss.grad_fn
        assert sum(tensor is not None for tensor in kept.saved_tensors) == len(wanted)
        expected = torch.autograd.grad(plain(hidden, weight, targets, bias), wanted)
        for gradient, right in zip(torch.autograd.grad(loss, wanted), expected, strict=True):
            torch.testing.assert_close(gradient, right, **EXACT)


def test_without_gradient_only_the_loss_is_made() -> None:
    arguments = problem(40, 3, 5)
    with torch.no_grad(), Largest() as largest:
        loss = linear_cross_entropy(*arguments, chunk=2)
    assert not loss.requires_grad
    torch.testing.assert_close(loss, plain(*arguments), **EXACT)
    assert largest.elements < arguments[0].numel()


def test_all_logits_never_exist() -> None:
    hidden, weight, targets, bias = problem(60, 50, 4)
    with Largest() as largest:
        linear_cross_entropy(hidden, weight, targets, bias, chunk=8).backward()
    assert largest.elements == 8 * 50
    with Largest() as largest:
        plain(hidden, weight, targets, bias).backward()
    assert largest.elements == 60 * 50, "what this test looks for, it finds"


def test_the_default_chunk_bounds_the_logits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("elman.bptt.cross_entropy.MAX_LOGITS_BYTES", 6 * 50 * 8)
    hidden, weight, targets, bias = problem(60, 50, 4)
    with Largest() as largest:
        linear_cross_entropy(hidden, weight, targets, bias).backward()
    assert largest.elements == 6 * 50


def test_a_vocabulary_larger_than_a_chunk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("elman.bptt.cross_entropy.MAX_LOGITS_BYTES", 1)
    arguments = problem()
    torch.testing.assert_close(linear_cross_entropy(*arguments), plain(*arguments), **EXACT)


def test_no_tokens() -> None:
    hidden, weight, targets, bias = problem(0)
    loss = linear_cross_entropy(hidden, weight, targets, bias)
    assert loss.item() == 0
    loss.backward()
    for tensor in (hidden, weight, bias):
        assert tensor.grad is not None
        assert tensor.grad.shape == tensor.shape
        assert not tensor.grad.any()
    assert linear_cross_entropy(hidden, weight, targets, reduction="mean").isnan()


def test_large_logits_do_not_overflow() -> None:
    hidden, weight, targets, bias = problem(dtype=torch.float32)
    arguments = hidden.detach() * 1e4, weight, targets, bias
    loss = linear_cross_entropy(*arguments)
    assert loss.isfinite()
    torch.testing.assert_close(loss, plain(*arguments))


def test_float32() -> None:
    arguments = problem(300, 200, 30, torch.float32)
    inputs = [arguments[0], arguments[1], arguments[3]]
    loss, expected = linear_cross_entropy(*arguments, chunk=64), plain(*arguments)
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, expected)
    of_torch = torch.autograd.grad(expected, inputs)
    for gradient, right in zip(torch.autograd.grad(loss, inputs), of_torch, strict=True):
        torch.testing.assert_close(gradient, right, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("low_hidden", [False, True])
def test_autocast_makes_only_the_products_low(
    low_hidden: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(precision, "bfloat16_speed", lambda: 2.0)
    hidden, weight, targets, bias = problem(60, 40, 16, torch.float32)
    if low_hidden:
        hidden = hidden.detach().bfloat16().requires_grad_()
    inputs = [hidden, weight, bias]
    with torch.autocast("cpu", torch.bfloat16):
        loss = linear_cross_entropy(hidden, weight, targets, bias, chunk=16)
        expected = plain(hidden, weight, targets, bias)
    assert loss.dtype == torch.float32
    # bfloat16 has 8 bits: each logit, and each product of the gradient, is off by up to 2^-9.
    torch.testing.assert_close(loss, expected, rtol=2e-3, atol=0)
    exact = plain(hidden.float(), weight, targets, bias)
    assert loss != exact, "the products are low"
    found, of_torch = torch.autograd.grad(loss, inputs), torch.autograd.grad(expected, inputs)
    for gradient, right, tensor in zip(found, of_torch, inputs, strict=True):
        assert gradient.dtype == tensor.dtype
        assert (gradient - right).norm() < 0.02 * right.norm()


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("biased", [True, False])
@pytest.mark.parametrize("mixed", [True, False])
@pytest.mark.parametrize("v", [1, 15, 16, 33, 260])
def test_the_compiled_softmax_is_the_plain_one(
    v: int, mixed: bool, biased: bool, threads: int
) -> None:
    native, why = load()
    if native is None:
        pytest.skip(why)
    h, weight, targets, bias = (t.detach() for t in problem(9, v, 4, torch.float32))
    given = bias if biased else None
    # From nothing at all to far more than p.
    beside = torch.tensor([-1e30, -87.0, -5, -2, -1, 0, 1, 5, 50]) if mixed else None
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        for dtype, rtol, atol in (
            # exp is within 2 units of float32's last place; bfloat16 has 2^-9 of its own.
            (torch.float32, 1e-5, 1e-6),
            (torch.bfloat16, 2**-8, 2**-9),
        ):
            low = h.to(dtype), weight.to(dtype)
            sums, plain_sums = torch.ones(v), torch.ones(v)
            found = _compiled_softmax(native, *low, given, beside, targets, True, sums)
            expected = _plain_softmax(*low, given, beside, targets, True, plain_sums)
            assert found[1].dtype == expected[1].dtype == dtype
            torch.testing.assert_close(found[1], expected[1], rtol=rtol, atol=atol)
            torch.testing.assert_close(found[0], expected[0], rtol=1e-5, atol=1e-5)
            torch.testing.assert_close(sums, plain_sums, rtol=1e-5, atol=1e-5)
            alone = _compiled_softmax(native, *low, given, beside, targets, False, None)[0]
            torch.testing.assert_close(alone, found[0], rtol=0, atol=0)
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("chunk", [1, 3, N, None])
def test_a_mixture_is_the_logarithm_of_a_sum(chunk: int | None) -> None:
    hidden, weight, targets, bias = problem()
    beside = torch.randn(N, generator=torch.Generator().manual_seed(9)).double()
    beside[2] = -1e30
    beside.requires_grad_()
    inputs = [hidden, weight, bias, beside]
    loss = linear_cross_entropy(hidden, weight, targets, bias, beside=beside, chunk=chunk)
    logits = F.linear(hidden, weight, bias)
    of_p = logits.log_softmax(1).gather(1, targets.unsqueeze(1)).squeeze(1)
    expected = -torch.logaddexp(of_p, beside).sum()
    torch.testing.assert_close(loss, expected, **EXACT)
    found = torch.autograd.grad(-1.7 * loss, inputs)
    for gradient, right in zip(found, torch.autograd.grad(-1.7 * expected, inputs), strict=True):
        torch.testing.assert_close(gradient, right, **EXACT)


def test_a_mixture_in_float32_is_that_of_float64() -> None:
    """Where either part has almost everything, too."""
    exact = problem(60, 50, 4)
    hidden, weight, targets, bias = (t.detach() for t in exact)
    beside = torch.linspace(-90, 60, 60).double()
    inputs = [hidden, weight, bias, beside]
    low = [each.float().requires_grad_() for each in inputs]
    high = [each.requires_grad_() for each in inputs]
    losses = [
        linear_cross_entropy(h, w, targets, b, beside=q, chunk=16) for h, w, b, q in (low, high)
    ]
    torch.testing.assert_close(losses[0].double(), losses[1], rtol=1e-5, atol=1e-5)
    gradients = [torch.autograd.grad(*pair) for pair in zip(losses, (low, high), strict=True)]
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one.double(), other, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_what_is_no_number_stays_none(bad: float) -> None:
    hidden, weight, targets, bias = problem(dtype=torch.float32)
    with torch.no_grad():
        hidden[2, 1] = bad
    loss = linear_cross_entropy(hidden, weight, targets, bias)
    assert not loss.isfinite()
    loss.backward()
    assert weight.grad is not None
    assert not weight.grad.isfinite().all()


def test_autocast_leaves_float64_alone() -> None:
    arguments = problem()
    with torch.autocast("cpu", torch.bfloat16):
        loss = linear_cross_entropy(*arguments)
    torch.testing.assert_close(loss, plain(*arguments), **EXACT)


def test_the_graph_can_be_retained_but_not_differentiated_twice() -> None:
    hidden, *others = problem()
    loss = linear_cross_entropy(hidden, *others)
    (once,) = torch.autograd.grad(3 * loss, hidden, retain_graph=True)
    (again,) = torch.autograd.grad(loss, hidden, retain_graph=True)
    torch.testing.assert_close(once, 3 * again, **EXACT)
    with pytest.raises(RuntimeError, match="differentiable once"):
        torch.autograd.grad(loss, hidden, create_graph=True)


def test_mistakes() -> None:
    hidden, weight, targets, bias = problem()
    other: Any = "none"
    for make, message in [
        (lambda: linear_cross_entropy(hidden[0], weight, targets), r"hidden must be \(5, 5\)"),
        (lambda: linear_cross_entropy(hidden[:, 1:], weight, targets), r"\(7, 5\).*got \(7, 4\)"),
        (lambda: linear_cross_entropy(hidden.float(), weight, targets), "hidden.*got.*float32"),
        (lambda: linear_cross_entropy(hidden, weight[0], targets), r"weight must be \(V, H\)"),
        (lambda: linear_cross_entropy(hidden, weight[:0], targets), "weight.*neither of them 0"),
        (lambda: linear_cross_entropy(hidden, weight.half(), targets), "weight.*got.*float16"),
        (lambda: linear_cross_entropy(hidden, weight, targets[1:]), r"targets must be \(7,\)"),
        (lambda: linear_cross_entropy(hidden, weight, targets.int()), "targets.*int64.*int32"),
        (lambda: linear_cross_entropy(hidden, weight, targets, bias[1:]), r"bias must be \(11,\)"),
        (
            lambda: linear_cross_entropy(hidden, weight, targets, beside=bias),
            r"beside must be \(7,\)",
        ),
        (lambda: linear_cross_entropy(hidden, weight, targets, chunk=0), "chunk.*at least 1.*0"),
        (lambda: linear_cross_entropy(hidden, weight, targets, reduction=other), "reduction.*none"),
    ]:
        with pytest.raises(ValueError, match=message):
            make()


@pytest.mark.parametrize("target", [-100, -1, V])
def test_targets_outside_the_vocabulary(target: int) -> None:
    hidden, weight, targets, bias = problem()
    targets[3] = target
    with pytest.raises(IndexError, match=f"from 0 to {V - 1}, got {target}"):
        linear_cross_entropy(hidden, weight, targets, bias)


@pytest.mark.parametrize(("dtype", "atol"), [(torch.float64, 1e-12), (torch.float32, 1e-5)])
def test_of_each_token_too(dtype: torch.dtype, atol: float) -> None:
    hidden, weight, targets, bias = problem(dtype=dtype)
    beside = torch.randn(N, dtype=dtype)
    together, each = cross_entropy_of_each(hidden, weight, targets, bias, beside)
    p = F.linear(hidden, weight, bias).softmax(1)[torch.arange(N), targets]
    torch.testing.assert_close(each, -(p + beside.exp()).log().detach(), rtol=0, atol=atol)
    assert not each.requires_grad
    alone = linear_cross_entropy(hidden, weight, targets, bias, beside=beside)
    assert torch.equal(together, alone)
    inputs = (hidden, weight, bias)
    pairs = zip(
        torch.autograd.grad(together, inputs), torch.autograd.grad(alone, inputs), strict=True
    )
    assert all(torch.equal(one, other) for one, other in pairs)
