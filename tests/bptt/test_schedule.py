"""Chunks of time: they change no result, and hold no more memory than they say."""

import sys
from collections.abc import Iterator
from typing import Any, ClassVar
from unittest.mock import patch

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from elman.bptt import CELLS, Cell, ReLUCell, Saved, State
from elman.bptt.kernels.fused import CELL_NUMBERS
from elman.bptt.kernels.native import load
from elman.bptt.recurrence import recurrence
from elman.bptt.schedule import Schedule

from .conftest import LeakyCell, weighted_sum

T, B, INPUT, H = 7, 3, 4, 5


class ManyGatesCell(Cell):
    """Of all cells the one whose chunks cost most, and whose checkpoints are not free."""

    gates: ClassVar[int] = 64
    states: ClassVar[int] = 2

    def step(self, gx: Tensor, gh: Tensor, state: State) -> tuple[State, Saved]:
        a = (gx + gh).view(len(gx), self.gates, -1).tanh().mean(1)
        return (a, state[1] + a), None


KINDS: dict[str, type[Cell]] = CELLS | {"relu": ReLUCell, "a user's": LeakyCell}
EVERY_CELL = pytest.mark.parametrize("name", KINDS)
ALL_KINDS = KINDS | {"many gates": ManyGatesCell}


class Recorder:
    def __init__(self) -> None:
        self.steps: list[tuple[int, Tensor, Tensor]] = []

    def backward_step(self, t: int, direct: Tensor, indirect: Tensor) -> None:
        self.steps.append((t, direct.clone(), indirect.clone()))


def everything(name: str, schedule: Schedule | None, masked: bool) -> list[Any]:
    """All that a run gives: outputs, states, gradients, and what a trace is told."""
    torch.manual_seed(0)
    cell = KINDS[name](INPUT, H).double()
    x, *state = (
        torch.randn(*shape, dtype=torch.float64, requires_grad=True)
        for shape in [(T, B, INPUT), *[(B, H)] * cell.states]
    )
    keep, cut = (torch.rand(2, T, B) > 0.3) if masked else (None, None)
    recorder = Recorder()
    h, after = recurrence(cell, x, tuple(state), keep, cut, recorder, schedule)
    grads = torch.autograd.grad(weighted_sum(h, *after), [x, *state, *cell.parameters()])
    assert [t for t, _, _ in recorder.steps] == list(reversed(range(T)))
    return [h, after, grads, recorder.steps]


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("every", [1, 2, T - 1, T, T + 5])
@EVERY_CELL
def test_running_the_steps_twice_changes_no_bit(name: str, every: int, masked: bool) -> None:
    once = everything(name, Schedule(every), masked)
    twice = everything(name, Schedule(every, recompute=True), masked)
    torch.testing.assert_close(twice, once, rtol=0, atol=0)


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("every", [1, 2, T - 1, T, T + 5])
@EVERY_CELL
def test_chunks_change_nothing_but_the_order_of_sums(name: str, every: int, masked: bool) -> None:
    whole = everything(name, None, masked)
    chunks = everything(name, Schedule(every), masked)
    # A weight's gradient is summed chunk by chunk, and a product of few rows may be taken in
    # another order than one of many. Where all steps are one chunk, nothing is.
    exact = every >= T
    torch.testing.assert_close(
        chunks, whole, rtol=0 if exact else 1e-12, atol=0 if exact else 1e-13
    )


@EVERY_CELL
def test_the_chunks_that_are_chosen_for_speed_change_nothing_either(name: str) -> None:
    whole = everything(name, None, masked=True)
    with patch("elman.bptt.schedule.CHUNK_GATES_BYTES", 3 * 8 * KINDS[name].gates * H * B):
        assert Schedule().chunk(KINDS[name](INPUT, H).double(), B) == 3
        chunks = everything(name, None, masked=True)
    torch.testing.assert_close(chunks, whole, rtol=1e-12, atol=1e-13)


def test_a_chunk_has_a_step_even_where_that_is_more_than_its_bytes() -> None:
    with patch("elman.bptt.schedule.CHUNK_GATES_BYTES", 1):
        assert Schedule().chunk(LeakyCell(INPUT, H), B) == 1


class Peak(TorchDispatchMode):
    """The most bytes that tensors made inside ever held at a time; views count once."""

    def __init__(self) -> None:
        super().__init__()
        self.bytes: int = 0
        self._now = 0
        self._live: dict[int, tuple[StorageWeakRef, int]] = {}

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        # A view of a tensor from outside is no memory of ours.
        outside = {key for key, _ in _storages((args, kwargs))} - self._live.keys()
        for key, storage in _storages(out):
            if key not in outside and (key not in self._live or self._live[key][0].expired()):
                self._now += storage.nbytes() - (self._live[key][1] if key in self._live else 0)
                self._live[key] = StorageWeakRef(storage), storage.nbytes()
        if self._now > self.bytes:  # at most: perhaps some were freed
            self._live = {k: entry for k, entry in self._live.items() if not entry[0].expired()}
            self._now = sum(size for _, size in self._live.values())
            self.bytes = max(self.bytes, self._now)
        return out


def _storages(tree: Any) -> Iterator[tuple[int, torch.UntypedStorage]]:
    for leaf in tree_leaves(tree):
        if isinstance(leaf, Tensor):
            yield leaf.untyped_storage()._cdata, leaf.untyped_storage()


def test_peak_counts_what_is_held_at_a_time() -> None:
    peak = Peak()
    with peak:
        kept = torch.empty(100, dtype=torch.uint8)
        for _ in range(3):
            temporary = torch.empty(1000, dtype=torch.uint8)
            view = temporary[10:]
            del temporary, view
        kept.add_(1)
    assert peak.bytes == 1100


def measured(cell: Cell, schedule: Schedule, steps: int, batch: int, masked: bool) -> int:
    """Bytes beyond inputs, results, weights, and all their gradients."""
    torch.manual_seed(0)
    x = torch.randn(steps, batch, cell.input_size, requires_grad=True)
    state = tuple(
        torch.randn(batch, cell.hidden_size, requires_grad=True) for _ in range(cell.states)
    )
    keep, cut = (torch.rand(2, steps, batch) > 0.3) if masked else (None, None)
    dh = torch.randn(steps, batch, cell.hidden_size)
    peak = Peak()
    with peak:
        h, after = recurrence(cell, x, state, keep, cut, schedule=schedule)
        grads = torch.autograd.grad(h, [x, *state, *cell.parameters()], dh)
    results: int = sum(tensor.nbytes for tensor in (h, *after, *grads))
    return peak.bytes - results


FUSED = pytest.param(True, marks=pytest.mark.skipif(load()[0] is None, reason=load()[1]))


@pytest.mark.parametrize("inputs", [16, 256], ids="{} inputs".format)
@pytest.mark.parametrize("masked", [False, True], ids=["no masks", "masks"])
@pytest.mark.parametrize("fused", [FUSED, False], ids=["fused", "reference"])
@EVERY_CELL
def test_no_schedule_holds_more_than_it_says(
    name: str, fused: bool, masked: bool, inputs: int
) -> None:
    steps, batch = 24, 16
    cell = KINDS[name](inputs, 64)
    # Laid out for the products of the loop, forward and backward, the weights are there again.
    weights = 2 * (0 if cell.weight_hh is None else cell.weight_hh.nbytes)
    small = 16 * steps * batch  # masks as bytes, and numbers
    schedules = [Schedule(), *(Schedule(every, recompute=True) for every in (1, 4, 12, steps))]
    over = {}
    if fused and type(cell) not in CELL_NUMBERS:
        pytest.skip("no compiled loop knows this cell")
    with (
        patch.object(sys.modules["elman.bptt.recurrence"], "fused", return_value=fused),
        patch("elman.bptt.schedule.fused", return_value=fused),
    ):
        for schedule in schedules:
            said = schedule.memory(cell, steps, batch)
            held = measured(cell, schedule, steps, batch, masked)
            if held > said + weights + small:
                over[schedule.every] = f"{held / said:.2f} of {said:,}"
    assert not over


@pytest.mark.parametrize("name", ALL_KINDS)
@settings(max_examples=60, deadline=None, derandomize=True, database=None)
@given(
    steps=st.one_of(st.integers(1, 40), st.integers(41, 1500)),
    batch=st.integers(1, 20),
    part=st.floats(0, 1.2),
)
def test_within_is_the_cheapest_schedule_that_fits(
    name: str, steps: int, batch: int, part: float
) -> None:
    cell = ALL_KINDS[name](2, 3)
    full = Schedule()
    needs = {e: Schedule(e, recompute=True).memory(cell, steps, batch) for e in range(1, steps + 1)}
    least = min(*needs.values(), full.memory(cell, steps, batch))
    # From somewhat too little to more than enough.
    budget = int(0.9 * least + part * (full.memory(cell, steps, batch) - 0.9 * least))
    if budget < least:
        with pytest.raises(ValueError, match=f"{least:,} is the least that works"):
            Schedule.within(budget, cell, steps, batch)
        budget = least
    found = Schedule.within(budget, cell, steps, batch)
    assert found.memory(cell, steps, batch) <= budget
    if full.memory(cell, steps, batch) <= budget:
        assert found == full
    else:
        fits = [every for every, memory in needs.items() if memory <= budget]
        assert found == Schedule(max(fits), recompute=True)


@EVERY_CELL
def test_more_steps_rows_or_units_need_more_memory(name: str) -> None:
    for schedule in (Schedule(), Schedule(4, recompute=True)):
        base = schedule.memory(KINDS[name](2, 3), 20, 5)
        assert schedule.memory(KINDS[name](2, 3), 20, 6) > base
        assert schedule.memory(KINDS[name](2, 4), 20, 5) > base
        with patch("elman.bptt.schedule.fused", return_value=False):  # float64 never is
            base = schedule.memory(KINDS[name](2, 3), 20, 5)
            assert schedule.memory(KINDS[name](2, 3).double(), 20, 5) == 2 * base
    assert Schedule().memory(KINDS[name](2, 3), 21, 5) > Schedule().memory(KINDS[name](2, 3), 20, 5)


@EVERY_CELL
def test_the_state_is_all_that_a_checkpoint_adds_for_each_chunk(name: str) -> None:
    cell = KINDS[name](2, 3)
    schedule = Schedule(10, recompute=True)
    growth = schedule.memory(cell, 1010, 5) - schedule.memory(cell, 1000, 5)
    # h is there anyway: it is the result.
    assert growth == 4 * 5 * 3 * (cell.states - 1)
