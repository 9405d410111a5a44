"""Tasks that need a memory over a known number of steps: the yardsticks of recurrent networks.

Sources: Hochreiter and Schmidhuber, "Long Short-Term Memory" (1997), for adding and temporal
order; Arjovsky, Shah and Bengio, "Unitary Evolution Recurrent Neural Networks" (2016), for copying
and for the adding problem as it is posed here; Martens and Sutskever, "Learning Recurrent Neural
Networks with Hessian-Free Optimization" (2011), for temporal order at any length.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

import torch
from torch import Generator, Tensor
from torch.nn import functional as F

from elman.errors import ElmanError

MAX_ERROR = 0.01
"""A task is solved where the error on held-out sequences is below this."""

COPIED_SYMBOLS, COPY_ALPHABET = 10, 8
ORDER_SYMBOLS = 8
"""Of temporal order: a, b, c, d, X, Y, and those that begin and end a sequence."""


@dataclass(frozen=True)
class MemoryTask:
    """A task, drawn anew at each step of training.

    Args:
        name: as the command calls it.
        input_size, output_size: of the network.
        min_length: below it the task is not defined.
        draw: `draw(length, batch_size, generator)` gives x, (T, B, input_size), and the targets.
        loss: of outputs, (T, B, output_size), and targets: what is minimised.
        error: of the same: what is below `MAX_ERROR` where the task is solved.
        measure: what the error is, in words.
        baseline: the loss, at a length T, of the best answer that remembers nothing.
    """

    name: str
    input_size: int
    output_size: int
    min_length: int
    draw: Callable[[int, int, Generator], tuple[Tensor, Tensor]]
    loss: Callable[[Tensor, Tensor], Tensor]
    error: Callable[[Tensor, Tensor], Tensor]
    measure: str
    baseline: Callable[[int], float]

    @property
    def solved(self) -> str:
        """When it counts as solved, in words."""
        return f"{self.measure} below {MAX_ERROR:g}, on held-out sequences"


def copy_batch(length: int, batch_size: int, generator: Generator) -> tuple[Tensor, Tensor]:
    """Draw 10 symbols of 8 to be said again after `length` steps (Arjovsky et al., section 4.1).

    The input is the 10 symbols, T - 1 blanks, a delimiter, and 10 blanks; the target is T + 10
    blanks, and the 10 symbols.

    Returns:
        x, one-hot, (T + 20, B, 10), and the target symbols, (T + 20, B).
    """
    blank, delimiter = COPY_ALPHABET, COPY_ALPHABET + 1
    shown = torch.randint(COPY_ALPHABET, (COPIED_SYMBOLS, batch_size), generator=generator)
    symbols = torch.full((length + 2 * COPIED_SYMBOLS, batch_size), blank)
    targets = symbols.clone()
    symbols[:COPIED_SYMBOLS] = targets[-COPIED_SYMBOLS:] = shown
    symbols[length + COPIED_SYMBOLS - 1] = delimiter
    return F.one_hot(symbols, COPY_ALPHABET + 2).float(), targets


def adding_batch(length: int, batch_size: int, generator: Generator) -> tuple[Tensor, Tensor]:
    """Draw values of U[0, 1], two of them marked, to be added (Arjovsky et al., section 4.2).

    One marker is in the first half of the T steps and one in the second, each uniformly.

    Returns:
        x, (T, B, 2): values and markers; and the sums, (B,).
    """
    half = length // 2
    values = torch.rand(length, batch_size, generator=generator)
    early = torch.randint(half, (1, batch_size), generator=generator)
    late = torch.randint(half, length, (1, batch_size), generator=generator)
    markers = torch.zeros(length, batch_size).scatter_(0, early, 1).scatter_(0, late, 1)
    return torch.stack([values, markers], 2), (values * markers).sum(0)


def order_batch(length: int, batch_size: int, generator: Generator) -> tuple[Tensor, Tensor]:
    """Draw two symbols of X and Y among others, whose order is to be told.

    It is the experiment 6a of Hochreiter and Schmidhuber. As in Martens and Sutskever, the two
    stand uniformly in [T/10, 2T/10) and [5T/10, 6T/10); a symbol of its own begins the T steps,
    another ends them, and the others are drawn from a, b, c, d.

    Returns:
        x, one-hot, (T, B, 8), and the classes XX, XY, YX, YY as 0 to 3, (B,).
    """
    symbols = torch.randint(4, (length, batch_size), generator=generator)
    told = torch.randint(2, (2, batch_size), generator=generator)
    for number, tenth in enumerate((1, 5)):
        begin, end = tenth * length // 10, (tenth + 1) * length // 10
        at = torch.randint(begin, end, (1, batch_size), generator=generator)
        symbols.scatter_(0, at, 4 + told[number : number + 1])
    symbols[0], symbols[-1] = 6, 7
    return F.one_hot(symbols, ORDER_SYMBOLS).float(), 2 * told[0] + told[1]


def _sum_loss(outputs: Tensor, targets: Tensor) -> Tensor:
    return F.mse_loss(outputs[-1, :, 0], targets)


def _copy_error(outputs: Tensor, targets: Tensor) -> Tensor:
    said = outputs[-COPIED_SYMBOLS:].argmax(2)
    return (said != targets[-COPIED_SYMBOLS:]).float().mean()


TASKS = {
    task.name: task
    for task in (
        MemoryTask(
            "copy",
            COPY_ALPHABET + 2,
            COPY_ALPHABET + 2,
            1,
            copy_batch,
            lambda outputs, targets: F.cross_entropy(outputs.flatten(0, 1), targets.flatten()),
            _copy_error,
            "share of the 10 symbols that is wrong",
            lambda length: COPIED_SYMBOLS * math.log(COPY_ALPHABET) / (length + 2 * COPIED_SYMBOLS),
        ),
        MemoryTask(
            "adding",
            2,
            1,
            2,
            adding_batch,
            _sum_loss,
            _sum_loss,
            "mean squared error",
            lambda _: 1 / 6,  # answering 1: the variance of a sum of two of U[0, 1]
        ),
        MemoryTask(
            "temporal-order",
            ORDER_SYMBOLS,
            4,
            10,
            order_batch,
            lambda outputs, targets: F.cross_entropy(outputs[-1], targets),
            lambda outputs, targets: (outputs[-1].argmax(1) != targets).float().mean(),
            "share of sequences that is told wrongly",
            lambda _: math.log(4),
        ),
    )
}


def tasks_of(names: Sequence[str], length: int) -> list[MemoryTask]:
    """Find tasks by their names; all of them where none is named.

    Raises:
        ElmanError: where there is no such task, or it is not defined at that length.
    """
    for name in names:
        if name not in TASKS:
            near = get_close_matches(name, TASKS, n=2, cutoff=0.4) or list(TASKS)
            raise ElmanError(f"no task '{name}'; did you mean {' or '.join(near)}?")
    found = [TASKS[name] for name in dict.fromkeys(names)] or list(TASKS.values())
    for task in found:
        if length < task.min_length:
            raise ElmanError(
                f"--length {length}: {task.name} needs a length of {task.min_length} or more"
            )
    return found
