"""SVG for the lens's pages: boxes of numbers, arrows as wide as a norm, bars, rows of matrices."""

from collections.abc import Sequence
from html import escape

from torch import Tensor

from elman.lens.page import MINUS
from elman.lens.tiny_text import number

BAR_LEFT, BAR_ROOM = 150, 620


def short(value: float | Tensor) -> str:
    """Write a number to 3 decimals, with a true minus sign. Only an exact 0 is written "0"."""
    digits = f"{float(value):.3f}" if float(value) else "0"
    return digits.removeprefix("-") if float(digits) == 0 else digits.replace("-", MINUS)


def text(x: float, y: float, words: str, kind: str = "", anchor: str = "middle") -> str:
    return f'<text x="{x:g}" y="{y:g}" text-anchor="{anchor}" class="{kind}">{escape(words)}</text>'


def box(x: float, y: float, w: float, h: float, kind: str, more: str = "") -> str:
    """Draw a rectangle of a CSS class, with `more` attributes."""
    return f'<rect x="{x:.6g}" y="{y:g}" width="{w:.6g}" height="{h:g}" {more} class="{kind}"/>'


def line(x: float, top: float, bottom: float, kind: str) -> str:
    return f'<line x1="{x:g}" y1="{top:g}" x2="{x:g}" y2="{bottom:g}" class="{kind}"/>'


def cell(
    x: float, y: float, w: float, h: float, value: float | Tensor, most: float, shown: bool = True
) -> str:
    """Draw a box as deep in colour as its value is of `most`, with its number where `shown`."""
    value = float(value)
    depth = 0.62 * min(1.0, abs(value) / most) if most else 0.0
    colour = box(x, y, w, h, "neg" if value < 0 else "pos", f'fill-opacity="{depth:.3f}"')
    inside = text(x + w / 2, y + h / 2, short(value), "num") if shown else ""
    return f"<g><title>{number(value)}</title>{box(x, y, w, h, 'back')}{colour}{inside}</g>"


def arrow(
    start: tuple[float, float], end: tuple[float, float], width: float, kind: str, head: bool = True
) -> str:
    """Draw a level or upright arrow as one polygon, so that its head fits its width."""
    (x1, y1), (x2, y2) = start, end
    length = abs(x2 - x1) + abs(y2 - y1)
    along = ((x2 - x1) / length, (y2 - y1) / length)
    across = (-along[1], along[0])
    half, wing = width / 2, width / 2 + 5
    tip = min(length, 7 + width * 0.7) if head else 0.0
    outline = [(0.0, half), (length - tip, half)]
    outline += [(length - tip, wing), (length, 0.0), (length - tip, -wing)] if head else []
    outline += [(length - tip, -half), (0.0, -half)]
    points = " ".join(
        f"{x1 + a * along[0] + b * across[0]:.1f},{y1 + a * along[1] + b * across[1]:.1f}"
        for a, b in outline
    )
    return f'<polygon points="{points}" class="{kind}"/>'


def scissors(x: float, y: float) -> str:
    """Draw open scissors, pointing up."""
    return (
        f'<g class="scissors" transform="translate({x:g} {y:g})">'
        '<path d="M-8 12 L7 -18 M8 12 L-7 -18"/><circle cx="-10" cy="18" r="6.5"/>'
        '<circle cx="10" cy="18" r="6.5"/></g>'
    )


def drawing(width: float, height: float, body: str, label: str, least: int = 0) -> str:
    """Wrap a drawing so that it fits the page, and on a narrow one is scrolled sideways."""
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(label)}">'
        f'<svg viewBox="0 0 {width:g} {height:g}" role="img" aria-label="{escape(label)}" '
        f'style="width:{width:g}px;min-width:{min(least or width, width):g}px">{body}</svg>'
        "</div>"
    )


def scaled(value: float, most: float) -> float:
    """Find where the bar of a value ends, where the longest room is for `most`."""
    return BAR_LEFT + BAR_ROOM * value / most


def bars(
    rows: Sequence[tuple[str, float, str, str]],
    most: float,
    label: str,
    top: int = 6,
    over: str = "",
) -> str:
    """Draw a bar for each row: what it is called, its value, its class, and words behind it.

    `over` is drawn over them.
    """
    parts = []
    for row, (name, value, kind, behind) in enumerate(rows):
        y, end = top + 50 * row, scaled(value, most)
        parts += [
            text(BAR_LEFT - 14, y + 20, name, "label", "end"),
            box(BAR_LEFT, y, end - BAR_LEFT, 40, kind, 'rx="3"'),
            text(end + 12, y + 21, short(value), "num strong big", "start"),
            text(end + 106, y + 21, behind, "num", "start") if behind else "",
        ]
    height = top + 50 * len(rows) + 10
    return drawing(960, height, "".join(parts) + over, label, 640)


class Matrices:
    """Draws matrices in a row with signs between them: a + b + ... = sum."""

    def __init__(self, rows: Sequence[str], columns: Sequence[str]) -> None:
        self.rows, self.columns = rows, columns
        self.x = 12.0 + max(8.0 * len(row) for row in rows)
        self.h = 27.0
        self.top = 48.0 if any(columns) else 30.0
        self.parts = [
            text(self.x - 8, self.top + (i + 0.5) * self.h, row, "unit", "end")
            for i, row in enumerate(rows)
        ]

    def sign(self, words: str) -> None:
        middle = self.top + len(self.rows) * self.h / 2
        self.parts.append(text(self.x + 14, middle, words, "sign"))
        self.x += 28

    def add(self, title: str, values: Tensor, most: float, w: float, frame: str = "both") -> None:
        """Add a matrix. Cells narrower than 40 show their colour alone."""
        grid = values if values.dim() == 2 else values[:, None]
        width = w * grid.shape[1]
        self.parts.append(text(self.x + width / 2, 14, title, "unit strong"))
        for j, column in enumerate(self.columns):
            self.parts.append(text(self.x + (j + 0.5) * w, self.top - 10, column, "unit small"))
        for i, row in enumerate(grid):
            for j, value in enumerate(row):
                at = (self.x + j * w, self.top + i * self.h)
                self.parts.append(cell(*at, w, self.h, value, most, w >= 40))
        height = len(self.rows) * self.h
        self.parts.append(box(self.x, self.top, width, height, f"frame {frame}-line"))
        self.x += width

    def drawn(self, label: str) -> str:
        width, height = self.x + 12, self.top + len(self.rows) * self.h + 6
        return drawing(width, height, "".join(self.parts), label)
