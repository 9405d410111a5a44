"""elman bench"""

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any

import typer

from elman.cli.bench_tasks import TaskOptions, bench_tasks
from elman.cli.options import JsonOption, with_groups
from elman.cli.text import console
from elman.errors import ElmanError

if TYPE_CHECKING:
    from torch import Tensor, nn


DEFAULT_HIDDEN_SIZE, DEFAULT_BATCH_SIZE, DEFAULT_STEPS, DEFAULT_RUNS = 384, 16, 64, 7


@with_groups
def bench(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="[TASK]...", help="copy, adding, temporal-order; else all of them."),
    ] = None,
    tasks: Annotated[
        bool, typer.Option("--tasks", help="Train cells on tasks that need a memory.")
    ] = False,
    task_options: TaskOptions = TaskOptions(),  # noqa: B008 (it is frozen)
    hidden_size: Annotated[
        int | None,
        typer.Option("--hidden-size", min=1, help="[default: 384; for tasks 64]"),
    ] = None,
    batch_size: Annotated[
        int | None,
        typer.Option(min=1, help="Sequences side by side.  [default: 16; for tasks 32]"),
    ] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Time steps.  [default: 64]")] = None,
    runs: Annotated[
        int | None, typer.Option(min=1, help="The median of so many is shown.  [default: 7]")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Show which code runs the time loops here, why, and how fast it is beside torch's layers.

    With `--tasks`: how many steps of training cells need to solve tasks that need a memory.

    Example: `elman bench --hidden-size 512 --batch-size 64 --steps 256`;
    `elman bench --tasks adding --cells lstm --length 50`
    """
    if tasks:
        for flag, value in (("steps", steps), ("runs", runs)):
            if value is not None:
                raise ElmanError(f"--{flag} is not for tasks; theirs are --length and --max-steps")
        bench_tasks(names or [], task_options, hidden_size, batch_size, as_json)
        return
    if names:
        raise ElmanError(f"'{names[0]}': for a task, add --tasks")
    task_options.refuse()
    bench_speed(
        hidden_size or DEFAULT_HIDDEN_SIZE,
        batch_size or DEFAULT_BATCH_SIZE,
        steps or DEFAULT_STEPS,
        runs or DEFAULT_RUNS,
        as_json,
    )


def bench_speed(hidden_size: int, batch_size: int, steps: int, runs: int, as_json: bool) -> None:
    """Show what runs the time loops, and how fast."""
    import torch

    from elman.bptt.kernels.native import load
    from elman.bptt.precision import measure

    native, why = load()
    precision, ratio = measure(hidden_size)
    rows = [compared(name, hidden_size, batch_size, steps, runs) for name in ("LSTM", "GRU", "RNN")]
    facts: dict[str, Any] = {
        "path": "kernels" if native else "reference",
        "why": why,
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "bfloat16_ratio": round(ratio, 2),
        "precision": precision,
        "hidden_size": hidden_size,
        "batch_size": batch_size,
        "lanes": batch_size,  # its name in the last release
        "steps": steps,
        "layers": rows,
    }
    if as_json:
        print(json.dumps(facts))
    else:
        show(facts)


def compared(name: str, size: int, batch_size: int, steps: int, runs: int) -> dict[str, Any]:
    """Time a forward and backward pass of Elman's layer and torch's, in turn, in milliseconds."""
    from statistics import median
    from time import perf_counter

    import torch

    import elman

    torchs: nn.Module = getattr(torch.nn, name)(size, size)
    ours: nn.Module = getattr(elman, name)(size, size)
    ours.load_state_dict(torchs.state_dict())
    x = torch.randn(steps, batch_size, size)
    milliseconds: dict[str, list[float]] = {"elman": [], "torch": []}
    for run in range(runs + 1):
        for who, layer in (("elman", ours), ("torch", torchs)):
            begin = perf_counter()
            _both_ways(layer, x)
            if run > 0:  # the first is a warm-up
                milliseconds[who].append(1000 * (perf_counter() - begin))
    elman_ms, torch_ms = median(milliseconds["elman"]), median(milliseconds["torch"])
    return {
        "layer": name,
        "elman_ms": round(elman_ms, 2),
        "torch_ms": round(torch_ms, 2),
        "times_as_fast": round(torch_ms / elman_ms, 2),
    }


def _both_ways(layer: "Callable[[Tensor], tuple[Tensor, Any]]", x: "Tensor") -> None:
    inputs = x.detach().requires_grad_()
    layer(inputs)[0].sum().backward()


def show(facts: dict[str, Any]) -> None:
    """Show what was measured to people."""
    from rich.table import Table

    out = console()
    out.print(f"time loops: {facts['why']}")
    out.print(
        f"products: torch {facts['torch']}, {facts['threads']} threads; bfloat16 is "
        f"{facts['bfloat16_ratio']} times as fast as float32, so training takes "
        f"{facts['precision']}"
    )
    table = Table(box=None, pad_edge=False)
    sizes = f"H={facts['hidden_size']}, B={facts['batch_size']}, {facts['steps']} steps"
    table.add_column(f"forward + backward, {sizes}")
    for title in ("Elman", "torch.nn", "times as fast"):
        table.add_column(title, justify="right")
    for row in facts["layers"]:
        table.add_row(
            row["layer"],
            f"{row['elman_ms']:.1f} ms",
            f"{row['torch_ms']:.1f} ms",
            f"{row['times_as_fast']:.2f}",
        )
    out.print(table)
