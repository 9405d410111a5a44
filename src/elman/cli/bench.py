"""elman bench"""

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any

import typer

from elman.cli.options import JsonOption
from elman.cli.text import console

if TYPE_CHECKING:
    from torch import Tensor, nn


def bench(
    hidden_size: Annotated[int, typer.Option("--hidden-size", min=1)] = 384,
    batch_size: Annotated[int, typer.Option(min=1, help="Conversations side by side.")] = 16,
    steps: Annotated[int, typer.Option(min=1, help="Time steps.")] = 64,
    runs: Annotated[int, typer.Option(min=1, help="The median of so many is shown.")] = 7,
    as_json: JsonOption = False,
) -> None:
    """Show which code runs the time loops here, why, and how fast it is beside torch's layers.

    Example: `elman bench --hidden-size 512 --batch-size 64 --steps 256`
    """
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
