"""Decoding from packed weights."""

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from elman.bptt import CELLS, Cell, LSTMCell, PackedLinear, ReLUCell, State, Stepper, decode
from elman.bptt.decode import Rounded
from elman.bptt.kernels import native
from elman.bptt.recurrence import recurrence

EVERY_CELL = pytest.mark.parametrize("kind", [*CELLS.values(), ReLUCell])
PRECISIONS = ("float32", "bfloat16", "int8")


class Leaky(Cell):
    """A user's cell, which no compiled loop knows."""

    gates = 1

    def step(self, gx: Tensor, gh: Tensor, state: State) -> tuple[State, Any]:
        return (0.9 * state[0] + 0.1 * (gx + gh).tanh(),), None


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(0)


@pytest.fixture(params=["library", "torch"])
def path(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """With the compiled library, where it was built, and without it."""
    if request.param == "torch":
        monkeypatch.setattr(decode, "load", lambda: (None, "switched off"))
    elif native.load()[0] is None:
        pytest.skip(native.load()[1])
    name: str = request.param
    return name


@pytest.mark.parametrize("precision", PRECISIONS)
@given(
    rows=st.integers(1, 20),
    outputs=st.integers(1, 150),
    inputs=st.integers(1, 70),
    bias=st.booleans(),
    seed=st.integers(0, 9),
)
@settings(max_examples=40, deadline=None)
def test_a_product_is_that_of_the_rounded_weights(
    precision: Any, rows: int, outputs: int, inputs: int, bias: bool, seed: int
) -> None:
    torch.manual_seed(seed)
    weight, x = torch.randn(outputs, inputs), torch.randn(rows, inputs)
    b = torch.randn(outputs) if bias else None
    seen = Rounded.of(weight, precision).restored().double()
    exact = F.linear(x.double(), seen, None if b is None else b.double())
    got = PackedLinear(weight, b, precision)(x)
    # A float32 sum of n terms is off by at most about n * 2^-24 of the sum of their sizes.
    bound = (inputs + 2) * 2**-23 * (F.linear(x.double().abs(), seen.abs()) + 1 + 4)
    assert got.dtype == torch.float32
    assert ((got - exact).abs() <= bound).all()


def test_int8_is_off_by_at_most_half_a_step_of_each_row() -> None:
    weight = torch.randn(9, 31) * torch.logspace(-6, 6, 9).unsqueeze(1)
    error = (Rounded.of(weight, "int8").restored() - weight).abs().amax(dim=1)
    # Half of a 127th of the row's largest weight, and float32's own rounding of it.
    assert (error <= weight.abs().amax(dim=1) / 254 * (1 + 1e-5)).all()


def test_a_row_of_zeros_stays_zero() -> None:
    assert torch.equal(
        PackedLinear(torch.zeros(3, 4), None, "int8")(torch.ones(2, 4)), torch.zeros(2, 3)
    )


def test_fewer_bytes() -> None:
    weight = torch.randn(64, 32)
    full, low, least = (PackedLinear(weight, None, p).nbytes for p in PRECISIONS)  # type: ignore[arg-type]
    assert (full, low, least) == (64 * 32 * 4, 64 * 32 * 2, 64 * 32 + 64 * 4)


@EVERY_CELL
@pytest.mark.parametrize("bias", [True, False])
def test_steps_equal_the_recurrence(kind: type[Cell], bias: bool, path: str) -> None:
    cell = kind(19, 37, bias)
    x, state = torch.randn(6, 3, 19), tuple(torch.randn(3, 37) for _ in range(cell.states))
    h, after = recurrence(cell.double(), x.double(), tuple(t.double() for t in state))
    step = Stepper(cell.float())
    hs, now = [], state
    for x_t in x.split(1):
        h_t, now = step(x_t, now)
        hs.append(h_t)
    # float32 over six steps of sums of 37 terms.
    for got, exact in zip((torch.cat(hs), *now), (h, *after), strict=True):
        torch.testing.assert_close(got.double(), exact, rtol=0, atol=2e-6)
    together, end = step(x, state)
    torch.testing.assert_close((together, *end), (torch.cat(hs), *now), rtol=0, atol=1e-6)


@EVERY_CELL
@pytest.mark.parametrize("precision", ["bfloat16", "int8"])
def test_rounded_steps_are_those_of_a_cell_with_rounded_weights(
    kind: type[Cell], precision: Any, path: str
) -> None:
    cell, rounded = kind(16, 40), kind(16, 40)
    rounded.load_state_dict(cell.state_dict())
    for name in ("weight_ih", "weight_hh"):
        weight = getattr(rounded, name)
        if weight is not None:
            weight.data = Rounded.of(weight, precision).restored()
    x = torch.randn(5, 2, 16)
    exact = Stepper(rounded)(x)[0]
    torch.testing.assert_close(Stepper(cell, precision)(x)[0], exact, rtol=0, atol=1e-5)
    assert not torch.equal(exact, Stepper(cell)(x)[0])


def test_a_cell_of_ones_own(path: str) -> None:
    cell = Leaky(5, 8)
    x = torch.randn(7, 2, 5)
    expected = recurrence(cell, x)
    got = Stepper(cell)(x)
    torch.testing.assert_close(got, expected, rtol=0, atol=1e-6)


def test_what_was_packed_stays(path: str) -> None:
    cell, x = LSTMCell(4, 6), torch.randn(3, 1, 4)
    step = Stepper(cell)
    before = step(x)[0]
    for parameter in cell.parameters():
        parameter.data.zero_()
    assert torch.equal(step(x)[0], before)


def test_the_given_state_is_not_written_to(path: str) -> None:
    state = (torch.ones(2, 6), torch.ones(2, 6))
    Stepper(LSTMCell(4, 6))(torch.randn(3, 2, 4), state)
    assert all(torch.equal(tensor, torch.ones(2, 6)) for tensor in state)


def test_an_unknown_precision_is_refused() -> None:
    with pytest.raises(
        ValueError, match="precision must be float32 or bfloat16 or int8, got 'int4'"
    ):
        PackedLinear(torch.ones(2, 2), None, "int4")  # type: ignore[arg-type]
