"""How many steps of training a recurrent layer needs to solve a task that needs a memory."""

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

import torch
from torch import Generator, Tensor, nn

from elman.bptt import CELLS
from elman.errors import ElmanError
from elman.referee.builds import load
from elman.referee.report import in_one_line
from elman.referee.subject import plain_call, steps_first, subject_of
from elman.referee.tasks import MAX_ERROR, MemoryTask

HELD_OUT_SEQUENCES = 500
STEPS_BETWEEN_TESTS = 50


@dataclass(frozen=True)
class TaskSettings:
    """How a layer is trained on a task, with Adam.

    Args:
        length: T, as each task defines it.
        max_steps: after so many steps of training the task counts as not solved.
        hidden_size: H.
        batch_size: sequences of a step of training.
        learning_rate: Adam's.
        clip: the largest norm of a gradient.
    """

    length: int = 20
    max_steps: int = 2000
    hidden_size: int = 64
    batch_size: int = 32
    learning_rate: float = 0.01
    clip: float = 1.0


@dataclass(frozen=True)
class Attempt:
    """What came of training a layer on a task.

    Args:
        solved_at: the step at which it was found to be solved; None where it was not.
        steps: of training.
        loss, error: on held-out sequences, at the end; None where they are not finite.
        curve: each step at which it was tested, and the loss there.
        diverged: whether it ended because the loss was not finite.
    """

    task: str
    cell: str
    seed: int
    solved_at: int | None
    steps: int
    loss: float | None
    error: float | None
    curve: list[tuple[int, float]]
    diverged: bool


def layer_class(name: str) -> Callable[[int, int], Any]:
    """Find what is made by (input_size, hidden_size): a built-in cell, or anybody's.

    Raises:
        ElmanError: where there is none, or it is no class and no function of two sizes.
    """
    if name in CELLS:
        return CELLS[name]
    if ":" not in name:
        near = get_close_matches(name.lower(), CELLS, n=2, cutoff=0.4) or list(CELLS)
        raise ElmanError(f"no cell '{name}'; did you mean {' or '.join(near)}? Or my.module:Cell")
    found, _ = load(name)
    if isinstance(found, nn.Module) or not callable(found):
        raise ElmanError(
            f"{name} is no class: expected what is made by Cell(input_size, hidden_size)"
        )
    return found  # type: ignore[no-any-return]


class _Solver(nn.Module):
    """A recurrent layer, and a linear map of its outputs at each step."""

    def __init__(self, name: str, task: MemoryTask, hidden_size: int) -> None:
        super().__init__()
        make = layer_class(name)
        try:
            layer = make(task.input_size, hidden_size)
        except Exception as error:  # whatever a stranger's code raises
            made = f"{name} cannot be made with ({task.input_size}, {hidden_size})"
            raise ElmanError(f"{made}: it raised {in_one_line(error)}") from error
        if not isinstance(layer, nn.Module):
            raise ElmanError(f"{name} makes a {type(layer).__name__}: expected a module of torch")
        self.layer = layer
        self.batch_first = _batch_first(name, layer, task)
        self.readout = nn.Linear(hidden_size, task.output_size)

    def forward(self, x: Tensor) -> Tensor:
        """(T, B, input_size) to (T, B, output_size)."""
        outputs, _ = steps_first(self.layer, self.batch_first, plain_call)(x)
        answers: Tensor = self.readout(outputs)
        return answers


def _batch_first(name: str, layer: nn.Module, task: MemoryTask) -> bool:
    """Find a layer's layout, by a copy of it.

    Raises:
        ElmanError: where it is not recurrent, or cannot be called.
    """
    try:
        tried = copy.deepcopy(layer).cpu().double().eval()
        return subject_of(tried, (), plain_call, task.input_size, None, None, None).batch_first
    except ElmanError as error:
        raise ElmanError(f"{name}: {error}") from error


def check_cell(name: str, task: MemoryTask, settings: TaskSettings) -> None:
    """Run a cell once over a task's sequences.

    Raises:
        ElmanError: where it cannot be made, is not recurrent, or raises.
    """
    solver = _Solver(name, task, settings.hidden_size)
    x, targets = task.draw(settings.length, 2, Generator().manual_seed(0))
    try:
        task.loss(solver(x), targets).backward()
    except Exception as error:  # whatever a stranger's code raises
        raise ElmanError(
            f"{name} raised {in_one_line(error)}, for {task.name}'s input of {tuple(x.shape)} and "
            f"a hidden size of {settings.hidden_size}"
        ) from error


def solve(
    task: MemoryTask,
    cell: str,
    seed: int,
    settings: TaskSettings,
    tell: Callable[[int, float], None] = lambda step, loss: None,
) -> Attempt:
    """Train a cell on a task until it is solved, or for `max_steps` steps.

    Training sequences are drawn anew at each step; the task is tested on 500 others every 50 steps.

    Args:
        tell: is told of each test: the step and the loss.

    Raises:
        ElmanError: where the cell raises.
    """
    torch.manual_seed(seed)
    solver = _Solver(cell, task, settings.hidden_size)
    optimizer = torch.optim.Adam(solver.parameters(), settings.learning_rate)
    drawn = Generator().manual_seed(seed)
    held_out = task.draw(settings.length, HELD_OUT_SEQUENCES, Generator().manual_seed(2**32 + seed))
    curve: list[tuple[int, float]] = []
    try:
        for step in range(settings.max_steps + 1):
            if step % STEPS_BETWEEN_TESTS == 0 or step == settings.max_steps:
                loss, error = _tested(solver, task, *held_out)
                tell(step, loss)
                if not math.isfinite(loss):
                    return Attempt(task.name, cell, seed, None, step, None, None, curve, True)
                curve.append((step, loss))
                if error < MAX_ERROR or step == settings.max_steps:
                    break
            x, targets = task.draw(settings.length, settings.batch_size, drawn)
            optimizer.zero_grad()
            task.loss(solver(x), targets).backward()
            nn.utils.clip_grad_norm_(solver.parameters(), settings.clip)
            optimizer.step()
    except Exception as raised:  # whatever a stranger's code raises
        said = in_one_line(raised)
        raise ElmanError(f"{cell} raised {said}, in step {step} of {task.name}") from raised
    solved = step if error < MAX_ERROR else None
    return Attempt(task.name, cell, seed, solved, step, loss, error, curve, False)


def _tested(solver: _Solver, task: MemoryTask, x: Tensor, targets: Tensor) -> tuple[float, float]:
    """Return the loss and the error on held-out sequences."""
    solver.eval()
    with torch.no_grad():
        outputs = solver(x)
        loss, error = task.loss(outputs, targets).item(), task.error(outputs, targets).item()
    solver.train()
    return loss, error
