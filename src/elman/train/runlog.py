"""What is told while a run goes on, and its record on disk."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from elman.data.files import write_file

Observer = Callable[[str, dict[str, Any]], None]
"""Told (kind, facts) of everything that happens in a run:

    stage       text                     something that takes seconds has begun
    note        text                     something that the user should know
    start       parameters, tokens, ...  the first step is next
    step        step, spent, loss, bits_per_byte, grad_norm, lr, tokens_per_second, seconds, epochs
    validation  step, bits_per_byte, best, seconds
    end         reason, steps, seconds, bits_per_byte
"""

LOG = "log.jsonl"


class Tell:
    """Tells every observer."""

    def __init__(self, observers: tuple[Observer, ...]) -> None:
        self.observers = list(observers)

    def __call__(self, kind: str, **facts: Any) -> None:
        for observer in self.observers:
            observer(kind, facts)


class RunLog:
    """Keeps steps and validations, one JSON object a line.

    Args:
        path: of the log; what it holds stays.
        step: lines of later steps are dropped, since a resumed run makes those steps again.
    """

    def __init__(self, path: Path, step: int) -> None:
        kept = []
        if path.exists():
            for line in path.read_text("utf-8").splitlines():
                try:
                    if json.loads(line)["step"] <= step:
                        kept.append(line)
                except (ValueError, KeyError):  # cut off by a crash, together with all after it
                    break
        write_file(path, "".join(line + "\n" for line in kept))
        self._file = path.open("a", encoding="utf-8")

    def __call__(self, kind: str, facts: dict[str, Any]) -> None:
        if kind in ("step", "validation"):
            self._file.write(json.dumps({"kind": kind, **facts}) + "\n")
        if kind != "step":
            self._file.flush()

    def close(self) -> None:
        self._file.close()
