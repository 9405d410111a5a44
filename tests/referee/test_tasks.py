"""The tasks are those of the papers, and training on them tells who solves them."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Generator, nn

from elman.errors import ElmanError
from elman.referee.solving import TaskSettings, check_cell, layer_class, solve
from elman.referee.tasks import MAX_ERROR, TASKS, adding_batch, copy_batch, order_batch, tasks_of

Run = Callable[..., Any]
QUICK = TaskSettings(length=10, max_steps=100, hidden_size=8)


def drawn() -> Generator:
    return Generator().manual_seed(3)


def test_copy_is_that_of_the_paper() -> None:
    x, targets = copy_batch(7, 50, drawn())
    assert x.shape == (27, 50, 10)
    assert (x.sum(2) == 1).all()
    symbols = x.argmax(2)
    assert set(symbols[:10].flatten().tolist()) == set(range(8))
    assert (symbols[10:16] == 8).all()
    assert (symbols[16] == 9).all()
    assert (symbols[17:] == 8).all()
    assert (targets[:17] == 8).all()
    assert torch.equal(targets[17:], symbols[:10])


def test_adding_is_that_of_the_paper() -> None:
    x, sums = adding_batch(9, 400, drawn())
    values, markers = x.unbind(2)
    assert values.min() >= 0
    assert values.max() < 1
    assert (markers[:4].sum(0) == 1).all()
    assert (markers[4:].sum(0) == 1).all()
    assert (markers.sum(1) > 0).all()  # each step is marked in some sequence
    torch.testing.assert_close(sums, values[markers.bool()].new_tensor(
        [float(v[m.bool()].sum()) for v, m in zip(values.T, markers.T, strict=True)]
    ))  # fmt: skip


def test_temporal_order_is_that_of_the_paper() -> None:
    x, classes = order_batch(20, 400, drawn())
    symbols = x.argmax(2)
    assert (symbols[0] == 6).all()
    assert (symbols[-1] == 7).all()
    told = (symbols == 4) | (symbols == 5)
    assert (told[2:4].sum(0) == 1).all()
    assert (told[10:12].sum(0) == 1).all()
    assert (told.sum(0) == 2).all()
    assert (told.sum(1)[[2, 3, 10, 11]] > 0).all()
    for column, where, found in zip(symbols.T, told.T, classes.tolist(), strict=True):
        first, second = (column[where] - 4).tolist()
        assert found == 2 * first + second
    assert set(classes.tolist()) == {0, 1, 2, 3}


@pytest.mark.parametrize("name", list(TASKS))
def test_a_baseline_is_the_loss_of_the_best_answer_without_a_memory(name: str) -> None:
    task, length = TASKS[name], 12
    x, targets = task.draw(length, 20_000, drawn())
    outputs = torch.zeros(len(x), x.shape[1], task.output_size)
    if name == "adding":
        outputs += 1
    if name == "copy":
        outputs[:, :, 8:] = -100  # any of the 8 symbols at the end, and blanks before
        outputs[:-10, :, 8] = 100
    loss = task.loss(outputs, targets).item()
    assert loss == pytest.approx(task.baseline(length), abs=0.003)
    assert task.error(outputs, targets) > 10 * MAX_ERROR


@pytest.mark.parametrize("name", list(TASKS))
def test_the_right_answer_solves_it(name: str) -> None:
    task = TASKS[name]
    x, targets = task.draw(12, 30, drawn())
    if name == "adding":
        outputs = targets.expand(len(x), -1)[:, :, None]
    else:
        right = nn.functional.one_hot(targets, task.output_size).float() * 100
        outputs = right if name == "copy" else right.expand(len(x), -1, -1)
    assert task.loss(outputs, targets) < 1e-6
    assert task.error(outputs, targets) < MAX_ERROR


@pytest.mark.slow
def test_a_gru_solves_adding_and_the_same_seed_gives_the_same() -> None:
    settings = TaskSettings(length=4, max_steps=1500, hidden_size=24, learning_rate=0.01)
    told: list[int] = []
    attempt = solve(TASKS["adding"], "gru", 0, settings, lambda step, loss: told.append(step))
    assert attempt.solved_at == attempt.steps < 1500
    assert attempt.error is not None
    assert attempt.error < MAX_ERROR
    assert [step for step, _ in attempt.curve] == told
    assert attempt == solve(TASKS["adding"], "gru", 0, settings)


def test_what_is_not_solved_ends_at_the_limit() -> None:
    attempt = solve(TASKS["copy"], "rnn", 1, QUICK)
    assert (attempt.solved_at, attempt.steps, attempt.diverged) == (None, 100, False)
    assert [step for step, _ in attempt.curve] == [0, 50, 100]


class BatchFirst(nn.GRU):
    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__(input_size, hidden_size, batch_first=True)


def test_a_layer_that_takes_rows_first_learns_as_one_that_takes_steps_first() -> None:
    one = solve(TASKS["temporal-order"], f"{__file__}:BatchFirst", 0, QUICK)
    other = solve(TASKS["temporal-order"], "torch.nn:GRU", 0, QUICK)
    assert [loss for _, loss in one.curve] == pytest.approx([loss for _, loss in other.curve])


class Raises(nn.GRU):
    def forward(self, x: Any, hx: Any = None) -> Any:
        if len(x) == QUICK.length:
            raise KeyError("a gate")
        return super().forward(x, hx)


class Diverges(nn.GRU):
    def forward(self, x: Any, hx: Any = None) -> Any:
        outputs, hx = super().forward(x, hx)
        return (outputs / 0 if x.dtype == torch.float32 else outputs), hx


class NotRecurrent(nn.Linear):
    pass


class TakesNothing(nn.Module):
    def __init__(self) -> None:
        super().__init__()


@pytest.mark.parametrize(
    ("cell", "said"),
    [
        ("Raises", r"Raises raised KeyError: 'a gate', for adding's input of \(10, 2, 2\)"),
        ("NotRecurrent", "NotRecurrent: the layer is not recurrent: no output changes"),
        ("TakesNothing", r"TakesNothing cannot be made with \(2, 8\): it raised TypeError"),
        ("QUICK", "QUICK is no class: expected what is made by Cell"),
        ("drawn", "drawn is no class: expected what is made by Cell"),
    ],
)
def test_cells_that_cannot_be_trained(cell: str, said: str) -> None:
    with pytest.raises(ElmanError, match=said):
        check_cell(f"{__file__}:{cell}", TASKS["adding"], QUICK)


def test_a_loss_that_is_not_finite_ends_the_attempt() -> None:
    attempt = solve(TASKS["adding"], f"{__file__}:Diverges", 0, QUICK)
    assert attempt.diverged
    assert attempt.loss is None
    assert attempt.solved_at is None


def test_names_that_are_none() -> None:
    with pytest.raises(ElmanError, match="no task 'adding-problem'; did you mean adding"):
        tasks_of(["adding-problem"], 20)
    with pytest.raises(ElmanError, match="temporal-order needs a length of 10 or more"):
        tasks_of([], 9)
    with pytest.raises(ElmanError, match="no cell 'LSTN'; did you mean lstm"):
        layer_class("LSTN")
    assert [task.name for task in tasks_of([], 20)] == ["copy", "adding", "temporal-order"]


SMALL = ["--length", 10, "--max-steps", 50, "--hidden-size", 4, "--seeds", 2]


def test_the_command(elman: Run, tmp_path: Path) -> None:
    page = tmp_path / "tasks.html"
    asked = ["bench", "--tasks", "adding", "copy", "--cells", "rnn,mingru", "--html", page, *SMALL]
    facts = json.loads(elman(*asked, "--json").out)
    assert [task["task"] for task in facts["tasks"]] == ["adding", "copy"]
    assert facts["tasks"][0]["baseline_loss"] == round(1 / 6, 4)
    assert facts["tasks"][1]["baseline_loss"] == round(10 * math.log(8) / 30, 4)
    assert [a["cell"] for a in facts["tasks"][0]["attempts"]] == ["rnn", "rnn", "mingru", "mingru"]
    assert {a["seed"] for a in facts["tasks"][0]["attempts"]} == {0, 1}
    shown = page.read_text("utf-8")
    assert shown.count("<svg") == 2
    assert "not solved in 50" in shown
    assert shown.count("<polyline") == 2 * (3 + 4)
    assert "http" not in shown
    said = elman("bench", "--tasks", "adding", "--cells", "rnn", *SMALL).out
    assert "without a memory, loss 0.167" in said
    assert "not solved in 50" in said


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (["adding"], "'adding': for a task, add --tasks"),
        (["--cells", "rnn"], "--cells is for tasks: add --tasks"),
        (["--tasks", "--runs", 2], "--runs is not for tasks"),
        (["--tasks", "coppy"], "no task 'coppy'; did you mean copy?"),
        (["--tasks", "--cells", "gruu"], "no cell 'gruu'; did you mean gru"),
    ],
)
def test_bad_input(elman: Run, asked: list[Any], said: str) -> None:
    ran = elman("bench", *asked)
    assert ran.code == 2
    assert said in ran.err
