"""Make the base bot that comes with Elman: gather, redact, train, pack.

    python recipes/base.py --data DIR --work DIR               # up to 60 minutes on two cores
    python recipes/base.py --data DIR --work DIR --pack-only   # again from the trained weights

Interrupted, the same command goes on where it stopped. DIR holds the sets of `SETS`, each a folder
of gzipped JSON Lines of turns; the built-in conversations come with Elman. Held out are one
conversation in twenty to validate on and one in twenty that is never seen, by a hash of the id.
"""

import argparse
import json
import re
import shutil
from collections import Counter
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import smalltalk
import torch
from faker.providers.person.en_GB import Provider as British
from faker.providers.person.en_US import Provider as American

from elman.cli.progress import shown
from elman.data.conversation import Conversation, Message
from elman.data.dataset import Dataset
from elman.data.files import write_file
from elman.data.redact import Redactor
from elman.data.rename import NAMES, Pseudonyms, is_word
from elman.data.source import BUILT_IN
from elman.generate.smalltalk import SMALL_TALK
from elman.model.checkpoint import (
    BASE,
    CONFIG,
    TOKENIZER,
    WEIGHTS,
    read_config,
    read_tensors,
    write_tensors,
)
from elman.train import Config, resume, train
from elman.train.choices import POINTER_TOKENS
from elman.train.loop import RESUME

SETS = ("taskmaster4_coffee", "synthetic_persona_chat_validtest", "ubuntu_irc_disentangled")
"""Under CC BY 4.0; the built-in conversations are under MIT."""

NICKNAMED = ("ubuntu_irc_disentangled",)

RUN: dict[str, dict[str, Any]] = {
    "data": {"split": "id", "test": True, "vocabulary": 4096, "replies": 0},
    "model": {"layers": 2, "hidden_size": 512, "mlp": 1.0, "dropout": 0.1},
    "train": {
        "batch_size": 24,
        "unfold": 96,
        "lr": 2e-3,
        "validations": 20,
        "patience": 20,
        "validation_tokens": 60_000,
    },
}

POINTING: dict[str, dict[str, Any]] = {
    "data": {"split": "id", "test": True, "replies": 0},
    "model": {"pointer": POINTER_TOKENS, "dropout": 0.1},
    "train": RUN["train"] | {"lr": 1e-3, "validations": 5, "patience": 5},
}
"""A second run, from what the first one learned: a pointer learns in a fraction of the time."""

SHARE = 0.15
"""Of the minutes, how many the second run gets beside the first."""

PLACEHOLDER = re.compile(r"\[(?:user ?[12]|name|your name|my name)[^\]]*\](?:'s)?", re.IGNORECASE)
INTRODUCES = re.compile(
    r"\b((?:my|the|her|his|their|your) name(?: is|'s|s)|i am|i'm|im|call me|called|named|this is)"
    r"\s+"
    r"([a-z]+)\b",
    re.IGNORECASE,
)
WORD = re.compile(r"\b[A-Za-z]{3,}\b")
ADDRESSES = re.compile(r"^<?[^\s:,<>]{2,30}>?(?=[:,]\s)", re.MULTILINE)


class Nameless:
    """Neutral names in the place of people's, the same one within a conversation.

    Args:
        nicknamed: whether authors have names, and begin messages with the name of whom they answer.
    """

    def __init__(self, nicknamed: bool) -> None:
        self._nicknamed = nicknamed
        first = {*American.first_names, *British.first_names}
        self._names = {name.lower() for name in first if len(name) > 2}
        self.replaced = 0

    def conversation(self, conversation: Conversation) -> Conversation:
        if self._nicknamed:
            conversation = self._without_nicknames(conversation)
        text = " \n ".join(message.text for message in conversation.messages)
        found = {w.lower() for w in WORD.findall(text) if self._is_name(w)}
        found |= {w.lower() for _, w in INTRODUCES.findall(text) if w.lower() in self._names}
        if not found and "[" not in text:
            return conversation
        start = int(sha256(conversation.id.encode()).hexdigest(), 16)
        given = {name: NAMES[(start + n) % len(NAMES)] for n, name in enumerate(sorted(found))}
        stood = {"": NAMES[start % len(NAMES)]}

        def rename(match: re.Match[str]) -> str:
            name = given.get(match[0].lower())
            if name is None or (is_word(match[0]) and not match[0][0].isupper()):
                return match[0]
            self.replaced += 1
            return name if match[0][0].isupper() else name.lower()

        def fill(match: re.Match[str]) -> str:
            digits = re.sub(r"\D", "", match[0])[:1]
            self.replaced += 1
            return stood.setdefault(digits, NAMES[(start + 7 * int(digits or 0)) % len(NAMES)])

        messages = tuple(
            Message(m.author, WORD.sub(rename, PLACEHOLDER.sub(fill, m.text)), m.time)
            for m in conversation.messages
        )
        return Conversation(messages, conversation.id)

    def _without_nicknames(self, conversation: Conversation) -> Conversation:
        """Only those who are in it are looked for: nicknames of thousands are words as well."""
        people = Pseudonyms(Counter(m.author for m in conversation.messages))
        bystander = NAMES[int(sha256(conversation.id.encode()).hexdigest(), 16) % len(NAMES)]

        def address(match: re.Match[str]) -> str:
            return match[0] if match[0] in NAMES else bystander

        messages = map(people.message, conversation.messages)
        return Conversation(
            tuple(m._replace(text=ADDRESSES.sub(address, m.text)) for m in messages),
            conversation.id,
        )

    def _is_name(self, word: str) -> bool:
        return word.lower() in self._names and not is_word(word)


def gather(data: Path, out: Path) -> None:
    """Write every conversation, without private data and names, into one file."""
    counts = Counter[str]()

    def lines() -> Iterator[str]:
        for source in (BUILT_IN, *(str(data / name) for name in SETS)):
            # Not by Dataset: its redaction hides ids, and they decide what is held out.
            dataset, name, redactor = Dataset.read(source), Path(source).name, Redactor()
            nameless = Nameless(name in NICKNAMED)
            for conversation in dataset.conversations():
                counts[name] += 1
                messages = tuple(map(redactor.message, conversation.messages))
                hidden = Conversation(messages, conversation.id)
                yield json.dumps(nameless.conversation(hidden).to_json())
            print(f"{name}: {nameless.replaced:,} names replaced")
            for line in dataset.notes.lines():
                print(f"{name}: {line}")

    write_file(out, "\n".join(lines()) + "\n")
    print(dict(counts))


def pack(run: Path, data: Path) -> None:
    """Put the trained bot into the package: half precision, nothing of this machine; small talk."""
    BASE.mkdir(parents=True, exist_ok=True)
    tensors, facts = read_tensors(run / WEIGHTS)
    write_tensors(BASE / WEIGHTS, {n: t.to(torch.float16) for n, t in tensors.items()}, facts)
    config = read_config(run)
    config["data"] |= {"path": "base"}
    config["train"] |= {"base": None}
    write_file(BASE / CONFIG, json.dumps(config, indent=2) + "\n")
    shutil.copy(run / TOKENIZER, BASE / TOKENIZER)
    smalltalk.write(data, run.parent / "base.jsonl", BASE / SMALL_TALK)
    print(f"{BASE}: {sum(f.stat().st_size for f in BASE.iterdir()) / 1e6:.1f} MB")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True, help="where the run is kept")
    parser.add_argument("--minutes", type=float, default=50)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--pack-only", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    chats = arguments.work / "base.jsonl"
    without, run = arguments.work / "run", arguments.work / "pointing"
    if not arguments.pack_only:
        arguments.work.mkdir(parents=True, exist_ok=True)
        if not chats.exists():
            gather(arguments.data, chats)
        learn(RUN, chats, without, arguments.minutes, None)
        learn(POINTING, chats, run, SHARE * arguments.minutes, str(without))
    pack(run, arguments.data)


def learn(
    settings: dict[str, Any], chats: Path, out: Path, minutes: float, base: str | None
) -> None:
    """Begin one of the two runs, or go on with it, unless it is finished."""
    with shown(as_json=False) as observer:
        if not (out / CONFIG).exists():
            values = {name: dict(section) for name, section in settings.items()}
            values["data"]["path"] = str(chats.resolve())
            values["train"] |= {"minutes": minutes, "base": base}
            train(Config.make(values), out, observers=(observer,))
        elif not (out / RESUME).exists() or not read_tensors(out / RESUME)[1]["finished"]:
            resume(out, observers=(observer,))


if __name__ == "__main__":
    main()
