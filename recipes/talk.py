"""Write the last parts that the base learns from: talk that was written for it, and older parts.

    python recipes/talk.py --out DIR                             # seconds

People's chats teach a small net to speak, and not to answer what was just said: in them an answer
is one of thousands that would do. The conversations of talk/ were written to be short, simple and
to the point (by a language model, line by line; talk/README.md tells what it was asked for). A line
is a message of the user (`U:`) or of the bot (`E:`), and a blank line ends a conversation.
settled.jsonl is in DIR; talk.jsonl and plain.jsonl are written beside it.
"""

import argparse
import json
import re
from collections.abc import Iterator
from itertools import count, islice
from pathlib import Path
from typing import NamedTuple

from mixture import PLAIN, SETTLED, TALK, in_percent, write_part
from roles import hashed
from taught import BOT, USER, Turn, Turns

FILES = Path(__file__).with_name("talk")

PLAIN_FILE = "plain-"
"""How the name of a file begins in which the replies are those that nearly everybody would give."""


class Part(NamedTuple):
    """How much of what is in a file.

    Args:
        rich: how often each conversation of talk/ stands in it that is not plain.
        plain: how often each plain one does.
        settled_percent: how many of `SETTLED` stand in it, so that nothing is forgotten.
    """

    rich: int
    plain: int
    settled_percent: int


PARTS = {TALK: Part(4, 0, 40), PLAIN: Part(1, 3, 12)}

HELD_OUT_BUCKETS = 2
"""Of twenty, by the hash of an id: the first is what training validates on, the second is for
measuring. Neither is copied.
"""

MEASURED_BUCKET = 1
"""The bucket of those that are for measuring."""

SPEAKERS = {"U": USER, "E": BOT}


def conversations() -> Iterator[tuple[str, Turns]]:
    """Read the conversations of talk/, each with its id."""
    for path in sorted(FILES.glob("*.txt")):
        for number, block in enumerate(re.split(r"\n\s*\n", path.read_text("utf-8").strip())):
            lines = [line.split(": ", 1) for line in block.splitlines()]
            yield f"{TALK}-{path.stem}:{number}", [Turn(SPEAKERS[who], text) for who, text in lines]


def file_of(id_: str) -> str:
    """Return the file of talk/ in which a conversation is, without its ending."""
    return id_.removeprefix(f"{TALK}-").split(":")[0]


def is_measured(id_: str) -> bool:
    """Tell whether a conversation is for measuring: nothing is learned from it."""
    return hashed(id_) % 20 == MEASURED_BUCKET


def copies(id_: str, number: int) -> list[str]:
    """Return the ids of a conversation's copies, all of which are learned from, as it is itself."""
    if hashed(id_) % 20 < HELD_OUT_BUCKETS:
        return [id_][:number]
    learned = (f"{id_}.{n}" for n in count(1) if hashed(f"{id_}.{n}") % 20 >= HELD_OUT_BUCKETS)
    return [id_, *islice(learned, number - 1)] if number else []


def settled(out: Path, percent: int) -> Iterator[tuple[str, Turns]]:
    """Read some conversations of `SETTLED`."""
    with (out / f"{SETTLED}.jsonl").open(encoding="utf-8") as lines:
        for line in lines:
            one = json.loads(line)
            if in_percent(percent, "t" + one["id"]):
                yield one["id"], [Turn(turn["speaker"], turn["text"]) for turn in one["turns"]]


def write(name: str, out: Path) -> None:
    """Write one of `PARTS` to a folder in which settled.jsonl is."""
    part = PARTS[name]
    own = [
        (copy, turns)
        for id_, turns in conversations()
        for copy in copies(id_, part.plain if f"-{PLAIN_FILE}" in id_ else part.rich)
    ]
    write_part(out, name, [*own, *settled(out, part.settled_percent)])


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    out = parser.parse_args().out
    for name in PARTS:
        write(name, out)


if __name__ == "__main__":
    main()
