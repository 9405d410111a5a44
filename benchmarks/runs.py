"""What benchmarks of long runs share: their arguments, and the runs that are finished already."""

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from elman.data.files import write_file


def parser(description: str | None) -> argparse.ArgumentParser:
    """Of a benchmark with that docstring: its threads, and where it keeps what is finished."""
    made = argparse.ArgumentParser(description=(description or "").splitlines()[0])
    made.add_argument("--threads", type=int, default=2)
    made.add_argument("--json", type=Path, help="keep finished runs here, and go on with them")
    return made


class Finished:
    """Runs by name, kept in a file after each of them, so that an interrupted benchmark goes on.

    Args:
        path: of the file; None: they are forgotten in the end.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._runs: dict[str, Any] = {}
        if path is not None and path.exists():
            self._runs = json.loads(path.read_text("utf-8"))

    def get(self, name: str, run: Callable[[], Any]) -> Any:
        """What was found by that name; run now, unless it was."""
        if name not in self._runs:
            self._runs[name] = run()
            if self._path is not None:
                write_file(self._path, json.dumps(self._runs, indent=1) + "\n")
        return self._runs[name]
