"""Draws what the documents explain: the unfolded network, a gate, the state of the base.

python docs/drawings.py        # writes docs/unfolded.svg, docs/gate.svg and docs/state.svg
"""

from collections.abc import Sequence
from html import escape
from pathlib import Path

from elman import load_bot

DOCS = Path(__file__).parent

INK, BLUE, ORANGE, GREY = "#1b1f24", "#1f5fbf", "#b45309", "#59636e"
MESSAGES = ("hi", "hello", "how are you?", "fine, you?")
PART_NAMES = {
    "h": "h: what its outputs are made of",
    "c": "c: what it keeps for later",
    "ids": "the last 256 tokens",
    "keys": "a key of 16 numbers for each of them",
    "before": "what the next key is made of",
}


def text(x: float, y: float, words: str, colour: str = INK, anchor: str = "middle") -> str:
    return (
        f'<text x="{x:g}" y="{y:g}" fill="{colour}" text-anchor="{anchor}">{escape(words)}</text>'
    )


def box(x: float, y: float, w: float, h: float, fill: str, line: str = INK) -> str:
    place = f'x="{x:g}" y="{y:g}" width="{w:g}" height="{h:g}"'
    return f'<rect {place} rx="6" fill="{fill}" stroke="{line}"/>'


def arrow(
    x1: float, y1: float, x2: float, y2: float, colour: str = INK, dashed: bool = False
) -> str:
    dash = ' stroke-dasharray="5 4"' if dashed else ""
    return (
        f'<line x1="{x1:g}" y1="{y1:g}" x2="{x2:g}" y2="{y2:g}" stroke="{colour}" stroke-width="2"'
        f'{dash} marker-end="url(#{colour[1:]})"/>'
    )


def picture(name: str, title: str, size: tuple[int, int], shapes: Sequence[str]) -> None:
    """Write shapes as a picture, on white so that it can be read in the dark too."""
    heads = "".join(
        f'<marker id="{colour[1:]}" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="6" '
        f'markerHeight="6" orient="auto"><path d="M0 0L8 4L0 8z" fill="{colour}"/></marker>'
        for colour in (INK, BLUE, ORANGE, GREY)
    )
    width, height = size
    (DOCS / name).write_text(
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img" '
        f'font-family="sans-serif" font-size="14"><title>{escape(title)}</title>'
        f'<defs>{heads}</defs><rect width="{width}" height="{height}" fill="#fff"/>'
        + "\n".join(shapes)
        + "</svg>\n",
        "utf-8",
    )


def unfolded() -> None:
    """Draw one column for each message: forward in black, backward in colours."""
    step, shapes = 190, []
    for n, message in enumerate(MESSAGES):
        x = 60 + n * step
        shapes += [
            box(x, 110, 90, 44, "#eef4ff"),
            text(x + 45, 137, f"h_{n + 1}"),
            text(x + 45, 222, message),
            arrow(x + 45, 204, x + 45, 158),
            box(x, 24, 90, 34, "#fff7ed"),
            text(x + 45, 46, f"loss_{n + 1}"),
            arrow(x + 36, 108, x + 36, 62),
            arrow(x + 56, 62, x + 56, 108, ORANGE),
        ]
        if n + 1 < len(MESSAGES):
            shapes += [
                arrow(x + 92, 124, x + step - 3, 124),
                arrow(x + step - 3, 142, x + 93, 142, BLUE),
            ]
    shapes += [
        text(60, 256, "forward: each state is made of the one before and a message", INK, "start"),
        text(60, 276, "direct part: what a state's own loss says", ORANGE, "start"),
        text(
            60,
            296,
            "indirect part: what all later losses say, through the next state",
            BLUE,
            "start",
        ),
    ]
    picture("unfolded.svg", "A recurrent network, unfolded over four messages", (800, 312), shapes)


def gate() -> None:
    """Draw how a GRU's gate mixes what it kept with what is new."""
    shapes = [
        box(40, 40, 150, 44, "#eef4ff"),
        text(115, 67, "old state"),
        box(40, 150, 150, 44, "#fff7ed"),
        text(115, 177, "new candidate n"),
        box(300, 95, 120, 44, "#f6f8fa"),
        text(360, 122, "z, from 0 to 1"),
        box(540, 95, 150, 44, "#eef4ff"),
        text(615, 122, "new state"),
        arrow(192, 62, 536, 104),
        text(370, 60, "times z"),
        arrow(192, 172, 536, 130),
        text(370, 172, "times 1 - z"),
        arrow(536, 98, 196, 54, BLUE, dashed=True),
        text(
            40,
            232,
            "z near 1 keeps the old state as it is. On that road (dashed) the gradient is",
            INK,
            "start",
        ),
        text(
            40,
            252,
            "multiplied by z alone, with no tanh and no matrix: so it can reach far back.",
            INK,
            "start",
        ),
    ]
    picture("gate.svg", "The gate of a GRU", (730, 270), shapes)


def state() -> None:
    """Draw the state of the base: a bar for each of its parts, as long as it has bytes."""
    parts = load_bot("base").decoder.state_spec
    sizes = [(part.name.removeprefix("tokens."), 4 * part.size) for part in parts]
    total = sum(size for _, size in sizes)
    shapes = [
        text(
            20,
            28,
            f"state of the base: {total:,} bytes, after any number of messages",
            INK,
            "start",
        )
    ]
    for row, (name, size) in enumerate(sizes):
        y = 44 + row * 30
        layer, _, last = name.rpartition(".")
        fill = "#fff7ed" if layer == "pointer" else "#eef4ff"
        shapes += [
            text(88, y + 17, layer, GREY, "end"),
            box(98, y, max(3, 300 * size / max(size for _, size in sizes)), 24, fill),
            text(410, y + 17, f"{size:,} bytes", INK, "start"),
            text(520, y + 17, PART_NAMES[last], INK, "start"),
        ]
    picture("state.svg", "What a state is made of", (800, 60 + 30 * len(sizes)), shapes)


if __name__ == "__main__":
    unfolded()
    gate()
    state()
