"""Every cell against finite differences, against torch.nn, and against autograd."""

from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor, nn

from elman.bptt import CELLS, Cell, GRUCell, LSTMCell, RNNCell, Saved, State
from elman.bptt.recurrence import recurrence

ORACLES: dict[str, Any] = {"rnn": nn.RNN, "gru": nn.GRU, "lstm": nn.LSTM}
T, B, INPUT, H = 6, 3, 4, 5
# Where a tolerance is 1e-10 that is the promise; sums of these sizes differ by some 1e-15.


def randn(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, requires_grad=True)


class LeakyCell(Cell):
    """A user's cell: `step` alone, with a parameter of its own. h_t = h + s(leak) * (n - h)."""

    gates: ClassVar[int] = 1

    def __init__(self, input_size: int, hidden_size: int, **options: Any) -> None:
        super().__init__(input_size, hidden_size, **options)
        self.leak = nn.Parameter(torch.randn(hidden_size))

    def step(self, gx: Tensor, gh: Tensor, state: State) -> tuple[State, Saved]:
        (h_prev,) = state
        return (torch.lerp(h_prev, torch.tanh(gx + gh), torch.sigmoid(self.leak)),), None


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


TEXTBOOK: dict[str, type[Cell]] = {"rnn": TextbookRNN, "gru": TextbookGRU, "lstm": TextbookLSTM}
USERS: list[type[Cell]] = [LeakyCell, PeepholeCell]


def plain_loop(cell: Cell, x: Tensor, state: State) -> tuple[Tensor, State]:
    """The same recurrence, written as autograd would differentiate it by itself."""
    hs = []
    for x_t in x:
        gx = nn.functional.linear(x_t, cell.weight_ih, cell.bias_ih)
        gh = nn.functional.linear(state[0], cell.weight_hh, cell.bias_hh)
        state, _ = cell.step(gx, gh, state)
        hs.append(state[0])
    return torch.stack(hs), state


def weighted_sum(*tensors: Tensor) -> Tensor:
    """A loss in which every element counts differently, so that no two gradients can be swapped."""
    generator = torch.Generator().manual_seed(7)
    weights = [torch.randn(t.shape, generator=generator, dtype=t.dtype) for t in tensors]
    return torch.stack([(t * w).sum() for t, w in zip(tensors, weights, strict=True)]).sum()


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("kind", [*CELLS.values(), *USERS])
def test_gradcheck(kind: type[Cell], bias: bool) -> None:
    torch.manual_seed(0)
    cell = kind(2, 3, bias=bias, dtype=torch.float64).double()
    parameters = list(cell.parameters())
    x, state = randn(4, 2, 2), [randn(2, 3) for _ in range(cell.states)]
    keep = torch.tensor([[1, 1], [0, 1], [1, 1], [1, 0]])

    def run(*inputs: Tensor) -> tuple[Tensor, ...]:
        h, after = recurrence(cell, inputs[0], inputs[1 : 1 + cell.states], keep)
        return h, *after

    assert torch.autograd.gradcheck(run, (x, *state, *parameters))


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("name", CELLS)
def test_equals_torch(name: str, bias: bool) -> None:
    torch.manual_seed(0)
    oracle = ORACLES[name](INPUT, H, bias=bias).double()
    cell = CELLS[name](INPUT, H, bias=bias).double()
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

    # The final states are in the loss, so the gradient enters the loop at its end as well.
    ours = torch.autograd.grad(weighted_sum(h, *after), [x, *state, *cell.parameters()])
    theirs = torch.autograd.grad(weighted_sum(h_torch, *ends), [x, *state, *oracle.parameters()])
    torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("name", CELLS)
def test_state_dict_has_the_names_of_torch(name: str) -> None:
    ours = {f"{key}_l0": value.shape for key, value in CELLS[name](INPUT, H).state_dict().items()}
    assert ours == {key: value.shape for key, value in ORACLES[name](INPUT, H).state_dict().items()}


@pytest.mark.parametrize("name", CELLS)
def test_hand_derived_backward_equals_autograd(name: str) -> None:
    torch.manual_seed(1)
    cell, textbook = CELLS[name](INPUT, H).double(), TEXTBOOK[name](INPUT, H).double()
    gx, gh = randn(2, B, cell.gates * H).detach()
    state = tuple(randn(B, H).detach() for _ in range(cell.states))
    dstate = tuple(randn(B, H).detach() for _ in range(cell.states))

    after, saved = cell.step(gx, gh, state)
    assert cell.derived_by_hand
    assert not textbook.derived_by_hand
    dgx, dgh, dprev, dextra = cell.step_backward(saved, dstate)
    reference = Cell.step_backward(textbook, (gx, gh, state), dstate)

    # One step of elementwise arithmetic: nothing is lost but the last bits.
    torch.testing.assert_close(after, textbook.step(gx, gh, state)[0], rtol=1e-13, atol=1e-14)
    torch.testing.assert_close((dgx, dgh, dprev, dextra), reference, rtol=1e-13, atol=1e-14)


@pytest.mark.parametrize("name", ["rnn", "gru", "lstm"])
def test_step_of_a_built_in_cell_is_differentiable_by_autograd(name: str) -> None:
    torch.manual_seed(1)
    cell = CELLS[name](INPUT, H).double()
    gx, gh = randn(2, B, cell.gates * H).detach()
    state = tuple(randn(B, H).detach() for _ in range(cell.states))
    dstate = tuple(randn(B, H).detach() for _ in range(cell.states))
    _, saved = cell.step(gx, gh, state)
    by_hand = cell.step_backward(saved, dstate)
    by_autograd = Cell.step_backward(cell, (gx, gh, state), dstate)
    torch.testing.assert_close(by_hand, by_autograd, rtol=1e-13, atol=1e-14)


@pytest.mark.parametrize("name", CELLS)
def test_step_leaves_its_arguments_alone(name: str) -> None:
    torch.manual_seed(2)
    cell = CELLS[name](INPUT, H).double()
    gx, gh = randn(2, B, cell.gates * H).detach()
    state = tuple(randn(B, H).detach() for _ in range(cell.states))
    before = [tensor.clone() for tensor in (gx, gh, *state)]
    cell.step(gx, gh, state)
    torch.testing.assert_close([gx, gh, *state], before, rtol=0, atol=0)


@pytest.mark.parametrize("kind", USERS)
def test_users_cell_equals_a_plain_loop(kind: type[Cell]) -> None:
    torch.manual_seed(3)
    cell = kind(INPUT, H).double()
    x, state = randn(T, B, INPUT), tuple(randn(B, H) for _ in range(cell.states))
    leaves = [x, *state, *cell.parameters()]
    h, after = recurrence(cell, x, state)
    h_plain, after_plain = plain_loop(cell, x, state)
    torch.testing.assert_close((h, after), (h_plain, after_plain), rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(
        torch.autograd.grad(weighted_sum(h, *after), leaves),
        torch.autograd.grad(weighted_sum(h_plain, *after_plain), leaves),
        rtol=1e-10,
        atol=1e-10,
    )


def test_extra_parameters_are_those_of_the_step() -> None:
    cell = PeepholeCell(INPUT, H)
    assert cell.extra_parameters == (cell.peephole_f, cell.peephole_o)
    assert all(kind(INPUT, H).extra_parameters == () for kind in CELLS.values())


def test_a_frozen_extra_parameter_gets_no_gradient() -> None:
    torch.manual_seed(4)
    cell = LeakyCell(INPUT, H).double()
    cell.leak.requires_grad_(False)
    torch.autograd.backward(recurrence(cell, randn(T, B, INPUT))[0].sum())
    assert cell.leak.grad is None
    assert cell.weight_hh.grad is not None


@pytest.mark.parametrize("parent", [RNNCell, GRUCell, LSTMCell])
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
