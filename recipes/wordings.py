"""Teach in many wordings: what was told and is asked again, what was not told, who the bot is.

    python recipes/wordings.py --data DIR --out DIR              # two minutes of one core

taught.json has a few wordings of each thing, and a bot that learned from them knows little in
others. wordings.json composes many (`grammar`). wide.jsonl and settled.jsonl are written: cleaner
conversations of `mixture`, some of them with such exchanges between their turns, and conversations
that are made of nothing else. In the first such text is nearly half, in the second a fifth.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import NamedTuple

from grammar import WORDINGS, clauses, drawn, lowered, yours
from mixture import BUILT_IN, CLEAN, OWN, SETTLED, WIDE, Mixture, set_of
from roles import hashed
from taught import BOT, FIRST_NAMES, PLACES, TAUGHT, USER, VALUES, Turn, Turns, exchange, varied

ALL_VALUES = VALUES | WORDINGS["values"]

PEOPLE_SETS = ("personachat_valid", "synthetic_persona_chat_validtest", BUILT_IN)
"""In these, people tell of themselves: nobody can say there that something was not told."""


class Part(NamedTuple):
    """How much is taught in a file.

    Args:
        inserted_percent: of conversations between people, into which exchanges are put.
        taught: how many conversations are made of such exchanges alone.
        untold: share of a user's questions about what they did not tell.
        most: conversations, drawn by a seed from all that are made; None: all.
    """

    inserted_percent: int
    taught: int
    untold: float
    most: int | None


PARTS = {WIDE: Part(70, 6000, 0.4, 8000), SETTLED: Part(22, 2200, 0.5, None)}

ASKS_BACK = 0.3
"""Share of the answers about itself that ask the user for the same."""


class Fact:
    """One thing that a user tells, and asks again.

    Args:
        kind: which, as in wordings.json.
        random: draws its value.
    """

    def __init__(self, kind: str, random: Random) -> None:
        self._random, self._content = random, WORDINGS["facts"][kind]
        self._person = random.choice(self._content.get("for", [""]))
        self._values = ALL_VALUES[self._content["value"]]
        self._value = random.choice(self._values)
        self.key = (kind, self._person)

    def _draw(self, text: str, value: str = "", **more: str) -> str:
        return drawn(text, self._random, v=value or self._value, p=self._person, **more)

    def told(self) -> Turns:
        """Tell it."""
        random = self._random
        known = self._content["known"] if random.random() < 0.85 else TAUGHT["acknowledged"]
        text = self._draw(f"<begin>{random.choice(self._content['told'])}<you know>.")
        text = varied(text, random) if self._value[0].islower() else text
        return exchange(text, self._draw(random.choice(known)))

    def _ask(self) -> tuple[str, str, str]:
        """Ask for it; return how, and what was asked, directly and as part of a sentence."""
        random, asked = self._random, WORDINGS["asked"]
        direct, clause = clauses(random.choice(self._content["questions"]))
        direct, clause = (self._draw(each, "{v}") for each in (direct, clause))
        if random.random() < 0.12:
            thing = random.choice(self._content["thing"])
            [how] = WORDINGS["things"]
            text = self._draw(how, q=lowered(self._draw(thing)))
        elif random.random() < 0.6:
            text = self._draw(random.choice(asked["direct"]), q=lowered(direct))
        else:
            text = self._draw(random.choice(asked["indirect"]), q=lowered(clause))
        return varied(text, random), yours(lowered(direct)), yours(lowered(clause))

    def asked(self) -> Turns:
        """Ask for it after it was told."""
        random, answered = self._random, WORDINGS["answered"]
        fact = self._draw(random.choice(self._content["fact"]))
        if random.random() < 0.2:
            right = random.random() < 0.5
            other = self._value if right else random.choice(self._values)
            check = self._draw(random.choice(self._content["check"]), other)
            said = random.choice(answered["yes" if other == self._value else "no"])
            return exchange(varied(f"{check}?", random), self._draw(said, f=lowered(fact)))
        text, _, _ = self._ask()
        short = self._draw(random.choice(self._content["short"]))
        said = random.choice(answered["told"])
        return exchange(text, self._draw(said, f=lowered(fact), s=lowered(short, self._value)))

    def untold(self) -> Turns:
        """Ask for it though it was not told; now and then the user tells it then."""
        random, answered = self._random, WORDINGS["answered"]
        text, direct, clause = self._ask()
        said = answered["untold"]
        if random.random() < 0.2:
            text = varied(self._draw(random.choice(self._content["check"])) + "?", random)
            said = answered["unsure"]
        return exchange(text, self._draw(random.choice(said), q=clause, Q=direct))


def habit(random: Random) -> tuple[Turns, Turns, Turns]:
    """Make what somebody does; return it told, asked, and asked without having been told."""
    content = WORDINGS["habits"]
    who, when = random.choice(content["who"]), random.choice(content["when"])
    who = who.replace("{p}", drawn("<relative>", random).lower())
    verb, lists = random.choice(list(content["verbs"].items()))
    plain, third = clauses(verb)
    own = who == "I"
    values = {"v": random.choice(ALL_VALUES[random.choice(lists)]), "t": when, "w": who}
    values |= {"a": "do" if own else "does", "b": plain, "d": plain if own else third}
    alone, clause = (each.format_map(values) for each in clauses(content["question"]))
    of_you = values | {"w": yours(who), "Q": yours(alone), "t": yours(when)}
    if random.random() < 0.6:
        text = drawn(random.choice(WORDINGS["asked"]["direct"]), random, q=alone)
    else:
        text = drawn(random.choice(WORDINGS["asked"]["indirect"]), random, q=clause)
    text = varied(text, random)

    def say(name: str, values: dict[str, str]) -> str:
        return drawn(random.choice(content[name]), random, **values)

    return (
        exchange(varied(say("told", values) + ".", random), say("known", of_you)),
        exchange(text, say("answered", of_you)),
        exchange(text, say("untold", of_you)),
    )


def about_itself(kind: str, random: Random, again: bool) -> tuple[Turns, str | None]:
    """Ask the bot about itself; return which fact of the user's it asks for in turn.

    Args:
        kind: what is asked, as in wordings.json.
        random: what is drawn by.
        again: whether it was asked before.
    """
    own, answers, asked = WORDINGS["own"][kind], WORDINGS["own_answers"], WORDINGS["own_asked"]
    values = {
        "first": random.choice(FIRST_NAMES), "city": random.choice(PLACES),
        "job": random.choice(VALUES["jobs"]), "hobby": random.choice(VALUES["hobbies"]),
        "age": random.choice(VALUES["ages"]), "month": random.choice(VALUES["months"]),
        "food": random.choice(VALUES["foods"]),
    }  # fmt: skip
    how, chance = "plain", random.random()
    if chance < 0.15 and "check" in own:
        text, how = "<oh>" + random.choice(own["check"]) + "?", "no"
    elif chance < 0.22 and "yes" in own:
        text, how = "<oh>" + random.choice(own["yes"]), "yes"
    elif chance < 0.4 and "said" in own:
        text = "<oh>" + random.choice(own["said"])
    else:
        direct, clause = clauses(random.choice(own["questions"]))
        in_clause = random.random() < 0.4
        wording = random.choice(asked["indirect" if in_clause else "direct"])
        text = wording.replace("{q}", clause if in_clause else direct)
    fact = drawn(random.choice(own["fact"]), random)
    how = "again" if again and how == "plain" and random.random() < 0.3 else how
    said = drawn(random.choice(answers[how]), random, f=lowered(fact, BOT))
    back = "back" in own and random.random() < ASKS_BACK
    if back:
        said += " " + random.choice(own["back"])
    return exchange(varied(drawn(text, random, **values), random), said), (
        own.get("back_fact") if back else None
    )


def world(random: Random) -> Turns:
    """Ask for a fact of the world, which the bot does not know."""
    content = WORDINGS["world"]
    text = random.choice(content["asked"])
    for name, values in {
        "x": content["x"], "y": content["y"], "c": PLACES, "l": VALUES["languages"],
    }.items():  # fmt: skip
        while f"{{{name}}}" in text:
            text = text.replace(f"{{{name}}}", random.choice(values), 1)
    while "{n}" in text:
        text = text.replace("{n}", str(random.randint(2, 150)), 1)
    text = varied(drawn("<oh>" + text, random), random)
    return exchange(text, drawn(random.choice(content["answered"]), random))


def event(random: Random) -> Turns:
    """Tell of something good or bad."""
    content = WORDINGS["events"][random.choice(["good", "bad"])]
    text = drawn(f"<begin>{random.choice(content['said'])}.", random)
    return exchange(varied(text, random), drawn(random.choice(content["answered"]), random))


def chains(random: Random, untold: float, number: int) -> list[list[Turns]]:
    """Make exchanges; those of one list belong together, in this order.

    Args:
        random: what is drawn by.
        untold: share of questions about what was not told.
        number: of the lists, at most.
    """
    found: list[list[Turns]] = []
    used: set[tuple[str, str]] = set()

    def add_fact(fact: Fact, before: Turns) -> None:
        used.add(fact.key)
        again = [fact.asked() for _ in range(random.choice([1, 1, 1, 2]))]
        found.append([before + fact.told(), *again])

    for _ in range(number):
        chance = random.random()
        if chance < 0.45:
            fact = Fact(random.choice(list(WORDINGS["facts"])), random)
            if fact.key in used:
                continue
            if untold and random.random() < untold:
                used.add(fact.key)
                asked = fact.untold()
                later = [asked + fact.told(), fact.asked()] if random.random() < 0.4 else [asked]
                found.append(later)
            else:
                add_fact(fact, [])
        elif chance < 0.58:
            told, asked, not_told = habit(random)
            found.append([not_told] if untold and random.random() < 0.25 else [told, asked])
        elif chance < 0.82:
            kind = random.choice(["name", "home", "job", *WORDINGS["own"]])
            several = []
            for time in range(random.choice([1, 1, 2, 3])):
                turns, back = about_itself(kind, random, time > 0)
                fact = Fact(back, random) if back else None
                if fact and fact.key not in used and random.random() < 0.7:
                    add_fact(fact, turns)
                else:
                    several.append(turns)
            found.append(several)
        elif chance < 0.9:
            found.append([world(random)])
        else:
            found.append([event(random)])
    return [each for each in found if each]


def placed(chain: Sequence[Turns], spots: int, random: Random) -> list[int]:
    """Draw before which of the user's messages each exchange of a chain stands."""
    place, found = random.randrange(spots), []
    for _ in chain:
        found.append(min(place, spots - 1))
        place += random.choice([1, 1, 1, 2, 2, 3, 4, 5, 7, 9])
    return found


def with_wordings(
    turns: Turns, random: Random, untold: float, number: int, smalltalk: Sequence[Turns]
) -> Turns:
    """Put exchanges before turns of the user's.

    Args:
        turns: of one conversation.
        random: what is drawn by.
        untold: share of questions about what was not told.
        number: of the chains that are put in.
        smalltalk: exchanges, some of which are put in too.
    """
    spots = [place for place, turn in enumerate(turns) if turn.speaker == USER]
    if len(spots) < 2:
        return turns
    planned: list[tuple[int, int, int, Turns]] = []
    for chain_number, chain in enumerate(chains(random, untold, number)):
        for n, (spot, one) in enumerate(zip(placed(chain, len(spots), random), chain, strict=True)):
            planned.append((spots[spot], n, chain_number, one))
    if random.random() < 0.3:
        planned.append((random.choice(spots), 0, -1, random.choice(smalltalk)))
    planned.sort(key=lambda each: each[:3])
    out: Turns = []
    for place, turn in enumerate(turns):
        out += [new for spot, _, _, one in planned if spot == place for new in one]
        out.append(turn)
    return out


def write(name: str, data: Path, out: Path) -> None:
    """Write one of `PARTS`."""
    part = PARTS[name]
    mixture = Mixture(data, insert=lambda turns, *_: turns)
    mixture.gather()
    made = mixture.parts[CLEAN]
    mixture.parts = {name: []}
    for id_, turns in made:
        random, set_name = Random(hashed("w" + id_)), set_of(id_)
        if set_name == OWN:
            continue
        if hashed("p" + id_) % 100 < part.inserted_percent:
            number = random.choice([1, 2, 2, 3])
            untold = 0.0 if set_name in PEOPLE_SETS else part.untold
            turns = with_wordings(turns, random, untold, number, mixture.smalltalk)
        mixture.add(name, id_, turns)
    for number in range(part.taught):
        random = Random(hashed(f"{name}{number}"))
        fillers = random.sample(mixture.smalltalk, random.choice([2, 3, 4, 5]))
        turns = [Turn(*turn) for one in fillers for turn in one]
        number_of_chains = random.choice([3, 4, 5, 6])
        turns = with_wordings(turns, random, part.untold, number_of_chains, mixture.smalltalk)
        mixture.add(name, f"self-w{number}", turns)
    mixture.write(out, most=part.most)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    for name in PARTS:
        write(name, arguments.data, arguments.out)


if __name__ == "__main__":
    main()
