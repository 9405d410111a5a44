"""Draw what a command shows on a terminal as an SVG picture.

    python docs/record.py docs/demo.svg -- elman demo --minutes 3

Runs the command in a pseudo-terminal, answers its prompts with the lines of --say, and draws the
screen at its end.
"""

import argparse
import os
import pty
import re
import select
import shlex
import sys
import time
from pathlib import Path

from rich.console import Console
from rich.text import Text

COLUMNS = 100


def screen(command: list[str], lines: list[str], prompt: str) -> str:
    """Everything that stays on the screen, with its colours."""
    child, terminal = pty.fork()
    if child == 0:
        os.environ |= {"COLUMNS": str(COLUMNS), "LINES": "60", "TERM": "xterm-256color"}
        os.execvp(command[0], command)
    shown, waiting = b"", list(lines)
    answered = 0
    while True:
        ready, _, _ = select.select([terminal], [], [], 1.0)
        if ready:
            try:
                data = os.read(terminal, 65536)
            except OSError:
                break
            if not data:
                break
            shown += data
        elif shown.count(prompt.encode()) > answered:
            answered += 1
            time.sleep(0.2)
            os.write(terminal, (waiting.pop(0) + "\n").encode() if waiting else b"\x04")
    os.waitpid(child, 0)
    return shown.decode("utf-8", "replace")


def settle(shown: str) -> str:
    """The lines as they stand in the end: what was drawn over is gone."""
    shown = re.sub(r"\x1b\[\?\d+[hl]", "", shown)
    rows: list[str] = [""]
    row = 0
    for part in re.split(r"(\r|\n|\x1b\[\d*A|\x1b\[\d*K)", shown):
        if part == "\n":
            row += 1
            if row == len(rows):
                rows.append("")
        elif part.endswith("A") and part.startswith("\x1b["):
            row = max(0, row - int(part[2:-1] or 1))
        elif part.endswith("K") and part.startswith("\x1b["):
            rows[row] = ""
        elif part != "\r":
            rows[row] += part
    return "\n".join(rows).strip("\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("picture", type=Path)
    parser.add_argument("--say", action="append", default=[], help="a line to type at a prompt")
    parser.add_argument("--prompt", default="you> ")
    parser.add_argument("command", nargs="+")
    arguments = parser.parse_args()
    shown = settle(screen(arguments.command, arguments.say, arguments.prompt))
    shown = shown.replace(str(Path.home()), "~")
    console = Console(record=True, width=COLUMNS, file=sys.stderr, force_terminal=True)
    console.print(f"[bold]$ {shlex.join(arguments.command)}[/bold]", highlight=False)
    console.print(Text.from_ansi(shown), soft_wrap=False)
    picture = console.export_svg(title=shlex.join(arguments.command))
    # The picture must not fetch a font from anywhere.
    arguments.picture.write_text(re.sub(r"@font-face \{.*?\}", "", picture, flags=re.S), "utf-8")


if __name__ == "__main__":
    main()
