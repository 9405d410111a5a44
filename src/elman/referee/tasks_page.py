"""A page with what came of training cells on tasks: a table, and each run's loss as a curve."""

from collections.abc import Sequence
from html import escape
from typing import Any

COLOURS = ("#D55E00", "#0072B2", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
"""Okabe and Ito's palette: told apart with every kind of colour vision."""

WIDTH, HEIGHT, LEFT, BOTTOM = 640, 260, 60, 40

PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Tasks that need a memory</title><style>
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 44rem; margin: 2rem auto; padding: 0 1rem;
  color: #222; background: #fff; }}
svg {{ width: 100%; height: auto; }} svg text {{ font: 13px system-ui, sans-serif; fill: #333; }}
td, th {{ padding: .1rem 1.2rem .1rem 0; text-align: left; font-variant-numeric: tabular-nums; }}
</style></head><body><h1>Tasks that need a memory</h1><p>{settings}</p>{tasks}</body></html>
"""


def page(facts: dict[str, Any]) -> str:
    """Write the page of what `elman bench --tasks` found; it needs no other file."""
    settings = "; ".join(
        f"{name.replace('_', ' ')} {value:g}" for name, value in facts["settings"].items()
    )
    max_steps = facts["settings"]["max_steps"]
    parts = []
    for task in facts["tasks"]:
        rows = "".join(
            "<tr>" + "".join(f"<td>{escape(text)}</td>" for text in row) + "</tr>"
            for row in rows_of(task, max_steps)
        )
        name, solved = escape(task["task"]), escape(task["solved"])
        parts.append(
            f"<h2>{name}</h2><p>Solved: {solved}.</p><table><tr><th>cell</th>"
            f"<th>steps to solve, each seed</th><th>last loss</th></tr>{rows}</table>{_chart(task)}"
        )
    return PAGE.format(settings=settings, tasks="".join(parts))


def cells_of(task: dict[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """Group a task's attempts by cell."""
    cells: dict[str, list[dict[str, Any]]] = {}
    for attempt in task["attempts"]:
        cells.setdefault(attempt["cell"], []).append(attempt)
    return cells


def rows_of(task: dict[str, Any], max_steps: int) -> list[tuple[str, str, str]]:
    """Write a row for each cell: its name, the steps to solve, and the last losses."""
    rows = []
    for cell, attempts in cells_of(task).items():
        at = [_steps(attempt) for attempt in attempts]
        if all(each["solved_at"] is None and not each["diverged"] for each in attempts):
            at = [f"not solved in {max_steps:,}"]
        losses = ["-" if a["loss"] is None else f"{a['loss']:.3f}" for a in attempts]
        rows.append((cell, ", ".join(at), ", ".join(losses)))
    return rows


def _steps(attempt: dict[str, Any]) -> str:
    if attempt["solved_at"] is not None:
        return f"{attempt['solved_at']:,}"
    if attempt["diverged"]:
        return f"loss not finite at {attempt['steps']:,}"
    return f"not in {attempt['steps']:,}"


def _chart(task: dict[str, Any]) -> str:
    """Draw the losses of all runs over the steps of training, and the baseline as dots."""
    base = task["baseline_loss"]
    points = [point for attempt in task["attempts"] for point in attempt["curve"]]
    last = max((step for step, _ in points), default=0) or 1
    most = min(max([base, *(loss for _, loss in points)]), 2 * base)

    def place(step: float, loss: float) -> str:
        x = LEFT + (WIDTH - LEFT - 10) * step / last
        y = 20 + (HEIGHT - BOTTOM - 20) * (1 - min(loss, most) / most)
        return f"{x:.1f},{y:.1f}"

    parts = [
        _line([place(0, 0), place(last, 0)], "#333"),
        _line([place(0, 0), place(0, most)], "#333"),
        _line([place(0, base), place(last, base)], "#777", 'stroke-dasharray="2 4"'),
        _text(place(0, base), f"{base:.3g}"),
        _text(place(0, 0), "0"),
        f'<text x="{WIDTH - 10}" y="{HEIGHT - 8}" text-anchor="end">{last:,} steps</text>',
    ]
    for number, (cell, attempts) in enumerate(cells_of(task).items()):
        colour = COLOURS[number % len(COLOURS)]
        parts += [_line([place(*point) for point in a["curve"]], colour) for a in attempts]
        x = LEFT + number * 130
        parts.append(f'<text x="{x}" y="{HEIGHT - 8}" style="fill:{colour}">{escape(cell)}</text>')
    label = f"{task['task']}: loss on held-out sequences; dots: without a memory"
    return (
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(label)}">'
        f"{''.join(parts)}</svg><p>The loss on held-out sequences. Dots: the best answer that "
        f"remembers nothing.</p>"
    )


def _line(points: Sequence[str], colour: str, more: str = "") -> str:
    path = " ".join(points)
    return f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.6" {more}/>'


def _text(at: str, words: str) -> str:
    x, y = map(float, at.split(","))
    return f'<text x="{x - 6:g}" y="{y + 4:g}" text-anchor="end">{words}</text>'
