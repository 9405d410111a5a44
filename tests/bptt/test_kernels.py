"""The compiled loops against the reference, with every instruction set that this processor has."""

import copy
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from itertools import cycle, product
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import elman
from elman.bptt import Cell, GRUCell, LSTMCell, MinGRUCell, State
from elman.bptt.kernels import fused, native
from elman.bptt.kernels.fused import CELL_NUMBERS, FusedLoop
from elman.bptt.kernels.native import WEIGHT_KINDS, Native, load
from elman.bptt.recurrence import recurrence
from elman.bptt.schedule import Schedule
from elman.native.library import (
    BFLOAT16_PAIRS,
    INT8_QUADS,
    KERNELS_VARIABLE,
    Backward,
    Forward,
    Product,
)
from elman.native.library import load as load_library

CELLS: list[type[Cell]] = list(CELL_NUMBERS)
EVERY_CELL = pytest.mark.parametrize("kind", CELLS)
HIDDEN = [1, 5, 16, 17, 63, 64, 65, 100]
LANES = [1, 5, 6, 7, 17]
WIDTHS = {
    "amx": 16,
    "avx512bf16": 16,
    "avx512vnni": 16,
    "avx512": 16,
    "avxvnni": 8,
    "avx2": 8,
    "neon": 4,
}
PAIRED = ("amx", "avx512bf16")
QUADRUPLED = (*PAIRED, "avx512vnni", "avxvnni")
# A package's name hides this module behind the function of that name.
ENGINE = sys.modules["elman.bptt.recurrence"]


SETS = () if (NATIVE := load()[0]) is None else NATIVE.library.sets


@pytest.fixture(scope="module", params=SETS or [""])
def isa(request: pytest.FixtureRequest) -> Iterator[str]:
    """Runs a test with each instruction set; weights are packed for one, so never in a call."""
    if not SETS:
        pytest.skip(load()[1])
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv(KERNELS_VARIABLE, request.param)
        load_library.cache_clear()
        assert here().library.isa == request.param
        yield request.param
    load_library.cache_clear()
    load()


compiled = pytest.mark.usefixtures("isa")


def here() -> Native:
    library, why = load()
    assert library is not None, why
    return library


class Recorder:
    def __init__(self) -> None:
        self.steps: list[Tensor] = []

    def backward_step(self, t: int, direct: Tensor, indirect: Tensor) -> None:
        self.steps += [torch.tensor(float(t)), direct.clone(), indirect.clone()]


class Problem(NamedTuple):
    cell: Cell
    x: Tensor
    state: State
    keep: Tensor | None = None
    cut: Tensor | None = None
    traced: bool = False
    schedule: Schedule | None = None


def problem(
    kind: type[Cell],
    steps: int = 6,
    lanes: int = 5,
    hidden: int = 17,
    *,
    inputs: int = 3,
    bias: bool = True,
    masked: bool = False,
    seed: int = 0,
    **options: Any,
) -> Problem:
    torch.manual_seed(seed)
    cell = kind(inputs, hidden, bias=bias)
    x = torch.randn(steps, lanes, inputs)
    state = tuple(torch.randn(lanes, hidden) for _ in range(cell.states))
    keep, cut = (torch.rand(2, steps, lanes) > 0.3) if masked else (None, None)
    return Problem(cell, x, state, keep, cut, **options)


def results(
    given: Problem, dtype: torch.dtype = torch.float32, *, reference: bool = False
) -> dict[str, Tensor]:
    """All that a run gives: outputs, gradients, and what a trace is told. It is asserted that the
    loop that ran is the one that was asked for.
    """
    cell = copy.deepcopy(given.cell).to(dtype)
    # Of the same layout in memory as what was given.
    x, *state = (t.to(dtype).detach().requires_grad_() for t in (given.x, *given.state))
    recorder = Recorder()
    with (
        patch.object(ENGINE, "fused", return_value=False) if reference else nullcontext(),
        counted("forward") as forward,
        counted("backward") as backward,
    ):
        h, after = recurrence(
            cell,
            x,
            tuple(state),
            given.keep,
            given.cut,
            recorder if given.traced else None,
            given.schedule,
        )
        assert bool(forward.call_count) == (dtype == torch.float32 and not reference)
        # Every element counts differently, so that no two gradients can be swapped.
        draw = torch.Generator().manual_seed(7)
        out = [h, *after]
        weights = [torch.randn(t.shape, generator=draw).to(dtype) for t in out]
        named = dict(cell.named_parameters())
        grads = torch.autograd.grad(out, [x, *state, *named.values()], weights)
        assert bool(backward.call_count) == bool(forward.call_count)
    names = ["h", *(f"after {n}" for n in range(len(after)))]
    names += ["dx", *(f"dstate {n}" for n in range(len(state))), *(f"d{name}" for name in named)]
    told = {f"trace {n}": tensor for n, tensor in enumerate(recorder.steps)}
    return dict(zip(names, (*out, *grads), strict=True)) | told


def counted(name: str) -> AbstractContextManager[Any]:
    return patch.object(FusedLoop, name, autospec=True, side_effect=getattr(FusedLoop, name))


def assert_as_exact_as_the_reference(given: Problem) -> None:
    """Both against double precision: rounding may differ, by how much is the reference's own."""
    exact = results(given, torch.float64)
    assert_about_as_exact(results(given), results(given, reference=True), exact)


def assert_about_as_exact(
    ours: dict[str, Tensor], reference: dict[str, Tensor], exact: dict[str, Tensor]
) -> None:
    assert ours.keys() == exact.keys()
    for name, right in exact.items():
        largest = right.abs().max().item()
        allowed = 4 * (reference[name] - right).abs().max().item() + 3e-6 * largest
        error = (ours[name] - right).abs().max().item()
        assert error <= allowed, f"{name} is off by {error:.2g} of {largest:.2g}"


def assert_same_bits(ours: dict[str, Tensor], theirs: dict[str, Tensor]) -> None:
    torch.testing.assert_close(ours, theirs, rtol=0, atol=0, equal_nan=True)


@compiled
@EVERY_CELL
def test_every_size_of_layer_and_batch_is_as_exact_as_the_reference(kind: type[Cell]) -> None:
    kinds = cycle(product([True, False], [True, False]))
    for (hidden, lanes), (bias, masked) in zip(product(HIDDEN, LANES), kinds, strict=False):
        given = problem(kind, 5, lanes, hidden, bias=bias, masked=masked, traced=masked)
        assert_as_exact_as_the_reference(given)


@compiled
@settings(max_examples=60, deadline=None, derandomize=True, database=None)
@given(data=st.data())
def test_any_shape_mask_and_chunk_is_as_exact_as_the_reference(data: st.DataObject) -> None:
    kind = data.draw(st.sampled_from(CELLS))
    steps, lanes = data.draw(st.integers(4, 12)), data.draw(st.integers(1, 20))
    hidden, inputs = data.draw(st.integers(1, 70)), data.draw(st.integers(1, 9))
    every = st.integers(1, 13)
    schedule = st.one_of(
        st.none(), st.builds(Schedule, every), st.builds(Schedule, every, recompute=st.just(True))
    )
    given_problem = problem(
        kind,
        steps,
        lanes,
        hidden,
        inputs=inputs,
        bias=data.draw(st.booleans()),
        seed=data.draw(st.integers(0, 1000)),
        traced=data.draw(st.booleans()),
        schedule=data.draw(schedule),
    )
    passes = st.one_of(st.none(), st.sampled_from([0.0, 0.5, 0.95]))
    keep, cut = (
        None if part is None else torch.rand(steps, lanes) < part
        for part in (data.draw(passes), data.draw(passes))
    )
    assert_as_exact_as_the_reference(given_problem._replace(keep=keep, cut=cut))


@compiled
@EVERY_CELL
def test_a_long_run_stays_as_exact_as_the_reference(kind: type[Cell]) -> None:
    assert_as_exact_as_the_reference(problem(kind, 200, 3, 33, masked=False, traced=True))


@compiled
@EVERY_CELL
def test_under_autocast_it_is_as_exact_as_the_reference(kind: type[Cell]) -> None:
    for lanes, hidden in [(1, 5), (7, 33), (17, 65)]:
        given = problem(kind, 8, lanes, hidden, masked=True)
        exact = results(given, torch.float64)
        with (
            patch("elman.bptt.precision.bfloat16_speed", return_value=2.0),
            torch.autocast("cpu", torch.bfloat16),
        ):
            ours, reference = results(given), results(given, reference=True)
        # A bias sums gradients that were rounded to bfloat16: the next test holds that.
        kept = [name for name in exact if not (kind.recurrent and "bias" in name)]
        assert_about_as_exact(
            {name: ours[name] for name in kept}, reference, {name: exact[name] for name in kept}
        )
        assert not torch.equal(ours["h"], results(given)["h"])


@compiled
@pytest.mark.parametrize("kind", ["RNN", "GRU", "LSTM"])
@pytest.mark.parametrize("forget_bias", [0, 4])  # 4: gates that are nearly open
def test_under_autocast_gradients_err_at_most_twice_as_much_as_torchs_own(
    kind: str, forget_bias: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Without AVX-512, oneDNN has no LSTM in bfloat16, and raises: torch has one of its own.
    onednn = torch.ops.mkldnn._is_mkldnn_bf16_supported()
    monkeypatch.setattr(torch.backends.mkldnn, "enabled", onednn)
    torch.manual_seed(0)
    theirs, size = getattr(torch.nn, kind)(33, 33), 33
    with torch.no_grad():
        theirs.bias_ih_l0[size : 2 * size] += forget_bias
    ours = getattr(elman, kind)(33, 33)
    ours.load_state_dict(theirs.state_dict())
    x, weights = torch.randn(2, 40, 9, 33)

    def gradients(layer: torch.nn.Module, dtype: torch.dtype, low: bool) -> list[Tensor]:
        given = x.to(dtype).requires_grad_()
        with (
            patch("elman.bptt.precision.bfloat16_speed", return_value=2.0),
            torch.autocast("cpu", torch.bfloat16, enabled=low),
        ):
            h, _ = layer(given)
        return list(torch.autograd.grad((h * weights).sum(), [given, *layer.parameters()]))

    own = gradients(ours, torch.float32, low=True)
    low = gradients(theirs, torch.float32, low=True)
    for one, other, exact in zip(
        own, low, gradients(theirs.double(), torch.float64, low=False), strict=True
    ):
        assert (one - exact).norm() <= 2 * (other - exact).norm()


@compiled
@pytest.mark.parametrize("masked", [False, True])
@EVERY_CELL
def test_running_the_steps_twice_changes_no_bit(kind: type[Cell], masked: bool) -> None:
    given = problem(kind, masked=masked, traced=True)
    for every in (1, 2, 5, 6, 11):
        once, twice = (given._replace(schedule=Schedule(every, again)) for again in (False, True))
        assert_same_bits(results(twice), results(once))


@compiled
@EVERY_CELL
def test_a_second_backward_pass_over_the_same_graph_gives_the_same(kind: type[Cell]) -> None:
    given = problem(kind, masked=True)
    leaves = list(given.cell.parameters())
    loss = recurrence(given.cell, given.x, given.state, given.keep)[0].square().sum()
    first = torch.autograd.grad(loss, leaves, retain_graph=True)
    torch.testing.assert_close(torch.autograd.grad(loss, leaves), first, rtol=0, atol=0)


@compiled
@EVERY_CELL
def test_without_grad_the_output_is_the_same(kind: type[Cell]) -> None:
    """The states are then not kept, but overwritten from step to step."""
    given = problem(kind, masked=True)
    for schedule in (None, Schedule(4)):
        arguments = (given.cell, given.x, given.state, given.keep, None, None, schedule)
        with torch.no_grad(), counted("forward") as forward:
            alone = recurrence(*arguments)
        assert forward.called
        torch.testing.assert_close(alone, recurrence(*arguments), rtol=0, atol=0)


@compiled
@EVERY_CELL
def test_any_layout_in_memory_gives_the_same(kind: type[Cell]) -> None:
    given = problem(kind, masked=True, traced=True)
    other = copy.deepcopy(given.cell)
    for name, parameter in given.cell.named_parameters():
        spread = torch.empty(*parameter.shape, 2)[..., 0].copy_(parameter.detach())
        assert not spread.is_contiguous() or spread.numel() == 1
        setattr(other, name, nn.Parameter(spread))
    elsewhere = given._replace(
        cell=other,
        x=given.x.transpose(0, 1).contiguous().transpose(0, 1),
        state=tuple(tensor.t().contiguous().t() for tensor in given.state),
        keep=None if given.keep is None else given.keep.t().contiguous().t(),
        cut=None if given.cut is None else given.cut.t().contiguous().t(),
    )
    ours, theirs = results(elsewhere), results(given)
    # The hoisted products of torch may take sums of another layout in another order.
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)


@compiled
@EVERY_CELL
def test_a_gradient_of_any_layout_gives_the_same(kind: type[Cell]) -> None:
    given = problem(kind)
    parameters = list(given.cell.parameters())
    h, after = recurrence(given.cell, given.x, given.state)
    ones = [torch.ones(tensor.shape) for tensor in (h, *after)]
    spread = [torch.ones(()).expand(tensor.shape) for tensor in (h, *after)]
    first = torch.autograd.grad((h, *after), parameters, ones, retain_graph=True)
    second = torch.autograd.grad((h, *after), parameters, spread)
    torch.testing.assert_close(second, first, rtol=0, atol=0)


# Threads


@pytest.fixture
def two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    with patch.object(fused, "MIN_THREADED_MULTIPLY_ADDS", 0):
        yield
    torch.set_num_threads(before)


def with_one_thread(given: Problem) -> dict[str, Tensor]:
    with patch.object(fused, "MIN_THREADED_MULTIPLY_ADDS", 1 << 62):
        return results(given)


SIZES_OF_SHARES = [(1, 5), (5, 17), (7, 130)]  # of which one thread has none, or fewer


@compiled
@pytest.mark.usefixtures("two_threads")
@pytest.mark.parametrize("masked", [False, True])
@EVERY_CELL
def test_two_threads_give_the_same_bits_as_one(kind: type[Cell], masked: bool) -> None:
    for lanes, hidden in SIZES_OF_SHARES:
        given = problem(kind, 6, lanes, hidden, masked=masked, traced=masked)
        with patch.object(Native, "run", autospec=True, side_effect=Native.run) as run:
            ours = results(given)
        assert [call.kwargs["threads"] for call in run.call_args_list] == [2, 2]
        assert_same_bits(ours, with_one_thread(given))


@compiled
@pytest.mark.usefixtures("two_threads")
@EVERY_CELL
def test_without_an_openmp_to_share_one_thread_does_it_all(kind: type[Cell]) -> None:
    given = problem(kind, masked=True)
    library = here().library
    library.functions.elman_set_threads(None, None, None)
    try:
        ours = results(given)
    finally:
        native._share_threads(library)
    assert_same_bits(ours, with_one_thread(given))


@compiled
def test_calls_at_the_same_time_do_not_disturb_each_other() -> None:
    problems = [problem(kind, 20, seed=seed) for seed in range(3) for kind in CELLS]
    alone = [recurrence(p.cell, p.x, p.state) for p in problems]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda p: recurrence(p.cell, p.x, p.state), problems))
    torch.testing.assert_close(together, alone, rtol=0, atol=0)


@pytest.mark.skipif(not SETS, reason=load()[1])
def test_fewer_threads_than_were_asked_for_are_not_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """OpenMP may give fewer; the others would then stand at a barrier for ever.

    oneDNN's LSTM is not taken there: what it gives is wrong from the second step on.
    """
    code = """
import torch
from elman.bptt import LSTM
from elman.bptt.kernels import fused, native
assert native.load()[0] is not None
layer, x = LSTM(3, 65), torch.randn(6, 7, 3)
torch.set_num_threads(1)
expected = layer(x)
fused.MIN_THREADED_MULTIPLY_ADDS = 0
torch.set_num_threads(2)
assert torch.get_num_threads() == 2
torch.testing.assert_close(layer(x), expected, rtol=0, atol=0)
"""
    monkeypatch.setenv("OMP_THREAD_LIMIT", "1")
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


# Numbers that are none


@compiled
@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
@EVERY_CELL
def test_what_is_not_finite_spreads_as_in_the_reference(kind: type[Cell], bad: float) -> None:
    given = problem(kind)
    given.x[2, 1, 0] = bad
    ours, theirs = results(given), results(given, reference=True)
    # A gate that is 0 in one and 1e-38 in the other makes NaN of an infinite gradient, or does not.
    for name in theirs if bad != bad else ["h"]:
        assert torch.equal(ours[name].isfinite(), theirs[name].isfinite()), name
    # Forward it does not go back in time, nor ever into another lane.
    others = [0, 2, 3, 4]
    for tensor in (ours["h"][:2], ours["h"][:, others], ours["dx"][:, others]):
        assert tensor.isfinite().all()
    if bad != bad:
        assert ours["h"][2:, 1].isnan().all()


@compiled
@pytest.mark.parametrize("bits", [0x7FC00000, 0xFFC00000, 0x7FC00001, 0x7FFFFFFF], ids=hex)
@EVERY_CELL
def test_every_nan_stays_one(kind: type[Cell], bits: int) -> None:
    """There are many; 7fffffff is the one that a GPU makes."""
    given = problem(kind, hidden=33)
    x = torch.tensor([bits], dtype=torch.uint32).view(torch.float32).expand(given.x.shape)
    h = recurrence(given.cell, x, given.state)[0]
    assert h.isnan().all()


@compiled
@EVERY_CELL
def test_an_infinite_state_before_a_reset_is_forgotten(kind: type[Cell]) -> None:
    given = problem(kind)
    keep = torch.ones(6, 5)
    keep[0, 1] = keep[3, 2] = 0
    infinite, zero = (tuple(t.clone() for t in given.state) for _ in range(2))
    for bad, good in zip(infinite, zero, strict=True):
        bad[1], good[1] = float("inf"), 0
    ours, theirs = (results(given._replace(state=s, keep=keep)) for s in (infinite, zero))
    assert_same_bits(ours, theirs)

    # The same for a state that became so inside.
    given.x[2, 2, 0] = float("inf")
    h = results(given._replace(keep=keep))["h"]
    given.x[2, 2, 0] = 0
    torch.testing.assert_close(h[3:], results(given._replace(keep=keep))["h"][3:], rtol=0, atol=0)


@compiled
@pytest.mark.parametrize("mask", ["keep", "cut"])
@EVERY_CELL
def test_an_infinite_gradient_stops_at_a_reset_and_at_a_cut(kind: type[Cell], mask: str) -> None:
    cell, x, state = problem(kind)[:3]
    stops = torch.ones(6, 5)
    stops[3] = 0
    keep, cut = (stops, None) if mask == "keep" else (None, stops)
    h = recurrence(cell, x.requires_grad_(), state, keep, cut)[0]
    dh = torch.ones_like(h)
    dh[5, 2] = float("inf")
    (dx,) = torch.autograd.grad(h, x, dh)
    assert not dx[5, 2].isfinite().all()
    assert dx[:3].isfinite().all()


@compiled
@EVERY_CELL
def test_gates_far_out_neither_overflow_nor_lose_their_meaning(kind: type[Cell]) -> None:
    """Every gate at every extreme with every other, one combination a unit."""
    gates = kind.gates
    extremes = torch.tensor(list(product([-200.0, -95.0, 0.5, 95.0, 200.0], repeat=gates)))
    given = problem(kind, 4, 2, len(extremes))
    with torch.no_grad():
        given.cell.weight_ih.zero_()
        given.cell.get_parameter("bias_ih").copy_(extremes.t().flatten())
    assert all(tensor.isfinite().all() for tensor in results(given).values())
    assert_as_exact_as_the_reference(given)


# Memory

GUARD = 17  # not a multiple of any vector: what lies between is aligned to nothing


class Guarded:
    """Tensors, each with NaN before and behind it.

    What is written outside is seen there; what is read from outside is seen in the results.
    """

    def __init__(self) -> None:
        self._all: list[Tensor] = []

    def __call__(self, *shape: int, like: Callable[..., Tensor] = torch.randn) -> Tensor:
        values = like(*shape)
        whole = torch.full((values.numel() + 2 * GUARD,), float("nan"))
        self._all.append(whole)
        inside = whole[GUARD:-GUARD].view(shape)
        return inside.copy_(values)

    def empty(self, *shape: int) -> Tensor:
        """Has NaN inside as well: what is not written is seen."""
        return self(*shape, like=lambda *shape: torch.full(shape, float("nan")))

    def assert_untouched(self) -> None:
        for whole in self._all:
            assert whole[:GUARD].isnan().all()
            assert whole[-GUARD:].isnan().all()


@compiled
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("hidden", [1, 17, 63, 65])
@EVERY_CELL
def test_no_memory_but_that_of_the_tensors_is_touched(
    kind: type[Cell], hidden: int, threads: int
) -> None:
    torch.manual_seed(0)
    steps, lanes, gates = 4, 7, kind.gates
    columns, tensor = gates * hidden, Guarded()
    weight = torch.randn(columns, hidden) if kind.recurrent else None
    one, two = (None, None) if weight is None else (
        here().packed(weight, hidden, gates), here().packed(weight.t(), hidden, 1)
    )  # fmt: skip
    keep, cut = torch.rand(2, steps, lanes) > 0.3
    gx, kept, h = (tensor(steps, lanes, columns), *(tensor(steps, lanes, hidden) for _ in "12"))
    h_first, c_first, bias = tensor(lanes, hidden), tensor(lanes, hidden), tensor(columns)
    sizes = {"cell": CELL_NUMBERS[kind], "T": steps, "B": lanes, "H": hidden, "threads": threads}
    shared = {
        "kept": kept,
        "h_all": h.fill_(float("nan")),
        "h_first": h_first,
        "c_first": c_first if kind.states > 1 else None,
        "keep": keep,
    }
    here().run(
        Forward,
        **sizes,
        **shared,
        gx=gx,
        kept_every=lanes * hidden,
        packed=one,
        bias_hh=bias if kind.recurrent else None,
        scratch=tensor.empty(2, lanes, hidden),
    )
    assert h.isfinite().all()
    dgx, dgh = tensor.empty(*gx.shape), tensor.empty(*gx.shape)
    dh, dc, indirect = tensor(lanes, hidden), tensor(lanes, hidden), tensor.empty(*h.shape)
    apart = kind is GRUCell
    here().run(
        Backward,
        **sizes,
        **shared,
        gates=gx,
        packed=two,
        cut=cut,
        dh_all=tensor(*h.shape),
        dgx=dgx,
        dgh=dgh if apart else dgx,
        dh=dh,
        dc=dc if kind.states > 1 else None,
        indirect=indirect,
    )
    written = [gx, dgx, dh, dc, indirect, *([dgh] if apart else [])]
    assert all(each.isfinite().all() for each in written)
    tensor.assert_untouched()


@compiled
@EVERY_CELL
def test_a_chunk_touches_no_step_of_another(kind: type[Cell]) -> None:
    given = problem(kind)
    cell = given.cell
    loop = FusedLoop(cell, cell.weight_hh, cell.bias_hh, torch.float32)
    h = torch.full((8, 5, 17), float("nan"))
    with torch.no_grad():
        gx = nn.functional.linear(given.x, cell.weight_ih, cell.bias_ih)
        loop.forward(gx, given.state, ENGINE.Mask(None), h[1:7], save=True)
    assert h[[0, 7]].isnan().all()
    torch.testing.assert_close(
        h[1:7], results(given)["h"].detach(), rtol=0, atol=0, check_stride=False
    )


# Layouts and products


@compiled
@pytest.mark.parametrize("kind", [*WEIGHT_KINDS.values(), BFLOAT16_PAIRS, INT8_QUADS])
@pytest.mark.parametrize(("units", "gates", "k"), [(1, 1, 1), (65, 1, 3), (17, 3, 5), (33, 4, 2)])
def test_a_packed_matrix_holds_every_weight_in_its_place(
    isa: str, kind: int, units: int, gates: int, k: int
) -> None:
    """[panel][k][vector][gate][lane], zeros behind the last unit; of pairs of bfloat16, where the
    processor multiplies them, two k lie side by side, and of int8 four, each 128 higher. Where it
    multiplies tiles, k fills them.
    """
    dtypes = {number: dtype for dtype, number in WEIGHT_KINDS.items()}
    dtype = dtypes.get(kind, torch.int8 if kind == INT8_QUADS else torch.bfloat16)
    weight = (torch.arange(1, gates * units * k + 1) % 127 + 1).to(dtype).view(gates * units, k)
    vectors, width = 4 if gates == 1 else 1, WIDTHS[isa]
    panels = -(-units // (vectors * width))
    side = 1
    if isa in PAIRED and kind == BFLOAT16_PAIRS:
        side = 2
    elif isa in QUADRUPLED and kind == INT8_QUADS:
        side = 4
    groups = -(-k // (16 * side)) * 16 if isa == "amx" and side > 1 else -(-k // side)
    whole = torch.zeros(gates, panels * vectors * width, groups * side, dtype=dtype)
    stored = (weight.int() + 128).to(torch.uint8).view(torch.int8) if side == 4 else weight
    whole[:, :units, :k] = stored.view(gates, units, k)
    apart = whole.view(gates, panels, vectors, width, groups, side)
    expected = apart.permute(1, 4, 2, 0, 3, 5).flatten()
    assert torch.equal(here().packed(weight, units, gates, kind), expected)
    assert torch.equal(here().packed(weight.t().contiguous().t(), units, gates, kind), expected)


@compiled
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("dtype", WEIGHT_KINDS, ids=str)
def test_a_product_with_a_packed_matrix_is_that_of_torch(
    isa: str, dtype: torch.dtype, threads: int
) -> None:
    torch.manual_seed(0)
    sizes = product([1, 2, 5, 6, 7, 8, 9, 17], [(1, 1), (63, 5), (64, 64), (65, 33), (200, 7)])
    for (rows, (n, k)), biased in zip(sizes, cycle([True, False]), strict=False):
        tensor = Guarded()
        weight = torch.randn(n, k).mul(40).clamp(-127, 127).to(dtype)
        scale = tensor(n) if dtype == torch.int8 else None
        bias = tensor(n) if biased else None
        a, out = tensor(rows, k), tensor.empty(rows, n)
        here().run(
            Product,
            rows=rows,
            N=n,
            K=k,
            threads=threads,
            kind=WEIGHT_KINDS[dtype],
            a=a,
            packed=here().packed(weight, n, 1),
            scale=scale,
            bias=bias,
            out=out,
        )
        factor = torch.ones(n) if scale is None else scale
        offset = torch.zeros(n) if bias is None else bias
        left = a.double()
        exact = left @ weight.double().t() * factor + offset
        # Each of k + 2 roundings is off by at most 2**-24 of what was summed so far.
        summed = left.abs() @ weight.double().abs().t() * factor.abs() + offset.abs()
        assert ((out - exact).abs() <= (k + 2) * 2**-24 * summed).all()
        tensor.assert_untouched()


@compiled
def test_a_product_of_rounded_rows_is_off_by_half_a_step_of_each(isa: str) -> None:
    torch.manual_seed(0)
    for rows, (n, k) in product(
        [1, 2, 4, 5, 7, 16, 17, 24, 33, 40], [(1, 1), (63, 5), (64, 64), (65, 133)]
    ):
        tensor = Guarded()
        weight = torch.randint(-127, 128, (n, k), dtype=torch.int8)
        a, scale, bias, out = tensor(rows, k), tensor(n), tensor(n), tensor.empty(rows, n)
        a[0] = 0
        here().run(
            Product,
            rows=rows,
            N=n,
            K=k,
            threads=1,
            kind=INT8_QUADS,
            a=a,
            packed=here().packed(weight, n, 1, INT8_QUADS),
            scale=scale,
            bias=bias,
            out=out,
        )
        exact = a.double() @ weight.double().t() * scale + bias
        step = a.abs().amax(1, keepdim=True) / 127
        most = 0.501 * step * weight.double().abs().sum(1) * scale.abs() + 1e-4
        assert ((out - exact).abs() <= most).all()
        if isa in QUADRUPLED:
            rounded = (a / step.clamp(min=1e-30)).round() * step
            near = rounded.double() @ weight.double().t() * scale + bias
            assert ((out - near).abs() <= 1e-3 * (1 + near.abs())).float().mean() > 0.9
        tensor.assert_untouched()


# Which path


@pytest.fixture
def fresh() -> Iterator[pytest.MonkeyPatch]:
    """For tests in which the library is looked for anew."""
    with pytest.MonkeyPatch.context() as patched:
        patched.delenv(KERNELS_VARIABLE, raising=False)
        load_library.cache_clear()
        yield patched
    load_library.cache_clear()
    load()


def test_the_reference_can_be_asked_for(fresh: pytest.MonkeyPatch) -> None:
    fresh.setenv(KERNELS_VARIABLE, "reference")
    assert load() == (None, "ELMAN_KERNELS=reference is set")
    given = problem(LSTMCell)
    with counted("forward") as forward:
        recurrence(given.cell, given.x)
    assert not forward.called


@pytest.mark.skipif(not SETS, reason=load()[1])
def test_the_best_set_is_taken_and_named(fresh: pytest.MonkeyPatch) -> None:
    library, why = load()
    assert library is not None
    assert library.library.isa == SETS[0]
    assert why.startswith(f"{library.library.isa} kernels, ")
    assert ("torch's OpenMP" in why) == library.parallel


@pytest.mark.skipif(not SETS, reason=load()[1])
def test_a_set_that_is_not_there_leaves_the_reference_and_says_why(
    fresh: pytest.MonkeyPatch,
) -> None:
    fresh.setenv(KERNELS_VARIABLE, "sse9")
    assert load() == (None, f"ELMAN_KERNELS=sse9, and this processor has {', '.join(SETS)}")


def test_a_library_that_is_missing_or_broken_leaves_the_reference_and_says_why(
    fresh: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    fresh.setattr("elman.native.library.library_file", lambda: None)
    library, why = load()
    assert library is None
    assert "not built" in why

    broken = tmp_path / "libelman.so"
    broken.write_text("no library", "utf-8")
    fresh.setattr("elman.native.library.library_file", lambda: broken)
    load_library.cache_clear()
    library, why = load()
    assert library is None
    assert why.startswith(f"{broken} cannot be loaded: ")
    recurrence(LSTMCell(3, 4), torch.randn(6, 2, 3))


class Subclass(GRUCell):
    """May have changed anything."""


@compiled
@pytest.mark.parametrize(
    ("kind", "steps", "dtype", "taken"),
    [
        *((kind, fused.MIN_COMPILED_STEPS, torch.float32, True) for kind in CELLS),
        *(
            (kind, fused.MIN_COMPILED_STEPS - 1, torch.float32, not kind.recurrent)
            for kind in CELLS
        ),
        *((kind, 9, torch.float64, False) for kind in CELLS),
        (GRUCell, 9, torch.bfloat16, False),
        (Subclass, 9, torch.float32, False),
    ],
)
def test_where_the_compiled_loop_is_taken(
    kind: type[Cell], steps: int, dtype: torch.dtype, taken: bool
) -> None:
    cell = kind(3, 4, dtype=dtype)
    with counted("forward") as forward:
        recurrence(cell, torch.randn(steps, 2, 3, dtype=dtype))
    assert forward.called == taken


@compiled
@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
@pytest.mark.parametrize("kind", [LSTMCell, MinGRUCell])
def test_a_state_of_another_precision_is_refused_or_brought_to_that_of_the_weights(
    kind: type[Cell], dtype: torch.dtype
) -> None:
    """Its memory must not be read as if it were float32."""
    given = problem(kind)
    state = tuple(tensor.to(dtype) for tensor in given.state)
    try:
        h = recurrence(given.cell, given.x, state)[0]
    except ValueError as error:
        assert "float32" in str(error)  # noqa: PT017 (or no error at all)
    else:
        rounded = tuple(tensor.float() for tensor in state)
        expected = recurrence(given.cell, given.x, rounded)[0]
        torch.testing.assert_close(h, expected, rtol=0, atol=0)
