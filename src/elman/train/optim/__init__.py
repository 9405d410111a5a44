"""Optimizers, by short name. To add one, write it in a file of this folder and list it here."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn


@dataclass(frozen=True)
class OptimizerKind:
    """How to make an optimizer, and the learning rate that suits it."""

    make: Callable[..., torch.optim.Optimizer]
    lr: float


def _sgd(parameters: Any, lr: float, momentum: float, weight_decay: float) -> torch.optim.Optimizer:
    return torch.optim.SGD(parameters, lr=lr, momentum=momentum, weight_decay=weight_decay)


def _adam(
    parameters: Any, lr: float, momentum: float, weight_decay: float
) -> torch.optim.Optimizer:
    return torch.optim.Adam(
        parameters, lr=lr, betas=(momentum, 0.99), weight_decay=weight_decay, fused=True
    )


def _adamw(
    parameters: Any, lr: float, momentum: float, weight_decay: float
) -> torch.optim.Optimizer:
    return torch.optim.AdamW(
        parameters, lr=lr, betas=(momentum, 0.99), weight_decay=weight_decay, fused=True
    )


OPTIMIZERS: dict[str, OptimizerKind] = {
    "sgd": OptimizerKind(_sgd, lr=1.0),
    "adam": OptimizerKind(_adam, lr=3e-3),
    "adamw": OptimizerKind(_adamw, lr=3e-3),
}


def make_optimizer(
    name: str, model: nn.Module, *, lr: float, momentum: float, weight_decay: float
) -> torch.optim.Optimizer:
    """An optimizer over a model's parameters.

    Args:
        name: one of OPTIMIZERS.
        model: whose parameters to update.
        lr: the highest learning rate; the schedule scales it.
        momentum: of SGD; the first beta of Adam and AdamW.
        weight_decay: of matrices; vectors (biases, norms) are never decayed.
    """
    groups: Iterable[dict[str, Any]] = [
        {"params": [p for p in model.parameters() if p.dim() > 1], "weight_decay": weight_decay},
        {"params": [p for p in model.parameters() if p.dim() <= 1], "weight_decay": 0.0},
    ]
    return OPTIMIZERS[name].make(groups, lr=lr, momentum=momentum, weight_decay=weight_decay)
