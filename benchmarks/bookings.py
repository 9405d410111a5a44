"""Bookings in which all that was said before determines every reply: how often it is right.

    python benchmarks/bookings.py --json bookings.json       # about an hour; resumable

The dialogues are invented here, after those of Bordes and Weston, "Learning End-to-End
Goal-Oriented Dialog" (2017): somebody books a table, is asked for what is missing, changes her
mind; the bot makes a call with all that was wanted (`call`), and proposes restaurants from a list
that it was told, best first, and their telephone numbers (`full`). 1,000 are learned and 200 others
tried, drawn by seed. A reply is right where it is the expected one to the letter.
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
from elman.generate.network import load_network_bot
from elman.generate.positions import draw_positions, states_at
from elman.generate.replier import Replier
from elman.generate.rerank import Ranking
from elman.generate.sampling import SamplingParams
from elman.train import Config, train

LEARNED, TRIED = 1000, 200
PLACES = 600
"""Replies that are tried, of those dialogues."""

VALUES = {
    "cuisine": "italian french indian british spanish thai korean vietnamese cantonese japanese",
    "place": "paris rome london madrid bombay tokyo seoul beijing hanoi bangkok",
    "number": "two four six eight",
    "price": "cheap moderate expensive",
}
SLOTS = {name: values.split() for name, values in VALUES.items()}
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
WAYS = {
    "likeliest": (SamplingParams(temperature=0, seed=0), 1),
    "best of 8": (SamplingParams(seed=0), 8),
}

Turn = tuple[str, str]


def booking(draw: random.Random, full: bool) -> Iterator[Turn]:
    """The turns of one dialogue, as (who speaks, what is said)."""
    wanted = {name: draw.choice(values) for name, values in SLOTS.items()}
    told = [name for name in SLOTS if draw.random() < 0.5]
    draw.shuffle(told)
    yield "user", draw.choice(("hi", "hello", "good morning"))
    yield "bot", "hello what can i help you with today"
    opening = draw.choice(
        ("may i have a table", "can you book a table", "i'd like to book a table")
    )
    yield "user", " ".join([opening, *(WANTED[name].format(wanted[name]) for name in told)])
    yield "bot", "i'm on it"
    yield "user", "<silence>"
    for name in SLOTS:
        if name not in told:
            yield "bot", ASKED[name]
            yield "user", draw.choice(ANSWERS[name]).format(wanted[name])
    yield from _call(wanted)
    changes = draw.choice((0, 1, 1, 2))
    for _ in range(changes):
        name = draw.choice(list(SLOTS))
        wanted[name] = draw.choice([value for value in SLOTS[name] if value != wanted[name]])
        instead = draw.choice(("instead could it be", "actually i would prefer"))
        yield "user", f"{instead} {WANTED[name].format(wanted[name])}"
        yield "bot", "sure is there anything else to update"
    if changes:
        yield "user", draw.choice(("no", "no that's fine"))
        yield from _call(wanted)
    if full:
        yield from _proposals(draw, wanted)


def _call(wanted: dict[str, str]) -> Iterator[Turn]:
    yield "bot", "ok let me look into some options for you"
    yield "user", "<silence>"
    yield "bot", f"api_call {' '.join(wanted.values())}"


def _proposals(draw: random.Random, wanted: dict[str, str]) -> Iterator[Turn]:
    where = f"{wanted['place']}_{wanted['price']}_{wanted['cuisine']}"
    names = {stars: f"resto_{where}_{stars}stars" for stars in draw.sample(range(1, 9), 3)}
    told = (
        f"{name} phone {name}_phone address {name}_address rating {stars}"
        for stars, name in names.items()
    )
    yield "user", " ; ".join(told)
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


def write(path: Path, count: int, seed: int, full: bool) -> None:
    draw = random.Random(seed)
    with path.open("w", encoding="utf-8") as file:
        for number in range(count):
            turns = [{"speaker": who, "text": text} for who, text in booking(draw, full)]
            file.write(json.dumps({"id": f"{seed}-{number}", "turns": turns}) + "\n")


def measured(full: bool, base: str | None, pointer: int, minutes: float) -> dict[str, Any]:
    """The share of right replies for each way to reply, and the steps."""
    with tempfile.TemporaryDirectory() as folder:
        learned, tried = Path(folder) / "learned.jsonl", Path(folder) / "tried.jsonl"
        write(learned, LEARNED, 1, full)
        write(tried, TRIED, 2, full)
        values: dict[str, Any] = {
            "data": {"path": str(learned), "bot": "bot", "learn_from": "bot", "replies": 0},
            "model": {"pointer": pointer},
            "train": {"minutes": minutes, "base": base},
        }
        result = train(Config.make(values), Path(folder) / "bot")
        bot = load_network_bot(Path(folder) / "bot")
        conversations = Dataset.read(str(tried), bot="bot").conversations()
        corpus = Corpus.encode(conversations, bot.tokenizer, "bot")
    places = draw_positions(corpus, "bot", PLACES, 0)
    state = states_at(bot.decoder, corpus, places)
    found: dict[str, Any] = {"steps": result.steps}
    for way, (sampling, samples) in WAYS.items():
        ranking = Ranking.of(bot.config, samples=samples)
        replier, generator = Replier(bot, sampling, ranking), sampling.generator()

        respond = partial(replier.replies, generator=generator)
        pairs = reply_in(places, state, corpus, bot.tokenizer, respond)
        found[way] = sum(pair.exact for pair in pairs) / len(pairs)
    return found


def main() -> None:
    options = runs.parser(__doc__)
    options.add_argument("--minutes", type=float, default=5.0)
    options.add_argument("--kinds", nargs="+", choices=["call", "full"], default=["call", "full"])
    options.add_argument("--bases", nargs="+", choices=["base", "none"], default=["base", "none"])
    options.add_argument("--pointers", type=int, nargs="+", default=[256, 0])
    arguments = options.parse_args()
    torch.set_num_threads(arguments.threads)
    print(describe(), "\n", flush=True)
    finished = runs.Finished(arguments.json)
    print(
        f"| bookings | from | pointer | steps | {' | '.join(WAYS)} |\n|{'---|' * (4 + len(WAYS))}"
    )
    for kind in arguments.kinds:
        for base in arguments.bases:
            for pointer in arguments.pointers:
                key = f"{kind} {base} {pointer} {arguments.minutes:g}"
                start = None if base == "none" else base
                run = partial(measured, kind == "full", start, pointer, arguments.minutes)
                row = finished.get(key, run)
                shares = " | ".join(f"{row[way]:.1%}" for way in WAYS)
                print(f"| {kind} | {base} | {pointer} | {row['steps']:,} | {shares} |", flush=True)


if __name__ == "__main__":
    main()
