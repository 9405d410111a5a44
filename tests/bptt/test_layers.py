"""The drop-in layers against the layers of torch.nn, whose contract is theirs."""

import copy
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, distributed, nn
from torch.func import functional_call
from torch.nn.utils import parametrizations
from torch.nn.utils.rnn import pack_sequence

from elman.bptt import GRU, LSTM, RNN, Cell, Full, Truncated, precision
from elman.bptt.kernels.native import load
from elman.bptt.recurrence import recurrence
from elman.bptt.recurrent_layers import MAX_ONEDNN_LSTM_ROWS
from elman.bptt.rnn import ReLUCell

from .conftest import randn, weighted_sum

T, B, INPUT, H = 6, 3, 4, 5
# Where a tolerance is 1e-10 that is the promise; sums of these sizes differ by some 1e-15.

KINDS: dict[str, tuple[Callable[..., Any], Callable[..., Any]]] = {
    "rnn": (RNN, nn.RNN),
    "relu": (partial(RNN, nonlinearity="relu"), partial(nn.RNN, nonlinearity="relu")),
    "gru": (GRU, nn.GRU),
    "lstm": (LSTM, nn.LSTM),
}
EVERY_KIND = pytest.mark.parametrize("kind", KINDS)


def layer_of(kind: str, *sizes: int, **options: Any) -> Any:
    return KINDS[kind][0](*sizes or (INPUT, H), **{"dtype": torch.float64} | options)


def tensors(state: Tensor | tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return (state,) if isinstance(state, Tensor) else state


def assert_same(ours: Any, theirs: Any) -> None:
    torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-10)


class Layout(NamedTuple):
    """The shapes of an input and the rows of its state."""

    input: tuple[int, ...]
    rows: tuple[int, ...]
    batch_first: bool


LAYOUTS = {
    "steps first": Layout((T, B, INPUT), (B,), False),
    "batch first": Layout((B, T, INPUT), (B,), True),
    "one sequence": Layout((T, INPUT), (), False),
    "one sequence, batch first": Layout((T, INPUT), (), True),
}


@pytest.mark.parametrize("with_hx", [True, False])
@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("num_layers", [1, 3])
@EVERY_KIND
def test_equals_torch(
    kind: str, num_layers: int, bias: bool, layout: Layout, with_hx: bool
) -> None:
    torch.manual_seed(0)
    options = {"num_layers": num_layers, "bias": bias, "batch_first": layout.batch_first}
    ours, theirs = layer_of(kind, **options), KINDS[kind][1](INPUT, H, **options).double()
    theirs.load_state_dict(ours.state_dict())
    x = randn(*layout.input)
    first = [randn(num_layers, *layout.rows, H) for _ in range(2 if kind == "lstm" else 1)]
    hx = None if not with_hx else tuple(first) if kind == "lstm" else first[0]
    leaves = [x, *(first if with_hx else [])]

    output, after = ours(x, hx)
    expected, expected_after = theirs(x, hx)
    assert type(after) is type(expected_after)
    assert_same((output, after), (expected, expected_after))
    # The final states are in the loss, so the gradient enters every layer at its end as well.
    grads = torch.autograd.grad(
        weighted_sum(output, *tensors(after)), [*leaves, *ours.parameters()]
    )
    expected_grads = torch.autograd.grad(
        weighted_sum(expected, *tensors(expected_after)), [*leaves, *theirs.parameters()]
    )
    assert_same(grads, expected_grads)


@pytest.mark.parametrize("bias", [True, False])
@EVERY_KIND
def test_parameters_are_torchs_and_one_seed_draws_the_same(kind: str, bias: bool) -> None:
    ours, theirs = KINDS[kind]
    torch.manual_seed(3)
    layer = ours(INPUT, H, 2, bias=bias)
    torch.manual_seed(3)
    oracle = theirs(INPUT, H, 2, bias=bias)
    assert list(layer.state_dict()) == list(oracle.state_dict())
    assert [name for name, _ in layer.named_parameters()] == [
        n for n, _ in oracle.named_parameters()
    ]
    torch.testing.assert_close(layer.state_dict(), oracle.state_dict(), rtol=0, atol=0)
    torch.testing.assert_close(layer.all_weights, oracle.all_weights, rtol=0, atol=0)


@pytest.mark.parametrize("assign", [True, False])
@EVERY_KIND
def test_state_dicts_load_both_ways(kind: str, assign: bool) -> None:
    layer, oracle, x = layer_of(kind, num_layers=2), KINDS[kind][1](INPUT, H, 2), randn(T, B, INPUT)
    oracle = oracle.double()
    layer.load_state_dict(oracle.state_dict(), assign=assign)
    assert_same(layer(x), oracle(x))
    layer.reset_parameters()
    oracle.load_state_dict(layer.state_dict(), assign=assign)
    assert_same(layer(x), oracle(x))


@EVERY_KIND
def test_looks_like_torchs_layer(kind: str) -> None:
    ours, theirs = KINDS[kind]
    options = {"num_layers": 2, "bias": False, "batch_first": True, "dropout": 0.5}
    assert repr(ours(INPUT, H, **options)) == repr(theirs(INPUT, H, **options))
    assert repr(ours(INPUT, H)) == repr(theirs(INPUT, H))
    for name in ["input_size", "hidden_size", "bidirectional", "proj_size", *options]:
        assert getattr(ours(INPUT, H), name) == getattr(theirs(INPUT, H), name)


def test_arguments_by_position_are_in_torchs_order() -> None:
    assert RNN(INPUT, H, 2, "relu", False, True, 0.5).nonlinearity == "relu"
    for ours, theirs in ((RNN, nn.RNN), (GRU, nn.GRU), (LSTM, nn.LSTM)):
        given: list[Any] = [
            INPUT,
            H,
            2,
            *(["tanh"] if ours is RNN else []),
            False,
            True,
            0.5,
            False,
        ]
        assert repr(ours(*given)) == repr(theirs(*given))
    assert LSTM(
        INPUT, H, 1, True, False, 0.0, False, 0, None, torch.float64
    ).weight_hh_l0.dtype == (torch.float64)


def test_input_and_hx_can_be_given_by_torchs_names() -> None:
    layer, x, h = layer_of("gru"), randn(T, B, INPUT), randn(1, B, H)
    torch.testing.assert_close(layer(input=x, hx=h), layer(x, h), rtol=0, atol=0)


@EVERY_KIND
def test_dropout_lies_between_layers_and_draws_as_torchs(kind: str) -> None:
    layer = layer_of(kind, num_layers=3, dropout=0.4)
    oracle = KINDS[kind][1](INPUT, H, 3, dropout=0.4).double()
    oracle.load_state_dict(layer.state_dict())
    x = randn(T, B, INPUT)
    torch.manual_seed(1)
    ours = layer(x)
    torch.manual_seed(1)
    assert_same(ours, oracle(x))
    assert not torch.equal(layer(x)[0], ours[0])
    layer.eval()
    oracle.eval()
    assert_same(layer(x), oracle(x))


def test_dropout_is_not_behind_the_last_layer() -> None:
    # With all of it dropped, the second layer sees zeros, and its own output is whole.
    layer, x = layer_of("gru", num_layers=2, dropout=1.0), randn(T, B, INPUT)
    above = layer_of("gru", H, H)
    above.load_state_dict(
        {k.replace("l1", "l0"): v for k, v in layer.state_dict().items() if k.endswith("l1")}
    )
    assert_same(layer(x)[0], above(x.new_zeros(T, B, H))[0])


@EVERY_KIND
def test_where_keep_is_0_every_layer_starts_anew(kind: str) -> None:
    layer, x = layer_of(kind, num_layers=2), randn(T, B, INPUT)
    keep = torch.ones(T, B, dtype=torch.bool)
    keep[2, 1] = False
    output, after = layer(x, keep=keep)
    second, end = layer(x[2:, 1])
    assert_same(output[:, 1], torch.cat([layer(x[:2, 1])[0], second]))
    assert_same([t[:, 1] for t in tensors(after)], [*tensors(end)])
    assert_same(output[:, [0, 2]], layer(x[:, [0, 2]])[0])

    assert_same(layer(x[:, 1], keep=keep[:, 1]), (output[:, 1], end))
    layer.batch_first = True
    assert_same(layer(x.transpose(0, 1), keep=keep.t()), (output.transpose(0, 1), after))


@settings(max_examples=40, deadline=None, derandomize=True, database=None)
@given(data=st.data())
def test_any_size_and_any_keep_equal_separate_runs_of_torchs_layer(data: st.DataObject) -> None:
    kind = data.draw(st.sampled_from(sorted(KINDS)))
    steps, rows, inputs, hidden = (data.draw(st.integers(1, 5)) for _ in range(4))
    num_layers, bias = data.draw(st.integers(1, 3)), data.draw(st.booleans())
    mask = st.lists(st.booleans(), min_size=steps * rows, max_size=steps * rows)
    keep = torch.tensor(data.draw(mask)).view(steps, rows)
    torch.manual_seed(data.draw(st.integers(0, 1000)))
    layer = layer_of(kind, inputs, hidden, num_layers, bias=bias)
    oracle = KINDS[kind][1](inputs, hidden, num_layers, bias=bias).double()
    oracle.load_state_dict(layer.state_dict())
    x = randn(steps, rows, inputs)
    first = tuple(randn(num_layers, rows, hidden) for _ in range(2 if kind == "lstm" else 1))

    output, after = layer(x, first if kind == "lstm" else first[0], keep=keep)
    apart, ends = [], []
    for row in range(rows):
        state: Any = tuple(t[:, row] for t in first)
        state = state if kind == "lstm" else state[0]
        hs = []
        for t in range(steps):
            h, state = oracle(x[t : t + 1, row], state if keep[t, row] else None)
            hs.append(h)
        apart.append(torch.cat(hs))
        ends.append(tensors(state))
    expected = torch.stack(apart, 1)
    expected_after = tuple(torch.stack(parts, 1) for parts in zip(*ends, strict=True))
    assert_same((output, tensors(after)), (expected, expected_after))
    assert_same(
        torch.autograd.grad(
            weighted_sum(output, *tensors(after)), [x, *first, *layer.parameters()]
        ),
        torch.autograd.grad(
            weighted_sum(expected, *expected_after),
            [x, *first, *oracle.parameters()],
            materialize_grads=True,
        ),
    )


@EVERY_KIND
def test_unfold_says_how_every_layer_is_differentiated(kind: str) -> None:
    layer, x = layer_of(kind, num_layers=2), randn(T, B, INPUT)
    output = layer(x, unfold=Truncated(2))[0]
    hs, state = [], None
    for t in range(0, T, 2):
        h, state = layer(x[t : t + 2], state)
        state = tuple(s.detach() for s in state) if isinstance(state, tuple) else state.detach()
        hs.append(h)
    leaves = [x, *layer.parameters()]
    assert_same(
        torch.autograd.grad(weighted_sum(output), leaves),
        torch.autograd.grad(weighted_sum(torch.cat(hs)), leaves),
    )


class Recorder:
    def __init__(self) -> None:
        self.steps: list[int] = []

    def backward_step(self, t: int, direct: Tensor, indirect: Tensor) -> None:
        self.steps.append(t)


def test_a_trace_for_each_layer() -> None:
    layer, x = layer_of("gru", num_layers=2), randn(T, B, INPUT)
    below, above = Recorder(), Recorder()
    output = layer(x, trace=[below, above])[0]
    torch.autograd.backward(output[:2].sum())
    assert below.steps == above.steps == list(reversed(range(T)))
    torch.autograd.backward(layer(x, trace=[None, above])[0].sum())
    assert len(above.steps) == 2 * T
    assert len(below.steps) == T
    with pytest.raises(ValueError, match="trace must be one a layer, 2, got 1"):
        layer(x, trace=below)


def test_a_trace_alone_for_a_single_layer() -> None:
    recorder = Recorder()
    torch.autograd.backward(layer_of("lstm")(randn(T, B, INPUT), trace=recorder)[0].sum())
    assert recorder.steps == list(reversed(range(T)))


@EVERY_KIND
def test_functional_call_uses_the_tensors_it_is_given(kind: str) -> None:
    layer, other, x = layer_of(kind, num_layers=2), layer_of(kind, num_layers=2), randn(T, B, INPUT)
    roots = {name: p.detach().clone().requires_grad_() for name, p in other.named_parameters()}
    # Not leaves: what a hypernetwork or an inner step of meta-learning hands in.
    output, _ = functional_call(layer, {name: 1 * root for name, root in roots.items()}, (x,))
    assert_same(output, other(x)[0])
    grads = torch.autograd.grad(weighted_sum(output), list(roots.values()))
    expected = torch.autograd.grad(weighted_sum(other(x)[0]), list(other.parameters()))
    assert_same(grads, expected)
    assert all(p.grad is None for p in layer.parameters())
    assert not torch.equal(layer(x)[0], output)


@EVERY_KIND
def test_a_deep_copy_is_equal_and_apart(kind: str) -> None:
    layer, x = layer_of(kind, num_layers=2), randn(T, B, INPUT)
    torch.autograd.backward(layer(x)[0].sum())
    twin = copy.deepcopy(layer)
    before = layer(x)
    torch.testing.assert_close(twin(x), before, rtol=0, atol=0)
    with torch.no_grad():
        for parameter in twin.parameters():
            parameter.add_(1)
    assert not torch.equal(twin(x)[0], before[0])
    torch.testing.assert_close(layer(x), before, rtol=0, atol=0)


def test_a_parameter_that_is_replaced_or_parametrized_is_the_one_used() -> None:
    layer, x = layer_of("gru"), randn(T, B, INPUT)
    before = layer(x)[0]
    parametrizations.weight_norm(layer, "weight_hh_l0")
    assert_same(layer(x)[0], before)
    torch.autograd.backward(layer(x)[0].sum())
    assert layer.parametrizations.weight_hh_l0.original0.grad is not None
    layer.weight_ih_l0 = nn.Parameter(2 * layer.weight_ih_l0.detach())
    assert_same(layer(x / 2)[0], before)


def test_moves_to_another_dtype_and_device() -> None:
    layer = LSTM(INPUT, H, 2)
    layer.double().flatten_parameters()
    output, state = layer(torch.randn(T, B, INPUT, dtype=torch.float64))
    assert {t.dtype for t in (output, *state)} == {torch.float64}
    assert {p.device.type for p in layer.to("meta").parameters()} == {"meta"}
    assert {p.device.type for p in layer.to_empty(device="cpu").parameters()} == {"cpu"}
    assert GRU(INPUT, H, device="meta").weight_hh_l0.device.type == "meta"


@EVERY_KIND
def test_under_autocast_states_and_gradients_keep_the_dtype_of_the_weights(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(precision, "bfloat16_speed", lambda: 2.0)
    torch.manual_seed(0)
    layer, x = layer_of(kind, 16, 32, 2, dtype=None), torch.randn(20, 4, 16)
    reference, _ = layer(x)
    with torch.autocast("cpu", torch.bfloat16):
        output, after = layer(x)
        # What other modules hand on under autocast.
        mixed, _ = layer(
            x.bfloat16(), tuple(t.bfloat16() for t in after) if kind == "lstm" else after
        )
    assert {t.dtype for t in (output, mixed, *tensors(after))} == {torch.float32}
    grads = torch.autograd.grad(output.sum() + mixed.sum(), list(layer.parameters()))
    assert {g.dtype for g in grads} == {torch.float32}
    # bfloat16 rounds to 8 bits: an operand is off by at most 2**-9 = 0.002 of its value.
    assert not torch.equal(output, reference)
    assert (output - reference).norm() < 0.02 * reference.norm()


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
@EVERY_KIND
def test_without_grad_the_result_is_the_same(kind: str, mode: Callable[[], Any]) -> None:
    layer, x = layer_of(kind, num_layers=2), randn(T, B, INPUT)
    with mode():
        output, after = layer(x)
    assert not output.requires_grad
    torch.testing.assert_close((output, after), layer(x), rtol=0, atol=0)


@EVERY_KIND
def test_a_second_derivative_is_refused_where_a_trace_is_told(kind: str) -> None:
    layer, x = layer_of(kind), randn(T, B, INPUT)
    with pytest.raises(RuntimeError, match="differentiable once: no create_graph=True"):
        torch.autograd.grad(layer(x, trace=Recorder())[0].square().sum(), x, create_graph=True)


@pytest.fixture
def one_process(tmp_path: Path) -> Iterator[None]:
    meeting = f"file://{tmp_path / 'meeting'}"
    distributed.init_process_group("gloo", init_method=meeting, rank=0, world_size=1)
    yield
    distributed.destroy_process_group()


@pytest.mark.usefixtures("one_process")
@EVERY_KIND
def test_gradients_under_ddp_equal_plain_ones(kind: str) -> None:
    plain, x, keep = layer_of(kind, num_layers=2), randn(T, B, INPUT), torch.rand(T, B) > 0.3
    layer = copy.deepcopy(plain)
    parallel = nn.parallel.DistributedDataParallel(layer)
    for module in (plain, parallel):
        output, after = module(x, keep=keep)
        torch.autograd.backward(weighted_sum(output, *tensors(after)))
    assert_same([p.grad for p in layer.parameters()], [p.grad for p in plain.parameters()])


def test_relu_cell_equals_autograd_through_its_step() -> None:
    torch.manual_seed(1)
    cell = ReLUCell(INPUT, H).double()
    gx, gh, h, dh = (randn(B, H).detach() for _ in range(4))
    gx[0] = -gh[0]  # where the derivative jumps
    after, saved = cell.step(gx, gh, (h,))
    by_autograd = Cell.step_backward(cell, (gx, gh, (h,)), (dh,))
    assert cell.derived_by_hand
    assert_same(after, ((gx + gh).clamp(min=0),))
    assert_same(cell.step_backward(saved, (dh,)), by_autograd)
    x = randn(4, 2, INPUT)
    assert torch.autograd.gradcheck(lambda x: recurrence(cell, x)[0], x)


def test_what_is_not_offered_is_refused_with_what_to_do_instead() -> None:
    for kind in KINDS:
        with pytest.raises(NotImplementedError, match=r"second layer over x\.flip\(0\)"):
            layer_of(kind, bidirectional=True)
        with pytest.raises(TypeError, match=r"PackedSequence: give padded .* `keep`"):
            layer_of(kind)(pack_sequence([randn(3, INPUT), randn(2, INPUT)]))
    with pytest.raises(NotImplementedError, match=r"proj_size=2 .* nn\.Linear"):
        LSTM(INPUT, H, proj_size=2)


def test_a_construction_that_makes_no_sense_is_refused() -> None:
    with pytest.raises(ValueError, match="nonlinearity must be 'tanh' or 'relu', got 'gelu'"):
        RNN(INPUT, H, nonlinearity="gelu")
    with pytest.raises(ValueError, match="num_layers must be at least 1, got 0"):
        GRU(INPUT, H, 0)
    with pytest.raises(ValueError, match=r"dropout must be from 0 to 1, got 1\.5"):
        GRU(INPUT, H, 2, dropout=1.5)
    with pytest.raises(ValueError, match="input_size and hidden_size must be at least 1"):
        GRU(INPUT, 0)
    with pytest.warns(UserWarning, match="dropout acts between layers"):
        GRU(INPUT, H, dropout=0.5)


@pytest.mark.parametrize(
    ("shape", "batch_first", "message"),
    [
        ((T, B, INPUT + 1), False, r"input must be \(T, B, 4\) or \(T, 4\), .* got \(6, 3, 5\)"),
        ((B, T, INPUT + 1), True, r"input must be \(B, T, 4\) or \(T, 4\), .* got \(3, 6, 5\)"),
        ((INPUT,), False, r"got \(4,\)"),
        ((1, T, B, INPUT), False, r"got \(1, 6, 3, 4\)"),
        ((0, B, INPUT), False, r"T at least 1, got \(0, 3, 4\)"),
        ((B, 0, INPUT), True, r"T at least 1, got \(3, 0, 4\)"),
        ((0, INPUT), True, r"T at least 1, got \(0, 4\)"),
    ],
)
def test_an_input_that_does_not_fit_is_refused(
    shape: tuple[int, ...], batch_first: bool, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        layer_of("gru", batch_first=batch_first)(torch.zeros(shape, dtype=torch.float64))


def test_an_hx_that_does_not_fit_is_refused() -> None:
    x, h = torch.zeros(T, B, INPUT), torch.zeros(2, B, H)
    gru, lstm = GRU(INPUT, H, 2), LSTM(INPUT, H, 2)
    with pytest.raises(ValueError, match=r"hx must be \(2, 3, 5\), got \(1, 3, 5\)"):
        gru(x, h[:1])
    with pytest.raises(ValueError, match=r"hx must be \(2, 5\), got \(2, 3, 5\)"):
        gru(x[:, 0], h)
    with pytest.raises(ValueError, match=r"c_0 must be \(2, 3, 5\), got \(2, 2, 5\)"):
        lstm(x, (h, h[:, 1:]))
    with pytest.raises(TypeError, match=r"hx must be h_0, a Tensor, got a tuple of 2"):
        gru(x, (h, h))
    with pytest.raises(TypeError, match=r"hx must be \(h_0, c_0\), two Tensors, got a Tensor"):
        lstm(x, h)
    with pytest.raises(TypeError, match=r"hx must be \(h_0, c_0\), two Tensors, got a tuple of 1"):
        lstm(x, (h,))
    gru.batch_first = True
    assert gru(x.transpose(0, 1), h)[0].shape == (B, T, H)


def test_a_keep_that_does_not_fit_is_refused() -> None:
    x = torch.zeros(T, B, INPUT)
    with pytest.raises(ValueError, match=r"keep must be \(6, 3\), got \(3, 6\)"):
        GRU(INPUT, H)(x, keep=torch.ones(B, T))
    with pytest.raises(ValueError, match=r"keep must be \(6,\), got \(6, 1\)"):
        GRU(INPUT, H)(x[:, 0], keep=torch.ones(T, 1))
    with pytest.raises(ValueError, match="keep must be on cpu like the weights, got meta"):
        GRU(INPUT, H)(x, keep=torch.ones(T, B, device="meta"))


def test_a_dtype_or_device_that_does_not_fit_is_refused() -> None:
    layer, x, h = GRU(INPUT, H), torch.zeros(T, B, INPUT), torch.zeros(1, B, H)
    with pytest.raises(
        ValueError, match=r"input must be torch\.float32 like the weights, got torch\.float64"
    ):
        layer(x.double())
    with pytest.raises(
        ValueError, match=r"hx must be torch\.float32 like the weights, got torch\.float64"
    ):
        layer(x, h.double())
    with pytest.raises(ValueError, match="input must be on cpu like the weights, got meta"):
        layer(x.to("meta"))
    with pytest.raises(ValueError, match="hx must be on cpu like the weights, got meta"):
        layer(x, h.to("meta"))
    with torch.autocast("cpu", torch.bfloat16), pytest.raises(ValueError, match="input must be"):
        layer(x.long())


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
@pytest.mark.parametrize("with_hx", [True, False])
@EVERY_KIND
def test_where_torch_is_faster_its_own_layers_do_the_work(
    kind: str, with_hx: bool, layout: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a GPU, which is not here: the same way through the code, on the CPU."""
    ours, theirs = (make(INPUT, H, 2, batch_first=layout.batch_first) for make in KINDS[kind])
    ours.load_state_dict(theirs.state_dict())
    monkeypatch.setattr(ours, "_torch_is_faster", lambda x: True)
    monkeypatch.setattr(Full, "__call__", None)  # no loop of ours
    x = torch.randn(layout.input, requires_grad=True)
    state = tuple(torch.randn(2, *layout.rows, H) for _ in range(2 if kind == "lstm" else 1))
    hx = (state if kind == "lstm" else state[0]) if with_hx else None
    out, after = ours(x, hx)
    expected, expected_after = theirs(x, hx)
    # The same kernel of torch's on the same numbers.
    torch.testing.assert_close(out, expected, rtol=0, atol=0)
    torch.testing.assert_close(tensors(after), tensors(expected_after), rtol=0, atol=0)
    leaves = [x, *ours.parameters()]
    torch.testing.assert_close(
        torch.autograd.grad(out.sum(), leaves),
        torch.autograd.grad(expected.sum(), [x, *theirs.parameters()]),
        rtol=0,
        atol=1e-6,  # the order of a sum may differ from call to call
    )


@EVERY_KIND
def test_resets_never_go_to_torch(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    ours = layer_of(kind)
    monkeypatch.setattr(ours, "_torch_is_faster", lambda x: True)
    x, keep = randn(T, B, INPUT), torch.ones(T, B)
    keep[3] = 0
    out, _ = ours(x, keep=keep)
    torch.testing.assert_close(out[3:], ours(x[3:])[0], rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("rows", "taken"), [(MAX_ONEDNN_LSTM_ROWS, True), (MAX_ONEDNN_LSTM_ROWS + 1, False)]
)
def test_few_rows_in_float32_go_to_torchs_lstm(rows: int, taken: bool) -> None:
    layer = layer_of("lstm", dtype=torch.float32)
    x = torch.randn(rows, 1, INPUT)
    assert layer._torch_is_faster(x) == (taken or load()[0] is None)
    assert not layer._torch_is_faster(x.double())
    with torch.autocast("cpu", torch.bfloat16):
        assert not layer._torch_is_faster(x)
