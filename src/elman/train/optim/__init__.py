"""Optimizers, by short name. To add one, write it in a file of this folder and list it here."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from elman.bptt import Cell
from elman.train.optim.muon import Muon


@dataclass(frozen=True)
class OptimizerKind:
    """A kind of optimizer.

    Args:
        make: makes one of parameter groups, `lr`, `momentum` and `weight_decay`.
        lr: the learning rate that suits it.
    """

    make: Callable[..., torch.optim.Optimizer]
    lr: float


def _with_betas(make: Callable[..., torch.optim.Optimizer]) -> Callable[..., torch.optim.Optimizer]:
    def made(groups: Any, lr: float, momentum: float, weight_decay: float) -> torch.optim.Optimizer:
        return make(groups, lr, (momentum, 0.99), weight_decay=weight_decay, fused=True)

    return made


OPTIMIZERS = {
    "sgd": OptimizerKind(torch.optim.SGD, lr=1.0),
    "adam": OptimizerKind(_with_betas(torch.optim.Adam), lr=3e-3),
    "adamw": OptimizerKind(_with_betas(torch.optim.AdamW), lr=3e-3),
    "muon": OptimizerKind(Muon, lr=5e-3),
}


def make_optimizer(
    name: str, model: nn.Module, *, lr: float, momentum: float, weight_decay: float
) -> torch.optim.Optimizer:
    """Make an optimizer over a model's parameters.

    Args:
        name: one of OPTIMIZERS.
        model: whose parameters to update.
        lr: the highest learning rate; the schedule scales it.
        momentum: of SGD and Muon; the first beta of Adam and AdamW.
        weight_decay: of matrices; vectors (biases, norms) are never decayed.
    """
    stacked = _stacked(model) if name == "muon" else {}
    matrices: dict[int, list[nn.Parameter]] = {}
    for parameter in model.parameters():
        if parameter.dim() > 1:
            matrices.setdefault(stacked.get(parameter, 0), []).append(parameter)
    groups: list[dict[str, Any]] = [
        {"params": params, "weight_decay": weight_decay, "parts": parts}
        for parts, params in matrices.items()
    ]
    vectors = [parameter for parameter in model.parameters() if parameter.dim() <= 1]
    groups.append({"params": vectors, "weight_decay": 0.0})
    return OPTIMIZERS[name].make(groups, lr=lr, momentum=momentum, weight_decay=weight_decay)


MOMENTS: dict[type[torch.optim.Optimizer], tuple[set[str], ...]] = {
    torch.optim.SGD: ({"momentum_buffer"},),
    torch.optim.Adam: ({"step", "exp_avg", "exp_avg_sq"},),
    torch.optim.AdamW: ({"step", "exp_avg", "exp_avg_sq"},),
    Muon: ({"momentum"}, {"step", "mean", "square"}),
}
"""Names of the tensors that each kind of optimizer keeps for a parameter; Muon has two kinds."""


def check_moments(
    optimizer: torch.optim.Optimizer, moments: Mapping[int, Mapping[str, Tensor]]
) -> None:
    """Raise ValueError where moments from outside are not those of an optimizer's parameters."""
    parameters = [each for group in optimizer.param_groups for each in group["params"]]
    for number, own in moments.items():
        if number not in range(len(parameters)) or set(own) not in MOMENTS[type(optimizer)]:
            raise ValueError(f"its moments are not those of {type(optimizer).__name__}")
        sizes = {tensor.shape for name, tensor in own.items() if name != "step"}
        if sizes != {parameters[number].shape} or own.get("step", torch.zeros(())).dim():
            raise ValueError("its moments have other sizes")


def _stacked(model: nn.Module) -> dict[Tensor, int]:
    """Count the matrices that are stacked in each weight of a hidden layer: one for each gate."""
    found: dict[Tensor, int] = {}
    for module in model.modules():
        if isinstance(module, Cell):
            found |= {
                w: module.gates for w in (module.weight_ih, module.weight_hh) if w is not None
            }
        elif isinstance(module, nn.Linear):
            found[module.weight] = 1
    return found
