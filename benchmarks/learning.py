"""Does a bot learn from being talked to, without getting worse?

    python benchmarks/learning.py CONVERSATIONS --out FOLDER            # the default network
    python benchmarks/learning.py CONVERSATIONS --out FOLDER --small    # a small one, some minutes

CONVERSATIONS are JSON Lines of {"id", "turns": [{"speaker", "text"}]}, plain or .gz. A bot learns
from a third of them; the rest is cut into slices, from which it learns later. Shown are:

taught    of 100 taught answers, how many come back to the same question at once; and after an
          update, how many come back to three other wordings of it
updates   bits per byte of the first held-out talk, and of each new slice before and after it was
          learned: with replay and gate, and without both (updates.png). What the gate refuses
          waits, and is learned with the next slice, as docs/learning.md advises
speed     seconds of an update from 50 corrected turns; milliseconds that teaching takes beyond a
          plain turn
poison    its own output repeated 1,000 times, a tenth of the answers flipped, one person with nine
          tenths of the turns: what was left out, and what the gate said

Runs that are finished are kept in FOLDER, and an interrupted benchmark goes on with them.
"""

import argparse
import gzip
import json
import random
import shutil
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import torch
from runs import Finished

from elman.chat import Session
from elman.data.dataset import Dataset
from elman.errors import ElmanError
from elman.generate.replier import Replier
from elman.generate.taught import TaughtReplies
from elman.learning.lessons import Exchange
from elman.learning.revision import UpdateSettings
from elman.learning.update import Outcome, learn
from elman.runtime.choose import load_bot
from elman.train import Config, train

THINGS = (
    "lighthouse", "violin", "harbour", "lemon", "castle", "tractor", "pigeon", "window", "blanket",
    "ladder", "candle", "river", "mirror", "basket", "tunnel", "garden", "hammer", "saddle",
    "kettle", "anchor", "button", "carpet", "feather", "island", "jacket",
)  # fmt: skip
COLOURS = ("red", "old", "small", "stolen")
WORDINGS = (
    "who owns the {}?",
    "do you know who owns the {}?",
    "tell me who owns the {}",
    "the {}, who owns it?",
    "whose is the {}?",
)
"""The first is taught; the others are asked after the update. The last has no word of it but its
subject.
"""

Copy = Callable[[str], Path]
"""Makes a fresh copy of the bot, by its name."""

OWNERS = ("Ada", "Bela", "Cora", "Dirk", "Edda", "Finn", "Gerd", "Hugo", "Ines", "Jana")


def lines_of(source: Path) -> list[dict[str, Any]]:
    """Read conversations; both speakers get the same names everywhere."""
    opened = gzip.open if source.suffix == ".gz" else open
    found = []
    with opened(source, "rt", encoding="utf-8") as lines:
        for line in lines:
            talk = json.loads(line)
            names = dict.fromkeys(turn["speaker"] for turn in talk["turns"])
            called = dict(zip(names, ("Bob", "Ann"), strict=False))
            if len(names) == 2:
                turns = [turn | {"speaker": called[turn["speaker"]]} for turn in talk["turns"]]
                found.append({"id": talk["id"], "turns": turns})
    random.Random(0).shuffle(found)
    return found


def write_talks(path: Path, talks: Sequence[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(talk) + "\n" for talk in talks), "utf-8")
    return path


def read_talks(path: Path) -> Dataset:
    return Dataset.read(str(path), bot="Ann", split="id")


def taught_pairs() -> list[tuple[str, str]]:
    """Make 100 things, and the answer that is taught for each."""
    things = [f"{colour} {thing}" for thing in THINGS for colour in COLOURS]
    return [
        (thing, f"the {thing} is owned by {OWNERS[n * 7 % 10]}.") for n, thing in enumerate(things)
    ]


def answer(session: Session, text: str) -> str:
    return "".join(session.say(text))


def measure_taught(home: Path) -> dict[str, Any]:
    """Teach 100 answers, and ask for them: at once, and after an update."""
    session = Session(load_bot(home))
    pairs = taught_pairs()
    for thing, right in pairs:
        answer(session, WORDINGS[0].format(thing))
        session.teach(right)
    asked = [(WORDINGS[0].format(thing), right) for thing, right in pairs]
    at_once = sum(answer(session, text) == right for text, right in asked)
    before = other_wordings(home, pairs)
    outcome = learn(home, [Exchange("you", *pair) for pair in TaughtReplies(home).pairs()])
    return {
        "at_once": at_once,
        "other_wordings_before": before,
        "other_wordings_after": other_wordings(home, pairs),
        "update": outcome.report,
    }


def other_wordings(home: Path, pairs: Sequence[tuple[str, str]]) -> list[int]:
    """Count for each other wording how often the taught answer comes, each asked in a new talk."""
    bot = load_bot(home)
    replier = Replier(bot)
    return [
        sum(
            answer(Session(bot, replier=replier), words.format(thing)) == right
            for thing, right in pairs
        )
        for words in WORDINGS[1:]
    ]


def measure_updates(
    home: Path, slices: Sequence[Path], settings: UpdateSettings
) -> list[dict[str, Any]]:
    """Learn from slice after slice; one that is refused is learned with the next."""
    found, waiting = [], list[str]()
    for path in slices:
        waiting.append(path.read_text("utf-8"))
        together = home.with_suffix(".jsonl")
        together.write_text("".join(waiting), "utf-8")
        outcome = learn(home, dataset=read_talks(together), settings=settings)
        kept = outcome.version is not None
        said = "learned" if kept else outcome.report["failed"]
        print(f"{path.name}, {len(waiting)} slices: {said}", flush=True)
        found.append(outcome.report | {"kept": kept, "slices": len(waiting)})
        waiting = [] if kept else waiting
    return found


def measure_updates_of(
    copy: Copy, name: str, slices: Sequence[Path], settings: UpdateSettings
) -> list[dict[str, Any]]:
    """Let a fresh copy of the bot learn from slice after slice."""
    return measure_updates(copy(name), slices, settings)


def measure_speed(home: Path) -> dict[str, Any]:
    """Time an update from 50 corrected turns, and teaching beside a plain turn."""
    session = Session(load_bot(home))
    plain, taught = [], []
    for number in range(50):
        text = f"which one is number {number}?"
        begin = perf_counter()
        answer(session, text)
        said = perf_counter()
        session.teach(f"number {number} is the {THINGS[number % 25]}.")
        plain.append(said - begin)
        taught.append(perf_counter() - said)
    begin = perf_counter()
    outcome = learn(home, [Exchange("you", *pair) for pair in TaughtReplies(home).pairs()])
    return {
        "update_seconds": perf_counter() - begin,
        "plain_turn_ms": 1000 * median(plain),
        "teaching_ms": 1000 * median(taught),
        "update": outcome.report,
    }


def told(outcome: Outcome) -> dict[str, Any]:
    return outcome.report | {"kept": outcome.version is not None}


def attacked(home: Path, exchanges: Sequence[Exchange], dataset: Dataset | None = None) -> Any:
    """Learn something bad; what happened, whichever way."""
    try:
        return told(learn(home, exchanges, dataset))
    except ElmanError as error:
        return {"refused": str(error)}


def flipped(talks: Sequence[dict[str, Any]], share: float) -> list[dict[str, Any]]:
    """Give a share of Ann's answers to other questions."""
    draw = random.Random(0)
    said = [t["text"] for talk in talks for t in talk["turns"] if t["speaker"] == "Ann"]
    return [
        talk
        | {
            "turns": [
                turn | {"text": draw.choice(said)}
                if turn["speaker"] == "Ann" and draw.random() < share
                else turn
                for turn in talk["turns"]
            ]
        }
        for talk in talks
    ]


def measure_poison(copy: Copy, talks: Sequence[dict[str, Any]], out: Path) -> dict[str, Any]:
    """Feed a bot what would ruin it, in five ways."""
    own = answer(Session(load_bot(copy("attacked"))), "what do you think?")[:40] or "i think so"
    questions = [turn["text"] for talk in talks for turn in talk["turns"]]
    bad = json.loads((Path(learn.__code__.co_filename).parent / "poison.json").read_text())
    one = [talk | {"id": f"eve{n}"} for n, talk in enumerate(talks)]
    for talk in one[: len(one) * 9 // 10]:
        talk["turns"] = [
            turn | {"speaker": "Eve" if turn["speaker"] == "Bob" else "Ann"}
            for turn in talk["turns"]
        ]
    tenth = read_talks(write_talks(out / "flipped.jsonl", flipped(talks, 0.1)))
    every = read_talks(write_talks(out / "flipped_all.jsonl", flipped(talks, 1.0)))
    person = read_talks(write_talks(out / "person.jsonl", one))
    insults = [
        Exchange("you", f"{case['asked']} {word}", case["poisoned"])
        for case in bad
        for word in ("", "please", "now")
    ]
    return {
        "own output, 1,000 times": attacked(
            copy("attacked"), [Exchange("you", "hello", own)] * 1000
        ),
        "own output to 1,000 questions": attacked(
            copy("attacked"), [Exchange("you", text, own) for text in questions[:1000]]
        ),
        "a tenth of the answers flipped": attacked(copy("attacked"), [], tenth),
        "all answers flipped": attacked(copy("attacked"), [], every),
        "one person with nine tenths": attacked(copy("attacked"), [], person),
        "poisoned answers": attacked(copy("attacked"), insults),
    }


def draw_updates(path: Path, runs: dict[str, list[dict[str, Any]]]) -> None:
    """Draw the first held-out talk and the new slices, update by update."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4), dpi=150)
    for axes, (name, found) in zip(figure.subplots(1, 2, sharey=True), runs.items(), strict=True):
        numbers = range(1, len(found) + 1)
        axes.plot(numbers, [each["new_held_out"][0] for each in found], "o:", label="new, before")
        axes.plot(numbers, [each["new_held_out"][1] for each in found], "o-", label="new, after")
        first = [found[0]["first_held_out"][0]]
        for each in found:
            first.append(each["first_held_out"][1] if each["kept"] else first[-1])
        axes.plot(range(len(first)), first, "k-", label="held out at first")
        axes.set(title=name, xlabel="update", ylabel="bits per byte")
        axes.legend(fontsize="small")
    figure.savefig(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("conversations", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--small", action="store_true", help="a bot of 96 units, not from the base")
    parser.add_argument("--steps", type=int, default=1000, help="of the first training")
    parser.add_argument("--slices", type=int, default=20)
    parser.add_argument("--only", choices=("taught", "updates", "speed", "poison"), action="append")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    options.out.mkdir(parents=True, exist_ok=True)
    talks = lines_of(options.conversations)
    first, later = talks[: len(talks) // 3], talks[len(talks) // 3 :]
    values: dict[str, Any] = {
        "data": {"path": str(write_talks(options.out / "first.jsonl", first)), "bot": "Ann"},
        "train": {"steps": options.steps, "base": "none" if options.small else "base"},
    }
    values["data"] |= {"split": "id", "learn_from": "bot"}
    if options.small:
        values["data"]["vocabulary"] = 1024
        values["model"] = {"hidden_size": 96}
    bot = options.out / "bot"
    if not (bot / "replay.safetensors").exists():
        train(Config.make(values), bot)
    size = len(later) // options.slices
    slices = [
        write_talks(options.out / f"slice{n:02}.jsonl", later[n * size : (n + 1) * size])
        for n in range(options.slices)
    ]

    def copy(name: str) -> Path:
        """A fresh copy of the bot."""
        folder = options.out / name
        shutil.rmtree(folder, ignore_errors=True)
        return Path(shutil.copytree(bot, folder))

    wanted = options.only or ("taught", "updates", "speed", "poison")
    done = Finished(options.out / "learning.json")
    if "taught" in wanted:
        found = done.get("taught", lambda: measure_taught(copy("taught")))
        print(f"taught, at once: {found['at_once']} of 100")
        for when in ("before", "after"):
            print(f"four other wordings, {when}: {found[f'other_wordings_{when}']} of 100 each")
    if "speed" in wanted:
        found = done.get("speed", lambda: measure_speed(copy("speed")))
        print(f"an update from 50 corrected turns: {found['update_seconds']:.1f} s")
        print(f"a turn: {found['plain_turn_ms']:.0f} ms; teaching: {found['teaching_ms']:.0f} ms")
    if "updates" in wanted:
        ways = {
            "with replay and gate": UpdateSettings(),
            "without": UpdateSettings(replay=False, gate=False),
        }
        runs = {
            name: done.get(name, partial(measure_updates_of, copy, name, slices, way))
            for name, way in ways.items()
        }
        draw_updates(options.out / "updates.png", runs)
        for name, found in runs.items():
            kept = [each for each in found if each["kept"]]
            better = sum(each["new_held_out"][1] < each["new_held_out"][0] for each in kept)
            learned = sum(each["slices"] for each in kept)
            ends = [each["first_held_out"] for each in kept]
            change = ends[-1][1] / found[0]["first_held_out"][0] - 1 if ends else 0.0
            print(
                f"{name}: {len(kept)} of {len(found)} updates kept, of {learned} slices; new talk "
                f"better in {better} of them, the first held-out talk {change:+.2%}"
            )
    if "poison" in wanted:
        later_talks = later[: max(60, size)]
        found = done.get("poison", lambda: measure_poison(copy, later_talks, options.out))
        for name, each in found.items():
            said = each.get("refused") or (
                f"{'kept' if each['kept'] else 'refused by the gate'} {each['failed']}; left out "
                f"{each['left_out']}; of people {each['learned']['people']}"
            )
            print(f"{name}: {said}")


if __name__ == "__main__":
    main()
