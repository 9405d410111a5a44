"""The checks in a process of their own, which is ended when its time is up."""

import json
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from elman.errors import ElmanError
from elman.referee.report import Fault, Verdict

MAX_QUOTED_CHARACTERS = 200


@dataclass(frozen=True)
class Asked:
    """What is to be checked, and how.

    Args:
        target: `module:Layer` or `file.py:Layer`.
        call: `module:function` that calls it, or None.
        input_size, batch_first, window, reach: as of `check`.
    """

    target: str
    call: str | None = None
    input_size: int | None = None
    batch_first: bool | None = None
    window: int | None = None
    reach: int | None = None


def check_within(seconds: float, asked: Asked) -> Verdict:
    """Check a layer by its name, within so many seconds.

    Raises:
        ElmanError: as `check` does; and where time was up, or the process ended.
    """
    with TemporaryDirectory() as folder:
        path = Path(folder) / "told"
        path.touch()
        # Unbuffered: what a layer printed last is told where its process ends.
        command = [sys.executable, "-u", "-m", "elman.referee.limited", str(path)]
        said, ended = "", ""
        try:
            ran = subprocess.run(  # noqa: S603 (this very module)
                [*command, json.dumps(asdict(asked))],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                timeout=seconds,
                check=False,
            )
            said = " ".join(ran.stdout.decode(errors="replace").split())[-MAX_QUOTED_CHARACTERS:]
            ended = f"the process that ran it ended with code {ran.returncode}"
        except subprocess.TimeoutExpired:
            ended = f"it did not come back within {seconds:g} s"
        told = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    last: dict[str, Any] = told[-1] if told else {"at": "being imported"}
    if "error" in last:
        raise ElmanError(last["error"])
    if "verdict" in last:
        verdict = last["verdict"]
        return Verdict(
            [Fault(**f) for f in verdict["faults"]], verdict["passed"], verdict["left_out"]
        )
    quoted = f". It last printed: {said}" if said else ""
    raise ElmanError(f"{asked.target}: {ended}; it was in: {last['at']}{quoted}")


def _work(path: Path, asked: Asked) -> None:
    """Check, and write what is being done and what was found into a file, a line each."""
    from elman.referee.builds import load
    from elman.referee.run import check
    from elman.referee.subject import plain_call

    with path.open("w", encoding="utf-8") as file:

        def tell(**what: Any) -> None:
            print(json.dumps(what), file=file, flush=True)

        tell(at="being imported")
        try:
            layer, source = load(asked.target)
            call = load(asked.call)[0] if asked.call else plain_call
            tell(at="its first calls")
            verdict = check(
                layer,
                call=call,
                input_size=asked.input_size,
                batch_first=asked.batch_first,
                window=asked.window,
                reach=asked.reach,
                source=source,
                tell=lambda name: tell(at=name),
            )
        except ElmanError as error:
            tell(error=str(error))
        else:
            tell(verdict=verdict.to_json())


if __name__ == "__main__":
    _work(Path(sys.argv[1]), Asked(**json.loads(sys.argv[2])))
