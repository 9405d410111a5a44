"""Mix the conversations that the base learns from: a broad part, a cleaner part, a held-out part.

    python recipes/mixture.py --data DIR --out DIR               # two minutes of one core

DIR of --data holds the sets of `LICENSES`, each a folder of gzipped JSON Lines of turns; the
built-in conversations come with Elman. What is written are broad.jsonl, clean.jsonl and held.jsonl.
In all of them one side is the bot, and its name is Elman. What it is taught beside is in
taught.json: facts that a user tells and asks again, who it is, and what it does not know.

Every choice is drawn from a hash of a conversation's id, so the files are the same on every
computer. First names are those of Faker, and another version of it may know others.
"""

import argparse
import gzip
import json
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import count, islice
from pathlib import Path
from random import Random

from roles import hashed, joined, with_roles
from taught import (
    BOT,
    TAUGHT,
    USER,
    Turn,
    Turns,
    about_itself,
    exchange,
    unknown,
    with_insertions,
)

from elman.data.dataset import Dataset
from elman.data.files import write_file
from elman.data.redact import Redactor
from elman.data.source import BUILT_IN

LICENSES = {
    "personality_chat": "MIT",
    "self_dialogue": "BSD-3-Clause",
    "synthetic_persona_chat_validtest": "CC BY 4.0",
    "personachat_valid": "CC BY 4.0",
    "persuasion_for_good": "Apache-2.0",
    "multiwoz_valtest": "MIT",
    "star": "MIT",
    "fun_dialogues": "Apache-2.0",
    "taskmaster4_coffee": "CC BY 4.0",
    BUILT_IN: "MIT",
}
"""Of every set that is learned from. None asks that what is made of it has the same license."""

BROAD, CLEAN, HELD = "broad", "clean", "held"

WIDE, SETTLED = "wide", "settled"
"""Parts that `wordings` makes from the cleaner one."""

TALK, PLAIN = "talk", "plain"
"""Parts that `talk` makes from the settled one. The first is also the set that was written for it.
"""

OWN = "taught"
"""What is made of taught.json alone."""

HELD_OUT_SETS = ("self_dialogue", "personachat_valid", "synthetic_persona_chat_validtest")
"""Of these, one conversation in ten is in the held-out part, and in no other."""

CLEAN_SETS = ("personachat_valid", "synthetic_persona_chat_validtest")
"""These are in the cleaner part too; of self_dialogue, some conversations of short messages."""

CLEAN_MESSAGE_CHARACTERS, CLEAN_PERCENT = 55, 60
"""Of self_dialogue: the mean length below which a message is short, and how many are taken."""

STAR_PERCENT, COFFEE_PERCENT = 40, 40
"""How much of two sets about tasks is taken: they repeat themselves."""

BUILT_IN_BROAD, BUILT_IN_CLEAN = 0.75, 0.3
"""Shares of the built-in conversations, the cleanest first, in the two parts."""

MIN_KNOWN_COUNT = 20
"""A word is known that occurs in the other sets more often than this."""

MIN_TURNS, MIN_WORDS = 4, 30
"""Of a conversation between two people; the words are asked of the built-in ones alone."""

IDENTITY_CONVERSATIONS = 3000
"""Made of questions about the bot, small talk and facts alone; half for each part."""

ANSWERED_AS_ELMAN = {
    2: "age", 8: "maker", 9: "family", 11: "food", 14: "name", 26: "family", 29: "machine",
    30: "home", 31: "job",
}  # fmt: skip
"""Intents of personality_chat whose answers are Elman's own, from `identity` in taught.json."""

LEFT_OUT_INTENTS = {3, 13, 28, 50, 60, 67, 81, 84, 87}
LEFT_OUT_ANSWER = "That's not me, but hello nonetheless!"
"""They speak of somebody else's product, or depend on what was said before."""

WORD = re.compile(r"[a-z']+")


def in_percent(percent: int, text: str) -> bool:
    """Whether the hash of a text is among so many of a hundred."""
    return hashed(text) % 100 < percent


def read(path: Path) -> Iterator[tuple[str, Turns]]:
    """Read the ids and turns of a set, without joining what one speaker said in several."""
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        for line in lines:
            one = json.loads(line)
            yield one["id"], [Turn(turn["speaker"], turn["text"]) for turn in one["turns"]]


def read_smalltalk(data: Path) -> list[Turns]:
    """Read the friendly voice of personality_chat, with Elman's answers where it is asked for."""
    found = []
    for id_, (asked, answered) in read(data / "personality_chat" / "train.jsonl.gz"):
        _, _, voice, intent, _ = id_.split("-")
        if voice != "friendly" or int(intent) in LEFT_OUT_INTENTS:
            continue
        answer = answered.text
        if own := ANSWERED_AS_ELMAN.get(int(intent)):
            answers = TAUGHT["identity"][own]["answered"]
            answer = Random(hashed(id_)).choice(answers)
        if answer != LEFT_OUT_ANSWER:
            found.append(exchange(asked.text, answer))
    return found


Insert = Callable[[Turns, Random, Sequence[Turns]], Turns]


class Mixture:
    """Gathers the three parts, set by set.

    Args:
        data: where the sets are.
        insert: puts what is taught between the turns of a conversation.
    """

    def __init__(self, data: Path, insert: Insert = with_insertions) -> None:
        self._data, self._insert = data, insert
        self.smalltalk = read_smalltalk(data)
        self.parts: dict[str, list[tuple[str, Turns]]] = {BROAD: [], CLEAN: [], HELD: []}

    def gather(self) -> None:
        """Gather everything. The order counts: each part is shuffled from it by a fixed seed."""
        self._add_smalltalk()
        self._add_identity()
        self._add_people("self_dialogue", ("train",), insertions=0.12)
        self._add_people("synthetic_persona_chat_validtest", ("valid", "test"))
        self._add_people("personachat_valid", ("train",))
        self._add_people("persuasion_for_good", ("train",))
        self._add_tasks("multiwoz_valtest", bot="bot")
        self._add_tasks("star", bot="bot", percent=STAR_PERCENT, salt="s")
        self._add_tasks("fun_dialogues", bot="B")
        self._add_tasks(
            "taskmaster4_coffee", bot="assistant", percent=COFFEE_PERCENT, salt="k", called="coffee"
        )
        self._add_built_in()

    def write(self, out: Path, most: int | None = None) -> None:
        """Write each part that has conversations (`write_part`)."""
        for part, conversations in self.parts.items():
            if conversations:
                write_part(out, part, conversations, most)

    def add(self, part: str, id_: str, turns: Turns) -> None:
        if len(turns) >= 2:
            self.parts[part].append((id_, turns))

    def _add_smalltalk(self) -> None:
        """Add small talk, one to four exchanges a conversation, to both parts."""
        random = Random(1)
        shuffled = self.smalltalk[:]
        random.shuffle(shuffled)
        left = iter(shuffled)
        for number in count(1):
            exchanges = list(islice(left, random.choice([1, 2, 3, 4])))
            if not exchanges:
                return
            turns: Turns = []
            for one in exchanges:
                turns += one
                turns += about_itself(random) if random.random() < 0.25 else []
                turns += unknown(random) if random.random() < 0.08 else []
            self.add(BROAD, f"smalltalk-{number}", turns)
            self.add(CLEAN, f"smalltalk-c{number}", turns)

    def _add_identity(self) -> None:
        """Add conversations that are made of questions about the bot alone."""
        for number in range(IDENTITY_CONVERSATIONS):
            random = Random(number)
            turns: Turns = []
            for _ in range(random.choice([2, 3, 4, 5])):
                if random.random() < 0.6:
                    turns += about_itself(random)
                elif random.random() < 0.4:
                    turns += unknown(random)
                else:
                    turns += random.choice(self.smalltalk)
            part = BROAD if number % 2 else CLEAN
            self.add(part, f"self-{number}", self._insert(turns, random, self.smalltalk))

    def _add_people(self, name: str, files: Sequence[str], insertions: float = 0.3) -> None:
        """Add talk of two people: in the broad part with one of them as the bot, in the cleaner
        part with the other.
        """
        for file in files:
            for id_, separate in read(self._data / name / f"{file}.jsonl.gz"):
                turns = joined(separate)
                if len(turns) < MIN_TURNS or any("http" in t or "@" in t for _, t in turns):
                    continue
                one = with_roles(id_, turns)
                if name in HELD_OUT_SETS and hashed(id_) % 10 == 0:
                    self.add(HELD, f"{name}:{id_}", one)
                    continue
                if not one:
                    continue
                random = Random(hashed("x" + id_))
                if random.random() < insertions:
                    one = self._insert(one, random, self.smalltalk)
                self.add(BROAD, f"{name}:{id_}", one)
                if name in CLEAN_SETS or (name == "self_dialogue" and is_short(id_, turns)):
                    other = with_roles(id_, turns, side=1)
                    if random.random() < 0.35:
                        other = self._insert(other, random, self.smalltalk)
                    self.add(CLEAN, f"{name}-f:{id_}", other)

    def _add_tasks(
        self, name: str, bot: str, percent: int = 100, salt: str = "", called: str = ""
    ) -> None:
        """Add talk about tasks, as it is, to the broad part."""
        for id_, separate in read(self._data / name / "train.jsonl.gz"):
            if in_percent(percent, salt + id_):
                turns = [Turn(BOT if s == bot else USER, t) for s, t in joined(separate)]
                self.add(BROAD, f"{called or name}:{id_}", turns)

    def _add_built_in(self) -> None:
        """Add the cleaner of the built-in conversations, without what Elman itself holds out.

        Clean are known words, and messages that begin with a capital and end with a mark. Ids stay
        as they are, so that they are never in Elman's own test part.
        """
        words = Counter(
            word
            for _, turns in self.parts[BROAD]
            for _, text in turns
            for word in WORD.findall(text.lower())
        )
        known = {word for word, number in words.items() if number > MIN_KNOWN_COUNT}
        redactor, ranked = Redactor(), []
        for conversation in Dataset.read(BUILT_IN).conversations():
            if hashed(conversation.id) % 20 <= 1:
                continue
            messages = map(redactor.message, conversation.messages)
            turns = joined(Turn(message.author, message.text) for message in messages)
            said = [word for _, text in turns for word in WORD.findall(text.lower())]
            if len(turns) >= MIN_TURNS and len(said) >= MIN_WORDS:
                known_share = sum(word in known for word in said) / len(said)
                ended = sum(text.rstrip()[-1:] in ".?!" for _, text in turns) / len(turns)
                capital = sum(text[:1].isupper() for _, text in turns) / len(turns)
                cleanness = known_share + 0.1 * ended + 0.1 * capital
                ranked.append((cleanness, conversation.id, turns))
        ranked.sort(reverse=True)
        for rank, (_, id_, turns) in enumerate(ranked):
            one = with_roles(id_, turns, tidy=False)
            random = Random(hashed("x" + id_))
            if random.random() < 0.1:
                one = self._insert(one, random, self.smalltalk)
            if rank < BUILT_IN_BROAD * len(ranked):
                self.add(BROAD, f"{BUILT_IN}:{id_}", one)
            if rank < BUILT_IN_CLEAN * len(ranked):
                self.add(CLEAN, f"{BUILT_IN}-f:{id_}", with_roles(id_, turns, side=1))


def write_part(
    out: Path, part: str, conversations: list[tuple[str, Turns]], most: int | None = None
) -> None:
    """Write a part, shuffled, as JSON Lines, and say how many words of which set it has.

    Args:
        out: the folder.
        part: its name.
        conversations: with their ids.
        most: how many of them; None: all.
    """
    out.mkdir(parents=True, exist_ok=True)
    Random(0).shuffle(conversations)
    lines, words = [], Counter[str]()
    for id_, turns in conversations[:most]:
        said = [{"speaker": turn.speaker, "text": turn.text} for turn in turns]
        lines.append(json.dumps({"id": id_, "turns": said}, ensure_ascii=False) + "\n")
        words[set_of(id_)] += sum(len(turn.text.split()) for turn in turns)
    write_file(out / f"{part}.jsonl", "".join(lines))
    print(f"{part}: {len(conversations[:most]):,} conversations, {words.total():,} words")
    for name, number in words.most_common():
        print(f"  {name}: {number:,} words")


def is_short(id_: str, turns: Turns) -> bool:
    """Whether a conversation of short messages is taken for the cleaner part."""
    mean = sum(len(turn.text) for turn in turns) / len(turns)
    return mean < CLEAN_MESSAGE_CHARACTERS and in_percent(CLEAN_PERCENT, "c" + id_)


def set_of(id_: str) -> str:
    """Return which set a conversation of the mixture is from."""
    name = re.split("[-:]", id_)[0]
    return {"smalltalk": "personality_chat", "coffee": "taskmaster4_coffee", "self": OWN}.get(
        name, name
    )


def mix(data: Path, out: Path) -> None:
    """Write the three parts."""
    mixture = Mixture(data)
    mixture.gather()
    mixture.write(out)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    mix(arguments.data, arguments.out)


if __name__ == "__main__":
    main()
