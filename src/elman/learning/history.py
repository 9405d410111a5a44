"""How a bot did from version to version: as a table, and as a curve."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from importlib.util import find_spec
from pathlib import Path

from elman.data.files import write_file
from elman.errors import ElmanError
from elman.model.versions import Version

WIDTH, HEIGHT, MARGIN = 720, 320, 56
"""Of the picture, in pixels."""

SERIES = {
    "first_held_out": ("held out when it was trained", "#1f6feb"),
    "new_before": ("new talk, before it was learned", "#d1242f"),
    "new_after": ("new talk of the same kind, after", "#1a7f37"),
}
"""What is drawn, with its words and its colour."""


@dataclass(frozen=True)
class CurvePoint:
    """One version on the curve, in bits per byte; None where it was not measured.

    Args:
        version: its id.
        made: when.
        by: what made it.
        first_held_out: of the talk that training held out.
        new_before, new_after: of the new talk that its update held out, by its parent and by it.
        turns: that it learned.
    """

    version: str
    made: str
    by: str
    first_held_out: float | None
    new_before: float | None
    new_after: float | None
    turns: int


def curve(versions: Sequence[Version]) -> list[CurvePoint]:
    """Return the points of versions, the oldest first.

    Of the first version the figure is that which the first update measured of it.
    """
    first = {
        version.parent: _pair(version, "first_held_out")[0]
        for version in reversed(versions)
        if version.parent is not None
    }
    points = []
    for version in versions:
        before, after = _pair(version, "new_held_out")
        own = _pair(version, "first_held_out")[1]
        learned = version.report.get("learned")
        turns = learned.get("turns", 0) if isinstance(learned, dict) else 0
        points.append(
            CurvePoint(
                version.id,
                version.made,
                version.by,
                first.get(version.id) if own is None else own,
                before,
                after,
                int(turns),
            )
        )
    return points


def _pair(version: Version, name: str) -> tuple[float | None, float | None]:
    found = version.report.get(name)
    if not isinstance(found, list) or len(found) != 2:
        return None, None
    return float(found[0]), float(found[1])


def table(points: Sequence[CurvePoint], current: str | None) -> str:
    """Write the curve as lines of text, bits per byte."""
    lines = [
        "  version           made                 turns  first held-out  new, before and after"
    ]
    for point in points:
        new = (
            ""
            if point.new_after is None
            else f"{_bits(point.new_before)} -> {_bits(point.new_after)}"
        )
        mark = "*" if point.version == current else " "
        lines.append(
            f"{mark} {point.version}  {point.made[:19]}  {point.turns:>5}  "
            f"{_bits(point.first_held_out):>14}  {new}"
        )
    return "\n".join(lines)


def _bits(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def write_curve(out: Path, name: str, points: Sequence[CurvePoint]) -> None:
    """Write the curve as a file, by its suffix: .html, a page by itself; .svg; or .png.

    Raises:
        ElmanError: for another suffix, where it cannot be written, or matplotlib is missing.
    """
    title = f"{name}: bits per byte from version to version"
    if out.suffix == ".svg":
        write_file(out, drawing(points))
    elif out.suffix == ".html":
        style = "body{font:16px/1.5 sans-serif;max-width:50em;margin:2em auto;padding:0 1em}"
        rows = f"<pre>{escape(table(points, None))}</pre>"
        head = f'<meta charset="utf-8"><title>{escape(title)}</title><style>{style}</style>'
        body = f"<h1>{escape(title)}</h1>{drawing(points)}<p>Lower is better.</p>{rows}"
        write_file(out, f'<!doctype html><html lang="en">{head}{body}</html>\n')
    elif out.suffix == ".png":
        _write_png(out, title, points)
    else:
        raise ElmanError(f"{out}: expected a name that ends in .html, .svg or .png")


def drawing(points: Sequence[CurvePoint]) -> str:
    """Draw the curve as SVG."""
    every = [v for p in points for name in SERIES if (v := getattr(p, name)) is not None]
    low, high = min(every, default=0.0), max(every, default=1.0)
    low, high = low - 0.05 * (high - low) - 1e-3, high + 0.05 * (high - low) + 1e-3

    def at(number: int, value: float) -> tuple[float, float]:
        x = MARGIN + number * (WIDTH - 2 * MARGIN) / max(1, len(points) - 1)
        return x, HEIGHT - MARGIN - (value - low) / (high - low) * (HEIGHT - 2 * MARGIN)

    size = f'viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="12"'
    words = 'role="img" aria-label="bits per byte of each version"'
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" {size} {words}>']
    for share in (0, 0.5, 1):
        value = low + share * (high - low)
        _, y = at(0, value)
        parts.append(
            f'<line x1="{MARGIN}" x2="{WIDTH - MARGIN}" y1="{y:.1f}" y2="{y:.1f}" stroke="#ddd"/>'
            f'<text x="{MARGIN - 6}" y="{y + 4:.1f}" text-anchor="end">{value:.3f}</text>'
        )
    for row, (name, (words, colour)) in enumerate(SERIES.items()):
        there = [(n, v) for n, p in enumerate(points) if (v := getattr(p, name)) is not None]
        places = [at(*each) for each in there]
        line = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        parts.append(f'<polyline points="{line}" fill="none" stroke="{colour}"/>')
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>' for x, y in places]
        parts.append(f'<text x="{MARGIN}" y="{16 + 15 * row}" fill="{colour}">{words}</text>')
    for number in range(len(points)):
        x, _ = at(number, low)
        parts.append(
            f'<text x="{x:.1f}" y="{HEIGHT - 30}" text-anchor="middle">{number + 1}</text>'
        )
    return "".join([*parts, "</svg>"])


def _write_png(out: Path, title: str, points: Sequence[CurvePoint]) -> None:
    if find_spec("matplotlib") is None:
        raise ElmanError(
            f"{out}: a .png needs matplotlib (pip install matplotlib); .svg needs none"
        )
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH / 100, HEIGHT / 100), dpi=150)
    axes = figure.subplots()
    for name, (words, colour) in SERIES.items():
        there = [(n, v) for n, p in enumerate(points, 1) if (v := getattr(p, name)) is not None]
        axes.plot(*zip(*there, strict=True) if there else ([], []), "o-", color=colour, label=words)
    axes.set(title=title, xlabel="version", ylabel="bits per byte")
    axes.legend(fontsize="small")
    figure.savefig(out, format="png")
