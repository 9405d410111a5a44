"""The pure functions against the layers and torch's own, plain and under torch.func."""

import subprocess
import sys
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, jacrev, jvp, vmap

import elman
from elman import functional
from elman.bptt import CELLS, Cell
from elman.bptt.rnn import ReLUCell

T, B, INPUT, H = 5, 3, 4, 6
FUNCTIONS: dict[str, type[Cell]] = {**CELLS, "rnn_relu": ReLUCell}
TORCHS: dict[str, Callable[..., Any]] = {"rnn": nn.RNN, "gru": nn.GRU, "lstm": nn.LSTM}
EVERY_CELL = pytest.mark.parametrize("name", FUNCTIONS)


def case(name: str) -> tuple[Callable[..., Any], Cell, Tensor]:
    torch.manual_seed(0)
    cell = FUNCTIONS[name](INPUT, H, dtype=torch.float64)
    return getattr(functional, name), cell, torch.randn(T, B, INPUT, dtype=torch.float64)


def loss(run: Callable[..., Any], weights: Sequence[Tensor], x: Tensor) -> Tensor:
    """Count h of every step by its place, so that no two steps can be swapped."""
    h, _ = run(x, None, weights)
    total: Tensor = (h * torch.arange(1, h.numel() + 1).view_as(h)).sum()
    return total


@EVERY_CELL
def test_equals_the_cell_with_masks_and_an_unfolding(name: str) -> None:
    run, cell, x = case(name)
    keep, cut = torch.ones(T, B), torch.ones(T, B)
    keep[2, 0] = cut[3, 1] = 0
    state = tuple(torch.randn(B, H, dtype=torch.float64) for _ in range(cell.states))
    ours = run(x, state, [*cell.parameters()], keep, cut=cut, unfold=elman.Truncated(2))
    expected = elman.Truncated(2)(cell, x, state, keep, cut)
    torch.testing.assert_close(ours, expected, rtol=0, atol=0)
    for output in (ours, expected):
        output[0].square().sum().backward(inputs=[*cell.parameters()])
    assert all(p.grad is not None for p in cell.parameters())


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("name", TORCHS)
def test_takes_the_weights_of_torchs_layers(name: str, bias: bool) -> None:
    layer = TORCHS[name](INPUT, H, bias=bias).double()
    x = torch.randn(T, B, INPUT, dtype=torch.float64)
    h, _ = getattr(functional, name)(x, None, layer.all_weights[0])
    torch.testing.assert_close(h, layer(x)[0], rtol=0, atol=1e-12)


@EVERY_CELL
def test_grad_equals_autograd(name: str) -> None:
    run, cell, x = case(name)
    weights = [*cell.parameters()]
    ours = grad(lambda weights, x: loss(run, weights, x), argnums=(0, 1))(
        [w.detach() for w in weights], x
    )
    x.requires_grad_()
    expected = torch.autograd.grad(loss(run, weights, x), [*weights, x])
    torch.testing.assert_close([*ours[0], ours[1]], [*expected], rtol=0, atol=1e-11)


@EVERY_CELL
def test_vmap_equals_one_after_the_other(name: str) -> None:
    run, cell, x = case(name)
    weights = [w.detach() for w in cell.parameters()]
    of_one = grad(lambda weights, row: loss(run, weights, row.unsqueeze(1)))
    each = vmap(of_one, in_dims=(None, 1))(weights, x)
    for row in range(B):
        alone = of_one(weights, x[:, row])
        torch.testing.assert_close([part[row] for part in each], alone, rtol=0, atol=1e-11)
    stacked = [torch.stack([w, 2 * w]) for w in weights]
    both = vmap(lambda weights: run(x, None, weights)[0])(stacked)
    doubled = run(x, None, [2 * w for w in weights])[0]
    torch.testing.assert_close(both[1], doubled, rtol=0, atol=1e-12)


@EVERY_CELL
def test_jacrev_equals_jvp_and_shows_causes_before_effects(name: str) -> None:
    run, cell, x = case(name)
    weights = [w.detach() for w in cell.parameters()]

    def outputs(x: Tensor) -> Tensor:
        h: Tensor = run(x, None, weights)[0]
        return h

    whole = jacrev(outputs)(x)
    direction = torch.randn_like(x)
    along = jvp(outputs, (x,), (direction,))[1]
    torch.testing.assert_close(torch.tensordot(whole, direction, 3), along, rtol=0, atol=1e-11)
    assert whole[1, :, :, 2].abs().max() == 0 < whole[2, :, :, 1].abs().max()


def test_pure_where_a_module_is_called_with_other_weights() -> None:
    run, cell, x = case("gru")
    layer = elman.GRU(INPUT, H, dtype=torch.float64)
    names = [name for name, _ in layer.named_parameters()]
    other: dict[str, Tensor] = dict(zip(names, cell.parameters(), strict=True))
    expected = functional_call(layer, other, (x,))[0]
    torch.testing.assert_close(run(x, None, [*cell.parameters()])[0], expected, rtol=0, atol=0)


@pytest.mark.parametrize(
    ("shapes", "said"),
    [
        ([], "weights must be weight_ih and weight_hh, and perhaps bias_ih and bias_hh: got 0"),
        ([(18, 4)], "got 1 tensors"),
        ([(17, 4), (17, 6)], r"weight_ih must be \(3 \* H, I\), got \(17, 4\)"),
        ([(18, 4), (18, 5)], r"weight_hh must be \(18, 6\), got \(18, 5\)"),
        ([(18, 4), (18, 6), (18,), (17,)], r"bias_hh must be \(18,\), got \(17,\)"),
        ([(18, 5), (18, 6)], r"x must be \(T, B, 5\), got \(5, 3, 4\)"),
    ],
)
def test_weights_that_do_not_fit(shapes: list[tuple[int, ...]], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        functional.gru(torch.zeros(T, B, INPUT), None, [torch.zeros(shape) for shape in shapes])


@pytest.mark.parametrize(
    "code",
    [
        "import elman; elman.functional.lstm",
        "import elman.functional; elman.functional.lstm",
        "from elman import functional; functional.lstm",
        "from elman.functional import lstm",
    ],
)
def test_every_way_to_import_it(code: str) -> None:
    subprocess.run([sys.executable, "-c", code], check=True)
