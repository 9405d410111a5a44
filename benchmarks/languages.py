"""What a start is worth in other languages: from nothing, from the base, from that of languages.

    python benchmarks/languages.py --chats DIR --corpus DIR --json out.json    # an hour; resumable

DIR of --chats is xpersona_other (CC BY 4.0): of each language's conversations the last two fifths,
which recipes/languages.py keeps back. DIR of --corpus is the folder data of the package
chatterbot-corpus (BSD), which no bot here has read: questions of small talk with answers, of which
one in five is held out, by the question. The first --bytes of the others are learned.
"""

import gzip
import json
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from zlib import crc32

import runs
import torch
import yaml
from from_base import first, score
from machine import describe

from elman.data.conversation import Conversation
from elman.data.dataset import Dataset
from elman.generate.network import load_network_bot
from elman.train import Config, train
from elman.train.prepare import likeliest_base

CHATS = ("fr", "it", "ja", "ko", "zh", "id")
CORPUS = ("german", "spanish", "portuguese", "italian", "french", "japanese", "korean", "chinese")
TESTED = 60
"""Chats that are measured on; the others are learned."""

READ_SHARE = 0.6
"""Of the chats, the first ones: recipes/languages.py has read these."""

STARTS = ("none", "base", "languages")


def of_chats(folder: Path, language: str) -> tuple[list[str], list[str]]:
    """Read what is learned, and what is measured on, as lines."""
    with gzip.open(folder / f"{language}.jsonl.gz", "rt", encoding="utf-8") as file:
        every = list(file)
    kept = every[int(READ_SHARE * len(every)) :]
    return kept[:-TESTED], kept[-TESTED:]


def of_corpus(folder: Path, language: str) -> tuple[list[str], list[str]]:
    """Read what is learned, and what is measured on, as lines."""
    parts: tuple[list[str], list[str]] = ([], [])
    for path in sorted((folder / language).glob("*.yml")):
        for turns in _said(yaml.safe_load(path.read_text("utf-8"))):
            if len(turns) > 1:
                told = [{"speaker": "AB"[n % 2], "text": text} for n, text in enumerate(turns)]
                line = json.dumps({"turns": told}, ensure_ascii=False) + "\n"
                parts[crc32(turns[0].strip().lower().encode()) % 5 == 0].append(line)
    return parts


def _said(read: dict[str, list[list[object]]]) -> Iterator[list[str]]:
    for conversation in read["conversations"]:
        if isinstance(conversation, list):
            yield [text for text in conversation if isinstance(text, str) and text.strip()]


def bits_per_byte(learned: list[str], tested: list[str], start: str, minutes: float) -> float:
    """Learn, and measure on what was not learned."""
    with tempfile.TemporaryDirectory() as folder:
        source, held, out = (Path(folder) / name for name in ("a.jsonl", "b.jsonl", "bot"))
        source.write_text("".join(learned), encoding="utf-8")
        held.write_text("".join(tested), encoding="utf-8")
        values = {
            "data": {"path": str(source), "replies": 0},
            "train": {
                "minutes": minutes,
                "base": None if start == "none" else start,
            },
        }
        train(Config.make(values), out)
        test: list[Conversation] = list(Dataset.read(str(held)).conversations())
        return round(score(load_network_bot(out), test), 4)


def main() -> None:
    options = runs.parser(__doc__)
    options.add_argument("--chats", type=Path, required=True)
    options.add_argument("--corpus", type=Path, required=True)
    options.add_argument("--minutes", type=float, default=1.0)
    options.add_argument("--bytes", type=int, default=50_000)
    arguments = options.parse_args()
    torch.set_num_threads(arguments.threads)
    print(describe(), "\n", flush=True)
    finished = runs.Finished(arguments.json)
    print("| text | KB | from nothing | from the base | from that of languages | chosen |")
    print("|---|---|---|---|---|---|")
    sets = [
        *((f"chats, {name}", *of_chats(arguments.chats, name)) for name in CHATS),
        *((f"small talk, {name}", *of_corpus(arguments.corpus, name)) for name in CORPUS),
    ]
    for name, lines, tested in sets:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "part.jsonl.gz"
            with gzip.open(path, "wt", encoding="utf-8") as file:
                file.writelines(lines)
            learned = first(path, arguments.bytes)
        texts = [turn["text"] for line in learned for turn in json.loads(line)["turns"]]
        bits = [
            finished.get(
                f"{name} {start} {arguments.minutes:g} {arguments.bytes}",
                partial(bits_per_byte, learned, tested, start, arguments.minutes),
            )
            for start in STARTS
        ]
        size = sum(len(text.encode()) for text in texts) / 1000
        print(f"| {name} | {size:.0f} | ", end="")
        print(
            " | ".join(f"{each:.3f}" for each in bits), f"| {likeliest_base(texts)} |", flush=True
        )


if __name__ == "__main__":
    main()
