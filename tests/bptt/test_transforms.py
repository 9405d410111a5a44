"""What torch can do with a layer beyond running it, each of it tried with each layer.

The table in docs/bptt.md is made of CHECKS and REFUSED: see `test_the_table_in_the_docs`.
"""

import copy
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.func import (
    functional_call,
    grad,
    hessian,
    jacfwd,
    jacrev,
    jvp,
    linearize,
    stack_module_state,
    vjp,
    vmap,
)
from torch.fx.experimental.proxy_tensor import make_fx

from elman.bptt import (
    GRU,
    LSTM,
    RNN,
    Checkpointed,
    GRUCell,
    MinGRU,
    MinLSTM,
    PackedLinear,
    Stepper,
    Truncated,
    linear_cross_entropy,
    recurrence,
    recurrent_layers,
)
from elman.bptt.kernels.native import load
from elman.native.library import Forward, Product

T, B, INPUT, H = 5, 3, 4, 6
DOCS = Path(__file__).parents[2] / "docs" / "bptt.md"

LAYERS: dict[str, tuple[Callable[..., Any], Callable[..., Any] | None]] = {
    "RNN": (RNN, nn.RNN),
    "GRU": (GRU, nn.GRU),
    "LSTM": (LSTM, nn.LSTM),
    "MinGRU": (MinGRU, None),
    "MinLSTM": (MinLSTM, None),
}


class Case(NamedTuple):
    """A layer in float32, the same layer by an oracle in float64, and an input of each.

    The oracle is torch's layer, or where torch has none like it our own ordinary pass.
    """

    layer: Any
    oracle: Any
    x: Tensor
    exact: Tensor

    @property
    def parameters(self) -> dict[str, Tensor]:
        return {name: p.detach() for name, p in self.layer.named_parameters()}


def case_of(name: str, *shape: int) -> Case:
    torch.manual_seed(0)
    ours, theirs = LAYERS[name]
    layer = ours(INPUT, H, 2)
    oracle = copy.deepcopy(layer).double()
    if theirs is not None:
        oracle = theirs(INPUT, H, 2).double()
        oracle.load_state_dict(layer.state_dict())
    x = torch.randn(*(shape or (T, B, INPUT)))
    return Case(layer, oracle, x, x.double())


def tensors(result: Any) -> tuple[Tensor, ...]:
    output, state = result
    return (output, *(state if isinstance(state, tuple) else (state,)))


def loss_of(result: Any) -> Tensor:
    """In which every element counts differently, and more than linearly."""
    parts = [
        (t * torch.linspace(-1, 1, t.numel(), dtype=t.dtype).view(t.shape)).square().sum()
        for t in tensors(result)
    ]
    return torch.stack(parts).sum()


def assert_close(ours: Any, theirs: Any) -> None:
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5, check_dtype=False)


def exact_gradients(case: Case, x: Tensor) -> tuple[Tensor, ...]:
    x = x.clone().requires_grad_()
    return torch.autograd.grad(loss_of(case.oracle(x)), [x, *case.oracle.parameters()])


def check_grad(case: Case) -> None:
    def loss(x: Tensor, parameters: dict[str, Tensor]) -> Tensor:
        return loss_of(functional_call(case.layer, parameters, (x,)))

    found: Any = grad(loss, argnums=(0, 1))(case.x, case.parameters)
    assert_close((found[0], *found[1].values()), exact_gradients(case, case.exact))


def check_vjp(case: Case) -> None:
    found: Any = vjp(lambda x: case.layer(x)[0], case.x)
    output, back = found
    exact = case.exact.clone().requires_grad_()
    expected = case.oracle(exact)[0]
    assert_close(output, expected.detach())
    (wanted,) = torch.autograd.grad(expected.sum(), exact)
    assert_close(back(torch.ones_like(output))[0], wanted)
    assert_close(
        jacrev(lambda x: case.layer(x)[0])(case.x),
        torch.autograd.functional.jacobian(lambda x: case.oracle(x)[0], case.exact),
    )


def check_jvp(case: Case) -> None:
    found: Any = jvp(lambda x: case.layer(x)[0], (case.x,), (torch.ones_like(case.x),))
    along = found[1]
    jacobian = torch.autograd.functional.jacobian(lambda x: case.oracle(x)[0], case.exact)
    assert_close(along, jacobian.sum((3, 4, 5)))
    assert_close(jacfwd(lambda x: case.layer(x)[0])(case.x), jacobian)
    with forward_ad.dual_level():
        dual = forward_ad.make_dual(case.x, torch.ones_like(case.x))
        assert_close(forward_ad.unpack_dual(case.layer(dual)[0]).tangent, along)
    _, linear = linearize(  # which records what it transforms
        lambda x: functional_call(case.layer, case.parameters, (x,))[0], case.x
    )
    assert_close(linear(torch.ones_like(case.x)), along)


def check_hessian(case: Case) -> None:
    def loss(x: Tensor) -> Tensor:
        return loss_of(case.layer(x))

    wanted = torch.autograd.functional.hessian(lambda x: loss_of(case.oracle(x)), case.exact)
    assert_close(hessian(loss)(case.x), wanted)
    for vectorize in (False, True):
        ours = torch.autograd.functional.hessian(loss, case.x, vectorize=vectorize)
        assert_close(ours, wanted)


def check_create_graph(case: Case) -> None:
    def second(layer: Any, x: Tensor) -> tuple[Tensor, ...]:
        x = x.clone().requires_grad_()
        (first,) = torch.autograd.grad(loss_of(layer(x)), x, create_graph=True)
        return torch.autograd.grad(first.square().sum(), [x, *layer.parameters()])

    assert_close(second(case.layer, case.x), second(case.oracle, case.exact))


def check_batched_gradients(case: Case) -> None:
    x = case.x.clone().requires_grad_()
    output = case.layer(x)[0]
    basis = torch.eye(output.numel()).view(-1, *output.shape)
    (by_torch,) = torch.autograd.grad(output, x, basis, is_grads_batched=True, retain_graph=True)
    by_vmap = vmap(lambda g: torch.autograd.grad(output, x, g, retain_graph=True)[0])(basis)
    wanted = torch.autograd.functional.jacobian(lambda x: case.oracle(x)[0], case.exact)
    assert_close(by_torch, wanted.flatten(0, 2))
    assert_close(by_vmap, wanted.flatten(0, 2))


def check_vmap(case: Case) -> None:
    x = torch.stack([case.x, case.x + 1])
    keep = torch.ones(2, T, B)
    keep[1, 2] = 0
    output = vmap(lambda x, keep: case.layer(x, keep=keep)[0])(x, keep)
    assert_close(output[0], case.oracle(case.exact)[0])
    assert_close(output[1, :2], case.oracle(case.exact + 1)[0][:2])
    assert_close(output[1, 2:], case.oracle(case.exact[2:] + 1)[0])


def check_ensemble(case: Case) -> None:
    twins = [case.layer, copy.deepcopy(case.layer)]
    twins[1].reset_parameters()
    parameters, _ = stack_module_state(twins)
    output = vmap(lambda p, x: functional_call(case.layer, p, (x,))[0], (0, None))(
        parameters, case.x
    )
    assert_close(output, torch.stack([twin(case.x)[0] for twin in twins]))


def check_gradients_of_each(case: Case) -> None:
    def loss(parameters: dict[str, Tensor], x: Tensor) -> Tensor:
        return loss_of(functional_call(case.layer, parameters, (x,)))

    each = vmap(grad(loss), (None, 1))(case.parameters, case.x)
    for row in range(B):
        wanted = exact_gradients(case, case.exact[:, row])[1:]
        assert_close([g[row] for g in each.values()], list(wanted))


@pytest.fixture(autouse=True)
def _no_warnings_of_tracers() -> Iterator[None]:
    """That sizes become constants is what tracers warn of, with torch's own layers as well."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def check_trace(case: Case) -> None:
    traced = torch.jit.trace(case.layer, (case.x,))
    more = torch.randn(T, B + 2, INPUT)
    assert_close(tensors(traced(case.x)), tensors(case.oracle(case.exact)))
    assert_close(tensors(traced(more)), tensors(case.oracle(more.double())))


def check_trace_of_other_length(case: Case) -> None:
    traced = torch.jit.trace(case.layer, (case.x,))
    longer = torch.randn(T + 2, B, INPUT)
    assert_close(tensors(traced(longer)), tensors(case.oracle(longer.double())))


class Masked(nn.Module):
    """A layer as part of a module, with what torch's layers do not have."""

    def __init__(self, layer: Any) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor, keep: Tensor) -> Any:
        return self.layer(x, keep=keep, unfold=Truncated(2))


def check_export(case: Case, strict: bool) -> None:
    torch._dynamo.reset()
    state: Any = tuple(torch.randn(2, B, H) for _ in range(2))
    state = state if isinstance(case.layer, LSTM) else state[0]
    exact = tuple(t.double() for t in state) if isinstance(state, tuple) else state.double()
    program = torch.export.export(case.layer, (case.x, state), strict=strict)
    assert_close(tensors(program.module()(case.x, state)), tensors(case.oracle(case.exact, exact)))
    rows = {1: torch.export.Dim("rows", min=2)}
    program = torch.export.export(
        case.layer, (case.x,), strict=strict, dynamic_shapes={"input": rows}
    )
    more = torch.randn(T, B + 2, INPUT)
    assert_close(tensors(program.module()(more)), tensors(case.oracle(more.double())))
    masked, keep = Masked(case.layer), torch.rand(T, B) > 0.3
    program = torch.export.export(
        masked, (case.x, ~keep), strict=strict, dynamic_shapes=(rows, rows)
    )
    assert_close(tensors(program.module()(case.x, keep)), tensors(masked(case.x, keep)))
    # Nothing of Elman is needed to run what was exported.
    assert not any("elman" in str(node.target) for node in program.graph.nodes)


def check_export_of_other_length(case: Case) -> None:
    shapes = {"input": {0: torch.export.Dim("steps", min=2)}}
    torch.export.export(case.layer, (case.x,), dynamic_shapes=shapes)


def check_onnx(case: Case, dynamo: bool, tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    if dynamo:
        pytest.importorskip("onnxscript")
    path = tmp_path / "layer.onnx"
    torch.onnx.export(case.layer, (case.x,), str(path), dynamo=dynamo, verbose=False)
    session = onnxruntime.InferenceSession(str(path))
    outputs = session.run(None, {session.get_inputs()[0].name: case.x.numpy()})
    assert_close([torch.from_numpy(o) for o in outputs], list(tensors(case.oracle(case.exact))))


def check_compile(case: Case) -> None:
    torch._dynamo.reset()
    compiled = torch.compile(case.layer, backend="aot_eager")
    x = case.x.clone().requires_grad_()
    ours = torch.autograd.grad(loss_of(compiled(x)), [x, *case.layer.parameters()])
    assert_close(ours, exact_gradients(case, case.exact))


def check_full_graph(case: Case) -> None:
    torch._dynamo.reset()
    torch.compile(case.layer, backend="aot_eager", fullgraph=True)(case.x)


def check_make_fx(case: Case) -> None:
    for mode in ("real", "fake", "symbolic"):
        graph = make_fx(lambda x: case.layer(x)[0], tracing_mode=mode, _allow_non_fake_inputs=True)(
            case.x
        )
        assert_close(graph(case.x + 1), case.oracle(case.exact + 1)[0])


def check_without_numbers(case: Case) -> None:
    def shapes(layer: Any, device: str) -> None:
        x, keep = torch.empty(T, B, INPUT, device=device), torch.ones(T, B, device=device)
        for options in ({}, {"keep": keep}, {"unfold": Truncated(2)}, {"unfold": Checkpointed(2)}):
            result = layer(x, **options)
            assert [t.shape for t in tensors(result)] == [(T, B, H)] + [(2, B, H)] * (
                len(tensors(result)) - 1
            )
            torch.stack([t.sum() for t in tensors(result)]).sum().backward()
            assert {p.grad.shape == p.shape for p in layer.parameters()} == {True}

    shapes(copy.deepcopy(case.layer).to("meta"), "meta")
    with torch._subclasses.FakeTensorMode():
        shapes(type(case.layer)(INPUT, H, 2), "cpu")


def check_no_lanes(case: Case) -> None:
    x = case.x[:, :0].clone().requires_grad_()
    for options in ({}, {"keep": torch.ones(T, 0)}, {"unfold": Checkpointed.within(10_000)}):
        result = case.layer(x, **options)
        assert [t.shape for t in tensors(result)] == [
            t.shape for t in tensors(case.oracle(x.double()))
        ]
        loss = torch.stack([t.sum() for t in tensors(result)]).sum()
        grads = torch.autograd.grad(loss, [x, *case.layer.parameters()])
        assert grads[0].shape == x.shape
        assert not any(bool(g.any()) for g in grads)


CHECKS: dict[str, Callable[[Case], None]] = {
    "`torch.func.grad`, of input and parameters": check_grad,
    "`torch.func.vjp`, `jacrev`": check_vjp,
    "`torch.func.jvp`, `jacfwd`, `torch.autograd.forward_ad`": check_jvp,
    "`torch.func.hessian`, `torch.autograd.functional.hessian`": check_hessian,
    "`create_graph=True`": check_create_graph,
    "`is_grads_batched=True`, `vmap` over `torch.autograd.grad`": check_batched_gradients,
    "`torch.func.vmap` over inputs": check_vmap,
    "`torch.func.vmap` over layers (`stack_module_state`)": check_ensemble,
    "gradients of each sample, `vmap(grad(...))`": check_gradients_of_each,
    "`torch.jit.trace`, run with any batch": check_trace,
    "the same, run with another T": check_trace_of_other_length,
    "`torch.export`, with a dynamic batch": partial(check_export, strict=False),
    "`torch.export`, `strict=True`": partial(check_export, strict=True),
    "`torch.export` with a dynamic T": check_export_of_other_length,
    "`torch.compile`": check_compile,
    "`torch.compile(fullgraph=True)`": check_full_graph,
    "`make_fx`": check_make_fx,
    "meta and fake tensors": check_without_numbers,
    "a batch of 0": check_no_lanes,
}
ONNX = "`torch.onnx.export`, both exporters"

REFUSED: dict[tuple[str, str], tuple[str, str]] = {
    **{
        ("the same, run with another T", name): ("a", "Expected 5 elements in a list but found 7")
        for name in ("MinGRU", "MinLSTM")
    },
    **{
        ("`torch.export` with a dynamic T", name): ("b", r"Constraints violated \(steps\)")
        for name in LAYERS
    },
    **{
        ("`torch.compile(fullgraph=True)`", name): (
            "c",
            "compiled already and no part of a graph: leave out fullgraph",
        )
        for name in LAYERS
    },
}
"""A note of the docs for each cell, and what is said."""


@pytest.mark.parametrize("rows", ["few", "many"])
@pytest.mark.parametrize(
    "check",
    [pytest.param(check, marks=pytest.mark.slow if "export" in check else ()) for check in CHECKS],
)
@pytest.mark.parametrize("name", LAYERS)
def test_each_layer_under_each_transform(
    name: str, check: str, rows: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For few rows and many, where an LSTM takes another way."""
    monkeypatch.setattr(recurrent_layers, "MAX_ONEDNN_LSTM_ROWS", T * B if rows == "few" else 0)
    if (refusal := REFUSED.get((check, name))) is None:
        CHECKS[check](case_of(name))
    else:
        with pytest.raises(Exception, match=refusal[1]):
            CHECKS[check](case_of(name))


@pytest.mark.slow
@pytest.mark.parametrize("dynamo", [False, True])
@pytest.mark.parametrize("name", LAYERS)
def test_each_layer_in_onnx(name: str, dynamo: bool, tmp_path: Path) -> None:
    check_onnx(case_of(name), dynamo, tmp_path)


def test_the_table_in_the_docs() -> None:
    lines = [f"| | {' | '.join(LAYERS)} |", "|---|" + "---|" * len(LAYERS)]
    for check in [*CHECKS, ONNX]:
        cells = [f"no ({REFUSED[check, n][0]})" if (check, n) in REFUSED else "yes" for n in LAYERS]
        lines.append(f"| {check} | {' | '.join(cells)} |")
    assert "\n".join(lines) in DOCS.read_text()


@pytest.mark.parametrize("shape", [(7, 3, INPUT), (40, 130, INPUT)], ids=["few", "many"])
@pytest.mark.parametrize("name", LAYERS)
def test_sizes_on_both_sides_of_what_torch_is_given(name: str, shape: tuple[int, ...]) -> None:
    case = case_of(name, *shape)
    assert_close(
        grad(lambda x: case.layer(x)[0].sum())(case.x),
        torch.autograd.functional.jacobian(lambda x: case.oracle(x)[0].sum(), case.exact),
    )
    assert_close(torch.jit.trace(case.layer, (case.x,))(case.x)[0], case.oracle(case.exact)[0])


def test_a_traced_layer_of_torchs_kind_is_one_operator() -> None:
    graph = torch.jit.trace(GRU(INPUT, H), (torch.randn(T, B, INPUT),)).graph
    assert str(graph).count("aten::gru(") == 1


class Silent:
    def backward_step(self, t: int, direct: Tensor, indirect: Tensor) -> None:
        raise AssertionError


def test_a_trace_is_refused_where_no_loop_could_tell_it() -> None:
    layer, x = GRU(INPUT, H), torch.randn(T, B, INPUT)

    def run(x: Tensor) -> Tensor:
        output: Tensor = layer(x, trace=Silent())[0]
        return output

    with pytest.raises(RuntimeError, match="a trace is told of ordinary backward passes"):
        grad(lambda x: run(x).sum())(x)
    layer.requires_grad_(False)
    with pytest.raises(RuntimeError, match="a trace is told of ordinary backward passes"):
        torch.jit.trace(run, (x,))
    layer.to("meta")
    with pytest.raises(RuntimeError, match="a trace is told of ordinary backward passes"):
        run(x.to("meta"))


def test_the_loss_under_tracers_and_transforms() -> None:
    torch.manual_seed(0)
    hidden, weight, bias, beside = (torch.randn(*shape) for shape in ((6, H), (9, H), (9,), (6,)))
    targets = torch.arange(6)

    def loss(*given: Tensor) -> Tensor:
        return linear_cross_entropy(given[0], given[1], targets, given[2], beside=given[3])

    given = (hidden, weight, bias, beside)
    leaves = [t.clone().requires_grad_() for t in given]
    wanted = torch.autograd.grad(loss(*leaves), leaves)
    assert_close(grad(loss, argnums=(0, 1, 2, 3))(*given), wanted)
    assert_close(torch.jit.trace(loss, given)(*given), loss(*given))
    assert_close(make_fx(loss)(*given)(*given), loss(*given))
    assert_close(
        jvp(loss, given, given)[1], sum((g * t).sum() for g, t in zip(wanted, given, strict=True))
    )


def test_packed_weights_are_not_recorded() -> None:
    linear, stepper = PackedLinear(torch.randn(3, INPUT)), Stepper(GRUCell(INPUT, H))
    for packed, x in ((linear, torch.randn(2, INPUT)), (stepper, torch.randn(T, B, INPUT))):
        with pytest.raises(RuntimeError, match="packed weights cannot be traced or exported"):
            torch.jit.trace(lambda x: packed(x), (x,))  # noqa: B023 (called at once)
        with pytest.raises(RuntimeError, match="packed weights cannot be traced or exported"):
            make_fx(packed)(x)


def test_a_lazily_negated_gradient_or_input_is_negated() -> None:
    layer, x = LSTM(INPUT, H), torch.randn(T, 1000, INPUT)
    output, gradient = layer(x)[0], torch.randn(T, 1000, H)
    leaves = list(layer.parameters())
    lazily = torch.autograd.grad(output, leaves, torch._neg_view(gradient), retain_graph=True)
    assert_close(lazily, torch.autograd.grad(output, leaves, -gradient))
    assert_close(layer(torch._neg_view(x))[0], layer(-x)[0])


native = load()[0]


@pytest.mark.skipif(native is None, reason="the kernels were not built")
class TestWhatTheLibraryIsGiven:
    """Nothing but sizes and memory that is there: anything else would end the process."""

    def test_a_size_is_an_int(self) -> None:
        assert native is not None
        with pytest.raises(TypeError, match="T must be an int, got Tensor"):
            native.run(Forward, T=torch.tensor(3))
        with pytest.raises(TypeError, match="T must be an int, got NoneType"):
            native.run(Forward, T=None)

    def test_a_pointer_is_that_of_a_tensor(self) -> None:
        assert native is not None
        with pytest.raises(TypeError, match="a must be a tensor, got int"):
            native.run(Product, a=123)

    @pytest.mark.parametrize("kind", ["meta", "fake", "zeros"])
    def test_a_tensor_is_in_memory(self, kind: str) -> None:
        assert native is not None
        x = {
            "meta": lambda: torch.empty(2, 2, device="meta"),
            "fake": lambda: torch._subclasses.FakeTensorMode().from_tensor(torch.ones(2, 2)),
            "zeros": lambda: torch._efficientzerotensor((2, 2)),
        }[kind]()
        with pytest.raises(RuntimeError, match="needs a in the memory of the CPU"):
            native.run(Product, a=x)
        with pytest.raises(RuntimeError, match="needs weight in the memory of the CPU"):
            native.packed(x, 2, 1)

    def test_a_transformed_tensor_is_refused(self) -> None:
        packed = PackedLinear(torch.randn(3, INPUT))
        for transform in (vmap, lambda f: grad(lambda x: f(x).sum())):
            with pytest.raises(RuntimeError, match="needs a in the memory of the CPU"):
                transform(packed)(torch.randn(2, INPUT))


def test_fake_tensors_without_their_mode_reach_no_pointer() -> None:
    mode = torch._subclasses.FakeTensorMode()
    cell = GRUCell(INPUT, H)
    cell._parameters = {name: mode.from_tensor(p) for name, p in cell.named_parameters()}  # type: ignore[misc]
    h, _ = recurrence(cell, mode.from_tensor(torch.randn(T, B, INPUT)))
    assert h.shape == (T, B, H)
