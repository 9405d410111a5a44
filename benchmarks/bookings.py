"""Bookings in which all that was said before determines every reply: how often it is right.

    python benchmarks/bookings.py --json bookings.json       # about an hour; resumable

The dialogues are invented here, after those of Bordes and Weston, "Learning End-to-End
Goal-Oriented Dialog" (2017): somebody books a table, is asked for what is missing, changes her
mind; the bot makes a call with all that was wanted (`call`), and proposes restaurants from a list
that it was told, best first, and their telephone numbers (`full`). In `long` the list has 42 to 56
facts, in more than 256 tokens. 1,000 are learned and others tried, drawn by seed: some with the
same names, some with places, cuisines, restaurants and telephone numbers that were never seen. A
reply is right where it is the expected one to the letter, a dialogue where all its replies are.
"""

import json
import random
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import runs
import torch
from machine import describe

from elman.data.corpus import Corpus
from elman.data.dataset import Dataset
from elman.evaluate.texts import reply_in
from elman.generate.positions import draw_positions, states_at
from elman.generate.replier import Replier
from elman.generate.rerank import Ranking
from elman.generate.sampling import SamplingParams
from elman.runtime.choose import load_bot
from elman.train import Config, train

LEARNED, TRIED = 1000, 60

VALUES = {
    "cuisine": "italian french indian british spanish thai korean vietnamese cantonese japanese",
    "place": "paris rome london madrid bombay tokyo seoul beijing hanoi bangkok",
    "number": "two four six eight",
    "price": "cheap moderate expensive",
}
SLOTS = {name: values.split() for name, values in VALUES.items()}
NEW_VALUES = {
    "cuisine": "mexican german greek turkish lebanese moroccan ethiopian peruvian danish polish",
    "place": "lisbon oslo vienna prague dublin lima quito dakar havana nairobi",
}
NEW_SLOTS = SLOTS | {name: values.split() for name, values in NEW_VALUES.items()}
NAMES = {"same names": SLOTS, "new names": NEW_SLOTS}
RATINGS = range(1, 9)
KINDS = {
    "call": "api_call",
    "proposal": "what do you think of this option",
    "details": "here it is",
}
"""How the replies begin that only history tells."""
WANTED = {
    "cuisine": "with {} food",
    "place": "in {}",
    "number": "for {} people",
    "price": "in a {} price range",
}
ASKED = {
    "cuisine": "any preference on a type of cuisine",
    "place": "where should it be",
    "number": "how many people would be in your party",
    "price": "which price range are you looking for",
}
ANSWERS = {
    "cuisine": ("i love {} food", "{} food please"),
    "place": ("in {}", "{} please"),
    "number": ("for {} please", "we will be {}"),
    "price": ("i am looking for a {} restaurant", "in a {} price range please"),
}
LISTED = ("call", "full", "long")
WAYS = {
    "likeliest": (SamplingParams(temperature=0, seed=0), 1),
    "best of 8": (SamplingParams(seed=0), 8),
}

Turn = tuple[str, str]


def booking(draw: random.Random, kind: str, slots: dict[str, list[str]]) -> Iterator[Turn]:
    """The turns of one dialogue, as (who speaks, what is said)."""
    wanted = {name: draw.choice(values) for name, values in slots.items()}
    told = [name for name in slots if draw.random() < 0.5]
    draw.shuffle(told)
    yield "user", draw.choice(("hi", "hello", "good morning"))
    yield "bot", "hello what can i help you with today"
    opening = draw.choice(
        ("may i have a table", "can you book a table", "i'd like to book a table")
    )
    yield "user", " ".join([opening, *(WANTED[name].format(wanted[name]) for name in told)])
    yield "bot", "i'm on it"
    yield "user", "<silence>"
    for name in slots:
        if name not in told:
            yield "bot", ASKED[name]
            yield "user", draw.choice(ANSWERS[name]).format(wanted[name])
    yield from _call(wanted)
    changes = draw.choice((0, 1, 1, 2))
    for _ in range(changes):
        name = draw.choice(list(slots))
        wanted[name] = draw.choice([value for value in slots[name] if value != wanted[name]])
        instead = draw.choice(("instead could it be", "actually i would prefer"))
        yield "user", f"{instead} {WANTED[name].format(wanted[name])}"
        yield "bot", "sure is there anything else to update"
    if changes:
        yield "user", draw.choice(("no", "no that's fine"))
        yield from _call(wanted)
    if kind != "call":
        yield from _proposals(draw, wanted, draw.choice((6, 7, 8)) if kind == "long" else 3)


def _call(wanted: dict[str, str]) -> Iterator[Turn]:
    yield "bot", "ok let me look into some options for you"
    yield "user", "<silence>"
    yield "bot", f"api_call {' '.join(wanted.values())}"


def _proposals(draw: random.Random, wanted: dict[str, str], count: int) -> Iterator[Turn]:
    where = f"{wanted['place']}_{wanted['price']}_{wanted['cuisine']}"
    names = {stars: f"resto_{where}_{stars}stars" for stars in draw.sample(RATINGS, count)}
    wishes = "".join(f" {name} {value}" for name, value in wanted.items()) if count > 3 else ""
    told = (
        f"{name} phone {name}_phone address {name}_address{wishes} rating {stars}"
        for stars, name in names.items()
    )
    yield "user", (" ; " if count <= 3 else "\n").join(told)
    best = sorted(names, reverse=True)
    yield "bot", f"what do you think of this option: {names[best[0]]}"
    while len(best) > 1 and draw.random() < 0.4:
        best.pop(0)
        yield "user", draw.choice(("no i don't like that", "do you have something else"))
        yield "bot", "sure let me find an other option for you"
        yield "user", "<silence>"
        yield "bot", f"what do you think of this option: {names[best[0]]}"
    yield "user", draw.choice(("let's do it", "i love that", "it's perfect"))
    yield "bot", "great let me do the reservation"
    for what in draw.sample(["phone", "address"], draw.choice((0, 1, 2))):
        yield "user", draw.choice((f"what is the {what}", f"may i have the {what}"))
        yield "bot", f"here it is {names[best[0]]}_{what}"
    yield "user", draw.choice(("thanks", "thank you"))
    yield "bot", "you're welcome"


def write(path: Path, count: int, seed: int, kind: str, slots: dict[str, list[str]]) -> None:
    draw = random.Random(seed)
    with path.open("w", encoding="utf-8") as file:
        for number in range(count):
            turns = [{"speaker": who, "text": text} for who, text in booking(draw, kind, slots)]
            file.write(json.dumps({"id": f"{seed}-{number}", "turns": turns}) + "\n")


def measured(
    kind: str,
    base: str | None,
    model: dict[str, Any],
    precision: str,
    minutes: float,
    tried: int,
    invent: bool,
) -> dict[str, Any]:
    """The steps of a training, and what `rated` finds for each kind of names."""
    with tempfile.TemporaryDirectory() as folder:
        learned, bot = Path(folder) / "learned.jsonl", Path(folder) / "bot"
        write(learned, LEARNED, 1, kind, SLOTS)
        values: dict[str, Any] = {
            "data": {
                "path": str(learned),
                "bot": "bot",
                "learn_from": "bot",
                "replies": 0,
                "invent": invent,
            },
            "model": model,
            "train": {"minutes": minutes, "base": base, "precision": precision},
        }
        result = train(Config.make(values), bot)
        found: dict[str, Any] = {"steps": result.steps}
        for names in NAMES:
            found[names] = rated(bot, kind, names, tried)
    return found


def rated(folder: Path, kind: str, names: str, tried: int) -> dict[str, dict[str, float]]:
    """The share of right replies by kind, and of right dialogues, for each way to reply."""
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "tried.jsonl"
        write(path, tried, 2, kind, NAMES[names])
        bot = load_bot(folder)
        conversations = Dataset.read(str(path), bot="bot").conversations()
        corpus = Corpus.encode(conversations, bot.tokenizer, "bot")
    positions = draw_positions(corpus, "bot", len(corpus.ids), 0)
    state = states_at(bot.decoder, corpus, positions)
    found = {}
    for way, (sampling, samples) in WAYS.items():
        ranking = Ranking.of(bot.config, samples=samples)
        replier, generator = Replier(bot, sampling, ranking), sampling.generator()
        respond = partial(replier.replies, generator=generator)
        pairs = reply_in(positions, state, corpus, bot.tokenizer, respond)
        right = {"all": [pair.exact for pair in pairs]}
        for name, begin in KINDS.items():
            right[name] = [pair.exact for pair in pairs if pair.person.startswith(begin)]
        dialogues = dict.fromkeys((each.conversation for each in positions), True)
        for each, pair in zip(positions, pairs, strict=True):
            dialogues[each.conversation] &= pair.exact
        right["dialogue"] = list(dialogues.values())
        found[way] = {name: sum(each) / len(each) for name, each in right.items() if each}
    return found


def main() -> None:
    options = runs.parser(__doc__)
    options.add_argument("--minutes", type=float, default=5.0)
    options.add_argument("--kinds", nargs="+", choices=LISTED, default=list(LISTED))
    options.add_argument("--bases", nargs="+", choices=["auto", "base", "none"], default=["auto"])
    options.add_argument(
        "--pointers", nargs="+", default=["auto"], help="auto, or tokens back; 0: none"
    )
    options.add_argument("--precision", default="auto", help="as train.precision")
    options.add_argument("--invent", action="store_true", help="learn invented words, too")
    options.add_argument("--tried", type=int, default=TRIED, help="dialogues of each kind of names")
    arguments = options.parse_args()
    torch.set_num_threads(arguments.threads)
    print(describe(), "\n", flush=True)
    finished = runs.Finished(arguments.json)
    shown = ["all", *KINDS, "dialogue"]
    print(f"| bookings | from | pointer | steps | names | reply | {' | '.join(shown)} |")
    print(f"|{'---|' * (6 + len(shown))}")
    for kind in arguments.kinds:
        for base in arguments.bases:
            for pointer in arguments.pointers:
                given = (arguments.minutes, arguments.tried, arguments.invent)
                precision = arguments.precision
                key = " ".join([kind, base, pointer, precision, *(f"{each:g}" for each in given)])
                start = None if base == "none" else base
                model = {} if pointer == "auto" else {"pointer": int(pointer)}
                run = partial(measured, kind, start, model, precision, *given)
                row = finished.get(key, run)
                begin = f"| {kind} | {base} | {pointer} | {row['steps']:,} |"
                for names in NAMES:
                    for way, shares in row[names].items():
                        cells = " | ".join(f"{shares[x]:.1%}" if x in shares else "" for x in shown)
                        print(f"{begin} {names} | {way} | {cells} |", flush=True)


if __name__ == "__main__":
    main()
