"""The tiny training step as one page for a classroom: offline, printable, walked by arrow keys.

The drawing is made of real numbers: the width of an arrow follows the norm of the gradient that it
carries, the depth of a cell's colour its value. Whatever belongs to phase n has the class `pn`; the
page hides later phases while it is walked through, and shows all of them without JavaScript.
"""

from collections.abc import Sequence
from html import escape

import torch
from torch import Tensor

from elman.lens.html import beside, document
from elman.lens.page import MINUS
from elman.lens.tiny import ADAM_LR, CLIP, SGD_LR, SYMBOLS, TINY_HIDDEN_SIZE, TinyStep
from elman.lens.tiny_text import came_back, columns_of, number, rows_of

PHASES = {
    "Forward": "Message by message, the network makes its next state from what it reads and from "
    "the state before, and guesses the next message from that state.",
    "Losses": "What came next? The less probability the guess gave it, the greater the loss: "
    f"loss\N{NO-BREAK SPACE}=\N{NO-BREAK SPACE}{MINUS}log\N{NO-BREAK SPACE}p.",
    "Backward": "From the last message to the first: how should each state have been different? "
    "Its own loss says so directly, and all later losses say so through the states after it.",
    "Sum": "All five steps use the same weights. Each step gives its share of the gradient, "
    "and the shares are added.",
    "Clip": "A gradient that is too long would throw the weights far away. It is scaled down, "
    "and keeps its direction.",
    "Update": "Every weight takes a small step against its gradient. Did it help?",
}

# The drawing, in units that are about pixels on a projector.
PAGE_WIDTH_PX = 1300
GUTTER = 138
COLUMN = 230
CELL_W, CELL_H = 88, 34
GRADIENT_W = 68


def page(step: TinyStep) -> str:
    """The whole page, as one HTML document that needs nothing else."""
    name = step.cell.upper()
    never = step.unfold >= len(step.steps)
    unfolding = (
        "never cut" if never else f"cut every {step.unfold} messages" if step.unfold > 1 else ""
    )
    chips = (
        f"cell {name}",
        f"unfold {step.unfold}: {unfolding or 'cut at every message'}",
        f"seed {step.seed}",
    )
    buttons = "".join(
        f'<button type="button" data-go="{n}" aria-pressed="false">{label}</button>'
        for n, label in [(0, "All"), *((n, f"{n} {phase}") for n, phase in enumerate(PHASES, 1))]
    )
    sections = (_network(step), _sum(step), _clip(step), _update(step), _table(step))
    body = f"""<header>
<h1>Backpropagation through time, in five messages</h1>
<p class="lead">A network whose whole memory is three numbers reads a conversation, guesses each
next message, and learns from its mistakes. This is one complete training step.</p>
<p class="chips">{"".join(f"<span>{escape(chip)}</span>" for chip in chips)}</p>
</header>
<nav aria-label="Phases" hidden><div>{buttons}</div>
<p class="hint">← → or 1 to 6 walk through it, 0 shows all</p></nav>
<main>
{"".join(sections)}
</main>
<footer>Made by <code>elman lens --tiny --cell {escape(step.cell)} --unfold {step.unfold}
 --seed {step.seed}</code>. Colours: <span class="swatch neg"></span> negative,
<span class="swatch pos"></span> positive; the deeper, the larger.</footer>"""
    title = f"Backpropagation through time: one training step, {name}"
    return document(title, beside("tiny_page.css"), body, beside("tiny_page.js"))


# --- pieces of a drawing -------------------------------------------------------------------------


def _short(value: float | Tensor) -> str:
    """To 3 decimals, with a true minus sign; a 0 alone is exactly 0."""
    text = f"{float(value):.3f}" if float(value) else "0"
    return text.removeprefix("-") if float(text) == 0 else text.replace("-", MINUS)


def _text(x: float, y: float, words: str, kind: str = "", anchor: str = "middle") -> str:
    return f'<text x="{x:g}" y="{y:g}" text-anchor="{anchor}" class="{kind}">{escape(words)}</text>'


def _cell(
    x: float, y: float, w: float, h: float, value: float | Tensor, most: float, words: str = ""
) -> str:
    """A coloured box with its number (or without, where `words` is one blank)."""
    value = float(value)
    depth = 0.62 * min(1.0, abs(value) / most) if most else 0.0
    sign = "neg" if value < 0 else "pos"
    middle = _text(x + w / 2, y + h / 2, words or _short(value), "num") if words != " " else ""
    return (
        f'<g><title>{number(value)}</title><rect x="{x:g}" y="{y:g}" width="{w:g}" height="{h:g}" '
        f'class="back"/><rect x="{x:g}" y="{y:g}" width="{w:g}" height="{h:g}" '
        f'class="{sign}" fill-opacity="{depth:.3f}"/>{middle}</g>'
    )


def _arrow(
    start: tuple[float, float], end: tuple[float, float], width: float, kind: str, head: bool = True
) -> str:
    """A level or upright arrow as one polygon, so that its head fits its width."""
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


def _scissors(x: float, y: float) -> str:
    """Open scissors, pointing up."""
    return (
        f'<g class="scissors" transform="translate({x:g} {y:g})">'
        '<path d="M-8 12 L7 -18 M8 12 L-7 -18"/><circle cx="-10" cy="18" r="6.5"/>'
        '<circle cx="10" cy="18" r="6.5"/></g>'
    )


def _section(phase: int, body: str, note: str = "") -> str:
    title, words = list(PHASES.items())[phase - 1]
    return (
        f'<section class="p{phase}" id="phase{phase}"><h2><b>{phase}</b> {title}</h2>'
        f"<p>{escape(words)}{note}</p>{body}</section>"
    )


def _drawing(width: float, height: float, body: str, label: str, least: int = 0) -> str:
    """A drawing that fits the page, and on a narrow one is scrolled sideways."""
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(label)}">'
        f'<svg viewBox="0 0 {width:g} {height:g}" role="img" aria-label="{escape(label)}" '
        f'style="width:{width:g}px;min-width:{min(least or width, width):g}px">{body}</svg>'
        "</div>"
    )


# --- phases 1 to 3: the network -------------------------------------------------------------------


def _network(step: TinyStep) -> str:
    captions = "".join(
        f'<div class="p{n} caption"><h2><b>{n}</b> {title}</h2><p>{escape(words)}</p></div>'
        for n, (title, words) in enumerate(list(PHASES.items())[:3], 1)
    )
    stacks = len(step.steps[0].after)
    layout = _Layout(step, stacks)
    parts = [layout.labels()]
    for t in range(len(step.steps)):
        parts += [layout.forward(t), layout.losses(t), layout.backward(t)]
    total = f"The loss of the conversation is the sum: {_short(step.loss)}"
    legend = (
        '<p class="legend p3"><span class="swatch direct"></span> direct: from its own loss '
        '<span class="swatch indirect"></span> indirect: from all later losses, through the next '
        "state. The wider an arrow, the longer the gradient; the bars compare their lengths.</p>"
    )
    label = (
        f"The network unfolded over five messages. {total}. Losses: "
        + ", ".join(f"{s.message}: {number(s.loss)}" for s in step.steps)
        + ". All numbers are in the table at the end."
    )
    return (
        f'<section id="network"><div class="captions">{captions}</div>'
        f"{_drawing(PAGE_WIDTH_PX, layout.height, ''.join(parts), label, 1040)}{legend}</section>"
    )


class _Layout:
    """Where everything is in the drawing of the network; y grows downwards."""

    def __init__(self, step: TinyStep, stacks: int) -> None:
        self.step = step
        self.stacks = stacks
        self.loss = 14
        self.guess = 78
        self.state = 318
        self.state_end = self.state + stacks * (3 * CELL_H) + (stacks - 1) * 26
        self.message = self.state_end + 46
        self.band = self.message + 84
        self.mix = self.band + (2 + stacks) * 38 + 8
        self.height = self.mix + 50
        norms = [float(s.direct.norm()) for s in step.steps]
        norms += [float(d.norm()) for s in step.steps[1:] for d in s.back]
        self.most = max(norms)
        self.surest = max(float(s.p.max()) for s in step.steps)

    def x(self, t: int) -> float:
        """The middle of a column."""
        return GUTTER + COLUMN * t + COLUMN / 2

    def stack_y(self, which: int) -> float:
        """The top of the three cells of h (0) or c (1)."""
        return self.state + which * (3 * CELL_H + 26)

    def width(self, norm: float) -> float:
        """Of an arrow: so that the widest fits, and the narrowest can be seen."""
        return 1.2 + 17 * norm / self.most

    def column(self, phase: int, t: int, body: str) -> str:
        order = t if phase < 3 else len(self.step.steps) - 1 - t
        return f'<g class="col p{phase}" style="--i:{order}">{body}</g>'

    def labels(self) -> str:
        left, step = 10, self.step
        rows = [
            (1, self.guess + 40, "guess:", "label"),
            (1, self.guess + 64, "what comes", "label"),
            (1, self.guess + 88, "next?", "label"),
            (1, self.message + 21, "message read", "label"),
            (2, self.loss + 13, "loss, in all", "label"),
            (2, self.loss + 36, _short(step.loss), "num strong big"),
            (3, self.band + 15, "direct", "label direct-ink"),
            (3, self.band + 53, "+ indirect", "label indirect-ink"),
            (3, self.band + 91, "= gradient", "label strong"),
            (3, self.mix + 10, "how much of each", "label small"),
        ]
        if self.stacks == 2:
            rows.append((3, self.band + 129, "c, from later", "label indirect-ink"))
        parts = [
            f'<g class="p{phase}">{_text(left, y, words, kind, "start")}</g>'
            for phase, y, words, kind in rows
        ]
        for which in range(self.stacks):
            y = self.stack_y(which)
            letter = "hc"[which]
            parts.append(
                f'<g class="p1">{_text(left, y - 11, f"{letter}₀: empty", "unit", "start")}'
                + "".join(
                    _cell(left, y + u * CELL_H, 76, CELL_H, 0.0, 1, "0")
                    for u in range(TINY_HIDDEN_SIZE)
                )
                + "</g>"
            )
        return "".join(parts)

    def forward(self, t: int) -> str:
        s, x = self.step.steps[t], self.x(t)
        parts = []
        for which, values in enumerate(s.after):
            y = self.stack_y(which)
            left = x - CELL_W / 2
            parts += [
                _cell(left, y + u * CELL_H, CELL_W, CELL_H, v, 1.0) for u, v in enumerate(values)
            ]
            before = 90 if t == 0 else self.x(t - 1) + CELL_W / 2 + 4
            parts.append(_arrow((before, y + CELL_H / 2), (left - 4, y + CELL_H / 2), 3, "wire"))
            label = f"{'hc'[which]}{'₁₂₃₄₅'[t]}"
            parts.append(_text(left - 8, y - 7, label, "unit strong", "end"))
        # The message below, and the arrow from it.
        wide = max(76, 11 * len(s.message) + 30)
        parts.append(
            f'<rect x="{x - wide / 2:g}" y="{self.message}" width="{wide}" height="42" rx="20" '
            f'class="bubble {"left" if t % 2 == 0 else "right"}"/>'
        )
        parts.append(_text(x, self.message + 22, s.message, "said"))
        parts.append(_arrow((x, self.message - 3), (x, self.state_end + 4), 3, "wire"))
        # The guess above: six bars.
        parts.append(_arrow((x - 18, self.state - 4), (x - 18, self.guess + 6 * 25 + 8), 3, "wire"))
        for v, symbol in enumerate(SYMBOLS):
            y = self.guess + v * 25
            p = float(s.p[v])
            parts.append(_text(x + 2, y + 11, symbol, "symbol", "end"))
            parts.append(
                f'<rect x="{x + 8:g}" y="{y + 1}" width="{max(1.0, 46 * p / self.surest):.1f}" '
                'height="19" rx="2" class="bar"/>'
            )
            parts.append(_text(x + 108, y + 11, f"{p:.3f}", "num", "end"))
        return self.column(1, t, "".join(parts))

    def losses(self, t: int) -> str:
        s, x = self.step.steps[t], self.x(t)
        y = self.guess + (t + 1) * 25
        return self.column(
            2,
            t,
            f'<rect x="{x - 106:g}" y="{y - 2}" width="218" height="25" rx="5" class="target"/>'
            f'<rect x="{x - 100:g}" y="{self.loss}" width="206" height="46" rx="8" class="pill"/>'
            + _text(x + 3, self.loss + 16, f"loss {_short(s.loss)}", "num strong big")
            + _text(x + 3, self.loss + 36, f"= {MINUS}log {_short(s.p[t + 1])}", "num small"),
        )

    def backward(self, t: int) -> str:
        s, x = self.step.steps[t], self.x(t)
        parts = []
        # The direct part comes down from the loss.
        down = float(s.direct.norm())
        top = self.guess + 6 * 25 + 8
        parts.append(_arrow((x + 16, top), (x + 16, self.state - 4), self.width(down), "direct"))
        parts.append(
            _text(
                x + 32 + self.width(down) / 2,
                (top + self.state) / 2,
                _short(down),
                "num direct-ink",
                "start",
            )
        )
        # What is handed back goes left, to the state before; at a cut it stops.
        if t > 0:
            for which, values in enumerate(s.back):
                parts.append(self.handed_back(t, which, float(values.norm()), s.cut))
            if s.cut:
                parts.append(self.cut(t))
        # The numbers, below.
        indirect, *indirect_c = came_back(self.step, t)
        most = max(float(torch.stack([q.direct, q.gradient]).abs().max()) for q in self.step.steps)
        rows = [(s.direct, "direct"), (indirect, "indirect"), (s.gradient, "both")]
        rows += [(values, "indirect") for values in indirect_c]
        for row, (values, kind) in enumerate(rows):
            y = self.band + row * 38
            left = x - 1.5 * GRADIENT_W
            parts += [
                _cell(left + u * GRADIENT_W, y, GRADIENT_W, 30, v, most)
                for u, v in enumerate(values)
            ]
            parts.append(
                f'<rect x="{left:g}" y="{y}" width="{3 * GRADIENT_W}" height="30" '
                f'class="frame {kind}-line"/>'
            )
        later = float(indirect.norm())
        room = 3 * GRADIENT_W
        part = room * down / (down + later)
        y = self.mix
        parts.append(
            f'<rect x="{x - room / 2:g}" y="{y}" width="{part:.1f}" height="18" class="direct"/>'
            f'<rect x="{x - room / 2 + part:.1f}" y="{y}" width="{room - part:.1f}" height="18" '
            'class="indirect"/>'
        )
        share = round(100 * later / (down + later))
        parts.append(
            _text(
                x, y + 36, f"{'of h, ' * (self.stacks - 1)}{share} % comes from later", "num small"
            )
        )
        return self.column(3, t, "".join(parts))

    def handed_back(self, t: int, which: int, norm: float, cut: bool) -> str:
        y = self.stack_y(which) + 2.05 * CELL_H
        start, end = self.x(t) - CELL_W / 2 - 4, self.x(t - 1) + CELL_W / 2 + 4
        middle = (start + end) / 2
        wide = self.width(norm)
        label = _text(
            middle + 34 if cut else middle,
            y + wide / 2 + 13,
            _short(norm),
            "num lost" if cut else "num indirect-ink",
        )
        if cut:
            return _arrow((start, y), (middle + 8, y), wide, "indirect lost", head=False) + label
        return _arrow((start, y), (end, y), wide, "indirect") + label

    def cut(self, t: int) -> str:
        x = (self.x(t) + self.x(t - 1)) / 2
        top, bottom = self.state - 40, self.state_end + 26
        return (
            f'<line x1="{x:g}" y1="{top}" x2="{x:g}" y2="{bottom}" class="cut"/>'
            + _scissors(x, bottom + 20)
            + _text(x, top - 10, "cut", "num strong cut-ink")
        )


# --- phases 4 to 6: the weights -------------------------------------------------------------------


class _Matrices:
    """Matrices in a row with signs between them: a + b + ... = sum."""

    def __init__(self, rows: Sequence[str], columns: Sequence[str]) -> None:
        self.rows, self.columns = rows, columns
        self.x = 12.0 + max(8.0 * len(row) for row in rows)
        self.h = 27.0
        self.top = 48.0 if any(columns) else 30.0
        self.parts = [
            _text(self.x - 8, self.top + (i + 0.5) * self.h, row, "unit", "end")
            for i, row in enumerate(rows)
        ]

    def sign(self, words: str) -> None:
        middle = self.top + len(self.rows) * self.h / 2
        self.parts.append(_text(self.x + 14, middle, words, "sign"))
        self.x += 28

    def add(self, title: str, values: Tensor, most: float, w: float, frame: str = "both") -> None:
        """A matrix; cells narrower than 40 show their colour alone."""
        grid = values if values.dim() == 2 else values[:, None]
        width = w * grid.shape[1]
        self.parts.append(_text(self.x + width / 2, 14, title, "unit strong"))
        for j, column in enumerate(self.columns):
            self.parts.append(_text(self.x + (j + 0.5) * w, self.top - 10, column, "unit small"))
        for i, row in enumerate(grid):
            for j, value in enumerate(row):
                at = (self.x + j * w, self.top + i * self.h)
                self.parts.append(_cell(*at, w, self.h, value, most, " " if w < 40 else ""))
        self.parts.append(
            f'<rect x="{self.x:g}" y="{self.top:g}" width="{width:g}" '
            f'height="{len(self.rows) * self.h:g}" class="frame {frame}-line"/>'
        )
        self.x += width

    def drawn(self, label: str) -> str:
        width, height = self.x + 12, self.top + len(self.rows) * self.h + 6
        return _drawing(width, height, "".join(self.parts), label)


TITLES = {
    "weight_ih": "weight_ih, from the message: share t is column t, for message t; "
    "(end) is never read",
    "weight_hh": "weight_hh, from the state before: the first share is 0, "
    "for the state before it is 0",
    "weight_out": "weight_out, from the state to the guess",
    "bias_ih": "bias_ih",
    "bias_hh": "bias_hh",
    "bias_out": "bias_out",
}


def _sum(step: TinyStep) -> str:
    figures = []
    for name in TITLES:
        shares = [s.shares[name] for s in step.steps]
        most = max(float(torch.stack(shares).abs().max()), float(step.gradient[name].abs().max()))
        vector = shares[0].dim() == 1
        drawing = _Matrices(rows_of(step, name), [""] if vector else columns_of(name))
        for t, share in enumerate(shares, 1):
            narrow = name == "weight_ih"
            drawing.add(f"step {t}", share, most, 22 if narrow else 54)
            drawing.sign("=" if t == len(shares) else "+")
        drawing.add("sum", step.gradient[name], most, 54, "sum")
        figures.append(
            f'<figure class="{"bias" if vector else "weight"}"><figcaption>{escape(TITLES[name])}'
            f"</figcaption>{drawing.drawn(f'The shares of {name} and their sum')}</figure>"
        )
    return _section(4, f'<div class="figures">{"".join(figures)}</div>')


def _clip(step: TinyStep) -> str:
    most = max(step.norm, CLIP) * 1.12
    scale = step.clipped_norm / step.norm
    room, left = 700, 150
    edge = left + room * CLIP / most
    bars = "".join(
        _text(left - 14, y + 22, words, "label", "end")
        + f'<rect x="{left}" y="{y}" width="{room * norm / most:.1f}" height="44" rx="3" '
        f'class="{kind}"/>'
        + _text(left + room * norm / most + 12, y + 23, _short(norm), "num strong big", "start")
        for y, words, norm, kind in (
            (34, "before", step.norm, "bar deep"),
            (96, "after", step.clipped_norm, "good"),
        )
    )
    limit = f'<line x1="{edge:.1f}" y1="22" x2="{edge:.1f}" y2="152" class="limit"/>' + _text(
        edge, 12, f"at most {CLIP:g}", "unit"
    )
    label = f"Norm before clipping {number(step.norm)}, after {number(step.clipped_norm)}"
    words = (
        f" The norm of all gradients together is {number(step.norm)}; every number is multiplied "
        f"by {number(scale)}."
    )
    return _section(5, _drawing(960, 162, bars + limit, label, 640), escape(words))


def _update(step: TinyStep) -> str:
    figures = []
    for name in TITLES:
        weights = step.weights[name]
        vector = weights.dim() == 1
        drawing = _Matrices(rows_of(step, name), [""] if vector else columns_of(name))
        drawing.add("before", weights, 1.0, 54)
        drawing.sign("→")
        drawing.add("SGD", step.sgd[name], 1.0, 54, "sgd")
        drawing.sign(" ")
        drawing.add("Adam", step.adam[name], 1.0, 54, "adam")
        figures.append(
            f"<figure><figcaption>{escape(name)}"
            f"</figcaption>{drawing.drawn(f'{name} before, after SGD and after Adam')}</figure>"
        )
    rules = (
        f"<ul><li><b>SGD</b> takes {SGD_LR:g} times the clipped gradient off each weight: large "
        "gradients move weights far, small ones hardly.</li>"
        f"<li><b>Adam</b>, in its first step, moves each weight by {ADAM_LR:g} against the sign of "
        "its gradient, however small that is; a weight whose gradient is 0 stays.</li></ul>"
    )
    return _section(6, f'{_losses_after(step)}{rules}<div class="figures">{"".join(figures)}</div>')


def _losses_after(step: TinyStep) -> str:
    room, left = 620, 150
    most = max(step.loss, step.sgd_loss, step.adam_loss) * 1.05
    bars = "".join(
        _text(left - 14, y + 20, words, "label", "end")
        + f'<rect x="{left}" y="{y}" width="{room * loss / most:.1f}" height="40" rx="3" '
        f'class="{kind}"/>'
        + _text(left + room * loss / most + 12, y + 21, _short(loss), "num strong big", "start")
        + (
            _text(
                left + room * loss / most + 106, y + 21, _change(loss - step.loss), "num", "start"
            )
            if kind != "bar deep"
            else ""
        )
        for y, words, loss, kind in (
            (6, "before", step.loss, "bar deep"),
            (56, "after SGD", step.sgd_loss, "sgd"),
            (106, "after Adam", step.adam_loss, "adam"),
        )
    )
    label = (
        f"Loss before {number(step.loss)}, after SGD {number(step.sgd_loss)}, "
        f"after Adam {number(step.adam_loss)}"
    )
    return _drawing(960, 154, bars, label, 640)


def _change(by: float) -> str:
    return f"({'+' if by > 0 else ''}{_short(by)})"


def _table(step: TinyStep) -> str:
    """The numbers of the drawing for those who do not see it, and for those who copy them."""
    head = "<tr><th>t<th>message<th>comes next<th>state<th>p(next)<th>loss<th>direct<th>indirect"
    rows = "".join(
        f"<tr><td>{t}<td>{escape(s.message)}<td>{escape(s.target)}"
        f"<td>{'; '.join(_vector(part) for part in s.after)}<td>{number(s.p[t])}"
        f"<td>{number(s.loss)}<td>{_vector(s.direct)}<td>{_vector(s.indirect)}"
        for t, s in enumerate(step.steps, 1)
    )
    return (
        "<details><summary>The numbers of the drawing, as a table</summary>"
        f'<div class="scroll" tabindex="0" role="region" aria-label="Numbers">'
        f"<table>{head}{rows}</table></div></details>"
    )


def _vector(values: Tensor) -> str:
    return ", ".join(number(value) for value in values)
