"""A run in the terminal: the numbers of the moment, curves and how far the gradient reaches."""

from collections.abc import Sequence
from itertools import pairwise
from math import isfinite, log10
from typing import Any

from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from elman.lens.watching.log import Summary

BLOCKS = "▁▂▃▄▅▆▇█"
SHADES = " ░▒▓█"
CURVE_CHARS = 48
"""Characters of a curve."""
SHOWN_WARNINGS = 3
"""Warnings that are shown, the last ones."""


def view(name: str, config: dict[str, Any], seen: Summary) -> RenderableType:
    """Show the run as it is.

    Args:
        name: of the run.
        config: its settings; empty where they are not known.
        seen: what its log says. Texts in it must have nothing that a terminal would obey.
    """
    if not seen.steps:
        return Panel("preparing: no step yet", title=Text(name), title_align="left")
    last = seen.steps[-1]
    clip = config.get("train", {}).get("clip") or 0.0
    parts: list[RenderableType] = [
        _head(last, seen),
        _curves(seen),
    ]
    if seen.lags:
        parts.append(_lags(seen.lags[-1]))
    share = seen.clipped(clip)
    if share is not None:
        parts.append(Text(f"{share:.0%} of the last 100 steps were clipped at {clip:g}", "dim"))
    if seen.samples is not None:
        parts.append(_samples(seen.samples))
    parts += [
        Text(f"step {event['step']:,}: {event['text']}", "yellow")
        for event in seen.words[-SHOWN_WARNINGS:]
    ]
    if seen.damaged:
        parts.append(Text(f"{seen.damaged:,} damaged lines of the log are left out", "yellow"))
    return Panel(Group(*parts), title=Text(name), title_align="left")


def _head(last: dict[str, Any], seen: Summary) -> RenderableType:
    spent, left = min(1.0, float(last["spent"])), last["left"]
    state = f"{left // 60}:{left % 60:02d} left" if seen.end is None else str(seen.end["reason"])
    grid = Table.grid(padding=(0, 2))
    grid.add_row(
        Text(f"step {last['step']:,}", "bold"),
        ProgressBar(total=1.0, completed=1.0 if seen.end else spent, width=24),
        Text(state, "green" if seen.end is None else "bold"),
        Text(f"{last['epochs']:.2f} passes", "dim"),
    )
    return grid


def _curves(seen: Summary) -> RenderableType:
    table = Table.grid(padding=(0, 2))
    best = min((v["bits_per_byte"] for v in seen.validations), default=None)
    held = "" if best is None else f"held out {best:.3f}"
    for name, key, logarithmic, note in (
        ("bits per byte", "bits_per_byte", False, held),
        ("gradient's norm", "grad_norm", True, ""),
        ("tokens a second", "tokens_per_second", False, ""),
    ):
        values = [float(event[key]) for event in seen.steps]
        recent = [value for value in values[-50:] if isfinite(value)]
        mean = sum(recent) / max(1, len(recent))
        curve = spark([log10(max(v, 1e-12)) for v in values] if logarithmic else values)
        table.add_row(name, Text(f"{mean:,.4g}", "bold"), Text(curve, "cyan"), Text(note, "dim"))
    return table


def spark(values: Sequence[float]) -> str:
    """Draw a curve of blocks: the mean of each of up to `CURVE_CHARS` parts."""
    count = min(CURVE_CHARS, len(values))
    edges = [round(n * len(values) / count) for n in range(count + 1)] if count else [0]
    means = [sum(values[begin:end]) / (end - begin) for begin, end in pairwise(edges)]
    if not means:
        return ""
    low, high = min(means), max(means)
    scale = (len(BLOCKS) - 1) / (high - low) if high > low else 0.0
    return "".join(BLOCKS[round((mean - low) * scale)] for mean in means)


def _lags(event: dict[str, Any]) -> RenderableType:
    table = Table.grid(padding=(0, 1))
    table.add_row(Text("messages back", "dim"), Text(_numbers(len(event["layers"][0])), "dim"))
    for number, layer in enumerate(event["layers"], 1):
        table.add_row(f"layer {number}", Text(shades(layer), "cyan"))
    return Group(table, Text(event["text"]))


def shades(layer: Sequence[float | None]) -> str:
    """Draw three characters for each message back: the fuller, the nearer to the first's size."""
    first = layer[0] or 1.0
    depths = [1 + log10(max(1e-9, (size or 0.0) / first)) / 2 for size in layer]
    return "".join(SHADES[round(4 * min(1.0, max(0.0, depth)))] * 3 for depth in depths)


def _numbers(count: int) -> str:
    return "".join(f"{n:<3d}" for n in range(1, count + 1))


def _samples(event: dict[str, Any]) -> RenderableType:
    table = Table.grid(padding=(0, 1))
    for sample in event["samples"]:
        heard = " ".join(sample["heard"][-1].split()) if sample["heard"] else ""
        table.add_row(Text("heard", "dim"), Text(heard, "dim", overflow="ellipsis", no_wrap=True))
        said = " ".join(sample["bot"].split())
        table.add_row(Text("says", "bold"), Text(said, overflow="ellipsis", no_wrap=True))
    return table
