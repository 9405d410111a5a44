"""How a recurrence is unfolded: the same forward pass, another gradient."""

import pytest
import torch
from torch import Tensor

from elman.bptt import CELLS, Cell, Full, GRUCell, State, Truncated
from elman.bptt.recurrence import recurrence

T, B, INPUT, H = 7, 3, 4, 5
# Where a tolerance is 1e-10 that is the promise; sums of these sizes differ by some 1e-15.
EVERY_CELL = pytest.mark.parametrize("name", CELLS)


def problem(name: str) -> tuple[Cell, Tensor, State, list[Tensor]]:
    """A cell, its input and first state, and everything that a gradient is wanted for."""
    torch.manual_seed(0)
    cell = CELLS[name](INPUT, H).double()
    x, *state = (
        torch.randn(*shape, dtype=torch.float64, requires_grad=True)
        for shape in [(T, B, INPUT), *[(B, H)] * cell.states]
    )
    return cell, x, tuple(state), [x, *state, *cell.parameters()]


def weighted_sum(*tensors: Tensor) -> Tensor:
    """A loss in which every element counts differently, so that no two gradients can be swapped."""
    generator = torch.Generator().manual_seed(7)
    weights = [torch.randn(t.shape, generator=generator, dtype=t.dtype) for t in tensors]
    return torch.stack([(t * w).sum() for t, w in zip(tensors, weights, strict=True)]).sum()


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


def test_trace_reaches_the_inner_unfolding() -> None:
    class Recorder:
        def __init__(self) -> None:
            self.came_back: dict[int, bool] = {}

        def backward_step(self, t: int, direct: Tensor, indirect: Tensor) -> None:
            self.came_back[t] = bool(indirect.any())

    cell, x, state, _ = problem("lstm")
    recorder = Recorder()
    torch.autograd.backward(Truncated(3)(cell, x, state, trace=recorder)[0].sum())
    assert [t for t in range(T) if not recorder.came_back[t]] == [2, 5, 6]


@pytest.mark.parametrize("window", [0, -1])
def test_a_window_below_one_is_refused(window: int) -> None:
    with pytest.raises(ValueError, match="window must be at least 1"):
        Truncated(window)


@pytest.mark.parametrize("unfold", [Full(), Truncated(2)], ids=repr)
@pytest.mark.parametrize("cut_shape", [(B,), (T, 1), (1, B), (T, B + 1)])
def test_a_cut_that_does_not_fit_is_refused(
    unfold: Full | Truncated, cut_shape: tuple[int, ...]
) -> None:
    with pytest.raises(ValueError, match="cut must be"):
        unfold(GRUCell(INPUT, H), torch.zeros(T, B, INPUT), cut=torch.ones(cut_shape))


@pytest.mark.parametrize("unfold", [Full(), Truncated(2)], ids=repr)
@pytest.mark.parametrize("shape", [(), (0, B, INPUT)])
def test_an_x_that_does_not_fit_is_refused(
    unfold: Full | Truncated, shape: tuple[int, ...]
) -> None:
    with pytest.raises(ValueError, match="x "):
        unfold(GRUCell(INPUT, H), torch.zeros(shape))
