"""kill -9 while a bot is trained, again and again: every run ends in the same files, bit for bit.

python benchmarks/kill_training.py --times 100
python benchmarks/kill_training.py --places     each kind of fault at each file once, nothing drawn
"""

import argparse
import json
import os
import random
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch._inductor  # noqa: F401 - before the forks: torch's optimizers import it, in seconds

from elman.errors import ElmanError
from elman.model.checkpoint import read_config, read_tokenizer
from elman.model.folder import CONFIG, WEIGHTS
from elman.model.tensor_files import digest, read_tensors
from elman.train import Config, resume, train
from elman.train.checkpoints import CHECKPOINTS, checkpoints, read_checkpoint
from elman.train.config import layered
from elman.train.runlog import LOG

SETTINGS = {
    "data.bot": "Ann", "data.vocabulary": 300, "data.replies": 20, "data.canaries": 5,
    "model.hidden_size": 16, "model.pointer": 24, "model.dropout": 0.1,
    "train.batch_size": 4, "train.unfold": 16, "train.steps": 24, "train.validations": 6,
    "train.precision": "float32", "train.deterministic": True,
    "reply.mmi_weight": 0.1, "reply.temperature": 0.8, "reply.min_p": 0.1, "reply.samples": 2,
    "reply.people_words": 20, "reply.people_repeats": 0, "reply.people_echo": 5,
    "reply.people_again": 5,
}  # fmt: skip

OF_TIME = ("seconds", "tokens_per_second", "left", "cycle_began")
"""What differs between two runs that are the same."""

KINDS = ("half written", "synced", "renamed", "removed", "disk full", "any moment")
"""What a fault is: kill -9 when half of a file is there, when all of it is synced, when it has its
name, or when an old one is gone; an error in place of a sync; or kill -9 after some time."""


@dataclass(frozen=True)
class Fault:
    """A fault, and when it comes: at the nth call of its kind, or after so many seconds."""

    kind: str
    when: float


def chats(path: Path) -> Path:
    """Write a transcript in which every answer can be known from the question."""
    draw = random.Random(0)
    blocks = []
    for _ in range(40):
        pairs = [(draw.randint(0, 4), draw.randint(0, 4)) for _ in range(4)]
        lines = [f"Bob: what is {a} plus {b}?\nAnn: it is {a + b}, Bob." for a, b in pairs]
        blocks.append("\n".join(lines))
    path.write_text("\n\n".join(blocks) + "\n")
    return path


def kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@contextmanager
def faulty(fault: Fault | None, counts: Counter[str]) -> Iterator[None]:
    """Let a fault come in this process; count what could have been one."""
    fsync, replace, unlink = os.fsync, os.replace, os.unlink

    def reached(kind: str) -> bool:
        counts[kind] += 1
        return fault is not None and (fault.kind, fault.when) == (kind, counts[kind])

    def new_fsync(file: Any) -> None:
        if reached("half written"):
            os.ftruncate(file, os.fstat(file).st_size // 2)
            kill()
        if reached("disk full"):
            raise OSError(28, "No space left on device")
        fsync(file)
        if reached("synced"):
            kill()

    def after(kind: str, real: Callable[..., None]) -> Callable[..., None]:
        def called(*arguments: Any, **options: Any) -> None:
            real(*arguments, **options)
            if reached(kind):
                kill()

        return called

    calls: Any = {
        "fsync": new_fsync,
        "replace": after("renamed", replace),
        "unlink": after("removed", unlink),
    }
    with patch.multiple(os, **calls):
        yield


def attempt(config: Config, folder: Path, fault: Fault | None, report: Path | None = None) -> int:
    """Begin a run or go on with it, in a process of its own; return how that ended."""
    child = os.fork()
    if child == 0:
        counts: Counter[str] = Counter()
        try:
            with faulty(fault, counts):
                resume(folder) if (folder / CONFIG).exists() else train(config, folder)
            if report is not None:
                report.write_text(json.dumps(counts))
            os._exit(0)
        except ElmanError as error:
            if "No space left" in str(error):
                os._exit(2)
            if "this run is finished" in str(error):  # it was killed when all was done
                os._exit(0)
            print(error, file=sys.stderr)
        finally:  # whatever it is, it ends here, and not in the loop of the parent
            os._exit(3)
    if fault is not None and fault.kind == "any moment":
        timer = threading.Timer(fault.when, os.kill, (child, signal.SIGKILL))
        timer.start()
        _, status = os.waitpid(child, 0)
        timer.cancel()
        timer.join()
    else:
        _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status)


def end_of(folder: Path) -> dict[str, Any]:
    """All that a run leaves, but for time."""
    found: dict[str, Any] = {}
    for path in folder.iterdir():
        if path.name == LOG:
            lines = [json.loads(line) for line in path.read_text().splitlines()]
            found[LOG] = [{k: v for k, v in line.items() if k not in OF_TIME} for line in lines]
        elif path.name == CHECKPOINTS:
            for each in path.iterdir():
                tensors, facts = read_tensors(each)
                kept = {k: v for k, v in facts.items() if k not in OF_TIME}
                found[each.name] = (digest(tensors), kept)
        else:
            found[path.name] = path.read_bytes()
    return found


def unreadable(folder: Path) -> list[str]:
    """Name what lies in a folder under its own name, and is not whole."""
    found = []
    if (folder / CONFIG).exists():
        config, size = read_config(folder), read_tokenizer(folder).vocabulary_size
        every: list[tuple[Path, Callable[[Path], object]]] = [(folder / WEIGHTS, read_tensors)]
        every += [
            (path, lambda path: read_checkpoint(path, Config.make(config), size))
            for path in checkpoints(folder)
        ]
        for path, read in every:
            try:
                read(path)
            except ElmanError as error:
                found.append(str(error))
        if not checkpoints(folder):
            found.append(f"{folder}: {CONFIG}, and no checkpoint")
    return found


class Trial:
    """Runs with faults, compared with one without."""

    def __init__(self, place: Path) -> None:
        self._place = place
        values = SETTINGS | {"data.path": str(chats(place / "chats.txt"))}
        self._config = Config.make(layered(None, values))
        report = place / "counts.json"
        began = time.monotonic()
        if attempt(self._config, place / "whole", None, report) != 0:
            raise SystemExit("the run without faults failed")
        self.seconds = time.monotonic() - began
        self.counts: dict[str, int] = json.loads(report.read_text())
        self._end = end_of(place / "whole")
        self.came: Counter[str] = Counter()
        self.ends, self.other_ends, self.unreadable = 0, 0, 0

    def run(self, faults: Iterator[Fault]) -> None:
        """Let one run be ended by faults, and go on with it until it comes to its own end."""
        folder = self._place / "bot"
        while True:
            fault = next(faults, None)
            code = attempt(self._config, folder, fault)
            if code == 0:
                break
            if fault is None or code not in (-signal.SIGKILL, 2):
                raise SystemExit(f"ended with {code} after {fault}")
            self.came[fault.kind] += 1
            torn = unreadable(folder) if folder.exists() else []
            self.unreadable += len(torn)
            for each in torn:
                print(f"{fault}: {each}", file=sys.stderr)
        self.ends += 1
        if (end := end_of(folder)) != self._end:
            self.other_ends += 1
            names = {n for n in end.keys() | self._end.keys() if end.get(n) != self._end.get(n)}
            print(f"ended otherwise: {', '.join(sorted(names))}", file=sys.stderr)
        for path in sorted(folder.rglob("*"), reverse=True):
            path.rmdir() if path.is_dir() else path.unlink()

    def places(self, every: int) -> Iterator[Fault]:
        """Of each kind, the faults that a whole run could meet: all, or each so manieth."""
        for kind, count in sorted(self.counts.items()):
            first = 1 + min(every, count) // 2
            yield from (Fault(kind, number) for number in range(first, count + 1, every))

    def draw(self, random_: random.Random) -> Fault:
        """Draw a fault that a run could meet."""
        kind = random_.choice(KINDS)
        if kind == "any moment":
            return Fault(kind, random_.uniform(0, self.seconds))
        return Fault(kind, random_.randint(1, self.counts[kind]))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--times", type=int, default=100, help="faults that come, at least")
    parser.add_argument("--places", action="store_true", help="each place once, nothing drawn")
    parser.add_argument("--every", type=int, default=1, help="of the places, each so manieth")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        trial = Trial(Path(folder))
        if arguments.places:
            for fault in trial.places(arguments.every):
                trial.run(iter([fault]))
        else:
            random_ = random.Random(arguments.seed)
            while sum(trial.came.values()) < arguments.times:
                count = random_.choice((1, 1, 2, 3))
                trial.run(trial.draw(random_) for _ in range(count))
    came = ", ".join(f"{count} {kind}" for kind, count in sorted(trial.came.items()))
    print(
        f"{sum(trial.came.values())} faults ({came}): {trial.ends - trial.other_ends} of "
        f"{trial.ends} runs ended bit for bit as without, {trial.unreadable} files were unreadable"
    )
    sys.exit(bool(trial.other_ends or trial.unreadable))


if __name__ == "__main__":
    main()
