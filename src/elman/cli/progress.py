"""How a run shows: a bar on a terminal, a few lines elsewhere, JSON Lines for machines."""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn

from elman.cli.text import plain
from elman.train.runlog import Observer

LOSS_SMOOTHING = 0.95


@contextmanager
def shown(as_json: bool) -> Iterator[Observer]:
    """An observer that shows a run as fits where it is shown."""
    console = Console(stderr=True, highlight=False)
    if as_json:
        yield _print_json
    elif console.is_terminal:
        with _bar(console) as bar:
            yield _Bar(bar)
    else:
        yield _Lines(console)


def _print_json(kind: str, facts: dict[str, Any]) -> None:
    print(json.dumps({"kind": kind, **facts}), flush=True)


def _bar(console: Console) -> Progress:
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(bar_width=20),
        TextColumn("{task.fields[numbers]}"),
        console=console,
        transient=True,
    )


class _Lines:
    """Says what was found, what was held out, what to mind, and how it ended."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def __call__(self, kind: str, facts: dict[str, Any]) -> None:
        if kind == "note":
            self._say(facts["text"])
        elif kind in ("warning", "spike"):
            self._say(f"step {facts['step']:,}: {facts['text']}")
        elif kind == "start":
            self._say(describe_start(facts))
        elif kind == "validation":
            self._say(describe_validation(facts))
        elif kind == "end":
            self._say(describe_end(facts))

    def _say(self, text: str) -> None:
        self._console.print(escape(plain(text)), soft_wrap=True)


class _Bar(_Lines):
    """The same lines above a bar with the numbers of the moment."""

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
            self._bits = (
                facts["bits_per_byte"]
                if self._bits is None
                else LOSS_SMOOTHING * self._bits + (1 - LOSS_SMOOTHING) * facts["bits_per_byte"]
            )
            self._bar.update(
                self._task,
                completed=min(facts["spent"], 1.0),
                description=f"step {facts['step']:,}",
                numbers=(
                    f"loss {facts['loss']:.2f} · {self._bits:.3f} bits/byte · "
                    f"grad {facts['grad_norm']:.2f} · "
                    f"{facts['tokens_per_second'] / 1000:.1f}k tok/s · {time_left(facts)} left"
                ),
            )


def time_left(facts: dict[str, Any]) -> str:
    """Minutes and seconds to the end, if it goes on as so far."""
    seconds = facts["left"]
    return f"{seconds // 60}:{seconds % 60:02d}"


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


def is_interactive() -> bool:
    """Whether a person sits at both ends."""
    return sys.stdin.isatty() and sys.stdout.isatty()
