"""The chatbot in plain Python computes what the library computes."""

import ast
import random
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from elman import RNN, Full, Truncated, Unfold

FILE = Path(__file__).parents[1] / "examples" / "micrornn.py"


@pytest.fixture(scope="module")
def micro(load_example: Callable[[str], ModuleType]) -> Any:
    return load_example("micrornn")


def test_is_short_and_needs_nothing() -> None:
    text = FILE.read_text()
    assert len(text.splitlines()) <= 150
    imported = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Import)]
    assert {alias.name for node in imported for alias in node.names} == {"math", "random"}
    assert not any(isinstance(node, ast.ImportFrom) for node in ast.walk(ast.parse(text)))


@pytest.mark.parametrize(("steps", "unfold"), [(None, Full()), (7, Truncated(7))])
def test_equals_the_library(micro: Any, steps: int | None, unfold: Unfold) -> None:
    rng = random.Random(4)
    weights = micro.new_weights(len(micro.CHARACTERS), 9, rng)
    weights["b_h"] = [[rng.uniform(-1, 1) for _ in range(9)]]
    ids, said_by_bot = micro.encode(micro.CONVERSATIONS[3])
    loss, gradient, parts = micro.backpropagate(weights, ids, said_by_bot, steps)

    w = {name: torch.tensor(rows, dtype=torch.float64) for name, rows in weights.items()}
    rnn = RNN(len(micro.CHARACTERS), 9).double()
    rnn.load_state_dict(
        {
            "weight_ih_l0": w["W_xh"].T,
            "weight_hh_l0": w["W_hh"],
            "bias_ih_l0": w["b_h"][0],
            "bias_hh_l0": torch.zeros(9),
        }
    )
    w_hy, b_y = w["W_hy"].requires_grad_(), w["b_y"].requires_grad_()
    x = torch.nn.functional.one_hot(torch.tensor(ids[:-1]), len(micro.CHARACTERS)).double()
    h, _ = rnn(x[:, None], unfold=unfold)
    h.retain_grad()
    rows = torch.tensor(said_by_bot[1:])
    logits = h[:, 0] @ w_hy.T + b_y[0]
    want = torch.nn.functional.cross_entropy(
        logits[rows], torch.tensor(ids[1:])[rows], reduction="sum"
    )
    want.backward()

    def close(mine: Any, theirs: torch.Tensor | None) -> None:
        # Sums of about a hundred terms of size 1: rounding stays far below 1e-12.
        torch.testing.assert_close(
            torch.tensor(mine, dtype=torch.float64), theirs, rtol=1e-12, atol=1e-12
        )

    close(loss, want.detach())
    gradients = {name: weight.grad for name, weight in rnn.named_parameters()}
    close([list(row) for row in zip(*gradient["W_xh"], strict=True)], gradients["weight_ih_l0"])
    close(gradient["W_hh"], gradients["weight_hh_l0"])
    close(gradient["b_h"][0], gradients["bias_ih_l0"])
    close(gradient["W_hy"], w_hy.grad)
    close(gradient["b_y"], b_y.grad)
    # What reaches h as an output is its direct part.
    assert h.grad is not None
    close([direct for _, direct, _ in parts], h.grad[:, 0])


def test_parts_add_up_to_the_whole_gradient_of_each_state(micro: Any) -> None:
    weights = micro.new_weights(len(micro.CHARACTERS), 6, random.Random(2))
    ids, said_by_bot = micro.encode(micro.CONVERSATIONS[0])
    _, _, parts = micro.backpropagate(weights, ids, said_by_bot)

    w = {name: torch.tensor(rows, dtype=torch.float64) for name, rows in weights.items()}
    states, h, loss = [], torch.zeros(6, dtype=torch.float64), torch.zeros((), dtype=torch.float64)
    for x, target, counts in zip(ids, ids[1:], said_by_bot[1:], strict=False):
        h = torch.tanh(w["W_xh"][x] + w["W_hh"] @ h + w["b_h"][0]).requires_grad_()
        h.retain_grad()
        states.append(h)
        if counts:
            loss = loss - torch.log_softmax(w["W_hy"] @ h + w["b_y"][0], 0)[target]
    loss.backward()
    for (_, direct, indirect), state in zip(parts, states, strict=True):
        both = torch.tensor([direct, indirect], dtype=torch.float64).sum(0)
        torch.testing.assert_close(both, state.grad, rtol=1e-12, atol=1e-12)


def test_learns_what_it_is_taught_and_answers_from_its_state(
    micro: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(micro, "CONVERSATIONS", [[("a", "x"), ("b", "y")], [("c", "z")]])
    lines = iter(["a", "b", "parts", ""])
    monkeypatch.setattr("builtins.input", lambda _: next(lines))
    for name, value in {"SPOKEN": list("abcxyz"), "CHARACTERS": [*"abcxyz", "\n", "\t"]}.items():
        monkeypatch.setattr(micro, name, value)
    micro.main(steps=300, hidden_size=8)
    said = capsys.readouterr().out.splitlines()
    assert [line for line in said if line.startswith("bot>")] == ["bot> x", "bot> y"]
    assert sum("indirect" in line for line in said) in (3, 7)  # the last lesson, but its end
