"""Elman's layers in TorchRL give what its own backends give, resets and gradients included."""

from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest
import torch

KEYS = {"LSTM": ["h", "c"], "GRU": ["h"]}

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module")
def backend(load_example: Callable[[str], ModuleType]) -> ModuleType:
    pytest.importorskip("torchrl.modules", reason="TorchRL is not installed")
    return load_example("torchrl_backend")


def made(kind: Any, name: str, **options: Any) -> Any:
    torch.manual_seed(1)
    return kind(
        input_size=5,
        hidden_size=7,
        in_keys=["x", *KEYS[name]],
        out_keys=["y", *[("next", key) for key in KEYS[name]]],
        default_recurrent_mode=True,
        **options,
    ).double()


def batch(name: str, layers: int, with_state: bool, shape: tuple[int, ...] = (6, 20)) -> Any:
    tensordict = pytest.importorskip("tensordict", reason="TorchRL is not installed")
    drawn = torch.Generator().manual_seed(2)
    x = torch.randn(*shape, 5, generator=drawn, dtype=torch.float64).requires_grad_()
    is_init = torch.rand(*shape, 1, generator=drawn) < 0.15
    assert is_init[..., 1:, :].any()
    data = tensordict.TensorDict({"x": x, "is_init": is_init}, shape)
    for key in KEYS[name] if with_state else ():
        state = torch.zeros(*shape, layers, 7, dtype=torch.float64)
        state[..., 0, :, :] = torch.randn(state[..., 0, :, :].shape, generator=drawn)
        data[key] = state.requires_grad_()
    return data


def results(module: Any, name: str, data: Any) -> list[torch.Tensor]:
    """Return outputs, last states, and the gradients of x, of first states and of weights."""
    given = [data["x"], *(data[key] for key in KEYS[name] if key in data.keys())]  # noqa: SIM118
    out = module(data.clone(recurse=False))
    ends = [out["next", key][..., -1, :, :] for key in KEYS[name]]
    outputs = [out["y"], *ends]
    drawn = torch.Generator().manual_seed(3)
    loss = sum(
        (each * torch.randn(each.shape, generator=drawn, dtype=torch.float64)).sum()
        for each in outputs
    )
    gradients = torch.autograd.grad(loss, [*given, *module.parameters()])
    firsts = [g[..., 0, :, :] for g in gradients[1 : len(given)]]
    return [*outputs, gradients[0], *firsts, *gradients[len(given) :]]


@pytest.mark.parametrize("name", ["LSTM", "GRU"])
@pytest.mark.parametrize("their_backend", ["pad", "scan"])
@pytest.mark.parametrize(("layers", "with_state"), [(1, True), (2, True), (2, False)])
def test_equals_torchrl(
    backend: ModuleType, name: str, their_backend: str, layers: int, with_state: bool
) -> None:
    if their_backend == "scan":
        pytest.importorskip("hoptorch", reason="TorchRL's scan needs hoptorch")
    modules = pytest.importorskip("torchrl.modules")
    theirs = made(
        getattr(modules, f"{name}Module"), name, num_layers=layers, recurrent_backend=their_backend
    )
    ours = made(getattr(backend, f"Elman{name}Module"), name, num_layers=layers)
    want = results(theirs, name, batch(name, layers, with_state))
    for mine, right in zip(results(ours, name, batch(name, layers, with_state)), want, strict=True):
        torch.testing.assert_close(mine, right, rtol=1e-10, atol=1e-11)


@pytest.mark.parametrize("name", ["LSTM", "GRU"])
@pytest.mark.parametrize("shape", [(20,), (2, 3, 20)])
def test_other_dimensions_of_the_batch(
    backend: ModuleType, name: str, shape: tuple[int, ...]
) -> None:
    modules = pytest.importorskip("torchrl.modules")
    theirs = made(getattr(modules, f"{name}Module"), name)
    ours = made(getattr(backend, f"Elman{name}Module"), name)
    data = batch(name, 1, False, shape)
    want, got = theirs(data.clone(recurse=False)), ours(data.clone(recurse=False))
    assert got["y"].shape == (*shape, 7)
    torch.testing.assert_close(got["y"], want["y"], rtol=1e-10, atol=1e-11)
    for key in KEYS[name]:
        assert got["next", key].shape == want["next", key].shape


@pytest.mark.parametrize("name", ["LSTM", "GRU"])
def test_single_steps_are_torchrls(backend: ModuleType, name: str) -> None:
    modules = pytest.importorskip("torchrl.modules")
    theirs = made(getattr(modules, f"{name}Module"), name)
    ours = made(getattr(backend, f"Elman{name}Module"), name)
    data = batch(name, 1, True)[:, 0]
    with modules.set_recurrent_mode(False):
        assert torch.equal(ours(data.clone())["y"], theirs(data.clone())["y"])


def test_what_it_cannot_do_is_said(backend: ModuleType) -> None:
    data = batch("LSTM", 1, True)
    with torch.no_grad():
        data["h"] += 1
    with pytest.raises(ValueError, match="the state at a reset is not zero"):
        made(backend.ElmanLSTMModule, "LSTM")(data)
    with pytest.raises(RuntimeError, match="expected all of"):
        made(backend.ElmanLSTMModule, "LSTM")(batch("LSTM", 1, True).exclude("c"))
