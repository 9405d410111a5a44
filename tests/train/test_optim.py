"""Muon moves matrices of hidden layers along orthogonal directions, and all else as AdamW does."""

import pytest
import torch
from torch import nn

from elman.bptt import LSTMCell
from elman.train.optim import OPTIMIZERS, make_optimizer
from elman.train.optim.muon import BETA2, BLOCK_ROWS, orthogonal


@pytest.mark.parametrize("shape", [(3, 8, 24), (2, 24, 8), (1, 16, 16)])
def test_directions_are_nearly_orthogonal(shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    found = orthogonal(torch.randn(shape).double())
    assert found.shape == shape
    assert found.dtype == torch.float64
    singular = torch.linalg.svdvals(found)
    # The iteration's own bounds are 0.68 and 1.13 (Jordan et al. 2024), before rounding.
    assert singular.min() > 0.5
    assert singular.max() < 1.3


def test_directions_keep_singular_vectors() -> None:
    torch.manual_seed(1)
    matrix = torch.randn(1, 6, 20, dtype=torch.float64)
    left, _, right = torch.linalg.svd(matrix[0], full_matrices=False)
    turned = left.t() @ orthogonal(matrix)[0] @ right.t()
    off = turned - turned.diagonal().diag()
    assert off.abs().max() < 0.05, "bfloat16 rounds to 3 digits"


def test_gates_move_each_by_themselves() -> None:
    """A gate whose gradient is a thousand times smaller than another's moves as far."""
    torch.manual_seed(2)
    cell = LSTMCell(8, 8)
    optimizer = make_optimizer("muon", cell, lr=0.1, momentum=0.9, weight_decay=0.0)
    before = cell.weight_ih.detach().clone()
    for parameter in cell.parameters():
        parameter.grad = torch.randn_like(parameter)
    assert cell.weight_ih.grad is not None
    cell.weight_ih.grad[:8] *= 1000
    optimizer.step()
    moved = [part.norm() for part in (cell.weight_ih.detach() - before).chunk(4)]
    assert max(moved) < 1.5 * min(moved)


def test_tall_matrices_move_in_blocks() -> None:
    torch.manual_seed(5)
    layer = nn.Linear(8, 2 * BLOCK_ROWS, bias=False)
    optimizer = make_optimizer("muon", layer, lr=1.0, momentum=0.0, weight_decay=0.0)
    before = layer.weight.detach().clone()
    layer.weight.grad = torch.randn_like(layer.weight)
    optimizer.step()
    for moved in (layer.weight.detach() - before).split(BLOCK_ROWS):
        singular = torch.linalg.svdvals(moved) / (0.2 * BLOCK_ROWS**0.5)
        # As wide as the iteration's own, above.
        assert singular.min() > 0.5
        assert singular.max() < 1.3


def test_vectors_and_embeddings_move_as_in_adamw() -> None:
    def moved(name: str) -> list[torch.Tensor]:
        torch.manual_seed(3)
        model = nn.Sequential(nn.Embedding(5, 4), nn.LayerNorm(4))
        optimizer = make_optimizer(name, model, lr=0.01, momentum=0.9, weight_decay=0.1)
        for _ in range(3):
            for parameter in model.parameters():
                parameter.grad = torch.randn_like(parameter)
            optimizer.step()
        return [parameter.detach() for parameter in model.parameters()]

    for found, expected in zip(moved("muon"), moved("adamw"), strict=True):
        # float32, and the correction of the second moment taken under the root or before it.
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)
    assert BETA2 == 0.99, "that of AdamW here"


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimizer_learns_and_resumes(name: str) -> None:
    def run(steps: int, resumed_at: int | None = None) -> torch.Tensor:
        torch.manual_seed(4)
        model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1))
        x, y = torch.randn(32, 4), torch.randn(32, 1)

        def fresh() -> torch.optim.Optimizer:
            return make_optimizer(name, model, lr=0.01, momentum=0.9, weight_decay=0.01)

        optimizer = fresh()
        losses = []
        for step in range(steps):
            if step == resumed_at:
                saved = optimizer.state_dict()
                optimizer = fresh()
                optimizer.load_state_dict(saved)
            loss = (model(x) - y).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.detach())
        return torch.stack(losses)

    whole = run(12)
    assert whole[-1] < whole[0]
    torch.testing.assert_close(run(12, resumed_at=5), whole, rtol=0, atol=0)
