"""Teach a bot by exchanges that are put between the turns of conversations.

They are made from taught.json: facts that a user tells and asks again (`facts`, with the `values`
that they can have), who the bot is (`identity`), and what it does not know (`unknown`). `{v}` in a
text stands for the value, and `{V}` for it with a capital.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

from faker.providers.person.en_GB import Provider as British
from faker.providers.person.en_US import Provider as American

BOT, USER = "Elman", "User"

TAUGHT = json.loads(Path(__file__).with_name("taught.json").read_text("utf-8"))
FIRST_NAMES = [
    name
    for name in sorted({*American.first_names, *British.first_names})
    if 2 < len(name) < 10 and name != BOT
]
VALUES: dict[str, list[str]] = TAUGHT["values"] | {"first names": FIRST_NAMES}
PLACES = VALUES["countries"] + VALUES["cities"]


class Turn(NamedTuple):
    """What one speaker said until the other one spoke."""

    speaker: str
    text: str


Turns = list[Turn]


def varied(text: str, random: Random) -> str:
    """Write a message as people do: now and then without capitals, or without its last mark."""
    if random.random() < 0.15:
        text = text.lower()
    if random.random() < 0.2:
        text = text.rstrip(".?!")
    return text


def filled(text: str, value: str) -> str:
    return text.replace("{v}", value).replace("{V}", value[:1].upper() + value[1:])


def exchange(asked: str, answered: str) -> Turns:
    return [Turn(USER, asked), Turn(BOT, answered)]


def about_itself(random: Random) -> Turns:
    """Ask the bot who it is."""
    one = random.choice(list(TAUGHT["identity"].values()))
    return exchange(varied(random.choice(one["asked"]), random), random.choice(one["answered"]))


def unknown(random: Random) -> Turns:
    """Ask for a fact, which the bot does not know."""
    of_places = random.random() >= 0.5
    asked = random.choice(TAUGHT["unknown"]["asked_of_places" if of_places else "asked"])
    while "{}" in asked:
        asked = asked.replace("{}", random.choice(PLACES), 1)
    return exchange(asked, random.choice(TAUGHT["unknown"]["answered"]))


def told(fact: dict[str, Any], value: str, random: Random) -> Turns:
    """Tell the bot a fact. A value with a capital keeps it."""
    known = random.choice(fact["acknowledged"] if random.random() < 0.8 else TAUGHT["acknowledged"])
    text = filled(random.choice(fact["told"]), value)
    text = varied(text, random) if value[0].islower() else text
    return exchange(text, filled(known, value))


def asked_again(fact: dict[str, Any], value: str, random: Random) -> Turns:
    """Ask for a fact that was told."""
    asked = varied(random.choice(fact["asked"]), random)
    return exchange(asked, filled(random.choice(fact["answered"]), value))


def with_insertions(turns: Turns, random: Random, smalltalk: Sequence[Turns]) -> Turns:
    """Put exchanges before turns of the user's: facts told and asked again, who the bot is, what it
    does not know, small talk.

    A fact is asked for up to five messages of the user's after it was told.
    """
    spots = [place for place, turn in enumerate(turns) if turn.speaker == USER]
    if len(spots) < 2:
        return turns
    planned: list[tuple[int, int, Turns]] = []  # before which turn, in which order
    for fact in random.sample(TAUGHT["facts"], random.choice([1, 1, 2, 3])):
        value = random.choice(VALUES[fact["value"]])
        first = random.randrange(len(spots))
        gap = min(random.choice([1, 1, 2, 2, 3, 4, 5]), len(spots) - 1 - first)
        planned.append((spots[first], 0, told(fact, value, random)))
        planned.append((spots[first + gap], 1, asked_again(fact, value, random)))
    for _ in range(random.choice([0, 1, 1, 2])):
        planned.append((random.choice(spots), 2, about_itself(random)))
    if random.random() < 0.3:
        planned.append((random.choice(spots), 3, unknown(random)))
    if random.random() < 0.5:
        planned.append((random.choice(spots), 4, random.choice(smalltalk)))
    planned.sort(key=lambda one: one[:2])
    out: Turns = []
    for place, turn in enumerate(turns):
        out += [new for spot, _, inserted in planned if spot == place for new in inserted]
        out.append(turn)
    return out
