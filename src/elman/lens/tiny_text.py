"""The tiny training step, printed: every number of it in aligned plain text of 80 columns."""

from collections.abc import Iterator, Sequence

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text
from torch import Tensor, stack

from elman.lens.tiny import ADAM_LR, CLIP, SGD_LR, SYMBOLS, TINY_HIDDEN_SIZE, TinyStep, UnfoldedStep

GATES = {"rnn": "h", "gru": "rzn", "lstm": "ifgo"}
"""The names of the stacked weights' rows, a letter for each block of three."""

GATE_ROWS: dict[str, tuple[str, ...]] = {
    "rnn": (),
    "gru": ("Rows: r, the reset gate; z, the update gate; n, the new state.",),
    "lstm": ("Rows: i, the input gate; f, forget gate; g, new content; o, output gate.",),
}

WEIGHT_MEANINGS = (
    ("weight_ih", "bias_ih", "from the message, one column for each symbol"),
    ("weight_hh", "bias_hh", "from the state before, one column for each of its numbers"),
    ("weight_out", "bias_out", "from the state to the guess, one row for each symbol"),
)
"""Each weight, the bias that is added beside it, and what they are for."""


def number(value: float | Tensor) -> str:
    """Write a number to 4 decimals, without a negative zero."""
    text = f"{float(value):.4f}"
    return text.removeprefix("-") if float(text) == 0 else text


def units(cell: str) -> list[str]:
    """Name the rows of weight_ih and weight_hh: h1 h2 h3, or r1 r2 r3 z1 ..."""
    return [f"{gate}{unit + 1}" for gate in GATES[cell] for unit in range(TINY_HIDDEN_SIZE)]


def rows_of(step: TinyStep, name: str) -> list[str]:
    """Name the rows of a weight or bias."""
    return list(SYMBOLS) if name.endswith("_out") else units(step.cell)


def columns_of(name: str) -> list[str]:
    """Name the columns of a weight."""
    if name == "weight_ih":
        return [f"x{t + 1}" for t in range(len(SYMBOLS))]
    return [f"h{unit + 1}" for unit in range(TINY_HIDDEN_SIZE)]


def cut_words(step: TinyStep) -> str:
    """Say where the unfolding cuts the gradient."""
    if step.unfold >= len(step.steps):
        return "never cut"
    return f"cut every {step.unfold} messages" if step.unfold > 1 else "cut at every message"


def printed(step: TinyStep) -> Iterator[RenderableType]:
    """Print the whole step, part by part, from the conversation to the losses after it."""
    yield from _given(step)
    yield from _forward(step)
    yield from _backward(step)
    yield from _sum(step)
    yield from _clip(step)
    yield from _update(step)


def _heading(title: str, *words: str) -> Iterator[RenderableType]:
    yield Text()
    yield Text(title, style="bold")
    for line in words:
        yield Text(line, style="dim")


def _table(labels: Sequence[str], numbers: Sequence[str]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="dim")
    for label in labels:
        table.add_column(label, no_wrap=True)
    for name in numbers:
        # Room for a sign, so that the columns of one table stand below those of the next.
        table.add_column(name, justify="right", no_wrap=True, min_width=7)
    return table


def _numbers(values: Tensor) -> list[str]:
    return [number(value) for value in values]


def _given(step: TinyStep) -> Iterator[RenderableType]:
    yield Text(
        f"One training step: {step.cell}, state of {TINY_HIDDEN_SIZE}, "
        f"--unfold {step.unfold} ({cut_words(step)}), seed {step.seed}",
        style="bold",
    )
    yield from _heading(
        "The conversation",
        "Each message is one symbol; the network reads it and guesses the next.",
    )
    yield Text("  " + " -> ".join((*(s.message for s in step.steps), step.steps[-1].target)))
    yield from _heading(
        "The weights before",
        "Drawn in tenths, so that all can be checked by hand.",
        *GATE_ROWS[step.cell],
    )
    for weight, bias, what in WEIGHT_MEANINGS:
        yield Text(f"{weight}, {bias}: {what}")
        table = _table([""], [*columns_of(weight), "bias"])
        for label, row, b in zip(
            rows_of(step, weight), step.weights[weight], step.weights[bias], strict=True
        ):
            table.add_row(label, *_numbers(row), number(b))
        yield table
        if weight == "weight_ih":
            named = ", ".join(f"x{t + 1} {symbol}" for t, symbol in enumerate(SYMBOLS))
            yield Text(f"({named})", style="dim")


def _forward(step: TinyStep) -> Iterator[RenderableType]:
    yield from _heading(
        "1 Forward",
        "Each state comes from the message and the state before; the guess from the state.",
    )
    table = _table(["t", "message", "comes next", ""], ["1", "2", "3", "p(next)", "loss"])
    for t, s in enumerate(step.steps, 1):
        table.add_row(
            str(t),
            Text(s.message),
            Text(s.target),
            "h",
            *_numbers(s.after[0]),
            number(s.p[t]),
            number(s.loss),
        )
        for c in s.after[1:]:
            table.add_row("", "", "", "c", *_numbers(c))
    yield table
    yield from _heading(
        "2 Losses",
        "The guess gives every symbol a probability. The loss is -log of the one marked *,",
        "which is what came next.",
    )
    table = _table(["p"], [f"t={t}" for t in range(1, len(step.steps) + 1)])
    for v, symbol in enumerate(SYMBOLS):
        cells = [number(s.p[v]) + ("*" if v == t + 1 else " ") for t, s in enumerate(step.steps)]
        table.add_row(Text(symbol), *cells)
    table.add_row("loss", *(number(s.loss) + " " for s in step.steps), style="bold")
    yield table
    yield Text(f"The loss of the whole conversation is their sum: {number(step.loss)}")


def _backward(step: TinyStep) -> Iterator[RenderableType]:
    yield from _heading(
        "3 Backward, from the last step to the first",
        "Direct: what h changes in its own loss. Indirect: what it changes in later losses.",
        "Their sum is the gradient of h; what it makes for the state before is handed back.",
    )
    table = _table([""], ["1", "2", "3", "norm"])

    def row(name: str, values: Tensor, style: str | None = None) -> None:
        table.add_row("  " + name, *_numbers(values), number(values.norm()), style=style)

    for t in reversed(range(len(step.steps))):
        s = step.steps[t]
        table.add_row(Text(f"step {t + 1}: {s.message}", style="bold"))
        row("  direct", s.direct, "yellow")
        row("+ indirect", came_back(step, t)[0], "blue")
        row("= gradient of h", s.gradient, "bold")
        for d in came_back(step, t)[1:]:
            row("  of c, from later", d, "blue")
        for name, d in zip("hc", s.back, strict=False):
            where = (
                f"  back to {name} of step {t}" if t else f"  back to the first {name}: not used"
            )
            row(where, d, "dim" if s.cut or t == 0 else None)
        if s.cut:
            table.add_row(f"8< - - cut: step {t} gets nothing", style="red")
    yield table


def came_back(step: TinyStep, t: int) -> tuple[Tensor, ...]:
    """Find what the step after t sent back to the state after step t: of h, and of c."""
    last = t == len(step.steps) - 1
    if last or step.steps[t + 1].cut:
        return tuple(0 * part for part in step.steps[t].back)
    return step.steps[t + 1].back


def _sum(step: TinyStep) -> Iterator[RenderableType]:
    yield from _heading(
        "4 Sum",
        "Every step uses the same weights, so each step gives a share of each gradient;",
        "the shares are added.",
    )
    steps = [f"share {t}" for t in range(1, len(step.steps) + 1)]
    yield Text("weight_ih, bias_ih: share t is column xt of weight_ih, for only step t read it;")
    yield Text("no step read (end), so x6 gets 0. The sum of a row is the gradient of bias_ih.")
    table = _table([""], [*steps, "sum"])
    for label, row in zip(units(step.cell), _shares(step.steps, "bias_ih"), strict=True):
        table.add_row(label, *_numbers(row), number(row.sum()))
    yield table
    for name in ("weight_hh", "bias_hh", "weight_out", "bias_out"):
        yield Text(name)
        table = _table([""], [*steps, "sum"])
        for label, row, total in zip(
            entries(step, name),
            _shares(step.steps, name),
            step.gradient[name].flatten(),
            strict=True,
        ):
            table.add_row(Text(label), *_numbers(row), number(total))
        yield table


def entries(step: TinyStep, name: str) -> list[str]:
    """Name the numbers of a weight, row by row: "h1,h2" is its first row's second."""
    if name.startswith("bias"):
        return rows_of(step, name)
    return [f"{row},{column}" for row in rows_of(step, name) for column in columns_of(name)]


def _shares(steps: Sequence[UnfoldedStep], name: str) -> Tensor:
    """(numbers of the weight, steps)"""
    return stack([s.shares[name].flatten() for s in steps], dim=1)


def _clip(step: TinyStep) -> Iterator[RenderableType]:
    yield from _heading(
        "5 Clip",
        f"A gradient that is longer than {CLIP:g} is scaled down to {CLIP:g}; its direction stays.",
    )
    table = _table([""], [""])
    table.show_header = False
    table.add_row("norm of all gradients together", number(step.norm))
    table.add_row("every gradient is multiplied by", number(step.clipped_norm / step.norm))
    table.add_row("norm after clipping", number(step.clipped_norm))
    yield table


def _update(step: TinyStep) -> Iterator[RenderableType]:
    yield from _heading(
        "6 Update",
        f"SGD takes {SGD_LR:g} times the clipped gradient off each weight. Adam, in its first",
        f"step, moves each by {ADAM_LR:g} against the sign of its gradient, however small.",
    )
    for weight, bias, _ in WEIGHT_MEANINGS:
        yield Text(f"{weight}, {bias}")
        table = _table(["", ""], [*columns_of(weight), "bias"])
        for i, label in enumerate(rows_of(step, weight)):
            for name, weights in (
                ("before", step.weights),
                ("-> SGD", step.sgd),
                ("-> Adam", step.adam),
            ):
                table.add_row(
                    Text(label if name == "before" else ""),
                    name,
                    *_numbers(weights[weight][i]),
                    number(weights[bias][i]),
                    style="dim" if name == "before" else None,
                )
        yield table
    yield from _heading("The loss of the conversation", "Has it learned? Read it again.")
    table = _table([""], [""])
    table.show_header = False
    table.add_row("before", number(step.loss))
    table.add_row("after SGD", number(step.sgd_loss))
    table.add_row("after Adam", number(step.adam_loss))
    yield table
