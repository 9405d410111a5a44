"""Make the base for chats in other languages that comes with Elman.

    python recipes/languages.py --data DIR --work DIR                      # 15 minutes of one core

DIR of --data holds personality_chat_other (MIT) and xpersona_other (CC BY 4.0); in DIR of --work
lie what is read (languages.jsonl) and the run. Interrupted, the same command goes on. The last
two fifths of each language's conversations of xpersona_other are kept back, to measure with
(benchmarks/languages.py).
"""

import argparse
import gzip
import json
import random
from collections.abc import Iterator
from itertools import chain, islice
from pathlib import Path
from typing import Any

import torch
from base import learn
from mixture import BOT

import elman
from elman.data.files import write_file
from elman.generate.network import load_network_bot
from elman.model.checkpoint import save_weights
from elman.model.folder import LANGUAGES, TOKENIZER, read_config
from elman.train import Config
from elman.train.config import write_config

SMALL_TALK = ("de", "fr", "es", "it", "pt", "ja", "ko", "zh")
"""Languages with questions of small talk, each with an answer: of the friendly personality."""

MOST_PAIRS = 9_000
"""Pairs of small talk of each language."""

CHATS = ("fr", "it", "ja", "ko", "zh")
"""Languages with conversations of people who get to know each other."""

READ_SHARE = 0.6
"""Of these; the others are kept back."""

RUN: dict[str, dict[str, Any]] = {
    "data": {"vocabulary": 4096},
    "model": {"layers": 2, "hidden_size": 192, "mlp": 1.0, "pointer": 256},
    "train": {"base": None, "steps": 4000, "lr": 2e-3, "validations": 20, "patience": 20},
}


def read(path: Path) -> Iterator[dict[str, Any]]:
    """Read a set's conversations, in its order."""
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        yield from map(json.loads, lines)


def small_talk(data: Path, language: str) -> Iterator[list[dict[str, str]]]:
    """Take a language's pairs of small talk."""
    path = data / "personality_chat_other" / f"{language}.jsonl.gz"
    friendly = (one for one in read(path) if "-friendly-" in one["id"])
    return (one["turns"] for one in islice(friendly, MOST_PAIRS))


def chats(data: Path, language: str) -> Iterator[list[dict[str, str]]]:
    """Take the part of a language's conversations that is learned from."""
    every = [one["turns"] for one in read(data / "xpersona_other" / f"{language}.jsonl.gz")]
    yield from every[: int(READ_SHARE * len(every))]


def mix(data: Path, out: Path) -> None:
    """Write what is learned from, in random order; one of two people is the bot."""
    parts = [
        *(small_talk(data, language) for language in SMALL_TALK),
        *(chats(data, language) for language in CHATS),
    ]
    every = list(chain.from_iterable(parts))
    random.Random(0).shuffle(every)
    lines = []
    for n, turns in enumerate(every):
        told = [
            {"speaker": BOT if m % 2 else "user", "text": turn["text"]}
            for m, turn in enumerate(turns)
        ]
        lines.append(json.dumps({"id": str(n), "turns": told}, ensure_ascii=False) + "\n")
    write_file(out, "".join(lines))


def pack(run: Path, out: Path) -> None:
    """Write the bot that is given away, with int8 weights. Nothing in it names the machine."""
    out.mkdir(parents=True, exist_ok=True)
    trained = load_network_bot(run)
    save_weights(out, trained.chatbot, trained.tokenizer, "int8")
    (out / TOKENIZER).write_bytes((run / TOKENIZER).read_bytes())
    config = Config.make(read_config(run) | {"elman": elman.__version__})
    write_config(out, config.changed(data={"path": LANGUAGES.name}, train={"base": None}))
    print(f"{out}: {sum(path.stat().st_size for path in out.iterdir()):,} bytes")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="where the sets are")
    parser.add_argument("--work", type=Path, required=True, help="where the run is kept")
    parser.add_argument("--out", type=Path, default=LANGUAGES, help="where the bot is written")
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    arguments.work.mkdir(parents=True, exist_ok=True)
    mixed = arguments.work / "languages.jsonl"
    if not mixed.exists():
        mix(arguments.data, mixed)
    run = arguments.work / "languages"
    learn(RUN, mixed, run, None, RUN["train"]["steps"])
    pack(run, arguments.out)


if __name__ == "__main__":
    main()
