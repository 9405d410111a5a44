"""A conversation through the lens, in a few lines for a terminal."""

from collections.abc import Iterator
from typing import Any

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from elman.lens.page import headline

SUMMARY_BAR_CHARS = 30


def summary(seen: dict[str, Any]) -> Iterator[RenderableType]:
    """Show what matters most of what `--json` says."""
    shown = len(seen["messages"])
    yield Text(
        f"{seen['bot']}: {len(seen['layers'])} x {seen['cell'].upper()} {seen['hidden_size']}; "
        f"conversation {seen['conversation']:,} of {seen['conversations']:,}, {shown:,} messages",
        style="bold",
    )
    yield Text(headline(seen))
    if own := seen.get("lags"):
        yield Text()
        yield from _lags(own)
    if seen.get("unfoldings"):
        cut = ", ".join(
            f"{100 * each['share']:.0f} % at {unfold}"
            for unfold, each in seen["unfoldings"].items()
        )
        yield Text(f"\nCut every so many messages, the states lose of their gradient: {cut}")
    for layer, units in zip(seen["layers"], seen["units"], strict=False):
        yield Text(_units(layer, units, seen["step_unit"]))
    if compare := seen.get("compare"):
        yield Text()
        yield from _compare(compare)
    yield Text()
    for label, style in (("exact", "dim"), ("sampled", "dim"), ("lost", "yellow")):
        for words in seen[label]:
            yield Text(f"{label}: {words}", style=style)


def _lags(own: dict[str, Any]) -> Iterator[RenderableType]:
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="dim")
    table.add_column("messages back", justify="right")
    table.add_column("gradient", justify="right")
    table.add_column("share of it, and of all before", no_wrap=True)
    whole = own["whole"]
    total = sum(whole) or 1.0
    for lag, value in enumerate(whole[: max(own["reach"], 1)], 1):
        left = sum(whole[lag:]) / total
        bar = "█" * max(1, round(SUMMARY_BAR_CHARS * value / max(whole)))
        table.add_row(str(lag), f"{value:.3g}", Text(f"{bar} {100 * left:.1f} % from before"))
    yield table


def _units(layer: str, units: dict[str, Any], steps: str) -> str:
    words = []
    if hold := units["hold"]:
        half = sorted(hold)[len(hold) // 2]
        words.append(
            f"half of the units hold for less than {half:.2g} {steps}, the most patient for "
            f"{max(hold):.3g}"
        )
    words.append(f"{len(units['dead'])} dead")
    for gate, (shut, opened) in units["stuck"].items():
        if shut or opened:
            words.append(f"{gate} gate always shut in {shut}, always open in {opened}")
    return f"{layer}: {', '.join(words)}"


def _compare(compare: dict[str, Any]) -> Iterator[RenderableType]:
    yield Text(compare["words"])
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for name in ("cell", "clipped", "last loss", "largest norm", "felt from", "ended"):
        table.add_column(name, justify="right" if name != "ended" else "left")
    for run in compare["runs"]:
        losses = [value for value in run["loss"] if value is not None]
        norms = [value for value in run["norm"] if value is not None]
        reach = "-" if run["reach"] is None else f"{run['reach']} back"
        table.add_row(
            run["cell"].upper(),
            "yes" if run["clip"] else "no",
            f"{losses[-1]:.3g}" if losses else "-",
            f"{max(norms):.3g}" if norms else "-",
            reach,
            run["ended"] or "",
        )
    yield table
