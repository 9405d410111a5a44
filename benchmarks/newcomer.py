"""The path of somebody new, timed: from a clone to a first reply, a bot of their own, the suite.

    python benchmarks/newcomer.py                 # a minute of training; without the suite
    python benchmarks/newcomer.py --suite --torch torch==2.13.0

Everything happens in a new folder with a new home and an empty environment. What pip downloads
counts, and its cache is not used. Nothing of the running Python's packages is seen.
"""

import argparse
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter

ROOT = Path(__file__).parents[1]
QUESTIONS = ("what is the kettle doing", "where is the tea", "who is at the door")
ANSWERS = ("it sings again", "on the shelf, as ever", "the cat, for the third time")


@dataclass
class Newcomer:
    """A newcomer's folder, and how long each step in it took.

    Args:
        home: the folder.
        rows: each step with its seconds.
    """

    home: Path
    rows: list[tuple[str, float]] = field(default_factory=list)

    def step(self, name: str, command: list[str], where: str = "", said: str | None = None) -> None:
        """Run a command of a step, and end with what it said where it fails."""
        environment = {
            "HOME": str(self.home),
            "PATH": os.pathsep.join([str(self.home / "venv" / "bin"), os.environ["PATH"]]),
            "PIP_NO_CACHE_DIR": "1",
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        }
        begin = perf_counter()
        ran = subprocess.run(
            command,
            cwd=self.home / where,
            env={**_asked_of_pip(), **environment},
            input=said,
            stdin=subprocess.DEVNULL if said is None else None,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.rows.append((name, perf_counter() - begin))
        print(f"{self.rows[-1][1]:8.1f} s  {name}", file=sys.stderr)
        if ran.returncode:
            sys.exit(f"{' '.join(command)} failed:\n{ran.stdout[-4000:]}")


def _asked_of_pip() -> dict[str, str]:
    """Keep what says where packages come from, and nothing else."""
    return {name: value for name, value in os.environ.items() if name.startswith("PIP_")}


def write_chat(path: Path) -> None:
    """Write a made-up chat of two people."""
    lines = []
    for day in range(1, 29):
        for number, (question, answer) in enumerate(zip(QUESTIONS, ANSWERS, strict=True)):
            lines.append(f"{day}/12/2023, 21:{number * 2:02} - Bob: {question} on day {day}?")
            lines.append(f"{day}/12/2023, 21:{number * 2 + 1:02} - Ann: {answer}.")
    path.write_text("\n".join(lines) + "\n", "utf-8")


def main() -> None:
    """See the top of this file."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--suite", action="store_true", help="install [dev] and run all tests too")
    parser.add_argument("--torch", default="torch", help="what pip is asked for: torch==2.13.0")
    parser.add_argument("--index", help="where torch comes from, as pip's --index-url")
    parser.add_argument("--minutes", default="1", help="of training the bot of their own")
    given = parser.parse_args()

    with tempfile.TemporaryDirectory() as folder:
        new = Newcomer(Path(folder))
        new.step("clone", ["git", "clone", "-q", str(ROOT), "elman"])
        new.step("an empty environment", [sys.executable, "-m", "venv", "venv"])
        new.step("pip install .", ["pip", "install", "-q", "."], "elman")
        new.step("first reply", ["elman", "chat"], said="hello\n")
        index = ["--index-url", given.index] if given.index else []
        new.step(f"pip install {given.torch}", ["pip", "install", "-q", given.torch, *index])
        new.step("pip install '.[train]'", ["pip", "install", "-q", ".[train]"], "elman")
        write_chat(new.home / "chat.txt")
        train = ["elman", "train", "chat.txt", "--bot", "Ann", "--out", "bots/ann"]
        new.step(f"train, {given.minutes} min", [*train, "--minutes", given.minutes])
        new.step("first reply of their own bot", ["elman", "chat", "bots/ann"], said="hello\n")
        if given.suite:
            new.step("pip install '.[dev]'", ["pip", "install", "-q", ".[dev]"], "elman")
            new.step("pytest", ["pytest"], "elman")
        size = sum(file.stat().st_size for file in new.home.rglob("*") if file.is_file())
        print("| step | seconds |\n|---|---|")
        for name, seconds in [*new.rows, ("in all", sum(each for _, each in new.rows))]:
            print(f"| {name} | {seconds:.1f} |")
        print(
            f"\n{size / 2**20:,.0f} MiB; Python {platform.python_version()}, {os.cpu_count()} cores"
        )
        shutil.rmtree(new.home / "venv", ignore_errors=True)


if __name__ == "__main__":
    main()
