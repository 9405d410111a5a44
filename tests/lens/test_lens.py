"""The lens on any model: every split of a gradient is held to autograd, one loss at a time."""

from typing import Any

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given, settings
from torch import Tensor, nn

import elman
from elman.bptt import CELLS, Full, Truncated
from elman.lens import Lens
from elman.lens.tracing import TracingUnfold

KINDS = {
    "rnn": elman.RNN,
    "gru": elman.GRU,
    "lstm": elman.LSTM,
    "mingru": elman.MinGRU,
    "minlstm": elman.MinLSTM,
}
# float64: a step adds rounding of about 1e-16 to numbers of about 1.
EXACT: dict[str, Any] = {"rtol": 1e-10, "atol": 1e-10}


class Reader(nn.Module):
    """A model of somebody's own, with Elman's layers inside."""

    def __init__(self, kind: str, layers: int = 2) -> None:
        super().__init__()
        self.recurrent = KINDS[kind](3, 4, layers)
        self.head = nn.Linear(4, 2)

    def forward(self, x: Tensor, keep: Tensor | None = None, unfold: Any = None) -> Tensor:
        hidden, _ = self.recurrent(x, keep=keep, unfold=unfold)
        out: Tensor = self.head(hidden)
        return out


def losses_of(model: nn.Module, *given: Any) -> Tensor:
    """One for each step, (T, B)."""
    out: Tensor = model(*given)
    return out.square().sum(2)


def plain(
    model: Reader, kind: str, x: Tensor, keep: Tensor, window: int
) -> tuple[list[list[Tensor]], Tensor]:
    """The same model as a loop over steps and layers under autograd: h by layer and step, and the
    losses; the gradient is cut before every `window`-th step.
    """
    rows = x.shape[1]
    hs: list[list[Tensor]] = []
    for layer in range(2):
        cell = model.recurrent._cell_at(layer)
        state = tuple(torch.zeros(rows, 4, dtype=x.dtype) for _ in range(cell.states))
        own = []
        for t, read in enumerate(x if layer == 0 else hs[0]):
            passes = (keep[t] != 0).unsqueeze(1)
            state = tuple(part.where(passes, torch.zeros(())) for part in state)
            if t and t % window == 0:
                state = tuple(part.detach() for part in state)
            gx = nn.functional.linear(read, cell.weight_ih, cell.bias_ih)
            gh = (
                gx[:, :0]
                if cell.weight_hh is None
                else nn.functional.linear(state[0], cell.weight_hh, cell.bias_hh)
            )
            state, _ = cell.step(gx, gh, state)
            # One h feeds the layer above and the step after.
            h = state[0].clone()
            state = (h, *state[1:])
            own.append(h)
        hs.append(own)
    return hs, model.head(torch.stack(hs[1])).square().sum(2)


@settings(max_examples=40, deadline=None)
@given(
    kind=st.sampled_from(sorted(KINDS)),
    steps=st.integers(1, 6),
    rows=st.integers(1, 3),
    window=st.integers(1, 7),
    seed=st.integers(0, 2**16),
    data=st.data(),
)
def test_direct_indirect_lags_and_shares_are_autograds(
    kind: str, steps: int, rows: int, window: int, seed: int, data: st.DataObject
) -> None:
    """Over cells, windows and resets."""
    torch.manual_seed(seed)
    model = Reader(kind).double()
    x = torch.randn(steps, rows, 3, dtype=torch.float64)
    bits = data.draw(st.lists(st.booleans(), min_size=steps * rows, max_size=steps * rows))
    keep = torch.tensor(bits).view(steps, rows)
    with Lens(model) as lens:
        losses = losses_of(model, x, keep, Truncated(window))
        flow = lens.flow(losses)
    hs, expected = plain(model, kind, x, keep, window)
    torch.testing.assert_close(losses, expected, **EXACT)
    for layer, own in enumerate(flow):
        assert own.lags is not None
        assert own.direct is not None
        for s, loss in enumerate(expected):
            found = torch.autograd.grad(
                loss.sum(), hs[layer], retain_graph=True, materialize_grads=True, allow_unused=True
            )
            for t, gradient in enumerate(found):
                torch.testing.assert_close(own.lags[s, t], gradient.norm(dim=1), **EXACT)
            torch.testing.assert_close(own.direct[s], found[s], **EXACT)
        whole = torch.stack(
            torch.autograd.grad(
                expected.sum(),
                hs[layer],
                retain_graph=True,
                materialize_grads=True,
                allow_unused=True,
            )
        )
        assert own.direct is not None
        assert own.indirect is not None
        torch.testing.assert_close(own.gradient, whole, **EXACT)
        torch.testing.assert_close(own.direct + own.indirect, whole, **EXACT)
        for name, gradient in own.weights.items():
            (true,) = torch.autograd.grad(
                losses.sum(), getattr(model.recurrent, f"{name}_l{layer}"), retain_graph=True
            )
            torch.testing.assert_close(gradient, true, **EXACT)
            made, of = own._products[name]
            summed = sum(
                made[t].sum(0) if of is None else made[t].t() @ of[t] for t in range(steps)
            )
            torch.testing.assert_close(summed, true, **EXACT)
            if true.any():
                torch.testing.assert_close(float(own.shares(name).sum()), 1.0, **EXACT)


def test_by_lag_is_the_mean_over_all_pairs_that_far_apart() -> None:
    torch.manual_seed(0)
    model = Reader("gru").double()
    x = torch.randn(5, 2, 3, dtype=torch.float64)
    with Lens(model) as lens:
        flow = lens.flow(losses_of(model, x))
    for own in flow:
        assert own.lags is not None
        for lag in range(5):
            pairs = [float(own.lags[s, s - lag].mean()) for s in range(lag, 5)]
            assert float(own.by_lag()[lag]) == pytest.approx(sum(pairs) / len(pairs), rel=1e-12)


def test_after_a_backward_pass_of_ones_own() -> None:
    torch.manual_seed(0)
    model = Reader("lstm").double()
    x = torch.randn(5, 2, 3, dtype=torch.float64)
    with Lens(model) as lens:
        losses_of(model, x).sum().backward()
        (below, above) = lens.flow()
    assert [below.name, above.name] == ["recurrent.0", "recurrent.1"]
    assert above.direct is None
    torch.testing.assert_close(above.gradient, above.outside + above.back, **EXACT)
    assert not above.back[-1].any()
    torch.testing.assert_close(above.weights["weight_hh"], model.recurrent.weight_hh_l1.grad)
    with pytest.raises(ValueError, match="no losses were given"):
        above.by_lag()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_nothing_changes_and_everything_is_restored(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    model = Reader("lstm").to(dtype)
    x = torch.randn(5, 2, 3, dtype=dtype)
    before = losses_of(model, x)
    before.sum().backward()
    expected = {name: p.grad for name, p in model.named_parameters()}
    model.zero_grad()
    hooks = [dict(module._forward_pre_hooks) for module in model.modules()]
    with Lens(model) as lens:
        losses = losses_of(model, x)
        lens.flow(losses)
        assert all(p.grad is None for p in model.parameters())
        losses.sum().backward()
    assert [dict(module._forward_pre_hooks) for module in model.modules()] == hooks
    with pytest.raises(ValueError, match="input must be"), Lens(model):
        model(x[0, 0])
    assert [dict(module._forward_pre_hooks) for module in model.modules()] == hooks
    # torch's own loop may run outside, Elman's inside: rounding of float32.
    tolerance: dict[str, Any] = {"rtol": 1e-5, "atol": 1e-6} if dtype == torch.float32 else EXACT
    torch.testing.assert_close(losses, before, **tolerance)
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(parameter.grad, expected[name], **tolerance)


def test_an_unfolding_that_watches_tells_somebody_elses_trace_too() -> None:
    class Recorder:
        steps: list[int] = []  # noqa: RUF012

        def backward_step(self, t: int, direct: Tensor, indirect: Tensor) -> None:
            self.steps.append(t)

    torch.manual_seed(0)
    cell = CELLS["gru"](3, 4)
    traced = TracingUnfold(Full())
    x = torch.randn(4, 1, 3)
    traced(cell, x, trace=Recorder())[0].sum().backward()
    assert Recorder.steps == [3, 2, 1, 0]
    assert traced.calls[0].gradient.any()


def test_what_a_chunked_backward_pass_tells_is_the_same() -> None:
    torch.manual_seed(0)
    cell = CELLS["gru"](3, 4).double()
    x = torch.randn(7, 2, 3, dtype=torch.float64)
    found = []
    for unfold in (Full(), elman.Checkpointed(3)):
        traced = TracingUnfold(unfold)
        traced(cell, x)[0].square().sum().backward()
        found.append(traced.calls[0])
    one, other = found
    torch.testing.assert_close(other.gradient, one.gradient, **EXACT)
    for (name, made, _), (_, again, _) in zip(one.products(), other.products(), strict=True):
        torch.testing.assert_close(again, made, **EXACT, msg=name)


def test_mistakes() -> None:
    with pytest.raises(ValueError, match="holds no layer that can be traced"):
        Lens(nn.LSTM(3, 4))
    model = Reader("rnn")
    with Lens(model) as lens:
        with pytest.raises(ValueError, match="nothing has run"):
            lens.flow()
        losses = losses_of(model, torch.randn(3, 1, 3))
        with pytest.raises(ValueError, match="no backward pass came by"):
            lens.flow()
        with pytest.raises(ValueError, match="have no graph"):
            lens.flow(losses.detach())
        with pytest.raises(ValueError, match="ran over 3 steps, and there are 2 losses"):
            lens.flow(losses[:2])
        model.requires_grad_(False)
        model.head.requires_grad_(True)
        with pytest.raises(ValueError, match="no weight that requires a gradient"):
            lens.flow(losses_of(model, torch.randn(3, 1, 3)))
