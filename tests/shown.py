"""What README and the documents show to their readers: pages, code and commands."""

import re
import shlex
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

ROOT = Path(__file__).parents[1]

PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *sorted(page for page in ROOT.glob("docs/**/*.md") if page.name != "LOG.md"),
]
"""Everything that tells a reader what to do now. LOG.md tells what was done."""

PROGRAMS = {
    "apt-get", "bash", "curl", "elman", "lm_eval", "pip", "pre-commit", "pytest", "python",
    "python3", "zensical",
}  # fmt: skip
SHELL_FENCES = ("console", "sh", "bash")


@dataclass(frozen=True)
class Command:
    """One command of a page: what would be typed, without the shell's part of it.

    Args:
        page: where it stands.
        line: its number.
        words: the program and its arguments.
        given: the file that is its standard input.
    """

    page: str
    line: int
    words: tuple[str, ...]
    given: str | None = None

    def __str__(self) -> str:
        return f"{self.page}:{self.line}: {shlex.join(self.words)}"


def shell_lines(page: Path) -> list[tuple[int, str]]:
    """Return the lines of a page's code that a shell would read, joined at backslashes."""
    found: list[tuple[int, str]] = []
    fence: str | None = None
    going_on = False
    for number, line in enumerate(page.read_text("utf-8").splitlines(), 1):
        if mark := re.match(r"```(\w*)", line):
            fence = None if fence is not None else mark[1]
            continue
        code = line.startswith("    ") if fence is None else fence in SHELL_FENCES
        text = line.strip().removeprefix("$ ")
        if going_on:
            found[-1] = (found[-1][0], f"{found[-1][1]} {text.removesuffix(chr(92))}")
        elif code and text.split(" ")[0] in PROGRAMS:
            found.append((number, text.removesuffix("\\")))
        else:
            continue
        going_on = text.endswith("\\")
    return found


def commands(page: Path) -> list[Command]:
    """List the commands of a page in their order, those of one line apart."""
    found = []
    for number, line in shell_lines(page):
        lexer = shlex.shlex(line, posix=True, punctuation_chars="&<>|")
        lexer.whitespace_split = True
        words: list[str] = []
        given = None
        for word in chain(lexer, ["&&"]):
            if word in ("&&", "|"):
                found.append(Command(page.name, number, tuple(words), given))
                words, given = [], None
            elif word in ("<", ">"):
                file = next(lexer)
                given = file if word == "<" else given
            else:
                words.append(word)
    return found


def spans(page: Path) -> list[str]:
    """Return the commands `elman ...` that stand within a sentence, where not all need be given."""
    text = re.sub(r"^```.*?^```", "", page.read_text("utf-8"), flags=re.M | re.S)
    return [" ".join(found.split()) for found in re.findall(r"`(elman [^`]+)`", text)]
