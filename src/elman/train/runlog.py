"""What is told while a run goes on, and its record on disk."""

import json
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from elman.bptt import State
from elman.data.corpus import Corpus
from elman.data.files import LOG as LOG
from elman.data.files import replacing
from elman.data.layout import Batch
from elman.data.tokenizer import Tokenizer
from elman.errors import ElmanError
from elman.model.chatbot import Chatbot

Observer = Callable[[str, dict[str, Any]], None]
"""Told (kind, facts) of everything that happens in a run:

    stage       text                     something that takes seconds has begun
    note        text                     something that the user should know
    start       parameters, tokens, ...  the first step is next
    step        step, spent, loss, bits_per_byte, grad_norm, lr, tokens_per_second, seconds, epochs
    validation  step, bits_per_byte, best, seconds
    samples     step, samples: replies at the same places each time, as heard, person and bot
    warning     step, text; of a step that was skipped also loss, grad_norm, conversation, message
    end         reason, steps, seconds, bits_per_byte

and whatever a `Watcher` saw: its step, and what the watcher says.
"""

Look = Callable[[Batch, State | None, float], Iterable[tuple[str, dict[str, Any]]]]
"""Looks at a step before its update: given the batch, the state before it and the norm of its
gradient, it returns what it saw, as (kind, facts). It leaves weights, gradients and randomness as
they are."""

Watcher = Callable[[Chatbot, Tokenizer, Corpus, dict[str, Any]], Look]
"""Makes a `Look` when training begins. It is given the chatbot, its tokenizer, conversations to
look at (held-out ones, where there are any), and the whole configuration as JSON."""

MAX_LOG_LINE_BYTES = 1 << 20
"""Bytes of a log's line; a longer one was not written by a run."""

MAX_UNWRITTEN_SECONDS = 1.0
"""Seconds after which steps are on disk, for whoever watches."""


class Tell:
    """Tell every observer what happens."""

    def __init__(self, observers: tuple[Observer, ...]) -> None:
        self.observers = list(observers)

    def __call__(self, kind: str, **facts: Any) -> None:
        for observer in self.observers:
            observer(kind, facts)

    def note(self, text: str) -> None:
        """Tell something that the user should know."""
        self("note", text=text)


class RunLog:
    """Keep what happened at each step, one JSON object a line, and how the run ended.

    Args:
        path: of the log; what it holds stays.
        step: lines of later steps are dropped, since a resumed run makes those steps again.
    """

    def __init__(self, path: Path, step: int) -> None:
        self.last_step = 0
        """The last step that the log told of before."""
        with replacing(path, follow_link=False) as kept:
            for line, self.last_step in _lines(path) if path.is_file() else ():
                if self.last_step <= step:
                    kept.write(line)
        self._path = path
        self._file = path.open("a", encoding="utf-8")
        self._flushed = 0.0

    def __call__(self, kind: str, facts: dict[str, Any]) -> None:
        if kind == "end":
            facts = {"step": facts["steps"], **facts}
        now = time.perf_counter()
        with self._writing():
            if "step" in facts:
                self._file.write(json.dumps({"kind": kind, **facts}) + "\n")
            if kind != "step" or now - self._flushed > MAX_UNWRITTEN_SECONDS:
                self._file.flush()
                self._flushed = now

    def close(self) -> None:
        """Write what is left.

        Raises:
            ElmanError: where that cannot be written.
        """
        with self._writing():
            self._file.close()

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise ElmanError(
                f"{self._path}: cannot be written: {error.strerror}; elman train --resume "
                f"{self._path.parent} goes on from the last checkpoint"
            ) from None


def has_ended(path: Path, step: int) -> bool:
    """Tell whether a log says that its run came to its end at a step, replies and all."""
    last: dict[str, Any] = {}
    for line, _ in _lines(path) if path.is_file() else ():
        last = json.loads(line)
    ended = last.get("kind") == "end" and last.get("reason") != "interrupted"
    return ended and last["step"] == step


def _lines(path: Path) -> Iterator[tuple[bytes, int]]:
    """Read the lines of a log and their steps, up to the first one that a crash cut off."""
    with path.open("rb") as file:
        while line := file.readline(MAX_LOG_LINE_BYTES):
            try:
                step = int(json.loads(line)["step"])
            except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
                return
            if not line.endswith(b"\n"):
                return
            yield line, step
