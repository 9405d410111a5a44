"""How a recurrence is unfolded: the same forward pass, another gradient."""

from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor, nn

from elman.bptt import (
    CELLS,
    Cell,
    Checkpointed,
    Full,
    GRUCell,
    ReLUCell,
    RNNCell,
    Saved,
    State,
    Truncated,
    Unfold,
)
from elman.bptt.recurrence import recurrence, run_over
from elman.bptt.schedule import Schedule

from .conftest import weighted_sum


class CoupledCell(Cell):
    """A user's cell with two state tensors and a parameter of its own, and no backward pass."""

    gates: ClassVar[int] = 2
    states: ClassVar[int] = 2

    def __init__(self, input_size: int, hidden_size: int, **options: Any) -> None:
        super().__init__(input_size, hidden_size, **options)
        self.peephole = nn.Parameter(torch.randn(hidden_size))

    def step(self, gx: Tensor, gh: Tensor, state: State) -> tuple[State, Saved]:
        f, g = (gx + gh).chunk(2, dim=1)
        c = torch.lerp(torch.tanh(g), state[1], torch.sigmoid(f + self.peephole * state[1]))
        return (torch.tanh(c), c), None


KINDS: dict[str, type[Cell]] = CELLS | {"relu": ReLUCell, "a user's": CoupledCell}
T, B, INPUT, H = 7, 3, 4, 5
# Where a tolerance is 1e-10 that is the promise; sums of these sizes differ by some 1e-15.
EVERY_CELL = pytest.mark.parametrize("name", KINDS)


def problem(name: str) -> tuple[Cell, Tensor, State, list[Tensor]]:
    """A cell, its input and first state, and everything that a gradient is wanted for."""
    torch.manual_seed(0)
    cell = KINDS[name](INPUT, H).double()
    x, *state = (
        torch.randn(*shape, dtype=torch.float64, requires_grad=True)
        for shape in [(T, B, INPUT), *[(B, H)] * cell.states]
    )
    return cell, x, tuple(state), [x, *state, *cell.parameters()]


def windows_one_after_another(
    cell: Cell, x: Tensor, state: State, window: int, keep: Tensor | None = None
) -> tuple[Tensor, State]:
    hs = []
    for start in range(0, len(x), window):
        mine = slice(start, start + window)
        if start > 0:
            state = tuple(tensor.detach() for tensor in state)
        h, state = recurrence(cell, x[mine], state, None if keep is None else keep[mine])
        hs.append(h)
    return torch.cat(hs), state


@EVERY_CELL
@pytest.mark.parametrize("window", [T, T + 1, 100])
def test_a_window_over_all_steps_equals_full(name: str, window: int) -> None:
    cell, x, state, leaves = problem(name)
    full, truncated = Full()(cell, x, state), Truncated(window)(cell, x, state)
    torch.testing.assert_close(truncated, full, rtol=0, atol=0)
    torch.testing.assert_close(
        torch.autograd.grad(weighted_sum(truncated[0], *truncated[1]), leaves),
        torch.autograd.grad(weighted_sum(full[0], *full[1]), leaves),
        rtol=0,
        atol=0,
    )


@EVERY_CELL
@pytest.mark.parametrize("window", [1, 2, 3, 6])
@pytest.mark.parametrize("with_keep", [False, True])
def test_truncated_equals_windows_with_detached_state_between(
    name: str, window: int, with_keep: bool
) -> None:
    cell, x, state, leaves = problem(name)
    keep = (torch.rand(T, B) > 0.3).int() if with_keep else None
    h, after = Truncated(window)(cell, x, state, keep)
    h_windows, after_windows = windows_one_after_another(cell, x, state, window, keep)
    torch.testing.assert_close((h, after), (h_windows, after_windows), rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(
        torch.autograd.grad(weighted_sum(h, *after), leaves),
        torch.autograd.grad(weighted_sum(h_windows, *after_windows), leaves),
        rtol=1e-10,
        atol=1e-10,
    )


@EVERY_CELL
def test_truncation_leaves_the_forward_pass_as_it_is(name: str) -> None:
    cell, x, state, _ = problem(name)
    torch.testing.assert_close(Truncated(2)(cell, x, state), Full()(cell, x, state), rtol=0, atol=0)


@EVERY_CELL
def test_the_windows_and_the_callers_cuts_both_count(name: str) -> None:
    cell, x, state, leaves = problem(name)
    cut = torch.rand(T, B) > 0.3
    both = cut.clone()
    both[3] = both[6] = False
    inner = Full()(cell, x, state, cut=both)[0]
    outer = Truncated(3)(cell, x, state, cut=cut.int())[0]
    torch.testing.assert_close(
        torch.autograd.grad(weighted_sum(outer), leaves),
        torch.autograd.grad(weighted_sum(inner), leaves),
        rtol=0,
        atol=0,
    )


def test_truncations_nest() -> None:
    cell, x, state, leaves = problem("gru")
    cut = torch.ones(T, B)
    cut[[2, 3, 4, 6]] = 0
    nested = Truncated(2, inner=Truncated(3))(cell, x, state)[0]
    flat = Full()(cell, x, state, cut=cut)[0]
    torch.testing.assert_close(
        torch.autograd.grad(weighted_sum(nested), leaves),
        torch.autograd.grad(weighted_sum(flat), leaves),
        rtol=0,
        atol=0,
    )


def test_the_gradient_of_the_first_state_stops_at_the_first_edge() -> None:
    cell, x, state, _ = problem("rnn")
    h = Truncated(3)(cell, x, state)[0]
    (late,) = torch.autograd.grad(h[3:].sum(), state, retain_graph=True)
    (early,) = torch.autograd.grad(h[:3].sum(), state)
    assert not late.any()
    assert early.all()


class Recorder:
    def __init__(self) -> None:
        self.steps: list[tuple[int, Tensor, Tensor]] = []

    def backward_step(self, t: int, direct: Tensor, indirect: Tensor) -> None:
        self.steps.append((t, direct.clone(), indirect.clone()))


def test_trace_reaches_the_inner_unfolding() -> None:
    cell, x, state, _ = problem("lstm")
    recorder = Recorder()
    torch.autograd.backward(Truncated(3)(cell, x, state, trace=recorder)[0].sum())
    came_back = {t: bool(indirect.any()) for t, _, indirect in recorder.steps}
    assert [t for t in range(T) if not came_back[t]] == [2, 5, 6]


def assert_same_results(name: str, unfold: Unfold, plain: Unfold) -> None:
    """Results, gradients and traces of a call with masks. To rounding: with another length of
    chunk a sum over time may be taken in another order.
    """

    def results(unfold: Unfold) -> list[Any]:
        cell, x, state, leaves = problem(name)
        keep, cut = torch.rand(2, T, B) > 0.2
        recorder = Recorder()
        h, after = unfold(cell, x, state, keep, cut, recorder)
        return [h, after, torch.autograd.grad(weighted_sum(h, *after), leaves), recorder.steps]

    torch.testing.assert_close(results(unfold), results(plain), rtol=1e-12, atol=1e-13)


@EVERY_CELL
@pytest.mark.parametrize("every", [1, 2, T - 1, T, T + 5])
def test_checkpointed_equals_full(name: str, every: int) -> None:
    assert_same_results(name, Checkpointed(every), Full())


@EVERY_CELL
@pytest.mark.parametrize("every", [1, 2, 3, 4])
def test_windows_need_not_end_where_checkpoints_do(name: str, every: int) -> None:
    assert_same_results(name, Truncated(3, Checkpointed(every)), Truncated(3))


@EVERY_CELL
def test_within_a_budget_equals_full(name: str) -> None:
    cell, x, state, _ = problem(name)
    least = Schedule(1, recompute=True).memory(cell, T, B)
    ample = Schedule().memory(cell, T, B)
    for budget in (least, (least + ample) // 2, ample):
        unfold = Checkpointed.within(budget)
        assert unfold.schedule(cell, T, B) == Schedule.within(budget, cell, T, B)
        assert_same_results(name, unfold, Full())
        assert_same_results(name, Truncated(3, unfold), Truncated(3))
    assert Checkpointed.within(ample).schedule(cell, T, B) == Schedule()
    with pytest.raises(ValueError, match="is the least that works"):
        Checkpointed.within(1)(cell, x, state)


def test_the_schedule_that_was_asked_for_is_the_one_that_is_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Results alone would not tell: those of all schedules are the same."""
    cell, x, state, _ = problem("gru")
    ran: list[Schedule | None] = []

    def spy(*arguments: Any) -> tuple[Tensor, State]:
        ran.append(arguments[3] if len(arguments) > 3 else None)
        return run_over(*arguments)

    monkeypatch.setattr("elman.bptt.unfold.run_over", spy)
    three = Schedule(3, recompute=True)
    for unfold in (Full(), Checkpointed(3), Checkpointed.within(three.memory(cell, T, B))):
        unfold(cell, x, state)
        Truncated(2, unfold)(cell, x, state)
    assert ran == [None, None, three, three, three, three]


@pytest.mark.parametrize("every", [0, -1])
def test_a_distance_below_one_is_refused(every: int) -> None:
    with pytest.raises(ValueError, match="every must be at least 1"):
        Checkpointed(every)


@pytest.mark.parametrize("budget", [0, -1])
def test_a_budget_below_one_is_refused(budget: int) -> None:
    with pytest.raises(ValueError, match="budget must be at least 1 byte"):
        Checkpointed.within(budget)


UNFOLDINGS = [Full(), Truncated(2), Checkpointed(2), Checkpointed.within(1)]


@pytest.mark.parametrize("window", [0, -1])
def test_a_window_below_one_is_refused(window: int) -> None:
    with pytest.raises(ValueError, match="window must be at least 1"):
        Truncated(window)


@pytest.mark.parametrize("unfold", UNFOLDINGS, ids=repr)
@pytest.mark.parametrize("cut_shape", [(B,), (T, 1), (1, B), (T, B + 1)])
def test_a_cut_that_does_not_fit_is_refused(unfold: Unfold, cut_shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="cut must be"):
        unfold(GRUCell(INPUT, H), torch.zeros(T, B, INPUT), cut=torch.ones(cut_shape))


@pytest.mark.parametrize("unfold", UNFOLDINGS, ids=repr)
@pytest.mark.parametrize("shape", [(), (0, B, INPUT)])
def test_an_x_that_does_not_fit_is_refused(unfold: Unfold, shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="x "):
        unfold(GRUCell(INPUT, H), torch.zeros(shape))


def test_the_gradient_through_twenty_thousand_steps_is_exact() -> None:
    """In chunks of 1,000, against autograd through torch's own layer, which keeps everything."""
    torch.manual_seed(0)
    theirs, cell = nn.RNN(2, 8, dtype=torch.float64), RNNCell(2, 8).double()
    weight_ih, weight_hh, *biases = theirs.parameters()
    nn.init.orthogonal_(weight_hh)
    with torch.no_grad():  # tanh stays nearly linear, or nothing would be left to compare
        for parameter in (weight_ih, *biases):
            parameter.mul_(1e-5)
    cell.load_state_dict(dict(zip(cell.state_dict(), theirs.parameters(), strict=True)))
    x = torch.randn(20_000, 1, 2, dtype=torch.float64, requires_grad=True)
    found = torch.autograd.grad(Checkpointed(1_000)(cell, x)[0][-1].sum(), [x, *cell.parameters()])
    expected = torch.autograd.grad(theirs(x)[0][-1].sum(), [x, *theirs.parameters()])
    assert found[0][0].abs().max() > 1e-7
    for ours, right in zip(found, expected, strict=True):
        assert (ours - right).abs().max() <= 1e-10 * right.abs().max()
