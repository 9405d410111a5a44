"""The time loops: masks, carried state, precision, traces and errors."""

from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from elman.bptt import (
    CELLS,
    Cell,
    GRUCell,
    LSTMCell,
    ReLUCell,
    RNNCell,
    State,
    precision,
)
from elman.bptt.recurrence import recurrence
from elman.bptt.schedule import Schedule

from .conftest import LeakyCell, randn, weighted_sum

KINDS: dict[str, type[Cell]] = CELLS | {"relu": ReLUCell}
T, B, INPUT, H = 7, 3, 4, 5
# Where a tolerance is 1e-10 that is the promise; sums of these sizes differ by some 1e-15.
EVERY_CELL = pytest.mark.parametrize("name", KINDS)


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


def problem(name: str) -> tuple[Cell, Tensor, State, list[Tensor]]:
    """A cell, its input and first state, and everything that a gradient is wanted for."""
    cell = KINDS[name](INPUT, H).double()
    x, state = randn(T, B, INPUT), tuple(randn(B, H) for _ in range(cell.states))
    return cell, x, state, [x, *state, *cell.parameters()]


def plain_loop(
    cell: Cell, x: Tensor, state: State, keep: Tensor | None = None, cut: Tensor | None = None
) -> tuple[Tensor, State]:
    """The same recurrence through the cell's step alone, which autograd differentiates by itself.

    That a step is what it should be is for test_cells.py.
    """
    hs = []
    for t, x_t in enumerate(x):
        if keep is not None:
            state = tuple(tensor * keep[t].unsqueeze(1) for tensor in state)
        if cut is not None:
            passes = cut[t].bool().unsqueeze(1)
            state = tuple(torch.where(passes, tensor, tensor.detach()) for tensor in state)
        h, weight = state[0], cell.weight_hh
        gx = nn.functional.linear(x_t, cell.weight_ih, cell.bias_ih)
        gh = h[:, :0] if weight is None else nn.functional.linear(h, weight, cell.bias_hh)
        state, _ = cell.step(gx, gh, state)
        hs.append(state[0])
    return torch.stack(hs), state


@EVERY_CELL
def test_a_reset_inside_a_window_equals_separate_runs(name: str) -> None:
    cell, x, state, leaves = problem(name)
    starts = [3, 0, 5]
    keep = torch.ones(T, B)
    for row, start in enumerate(starts):
        keep[start, row] = 0
    h, after = recurrence(cell, x, state, keep)

    separate, ends = [], []
    for row, start in enumerate(starts):
        mine = slice(row, row + 1)
        parts = [recurrence(cell, x[start:, mine])]
        if start > 0:
            parts.insert(0, recurrence(cell, x[:start, mine], tuple(s[mine] for s in state)))
        separate.append(torch.cat([part for part, _ in parts]))
        ends.append(parts[-1][1])
    h_separate = torch.cat(separate, dim=1)
    after_separate = tuple(torch.cat(tensors) for tensors in zip(*ends, strict=True))

    torch.testing.assert_close((h, after), (h_separate, after_separate), rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(
        torch.autograd.grad(weighted_sum(h, *after), leaves),
        torch.autograd.grad(weighted_sum(h_separate, *after_separate), leaves),
        rtol=1e-10,
        atol=1e-10,
    )


@EVERY_CELL
def test_a_cut_equals_detaching_that_row(name: str) -> None:
    cell, x, state, leaves = problem(name)
    cut = (torch.rand(T, B) > 0.4).int()
    assert 0 < cut.sum() < T * B
    h, after = recurrence(cell, x, state, cut=cut)
    h_plain, after_plain = plain_loop(cell, x, state, cut=cut)
    torch.testing.assert_close((h, after), (h_plain, after_plain), rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(
        torch.autograd.grad(weighted_sum(h, *after), leaves),
        torch.autograd.grad(weighted_sum(h_plain, *after_plain), leaves),
        rtol=1e-10,
        atol=1e-10,
    )


@EVERY_CELL
def test_a_cut_leaves_the_forward_pass_as_it_is(name: str) -> None:
    cell, x, state, _ = problem(name)
    cut = torch.rand(T, B) > 0.5
    with_cut, without = recurrence(cell, x, state, cut=cut), recurrence(cell, x, state)
    torch.testing.assert_close(with_cut, without, rtol=0, atol=0)


@EVERY_CELL
def test_masks_of_ones_change_nothing(name: str) -> None:
    cell, x, state, leaves = problem(name)
    masked = recurrence(cell, x, state, torch.ones(T, B), torch.ones(T, B, dtype=torch.bool))
    plain = recurrence(cell, x, state)
    torch.testing.assert_close(masked, plain, rtol=0, atol=0)
    torch.testing.assert_close(
        torch.autograd.grad(weighted_sum(masked[0]), leaves),
        torch.autograd.grad(weighted_sum(plain[0]), leaves),
        rtol=0,
        atol=0,
    )


@EVERY_CELL
def test_two_chunks_with_carried_state_equal_one_run(name: str) -> None:
    cell, x, state, leaves = problem(name)
    h, after = recurrence(cell, x, state)
    h_first, middle = recurrence(cell, x[:3], state)
    h_second, after_second = recurrence(cell, x[3:], middle)
    chunked = torch.cat([h_first, h_second])
    torch.testing.assert_close((chunked, after_second), (h, after), rtol=1e-10, atol=1e-10)
    # The carried state was not detached, so the gradient passes the seam as well.
    torch.testing.assert_close(
        torch.autograd.grad(weighted_sum(chunked, *after_second), leaves),
        torch.autograd.grad(weighted_sum(h, *after), leaves),
        rtol=1e-10,
        atol=1e-10,
    )


@EVERY_CELL
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_rows_that_read_the_same_need_no_copies_of_it(name: str, dtype: torch.dtype) -> None:
    cell = KINDS[name](INPUT, H).to(dtype)
    x = torch.randn(T, 1, INPUT, dtype=dtype, requires_grad=True)
    state = tuple(torch.randn(B, H, dtype=dtype) for _ in range(cell.states))
    runs = [recurrence(cell, given, state) for given in (x.expand(T, B, INPUT), x.repeat(1, B, 1))]
    for views, copies in zip(*((h, *after) for h, after in runs), strict=True):
        torch.testing.assert_close(views, copies)
    wanted = [x, *cell.parameters()]
    grads = [torch.autograd.grad(weighted_sum(h.double()), wanted) for h, _ in runs]
    for view, copied in zip(*grads, strict=True):
        torch.testing.assert_close(view, copied)


@EVERY_CELL
def test_state_none_is_a_state_of_zeros(name: str) -> None:
    cell, x, _, _ = problem(name)
    torch.testing.assert_close(
        recurrence(cell, x), recurrence(cell, x, cell.initial_state(B)), rtol=0, atol=0
    )


@EVERY_CELL
def test_a_state_that_no_loss_uses_adds_nothing(name: str) -> None:
    cell, x, state, leaves = problem(name)
    h, after = recurrence(cell, x, state)
    alone = torch.autograd.grad(h.sum(), leaves, retain_graph=True)
    beside = torch.autograd.grad(h.sum() + sum(0 * s.sum() for s in after), leaves)
    torch.testing.assert_close(alone, beside, rtol=0, atol=0)


@settings(max_examples=40, deadline=None, derandomize=True, database=None)
@given(data=st.data())
def test_any_size_and_any_mask_equal_the_plain_loop(data: st.DataObject) -> None:
    size = st.integers(1, 5)
    steps, rows, inputs, hidden = (data.draw(size) for _ in range(4))
    mask = st.lists(st.booleans(), min_size=steps * rows, max_size=steps * rows)
    keep, cut = (torch.tensor(data.draw(mask)).view(steps, rows).double() for _ in range(2))
    torch.manual_seed(data.draw(st.integers(0, 1000)))
    cell = KINDS[data.draw(st.sampled_from(sorted(KINDS)))](inputs, hidden).double()
    x, state = randn(steps, rows, inputs), tuple(randn(rows, hidden) for _ in range(cell.states))
    leaves = [x, *state, *cell.parameters()]

    h, after = recurrence(cell, x, state, keep, cut)
    h_plain, after_plain = plain_loop(cell, x, state, keep, cut)
    torch.testing.assert_close((h, after), (h_plain, after_plain), rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(
        torch.autograd.grad(weighted_sum(h, *after), leaves),
        torch.autograd.grad(weighted_sum(h_plain, *after_plain), leaves, materialize_grads=True),
        rtol=1e-10,
        atol=1e-10,
    )


class Recorder:
    def __init__(self) -> None:
        self.steps: list[tuple[int, Tensor, Tensor]] = []

    def backward_step(self, t: int, direct: Tensor, indirect: Tensor) -> None:
        self.steps.append((t, direct.clone(), indirect.clone()))


@EVERY_CELL
def test_trace_splits_the_gradient_of_each_hidden_state(name: str) -> None:
    cell, x, state, _ = problem(name)
    recorder = Recorder()
    h, after = recurrence(cell, x, state, trace=recorder)
    torch.autograd.backward(weighted_sum(h, *after))
    assert [t for t, _, _ in recorder.steps] == list(reversed(range(T)))

    hidden, ends = [], state
    for t in range(T):
        h_t, ends = plain_loop(cell, x[t : t + 1], ends)
        # The one h_t feeds both the loss of its own step and the next step.
        ends = (h_t[0], *ends[1:])
        ends[0].retain_grad()
        hidden.append(ends[0])
    h_plain = torch.stack(hidden)
    h_plain.retain_grad()
    torch.autograd.backward(weighted_sum(h_plain, *ends))
    assert h_plain.grad is not None
    for t, direct, indirect in recorder.steps:
        torch.testing.assert_close(direct, h_plain.grad[t], rtol=1e-10, atol=1e-10)
        torch.testing.assert_close(direct + indirect, hidden[t].grad, rtol=1e-10, atol=1e-10)


def test_trace_sees_nothing_come_back_over_a_reset_or_a_cut() -> None:
    cell, x, state, _ = problem("gru")
    keep, cut, recorder = torch.ones(T, B), torch.ones(T, B), Recorder()
    keep[2, 0] = 0
    cut[4, 1] = 0
    torch.autograd.backward(recurrence(cell, x, state, keep, cut, recorder)[0].sum())
    indirect = {t: part for t, _, part in recorder.steps}
    assert [row.any().item() for row in indirect[1]] == [False, True, True]
    assert [row.any().item() for row in indirect[3]] == [True, False, True]


@EVERY_CELL
def test_autocast_takes_products_in_bfloat16_and_keeps_the_rest_in_float32(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(precision, "bfloat16_speed", lambda: 2.0)
    cell = KINDS[name](16, 32)
    x = torch.randn(20, 4, 16, requires_grad=True)
    leaves = [x, *cell.parameters()]
    h, after = recurrence(cell, x)
    reference = torch.autograd.grad(h.square().sum(), leaves)
    with torch.autocast("cpu", torch.bfloat16):
        h_low, after_low = recurrence(cell, x)
        loss = h_low.square().sum()
    grads = torch.autograd.grad(loss, leaves)

    assert {t.dtype for t in (h_low, *after_low, *grads)} == {torch.float32}
    # bfloat16 rounds to 8 bits: an operand is off by at most 2**-9 = 0.002 of its value, and the
    # rounding of 20 steps stays within a few of those; of a ReLU, whose derivative jumps where a
    # sum changes its sign, within some more.
    few = 0.05 if name == "relu" else 0.01
    assert not torch.equal(h_low, h)
    for low, high in zip((h_low, *after_low, *grads), (h, *after, *reference), strict=True):
        assert (low - high).norm() < few * high.norm()


def test_autocast_changes_nothing_where_bfloat16_is_slower(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "bfloat16_speed", lambda: 0.5)
    cell, x = GRUCell(16, 32), torch.randn(20, 4, 16)
    h, _ = recurrence(cell, x)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(recurrence(cell, x)[0], h)


def test_a_trace_names_the_first_step_that_is_not_finite() -> None:
    cell, x = RNNCell(INPUT, H), torch.randn(T, B, INPUT)
    x[5, 0, 1] = torch.nan
    x[3, 2, 0] = torch.inf
    with pytest.raises(ValueError, match=r"got inf first at step 3, in row 2"):
        recurrence(cell, x, trace=Recorder())


def test_dtypes_that_do_not_fit_are_named() -> None:
    cell = GRUCell(INPUT, H)
    x = torch.randn(T, B, INPUT)
    with pytest.raises(ValueError, match=r"x must be torch.float32, got torch.float64"):
        recurrence(cell, x.double())
    with pytest.raises(ValueError, match=r"state\[0\] must be torch.float32, got torch.int64"):
        recurrence(cell, x, (torch.zeros(B, H, dtype=torch.int64),))
    with pytest.raises(ValueError, match=r"x must be on cpu, got meta"):
        recurrence(cell, x.to("meta"))


def test_backward_inside_autocast_keeps_the_precision_of_the_forward_pass() -> None:
    cell, x = GRUCell(16, 32), torch.randn(20, 4, 16)
    reference = torch.autograd.grad(recurrence(cell, x)[0].sum(), [*cell.parameters()])
    h, _ = recurrence(cell, x)
    with torch.autocast("cpu", torch.bfloat16):
        grads = torch.autograd.grad(h.sum(), [*cell.parameters()])
    torch.testing.assert_close(grads, reference, rtol=0, atol=0)


LOSSES: dict[str, Callable[[Tensor, State], Tensor]] = {
    "square": lambda h, after: h.square().sum(),
    # The gradient of these is constant: a second derivative would lack our part in silence.
    "linear in h": lambda h, after: h.sum(),
    "linear in the state after": lambda h, after: after[-1].sum(),
}
EVERY_LOSS = pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)


@EVERY_LOSS
@EVERY_CELL
def test_a_second_derivative_is_refused_where_a_trace_is_told(
    name: str, loss: Callable[[Tensor, State], Tensor]
) -> None:
    cell, x, state, leaves = problem(name)
    result = loss(*recurrence(cell, x, state, trace=Recorder()))
    with pytest.raises(RuntimeError, match="differentiable once: no create_graph=True"):
        torch.autograd.grad(result, leaves, create_graph=True)


@EVERY_LOSS
@EVERY_CELL
def test_second_and_third_derivatives_equal_those_of_the_plain_loop(
    name: str, loss: Callable[[Tensor, State], Tensor]
) -> None:
    cell, x, state, leaves = problem(name)
    keep, cut = torch.ones(2, T, B, dtype=torch.bool)
    keep[2, 1], cut[4, 0] = False, False

    def derivatives(result: tuple[Tensor, State]) -> list[Tensor]:
        found: list[Tensor] = []
        value = loss(*result)
        for _ in range(3):
            grads = torch.autograd.grad(
                value, leaves, create_graph=True, allow_unused=True, materialize_grads=True
            )
            found += grads
            value = weighted_sum(*(grad.square() for grad in grads))
        return found

    torch.testing.assert_close(
        derivatives(recurrence(cell, x, state, keep, cut)),
        derivatives(plain_loop(cell, x, state, keep, cut)),
        rtol=1e-9,
        atol=1e-9,
    )


def test_the_second_derivative_keeps_apart_what_was_made_of_one_another() -> None:
    """The first state is made of x here, and x of a weight: no path may be counted twice."""
    cell, _, _, _ = problem("gru")

    def second(run: Callable[..., tuple[Tensor, State]]) -> tuple[Tensor, ...]:
        x = cell.weight_ih[: 4 * B].reshape(4, B, INPUT).tanh()
        state = (x[0].repeat(1, 2)[:, :H] * 2,)
        (first,) = torch.autograd.grad(
            run(cell, x, state)[0].square().sum(), cell.weight_ih, create_graph=True
        )
        return torch.autograd.grad(first.square().sum(), list(cell.parameters()))

    ours = second(recurrence)
    theirs = second(lambda cell, x, state: plain_loop(cell, x, state, None, None))
    torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-10)


@EVERY_CELL
def test_without_grad_the_output_is_the_same(name: str) -> None:
    cell, x, state, _ = problem(name)
    with torch.no_grad():
        h, after = recurrence(cell, x, state)
    assert not h.requires_grad
    torch.testing.assert_close((h, after), recurrence(cell, x, state), rtol=0, atol=0)


def test_frozen_weights_get_no_gradient() -> None:
    cell, x, _, _ = problem("lstm")
    (weight_hh,) = (p for key, p in cell.named_parameters() if key == "weight_hh")
    weight_hh.requires_grad_(False)
    torch.autograd.backward(recurrence(cell, x)[0].sum())
    assert weight_hh.grad is None
    assert cell.weight_ih.grad is not None
    assert x.grad is not None


@EVERY_CELL
def test_writing_to_the_first_state_before_the_backward_pass_never_changes_a_gradient(
    name: str,
) -> None:
    cell, x, _, _ = problem(name)
    state = tuple(torch.randn(B, H, dtype=torch.float64) for _ in range(cell.states))
    parameters = list(cell.parameters())
    reference = torch.autograd.grad(recurrence(cell, x, state)[0].square().sum(), parameters)
    loss = recurrence(cell, x, state)[0].square().sum()
    for tensor in state:
        tensor.zero_()
    torch.testing.assert_close(torch.autograd.grad(loss, parameters), reference, rtol=0, atol=0)


@pytest.mark.parametrize("schedule", [Schedule(), Schedule(3, recompute=True)], ids=str)
@pytest.mark.parametrize("kind", [*KINDS.values(), LeakyCell])
def test_writing_to_a_parameter_before_the_backward_pass_is_refused_or_harmless(
    kind: type[Cell], schedule: Schedule
) -> None:
    def loss_of(cell: Cell) -> Tensor:
        torch.manual_seed(0)
        return recurrence(cell, randn(T, B, INPUT), schedule=schedule)[0].square().sum()

    for name, parameter in (cell := kind(INPUT, H).double()).named_parameters():
        others = [p for key, p in cell.named_parameters() if key != name]
        reference = torch.autograd.grad(loss_of(cell), others)
        loss = loss_of(cell)
        with torch.no_grad():
            parameter.add_(1)
        try:
            grads = torch.autograd.grad(loss, others)
        except RuntimeError as error:
            assert "modified by an inplace operation" in str(error)  # noqa: PT017 (or none at all)
        else:
            torch.testing.assert_close(grads, reference, rtol=0, atol=0, msg=f"after {name} += 1")


@EVERY_CELL
def test_a_second_backward_pass_over_the_same_graph_gives_the_same(name: str) -> None:
    cell, x, state, leaves = problem(name)
    loss = weighted_sum(recurrence(cell, x, state)[0])
    first = torch.autograd.grad(loss, leaves, retain_graph=True)
    torch.testing.assert_close(torch.autograd.grad(loss, leaves), first, rtol=0, atol=0)


def test_shapes_that_do_not_fit_are_refused() -> None:
    cell, x = LSTMCell(INPUT, H), torch.zeros(T, B, INPUT)
    zero = torch.zeros(B, H)
    with pytest.raises(ValueError, match="x must be"):
        recurrence(cell, x[0])
    with pytest.raises(ValueError, match="x must be"):
        recurrence(cell, x[..., 1:])
    with pytest.raises(ValueError, match="at least one step"):
        recurrence(cell, x[:0])
    with pytest.raises(ValueError, match="the state must be 2 tensors"):
        recurrence(cell, x, (zero,))
    with pytest.raises(ValueError, match="the state must be 2 tensors"):
        recurrence(cell, x, (zero, zero[:1]))
    with pytest.raises(ValueError, match="keep must be"):
        recurrence(cell, x, keep=torch.ones(B, T))
    with pytest.raises(ValueError, match="cut must be"):
        recurrence(cell, x, cut=torch.ones(T))


@EVERY_CELL
def test_what_was_kept_is_let_go_with_the_graph(name: str) -> None:
    """A loss that is still held must not hold the gates of all its steps, as torch's does not."""
    cell, x, state, leaves = problem(name)
    h, _ = recurrence(cell, x, state)
    first = torch.autograd.grad(h.square().sum(), leaves, retain_graph=True)
    assert len(h.grad_fn.saved) == 1  # type: ignore[union-attr]
    again = torch.autograd.grad(h.square().sum(), leaves)
    torch.testing.assert_close(again, first, rtol=0, atol=0)
    assert h.grad_fn.saved == ()  # type: ignore[union-attr]
    with pytest.raises(RuntimeError, match="second time"):
        torch.autograd.grad(h.square().sum(), leaves)


def test_only_the_gradients_that_are_wanted_are_made() -> None:
    cell, x, _, _ = problem("gru")
    h, _ = recurrence(cell, x)
    everything = dict(
        zip(
            ["x", *(n for n, _ in cell.named_parameters())],
            torch.autograd.grad(h.sum(), [x, *cell.parameters()]),
            strict=True,
        )
    )
    for wanted, parameter in cell.named_parameters():
        for other in cell.parameters():
            other.requires_grad_(other is parameter)
        (grad,) = torch.autograd.grad(recurrence(cell, x.detach())[0].sum(), [parameter])
        torch.testing.assert_close(grad, everything[wanted], rtol=0, atol=0)
