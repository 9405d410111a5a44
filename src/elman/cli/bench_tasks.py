"""elman bench --tasks"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from elman.cli.text import console, plain, status
from elman.errors import ElmanError

if TYPE_CHECKING:
    from elman.referee.solving import TaskSettings

DEFAULT_CELLS = ("rnn", "gru", "lstm", "mingru")
DEFAULT_SEEDS = 3


@dataclass(frozen=True)
class TaskOptions:
    """What is trained on tasks; None where it was not said."""

    cells: Annotated[
        list[str] | None,
        typer.Option(
            help="For tasks: rnn, gru, lstm, mingru, minlstm, or your own my.module:Cell, whose "
            "code is run. May be repeated, or given with commas.",
            show_default=",".join(DEFAULT_CELLS),
        ),
    ] = None
    length: Annotated[
        int | None, typer.Option(min=1, help="For tasks: T, steps to be remembered.  [default: 20]")
    ] = None
    max_steps: Annotated[
        int | None,
        typer.Option(min=1, help="For tasks: steps of training, at most.  [default: 2000]"),
    ] = None
    seeds: Annotated[
        int | None, typer.Option(min=1, help="For tasks: runs of each cell.  [default: 3]")
    ] = None
    html: Annotated[
        Path | None, typer.Option(help="For tasks: write the table and the curves here.")
    ] = None

    def refuse(self) -> None:
        """Refuse options of tasks where none is asked for.

        Raises:
            ElmanError: naming the first.
        """
        for field in fields(self):
            if getattr(self, field.name) is not None:
                flag = field.name.replace("_", "-")
                raise ElmanError(f"--{flag} is for tasks: add --tasks")


def bench_tasks(
    names: Sequence[str],
    options: TaskOptions,
    hidden_size: int | None,
    batch_size: int | None,
    as_json: bool,
) -> None:
    """Train each cell on each task, and show in how many steps it solves it."""
    from elman.data.files import write_file
    from elman.referee.solving import TaskSettings, check_cell, solve
    from elman.referee.tasks import tasks_of
    from elman.referee.tasks_page import page

    given = {
        "length": options.length,
        "max_steps": options.max_steps,
        "hidden_size": hidden_size,
        "batch_size": batch_size,
    }
    settings = TaskSettings(**{k: v for k, v in given.items() if v is not None})
    tasks = tasks_of(names, settings.length)
    named = ",".join(options.cells or DEFAULT_CELLS).split(",")
    cells = list(dict.fromkeys(cell.strip() for cell in named))
    for cell in cells:
        for task in tasks:
            check_cell(cell, task, settings)
    attempts = []
    with status() as tell:
        for task in tasks:
            for cell in cells:
                for seed in range(options.seeds or DEFAULT_SEEDS):
                    begun = f"{task.name}, {cell}, seed {seed}: step "
                    attempts.append(
                        solve(
                            task,
                            cell,
                            seed,
                            settings,
                            lambda step, loss, begun=begun: tell(  # type: ignore[misc]
                                f"{begun}{step:,} of {settings.max_steps:,}, loss {loss:.3f}"
                            ),
                        )
                    )
    facts: dict[str, Any] = {
        "settings": asdict(settings),
        "tasks": [
            {
                "task": task.name,
                "baseline_loss": round(task.baseline(settings.length), 4),
                "solved": task.solved,
                "attempts": [asdict(each) for each in attempts if each.task == task.name],
            }
            for task in tasks
        ],
    }
    if options.html is not None:
        write_file(options.html, page(facts))
        facts["html"] = str(options.html)
    if as_json:
        print(json.dumps(facts))
    else:
        _show(facts, settings)


def _show(facts: dict[str, Any], settings: "TaskSettings") -> None:
    from rich.markup import escape
    from rich.table import Table

    from elman.referee.tasks_page import rows_of

    out = console()
    out.print(
        f"steps to solve, each seed; length {settings.length}, hidden size {settings.hidden_size}, "
        f"{settings.batch_size} sequences a step, Adam at {settings.learning_rate:g}",
        soft_wrap=True,
    )
    for task in facts["tasks"]:
        table = Table(box=None, pad_edge=False)
        table.add_column(f"{task['task']}: without a memory, loss {task['baseline_loss']:.3f}")
        for title in ("steps to solve", "last loss"):
            table.add_column(title, justify="right")
        for row in rows_of(task, settings.max_steps):
            table.add_row(*(escape(plain(text)) for text in row))
        out.print()
        out.print(table)
        out.print(f"solved: {task['solved']}", soft_wrap=True, style="dim")
    if "html" in facts:
        out.print(f"wrote {escape(plain(facts['html']))}: open it in a browser", soft_wrap=True)
