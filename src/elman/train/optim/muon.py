"""Muon: every matrix moves by the same amount in all of its directions."""

from typing import Any, cast

import torch
from torch import Tensor

from elman.bptt.precision import MIN_BFLOAT16_SPEEDUP, bfloat16_speed

BETA2 = 0.99

ITERATIONS = 5

BLOCK_ROWS = 128
"""Rows of a block: to orthogonalise whole gates costs more than to learn from a small batch."""


class Muon(torch.optim.Optimizer):
    """Muon for matrices of hidden layers, AdamW for all else.

    A matrix's momentum M is replaced by the orthogonal matrix nearest to it, found by Newton and
    Schulz's iteration, and scaled so that its entries move about as far as AdamW's would:

        M <- momentum M + (1 - momentum) grad
        W <- W - lr 0.2 sqrt(max(rows, columns)) orthogonal(M)

    The gates that a recurrent cell stacks in one matrix are matrices of their own, in blocks of
    `BLOCK_ROWS` rows. Sources: Jordan et al., "Muon" (2024); Liu et al., "Muon is scalable for LLM
    training" (2025), for the scale.

    Args:
        groups: parameter groups; those with `parts`, the number of matrices that are stacked in
            each parameter, are Muon's.
        lr: of both.
        momentum: of Muon; also AdamW's first beta.
        weight_decay: of both, times lr.
    """

    def __init__(
        self, groups: Any, lr: float, momentum: float = 0.9, weight_decay: float = 0.0
    ) -> None:
        super().__init__(
            groups, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay, "parts": 0}
        )

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """Update every parameter that has a gradient."""
        assert closure is None
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                parameter.mul_(1 - group["lr"] * group["weight_decay"])
                if group["parts"]:
                    self._muon(parameter, group)
                else:
                    self._adam(parameter, group)

    def _muon(self, parameter: Tensor, group: dict[str, Any]) -> None:
        state, grad = self.state[parameter], cast(Tensor, parameter.grad)
        if not state:
            state["momentum"] = torch.zeros_like(parameter)
        average = state["momentum"].lerp_(grad, 1 - group["momentum"])
        ahead = grad.lerp(average, group["momentum"])  # Nesterov's
        rows, columns = len(parameter) // group["parts"], parameter.shape[1]
        rows = next(n for n in range(min(rows, BLOCK_ROWS), 0, -1) if rows % n == 0)
        direction = orthogonal(ahead.view(-1, rows, columns)).reshape(parameter.shape)
        parameter.add_(direction, alpha=-0.2 * group["lr"] * max(rows, columns) ** 0.5)

    def _adam(self, parameter: Tensor, group: dict[str, Any]) -> None:
        state, grad = self.state[parameter], cast(Tensor, parameter.grad)
        if not state:
            state["step"] = torch.zeros(())
            state["mean"] = torch.zeros_like(parameter)
            state["square"] = torch.zeros_like(parameter)
        state["step"] += 1
        steps, beta = float(state["step"]), group["momentum"]
        mean = state["mean"].lerp_(grad, 1 - beta)
        square = state["square"].mul_(BETA2).addcmul_(grad, grad, value=1 - BETA2)
        spread = (square / (1 - BETA2**steps)).sqrt_().add_(1e-8)
        parameter.addcdiv_(mean, spread, value=-group["lr"] / (1 - beta**steps))


def orthogonal(matrices: Tensor) -> Tensor:
    """Return about U V' of each matrix U S V', (N, R, C): singular values end between 0.7 and 1.2.

    The quintic iteration of Jordan et al. (2024), in bfloat16 where that is faster.
    """
    x = matrices.bfloat16() if bfloat16_speed() >= MIN_BFLOAT16_SPEEDUP else matrices.float()
    turned = x.shape[1] > x.shape[2]
    x = x.mT if turned else x
    x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)
    a, b, c = 3.4445, -4.7750, 2.0315
    for _ in range(ITERATIONS):
        square = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(square, square, square, beta=b, alpha=c), x, beta=a)
    return (x.mT if turned else x).to(matrices.dtype)
