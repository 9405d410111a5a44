"""Many conversations with a bot side by side, a row of its state for each."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from elman.data.conversation import Conversation
from elman.data.tokenizer import END, ROLES
from elman.generate.bot import Bot
from elman.generate.likelihood import as_message
from elman.generate.penalties import HISTORY_MESSAGES, History
from elman.generate.replier import Origin, Replier

LOOP = re.compile(r"(\b\w.{3,}?)\1\1")
"""Four characters or more, three times in a row."""


class Said(NamedTuple):
    """A reply, and where it comes from."""

    text: str
    origin: Origin


def scripts_of(path: Path) -> Iterator[list[str]]:
    """Read what a person says, conversation by conversation, with a blank line between them."""
    for block in path.read_text("utf-8").split("\n\n"):
        if lines := [line for line in block.splitlines() if line and not line.startswith("#")]:
            yield lines


def heard_in(
    conversations: Iterable[Conversation], bot: str | None, turns: int = 6
) -> list[list[str]]:
    """Return the first turns of each conversation that are not the bot's.

    Where nobody is the bot, they are those of whoever begins.
    """
    found = []
    for each in conversations:
        runs = [run for run in each.runs() if run[1].strip()]
        lines = [text for who, text in runs if (who != bot if bot else who == runs[0][0])]
        found.append(lines[:turns])
    return [lines for lines in found if lines]


def loops(said: Sequence[str], times: int = 3) -> bool:
    """Return whether a reply was given so often, or repeats itself three times in a row."""
    counts = Counter(said)
    return max(counts.values()) >= times or any(LOOP.search(text) for text in said)


def hold_talks(bot: Bot, scripts: Sequence[Sequence[str]], seed: int = 0) -> list[list[Said]]:
    """Let a bot answer each line of each script, as chat does.

    Unlike in chat, tokens of the last reply are under no repetition penalty.
    """
    replier = Replier(bot)
    decoder, tokenizer = replier.decoder, bot.tokenizer
    generator = np.random.default_rng(seed)
    told: list[list[Said]] = [[] for _ in scripts]
    rows = [row for row, script in enumerate(scripts) if script]
    state = decoder.initial_state(len(rows))
    while rows:
        turns = [len(told[row]) for row in rows]
        lines = [scripts[row][turn] for row, turn in zip(rows, turns, strict=True)]
        heard = [np.array([ROLES["user"], *tokenizer.encode(line), END]) for line in lines]
        state = decoder.read([[message] for message in heard], state)
        histories = [
            history_of(bot, scripts[row][: turn + 1], told[row])
            for row, turn in zip(rows, turns, strict=True)
        ]
        chosen = replier.choose(state, generator, (), histories)
        for row, each in zip(rows, chosen, strict=True):
            told[row].append(Said(tokenizer.decode(each.tokens), each.origin))
        going = [n for n, row in enumerate(rows) if len(told[row]) < len(scripts[row])]
        state = decoder.select(state, going)
        if going:
            state = decoder.read([[as_message(chosen[n].tokens)] for n in going], state)
        rows = [rows[n] for n in going]
    return told


def history_of(bot: Bot, heard: Sequence[str], told: Sequence[Said]) -> History:
    """Return what was said before a reply to the last line, as chat compares it."""
    heard_last, said_last = (HISTORY_MESSAGES + 1) // 2, HISTORY_MESSAGES // 2
    return History(
        list(reversed(heard[-heard_last:])),
        [tuple(bot.tokenizer.encode(each.text)) for each in reversed(told[-said_last:])],
        heard[-1],
        whole=True,
        earlier=list(reversed(heard[:-heard_last])),
    )
