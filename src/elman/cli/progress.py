"""How a run shows: a bar on a terminal, a few lines elsewhere, JSON Lines for machines."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn

from elman.cli.text import console, plain
from elman.train.runlog import Observer

LOSS_SMOOTHING = 0.95


@contextmanager
def shown(as_json: bool) -> Iterator[Observer]:
    """Yield an observer that shows a run as fits where it is shown."""
    out = console(stderr=True)
    if as_json:
        yield lambda kind, facts: print(json.dumps({"kind": kind, **facts}), flush=True)
    elif not out.is_terminal:
        yield _Lines(out)
    else:
        columns = (
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(bar_width=20),
            TextColumn("{task.fields[numbers]}"),
        )
        with Progress(*columns, console=out, transient=True) as bar:
            yield _Bar(bar)


def say(text: str, out: Console | None = None) -> None:
    """Print a line for people to stderr, beside what a command prints for others to read."""
    (out or console(stderr=True)).print(escape(plain(text)), soft_wrap=True)


class _Lines:
    """Say what was found, what was held out, what to mind, and how it ended."""

    def __init__(self, out: Console) -> None:
        self._out = out

    def __call__(self, kind: str, facts: dict[str, Any]) -> None:
        if (describe := DESCRIBED.get(kind)) is not None:
            say(describe(facts), self._out)


class _Bar(_Lines):
    """Show the numbers of the moment in a bar below these lines."""

    def __init__(self, bar: Progress) -> None:
        super().__init__(bar.console)
        self._bar = bar
        self._task = bar.add_task("starting", total=1.0, numbers="")
        self._bits: float | None = None

    def __call__(self, kind: str, facts: dict[str, Any]) -> None:
        super().__call__(kind, facts)
        if kind == "stage":
            self._bar.update(self._task, description=escape(plain(facts["text"])), numbers="")
        elif kind == "step":
            bits = facts["bits_per_byte"]
            before = bits if self._bits is None else self._bits
            self._bits = LOSS_SMOOTHING * before + (1 - LOSS_SMOOTHING) * bits
            left = facts["left"]
            self._bar.update(
                self._task,
                completed=min(facts["spent"], 1.0),
                description=f"step {facts['step']:,}",
                numbers=(
                    f"loss {facts['loss']:.2f} · {self._bits:.3f} bits/byte · "
                    f"grad {facts['grad_norm']:.2f} · "
                    f"{facts['tokens_per_second'] / 1000:.1f}k tok/s · "
                    f"{left // 60}:{left % 60:02d} left"
                ),
            )


def describe_start(facts: dict[str, Any]) -> str:
    model, train = facts["config"]["model"], facts["config"]["train"]
    budget = next(
        f"{train[name]:g} {name}" for name in ("minutes", "epochs", "steps") if train[name]
    )
    return (
        f"{facts['conversations']:,} conversations, {facts['tokens']:,} tokens, "
        f"{facts['held_out']:,} conversations to validate on; "
        f"{model['layers']} x {model['cell'].upper()} {model['hidden_size']}, "
        f"{facts['parameters'] / 1e6:.1f}M parameters, {budget}"
    )


def describe_validation(facts: dict[str, Any]) -> str:
    return f"step {facts['step']:,}: {facts['bits_per_byte']:.3f} bits per byte held out" + (
        "" if facts["best"] else " (not the best)"
    )


def describe_end(facts: dict[str, Any]) -> str:
    found = facts["bits_per_byte"]
    return f"{facts['reason']} after {facts['steps']:,} steps, {facts['seconds']:.0f} s" + (
        "" if found is None else f"; best held-out {found:.3f} bits per byte"
    )


def describe_warning(facts: dict[str, Any]) -> str:
    return f"step {facts['step']:,}: {facts['text']}"


DESCRIBED: dict[str, Callable[[dict[str, Any]], str]] = {
    "note": lambda facts: str(facts["text"]),
    "warning": describe_warning,
    "spike": describe_warning,
    "start": describe_start,
    "validation": describe_validation,
    "end": describe_end,
}
"""What is said of each kind of event."""
