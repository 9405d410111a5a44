"""Every cell against finite differences, against torch.nn, and against its textbook form.

A new cell in CELLS gets these tests by itself; until TEXTBOOK has it, its own `step` under autograd
takes the place of the book.
"""

from functools import partial
from itertools import product
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor, nn

from elman.bptt import CELLS, Cell, LSTMCell, ReLUCell, RNNCell, Saved, State
from elman.bptt.recurrence import recurrence

from .conftest import LeakyCell, randn, weighted_sum

KINDS: dict[str, type[Cell]] = CELLS | {"relu": ReLUCell}
IN_TORCH: dict[str, Any] = {
    "rnn": nn.RNN,
    "relu": partial(nn.RNN, nonlinearity="relu"),
    "gru": nn.GRU,
    "lstm": nn.LSTM,
}
T, B, INPUT, H = 6, 3, 4, 5
# Where a tolerance is 1e-10 that is the promise; sums of these sizes differ by some 1e-15.


class PeepholeCell(Cell):
    """A user's cell with two state tensors and two parameters: an LSTM whose f and o see c."""

    gates: ClassVar[int] = 4
    states: ClassVar[int] = 2

    def __init__(self, input_size: int, hidden_size: int, **options: Any) -> None:
        super().__init__(input_size, hidden_size, **options)
        self.peephole_f = nn.Parameter(torch.randn(hidden_size))
        self.peephole_o = nn.Parameter(torch.randn(hidden_size))

    def step(self, gx: Tensor, gh: Tensor, state: State) -> tuple[State, Saved]:
        _, c_prev = state
        i, f, g, o = (gx + gh).chunk(4, dim=1)
        c = torch.sigmoid(f + self.peephole_f * c_prev) * c_prev + torch.sigmoid(i) * torch.tanh(g)
        return (torch.sigmoid(o + self.peephole_o * c) * torch.tanh(c), c), None


class TextbookRNN(Cell):
    gates: ClassVar[int] = 1

    def step(self, gx: Tensor, gh: Tensor, state: State) -> tuple[State, Saved]:
        return (torch.tanh(gx + gh),), None


class TextbookReLU(Cell):
    gates: ClassVar[int] = 1

    def step(self, gx: Tensor, gh: Tensor, state: State) -> tuple[State, Saved]:
        return (torch.relu(gx + gh),), None


class TextbookGRU(Cell):
    gates: ClassVar[int] = 3

    def step(self, gx: Tensor, gh: Tensor, state: State) -> tuple[State, Saved]:
        gx_r, gx_z, gx_n = gx.chunk(3, dim=1)
        gh_r, gh_z, gh_n = gh.chunk(3, dim=1)
        z = torch.sigmoid(gx_z + gh_z)
        n = torch.tanh(gx_n + torch.sigmoid(gx_r + gh_r) * gh_n)
        return ((1 - z) * n + z * state[0],), None


class TextbookLSTM(Cell):
    gates: ClassVar[int] = 4
    states: ClassVar[int] = 2

    def step(self, gx: Tensor, gh: Tensor, state: State) -> tuple[State, Saved]:
        i, f, g, o = (gx + gh).chunk(4, dim=1)
        c = torch.sigmoid(f) * state[1] + torch.sigmoid(i) * torch.tanh(g)
        return (torch.sigmoid(o) * torch.tanh(c), c), None


class TextbookMinGRU(Cell):
    gates: ClassVar[int] = 2
    recurrent: ClassVar[bool] = False

    def step(self, gx: Tensor, gh: Tensor, state: State) -> tuple[State, Saved]:
        a_z, n = gx.chunk(2, dim=1)
        z = torch.sigmoid(a_z)
        return ((1 - z) * state[0] + z * n,), None


class TextbookMinLSTM(Cell):
    gates: ClassVar[int] = 3
    recurrent: ClassVar[bool] = False

    def step(self, gx: Tensor, gh: Tensor, state: State) -> tuple[State, Saved]:
        a_f, a_i, n = gx.chunk(3, dim=1)
        f, i = torch.sigmoid(a_f), torch.sigmoid(a_i)
        return (f / (f + i) * state[0] + i / (f + i) * n,), None


TEXTBOOK: dict[str, type[Cell]] = {
    "rnn": TextbookRNN,
    "relu": TextbookReLU,
    "gru": TextbookGRU,
    "lstm": TextbookLSTM,
    "mingru": TextbookMinGRU,
    "minlstm": TextbookMinLSTM,
}
USERS: dict[str, type[Cell]] = {"leaky": LeakyCell, "peephole": PeepholeCell}
EVERY_CELL = pytest.mark.parametrize("name", KINDS)


def textbook(name: str) -> type[Cell]:
    return TEXTBOOK.get(name) or (KINDS | USERS)[name]


def plain_loop(cell: Cell, x: Tensor, state: State) -> tuple[Tensor, State]:
    """The same recurrence, written as autograd would differentiate it by itself."""
    hs = []
    for x_t in x:
        h = state[0]
        gx = nn.functional.linear(x_t, cell.weight_ih, cell.bias_ih)
        weight = cell.weight_hh
        gh = h[:, :0] if weight is None else nn.functional.linear(h, weight, cell.bias_hh)
        state, _ = cell.step(gx, gh, state)
        hs.append(state[0])
    return torch.stack(hs), state


def arguments(cell: Cell) -> tuple[Tensor, Tensor, State]:
    """Of a `step`: gx, gh and the state before it."""
    gx, gh = torch.randn(2, B, cell.gates * H, dtype=torch.float64)
    state = tuple(torch.randn(B, H, dtype=torch.float64) for _ in range(cell.states))
    return gx, gh if cell.recurrent else gh[:, :0], state


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("name", KINDS | USERS)
def test_gradcheck(name: str, bias: bool) -> None:
    torch.manual_seed(0)
    cell = (KINDS | USERS)[name](2, 3, bias=bias, dtype=torch.float64).double()
    parameters = list(cell.parameters())
    x, state = randn(4, 2, 2), [randn(2, 3) for _ in range(cell.states)]
    keep = torch.tensor([[1, 1], [0, 1], [1, 1], [1, 0]])

    def run(*inputs: Tensor) -> tuple[Tensor, ...]:
        h, after = recurrence(cell, inputs[0], inputs[1 : 1 + cell.states], keep)
        return h, *after

    assert torch.autograd.gradcheck(run, (x, *state, *parameters))


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("name", KINDS | USERS)
def test_equals_a_plain_loop_over_the_textbook(name: str, bias: bool) -> None:
    torch.manual_seed(3)
    cell = (KINDS | USERS)[name](INPUT, H, bias=bias).double()
    oracle = textbook(name)(INPUT, H, bias=bias).double()
    oracle.load_state_dict(cell.state_dict())
    x, state = randn(T, B, INPUT), tuple(randn(B, H) for _ in range(cell.states))

    # The final states are in the loss, so the gradient enters the loop at its end as well.
    h, after = recurrence(cell, x, state)
    ours = torch.autograd.grad(weighted_sum(h, *after), [x, *state, *cell.parameters()])
    h_plain, after_plain = plain_loop(oracle, x, state)
    theirs = torch.autograd.grad(
        weighted_sum(h_plain, *after_plain), [x, *state, *oracle.parameters()]
    )
    torch.testing.assert_close((h, after), (h_plain, after_plain), rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("name", IN_TORCH)
def test_equals_torch(name: str, bias: bool) -> None:
    torch.manual_seed(0)
    oracle = IN_TORCH[name](INPUT, H, bias=bias).double()
    cell = KINDS[name](INPUT, H, bias=bias).double()
    loaded = cell.load_state_dict(
        {key.removesuffix("_l0"): value for key, value in oracle.state_dict().items()}
    )
    assert not loaded.missing_keys
    assert not loaded.unexpected_keys
    x, state = randn(T, B, INPUT), tuple(randn(B, H) for _ in range(cell.states))

    h, after = recurrence(cell, x, state)
    first = tuple(tensor.unsqueeze(0) for tensor in state)
    h_torch, after_torch = oracle(x, first if cell.states > 1 else first[0])
    after_torch = after_torch if cell.states > 1 else (after_torch,)
    torch.testing.assert_close(h, h_torch, rtol=1e-10, atol=1e-10)
    ends = tuple(tensor[0] for tensor in after_torch)
    torch.testing.assert_close(after, ends, rtol=1e-10, atol=1e-10)

    ours = torch.autograd.grad(weighted_sum(h, *after), [x, *state, *cell.parameters()])
    theirs = torch.autograd.grad(weighted_sum(h_torch, *ends), [x, *state, *oracle.parameters()])
    torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-10)


@EVERY_CELL
def test_state_dict_has_the_names_of_torch(name: str) -> None:
    cell = KINDS[name](INPUT, H)
    rows = cell.gates * H
    shapes: dict[str, tuple[int, ...]] = {"weight_ih": (rows, INPUT), "weight_hh": (rows, H)}
    shapes |= {"bias_ih": (rows,), "bias_hh": (rows,)}
    if not cell.recurrent:
        shapes = {key: shape for key, shape in shapes.items() if "_ih" in key}
    assert {key: tuple(value.shape) for key, value in cell.state_dict().items()} == shapes


@pytest.mark.parametrize("oracle", ["textbook", "its own step"])
@EVERY_CELL
def test_hand_derived_backward_equals_autograd(name: str, oracle: str) -> None:
    torch.manual_seed(1)
    cell = KINDS[name](INPUT, H).double()
    if not cell.derived_by_hand:
        pytest.skip("this cell's backward pass is autograd")
    book = cell if oracle == "its own step" else textbook(name)(INPUT, H).double()
    gx, gh, state = arguments(cell)
    _, _, dstate = arguments(cell)

    after, saved = cell.step(gx, gh, state)
    by_hand = cell.step_backward(saved, dstate)
    by_autograd = Cell.step_backward(book, (gx, gh, state), dstate)
    # One step of elementwise arithmetic: nothing is lost but the last bits.
    torch.testing.assert_close(after, book.step(gx, gh, state)[0], rtol=1e-13, atol=1e-14)
    torch.testing.assert_close(by_hand, by_autograd, rtol=1e-13, atol=1e-14)


def test_the_users_cells_and_the_textbook_are_differentiated_by_autograd() -> None:
    assert all(kind(INPUT, H).derived_by_hand for kind in KINDS.values())
    assert not any(kind(INPUT, H).derived_by_hand for kind in (TEXTBOOK | USERS).values())


@EVERY_CELL
def test_gates_far_out_neither_overflow_nor_lose_their_meaning(name: str) -> None:
    torch.manual_seed(8)
    cell, book = KINDS[name](1, 1), textbook(name)(1, 1).double()
    # Every gate at every extreme with every other, one combination a row; e^200 is no float32.
    gx = torch.tensor(list(product([-200.0, -95.0, 0.5, 95.0, 200.0], repeat=cell.gates)))
    gh = torch.randn_like(gx) if cell.recurrent else gx[:, :0]
    state, dstate = (tuple(torch.randn(cell.states, len(gx), 1)) for _ in range(2))

    def one_step(of: Cell, dtype: torch.dtype) -> list[Tensor]:
        given = gx.to(dtype), gh.to(dtype), tuple(tensor.to(dtype) for tensor in state)
        after, saved = of.step(*given)
        back = of.step_backward(
            saved if of.derived_by_hand else given, tuple(d.to(dtype) for d in dstate)
        )
        return [tensor.double() for tensor in (*after, *back[:2], *back[2])]

    # In double precision e^200 is a number like any other; single has 1e-7, of values around 200.
    torch.testing.assert_close(
        one_step(cell, torch.float32), one_step(book, torch.float64), rtol=1e-5, atol=1e-5
    )


@EVERY_CELL
def test_step_leaves_its_arguments_alone(name: str) -> None:
    torch.manual_seed(2)
    cell = KINDS[name](INPUT, H).double()
    gx, gh, state = arguments(cell)
    before = [tensor.clone() for tensor in (gx, gh, *state)]
    cell.step(gx, gh, state)
    torch.testing.assert_close([gx, gh, *state], before, rtol=0, atol=0)


def test_extra_parameters_are_those_of_the_step() -> None:
    cell = PeepholeCell(INPUT, H)
    assert cell.extra_parameters == (cell.peephole_f, cell.peephole_o)
    assert all(kind(INPUT, H).extra_parameters == () for kind in KINDS.values())


def test_a_frozen_extra_parameter_gets_no_gradient() -> None:
    torch.manual_seed(4)
    cell = LeakyCell(INPUT, H).double()
    cell.leak.requires_grad_(False)
    torch.autograd.backward(recurrence(cell, randn(T, B, INPUT))[0].sum())
    assert cell.leak.grad is None
    assert cell.weight_ih.grad is not None


@pytest.mark.parametrize("parent", KINDS.values(), ids=KINDS)
def test_a_subclass_that_changes_the_step_alone_is_not_given_a_wrong_gradient(
    parent: type[Cell],
) -> None:
    class Scaled(parent):  # type: ignore[valid-type, misc]
        def step(self, gx: Tensor, gh: Tensor, state: State) -> tuple[State, Saved]:
            return parent.step(self, 2 * gx, gh, state)

    torch.manual_seed(5)
    cell = Scaled(2, 3).double()
    assert torch.autograd.gradcheck(lambda x: recurrence(cell, x)[0], randn(3, 2, 2))


def test_initial_weights_lie_within_torchs_bound() -> None:
    torch.manual_seed(6)
    cell = LSTMCell(INPUT, 16)
    assert all(p.abs().max() <= 0.25 and p.std() > 0.1 for p in cell.parameters())


def test_initial_state_is_zeros_of_the_weights_dtype() -> None:
    state = LSTMCell(INPUT, H).double().initial_state(B)
    assert len(state) == 2
    for tensor in state:
        assert (tensor.shape, tensor.dtype) == ((B, H), torch.float64)
        assert not tensor.any()


@pytest.mark.parametrize(("input_size", "hidden_size"), [(0, 3), (3, 0), (-1, 3)])
def test_sizes_below_one_are_refused(input_size: int, hidden_size: int) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        RNNCell(input_size, hidden_size)
