"""The network of the tiny training step, unfolded over its messages: a drawing of real numbers.

The width of an arrow follows the norm of the gradient that it carries.
"""

import torch

from elman.lens.page import MINUS
from elman.lens.svg import arrow, box, cell, drawing, line, scissors, short, text
from elman.lens.tiny import SYMBOLS, TINY_HIDDEN_SIZE, TinyStep
from elman.lens.tiny_text import came_back, number

# In units that are about pixels on a projector.
PAGE_WIDTH_PX = 1300
GUTTER = 138
COLUMN = 230
CELL_W, CELL_H = 88, 34
GRADIENT_W = 68


def network(step: TinyStep) -> str:
    """Draw phases 1 to 3."""
    layout = _Layout(step)
    parts = [layout.labels()]
    for t in range(len(step.steps)):
        parts += [layout.forward(t), layout.losses(t), layout.backward(t)]
    label = (
        "The network unfolded over five messages. "
        f"The loss of the conversation is the sum: {short(step.loss)}. Losses: "
        + ", ".join(f"{s.message}: {number(s.loss)}" for s in step.steps)
        + ". All numbers are in the table at the end."
    )
    return drawing(PAGE_WIDTH_PX, layout.height, "".join(parts), label, 1040)


class _Layout:
    """Says where everything is in the drawing; y grows downwards."""

    def __init__(self, step: TinyStep) -> None:
        self.step = step
        self.stacks = stacks = len(step.steps[0].after)
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
        """Find the middle of a column."""
        return GUTTER + COLUMN * t + COLUMN / 2

    def stack_y(self, which: int) -> float:
        """Find the top of the three cells of h (0) or c (1)."""
        return self.state + which * (3 * CELL_H + 26)

    def width(self, norm: float) -> float:
        """Make an arrow as wide as a norm; the widest fits, and the narrowest can be seen."""
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
            (2, self.loss + 36, short(step.loss), "num strong big"),
            (3, self.band + 15, "direct", "label direct-ink"),
            (3, self.band + 53, "+ indirect", "label indirect-ink"),
            (3, self.band + 91, "= gradient", "label strong"),
            (3, self.mix + 10, "how much of each", "label small"),
        ]
        if self.stacks == 2:
            rows.append((3, self.band + 129, "c, from later", "label indirect-ink"))
        parts = [
            f'<g class="p{phase}">{text(left, y, words, kind, "start")}</g>'
            for phase, y, words, kind in rows
        ]
        for which in range(self.stacks):
            y = self.stack_y(which)
            letter = "hc"[which]
            parts.append(
                f'<g class="p1">{text(left, y - 11, f"{letter}₀: empty", "unit", "start")}'
                + "".join(
                    cell(left, y + u * CELL_H, 76, CELL_H, 0.0, 1) for u in range(TINY_HIDDEN_SIZE)
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
                cell(left, y + u * CELL_H, CELL_W, CELL_H, v, 1.0) for u, v in enumerate(values)
            ]
            before = 90 if t == 0 else self.x(t - 1) + CELL_W / 2 + 4
            parts.append(arrow((before, y + CELL_H / 2), (left - 4, y + CELL_H / 2), 3, "wire"))
            label = f"{'hc'[which]}{'₁₂₃₄₅'[t]}"
            parts.append(text(left - 8, y - 7, label, "unit strong", "end"))
        # The message below, and the arrow from it.
        wide = max(76, 11 * len(s.message) + 30)
        side = "left" if t % 2 == 0 else "right"
        parts.append(box(x - wide / 2, self.message, wide, 42, f"bubble {side}", 'rx="20"'))
        parts.append(text(x, self.message + 22, s.message, "said"))
        parts.append(arrow((x, self.message - 3), (x, self.state_end + 4), 3, "wire"))
        # The guess above: six bars.
        parts.append(arrow((x - 18, self.state - 4), (x - 18, self.guess + 6 * 25 + 8), 3, "wire"))
        for v, symbol in enumerate(SYMBOLS):
            y = self.guess + v * 25
            p = float(s.p[v])
            parts.append(text(x + 2, y + 11, symbol, "symbol", "end"))
            parts.append(box(x + 8, y + 1, max(1.0, 46 * p / self.surest), 19, "bar", 'rx="2"'))
            parts.append(text(x + 108, y + 11, f"{p:.3f}", "num", "end"))
        return self.column(1, t, "".join(parts))

    def losses(self, t: int) -> str:
        s, x = self.step.steps[t], self.x(t)
        y = self.guess + (t + 1) * 25
        parts = [
            box(x - 106, y - 2, 218, 25, "target", 'rx="5"'),
            box(x - 100, self.loss, 206, 46, "pill", 'rx="8"'),
            text(x + 3, self.loss + 16, f"loss {short(s.loss)}", "num strong big"),
            text(x + 3, self.loss + 36, f"= {MINUS}log {short(s.p[t + 1])}", "num small"),
        ]
        return self.column(2, t, "".join(parts))

    def backward(self, t: int) -> str:
        s, x = self.step.steps[t], self.x(t)
        parts = []
        # The direct part comes down from the loss.
        down = float(s.direct.norm())
        top = self.guess + 6 * 25 + 8
        parts.append(arrow((x + 16, top), (x + 16, self.state - 4), self.width(down), "direct"))
        beside = x + 32 + self.width(down) / 2
        parts.append(text(beside, (top + self.state) / 2, short(down), "num direct-ink", "start"))
        # What is handed back goes left, to the state before; at a cut it stops.
        if t > 0:
            for which, values in enumerate(s.back):
                parts.append(self.handed_back(t, which, float(values.norm()), s.cut))
            if s.cut:
                parts.append(self.cut(t))
        # The numbers, below.
        indirect, *indirect_c = came_back(self.step, t)
        room = 3 * GRADIENT_W
        most = max(float(torch.stack([q.direct, q.gradient]).abs().max()) for q in self.step.steps)
        rows = [(s.direct, "direct"), (indirect, "indirect"), (s.gradient, "both")]
        rows += [(values, "indirect") for values in indirect_c]
        for row, (values, kind) in enumerate(rows):
            y, left = self.band + row * 38, x - room / 2
            parts += [
                cell(left + u * GRADIENT_W, y, GRADIENT_W, 30, v, most)
                for u, v in enumerate(values)
            ]
            parts.append(box(left, y, room, 30, f"frame {kind}-line"))
        later = float(indirect.norm())
        part = room * down / (down + later)
        share = f"{round(100 * later / (down + later))} % comes from later"
        parts += [
            box(x - room / 2, self.mix, part, 18, "direct"),
            box(x - room / 2 + part, self.mix, max(0.0, room - part), 18, "indirect"),
            text(x, self.mix + 36, "of h, " * (self.stacks - 1) + share, "num small"),
        ]
        return self.column(3, t, "".join(parts))

    def handed_back(self, t: int, which: int, norm: float, cut: bool) -> str:
        y = self.stack_y(which) + 2.05 * CELL_H
        start, end = self.x(t) - CELL_W / 2 - 4, self.x(t - 1) + CELL_W / 2 + 4
        middle = (start + end) / 2
        wide = self.width(norm)
        at, kind = (middle + 34, "num lost") if cut else (middle, "num indirect-ink")
        label = text(at, y + wide / 2 + 13, short(norm), kind)
        if cut:
            return arrow((start, y), (middle + 8, y), wide, "indirect lost", head=False) + label
        return arrow((start, y), (end, y), wide, "indirect") + label

    def cut(self, t: int) -> str:
        x = (self.x(t) + self.x(t - 1)) / 2
        top, bottom = self.state - 40, self.state_end + 26
        return (
            line(x, top, bottom, "cut")
            + scissors(x, bottom + 20)
            + text(x, top - 10, "cut", "num strong cut-ink")
        )
