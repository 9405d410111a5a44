"""The log of a run, read while it is being written."""

import json
import os
import time
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from elman.data.files import CONFIG, LOG
from elman.errors import ElmanError

CLIPPED_STEPS = 100
"""Steps, the last ones, among which clipped gradients are counted."""

MAX_READ_BYTES = 1 << 20
"""Bytes that are read at once."""

POLL_SECONDS = 1.0
"""Seconds between two looks at a log."""

LogEvent = dict[str, Any]


@dataclass(frozen=True)
class LogPosition:
    """How far a log has been read.

    Args:
        log: names the file; another one lies there where the run was resumed or begun anew.
        offset: bytes that have been read.
    """

    log: str = ""
    offset: int = 0


@dataclass(frozen=True)
class LogLines:
    """What was new in a log.

    Args:
        events: one for each whole line.
        place: how far it has been read now.
        anew: whether this is another file than before: what was read is to be forgotten.
        damaged: lines that are no JSON objects; a last line without its end is not yet one.
        more: whether there is more to be read at once.
    """

    events: list[LogEvent]
    place: LogPosition
    anew: bool = False
    damaged: int = 0
    more: bool = False


def check(run: Path) -> None:
    """Raises ElmanError where no run is or was."""
    if not run.is_dir():
        raise ElmanError(f"{run}: no such folder; elman train CHATS --out {run} makes one")
    if not any((run / name).exists() for name in (CONFIG, LOG)):
        raise ElmanError(
            f"{run}: no run here ({CONFIG} and {LOG} are missing); name the --out of elman train"
        )


def read_config(run: Path) -> dict[str, Any]:
    """Read the settings of a run; none where they cannot be read (yet)."""
    try:
        found = json.loads((run / CONFIG).read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def read_on(run: Path, place: LogPosition) -> LogLines:
    """Read what was written after a place. There may be nothing, and no log yet."""
    try:
        with (run / LOG).open("rb") as file:
            name = f"{os.fstat(file.fileno()).st_ino:x}-{zlib.crc32(file.readline()):x}"
            size = file.seek(0, 2)
            anew = bool(place.log) and (name != place.log or size < place.offset)
            begin = place.offset if name == place.log and not anew else 0
            file.seek(begin)
            text = file.read(MAX_READ_BYTES)
    except FileNotFoundError:
        return LogLines([], LogPosition(), anew=bool(place.log))
    whole = text[: text.rfind(b"\n") + 1]
    events: list[LogEvent] = []
    damaged = 0
    for line in whole.splitlines():
        try:
            event = json.loads(line)
            events.append({"kind": event["kind"], "step": int(event["step"]), **event})
        except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
            damaged += 1
    end = begin + len(whole)
    return LogLines(
        events, LogPosition(name if end else "", end), anew, damaged, bool(whole) and end < size
    )


def follow(run: Path) -> Iterator[LogLines]:
    """Yield every part of a log as it comes, until the run has ended and all is read.

    Between two parts it waits; it yields a part without events where nothing is new.
    """
    place, ended = LogPosition(), False
    while True:
        part = read_on(run, place)
        place = part.place
        if part.events:
            ended = part.events[-1]["kind"] == "end"
        yield part
        if part.more:
            continue
        if ended:
            return
        time.sleep(POLL_SECONDS)


@dataclass
class Summary:
    """What a log says, in the numbers of the moment.

    Args:
        steps: the step events; what is shown of each is looked up by name.
        validations, lags: likewise.
        samples: the last one.
        words: warnings and spikes.
        end: how the run ended, if it did.
        damaged: lines that could not be read.
    """

    steps: list[LogEvent] = field(default_factory=list)
    validations: list[LogEvent] = field(default_factory=list)
    lags: list[LogEvent] = field(default_factory=list)
    samples: LogEvent | None = None
    words: list[LogEvent] = field(default_factory=list)
    end: LogEvent | None = None
    damaged: int = 0

    def add(self, part: LogLines) -> None:
        """Go on with what was new."""
        if part.anew:
            self.__init__()  # type: ignore[misc]
        self.damaged += part.damaged
        for event in part.events:
            if not _is_whole(event):
                self.damaged += 1
                continue
            self.end = event if event["kind"] == "end" else None
            match event["kind"]:
                case "step":
                    self.steps.append(event)
                case "validation":
                    self.validations.append(event)
                case "lag":
                    self.lags.append(event)
                case "samples":
                    self.samples = event
                case "warning" | "spike":
                    self.words.append(event)

    def clipped(self, clip: float) -> float | None:
        """Count the share of the last `CLIPPED_STEPS` steps whose gradient was clipped."""
        recent = self.steps[-CLIPPED_STEPS:]
        if not clip or not recent:
            return None
        return sum(float(event["grad_norm"]) > clip for event in recent) / len(recent)

    def to_json(self, config: dict[str, Any]) -> dict[str, Any]:
        """Write the moment as JSON."""
        train = config.get("train", {})
        return {
            "step": self.steps[-1] if self.steps else None,
            "best": min((v["bits_per_byte"] for v in self.validations), default=None),
            "clipped": self.clipped(train.get("clip") or 0.0),
            "lag": self.lags[-1] if self.lags else None,
            "samples": self.samples,
            "warnings": self.words,
            "end": self.end,
            "damaged": self.damaged,
        }


STEP_NUMBERS = ("spent", "epochs", "bits_per_byte", "grad_norm", "tokens_per_second")
"""Of a step, what is shown."""


def _is_whole(event: LogEvent) -> bool:
    """Check that an event has what is shown of its kind. A log may come from anybody."""
    match event:
        case {"kind": "step", "left": int()}:
            return all(_is_number(event.get(name)) for name in STEP_NUMBERS)
        case {"kind": "validation", "bits_per_byte": value}:
            return _is_number(value)
        case {"kind": "lag", "layers": [*layers], "text": str()}:
            return bool(layers) and all(
                isinstance(layer, list)
                and layer
                and all(each is None or _is_number(each) for each in layer)
                for layer in layers
            )
        case {"kind": "samples", "samples": [*samples]}:
            return all(_is_sample(sample) for sample in samples)
        case {"kind": "warning" | "spike", "text": str()} | {"kind": "end", "reason": str()}:
            return True
    return event["kind"] not in (
        "step", "validation", "lag", "samples", "warning", "spike", "end",
    )  # fmt: skip


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float)


def _is_sample(sample: Any) -> bool:
    match sample:
        case {"heard": [*heard], "bot": str()}:
            return all(isinstance(each, str) for each in heard)
    return False
