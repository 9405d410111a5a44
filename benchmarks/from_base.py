"""What the base is worth: a little of somebody's conversations, learned from it and from nothing.

    python benchmarks/from_base.py --data DIR --json out.json     # about an hour; resumable

DIR holds train.jsonl.gz and test.jsonl.gz of conversations that the base has never seen, such as
casino's (CC BY 4.0). The first 50 KB and 500 KB of the training conversations are learned from, in
the same minutes, everything included; all are scored on the same test conversations. `untouched`
is the base as it is.
"""

import argparse
import gzip
import json
import tempfile
from pathlib import Path
from typing import Any

import torch
from machine import describe

from elman.data.conversation import Conversation
from elman.data.corpus import Corpus
from elman.data.dataset import Dataset
from elman.model.checkpoint import Bot, load_bot
from elman.model.scoring import bits_per_byte
from elman.train import Config, train

SIZES = (50_000, 500_000)


def conversations(path: Path) -> list[Conversation]:
    return list(Dataset(str(path)).conversations())


def first(path: Path, size: int) -> list[str]:
    """The first lines of a set, up to so many bytes of text."""
    lines = []
    with gzip.open(path, "rt", encoding="utf-8") as file:
        for line in file:
            size -= sum(len(turn["text"].encode()) for turn in json.loads(line)["turns"])
            if size < 0:
                break
            lines.append(line)
    return lines


def score(bot: Bot, test: list[Conversation]) -> float:
    return bits_per_byte(bot.chatbot, Corpus.encode(test, bot.tokenizer), bot.tokenizer, "all")


def measure(
    data: Path, test: list[Conversation], size: int, minutes: float, base: str | None, seed: int
) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        source, out = Path(folder) / "part.jsonl", Path(folder) / "bot"
        source.write_text("".join(first(data / "train.jsonl.gz", size)), encoding="utf-8")
        settings = {"minutes": minutes, "seed": seed, "base": base}
        data_settings = {"path": str(source), "replies": 0}
        values = {"data": data_settings, "train": settings, "reply": {"mutual": 1.0}}
        result = train(Config.make(values), out)
        return {
            "bits_per_byte": round(score(load_bot(out), test), 4),
            "steps": result.steps,
            "seconds": round(result.seconds),
            "ended": result.reason,
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--minutes", type=float, nargs="+", default=[2.0, 10.0])
    parser.add_argument("--sizes", type=int, nargs="+", default=list(SIZES), help="in bytes")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, help="keep finished runs here, and go on with them")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    print(describe(), "\n", flush=True)
    done: dict[str, Any] = {}
    if arguments.json and arguments.json.exists():
        done = json.loads(arguments.json.read_text("utf-8"))
    test = conversations(arguments.data / "test.jsonl.gz")
    if "untouched" not in done:
        done["untouched"] = {"bits_per_byte": round(score(load_bot("base"), test), 4)}
    untouched = done["untouched"]["bits_per_byte"]
    print(f"the base, untouched: {untouched:.3f} bits per byte\n")
    print("| text | minutes | from nothing | from the base | better than the better of the two |")
    print("|---|---|---|---|---|")
    for size in arguments.sizes:
        for minutes in arguments.minutes:
            bits = {}
            for base in (None, "base"):
                name = f"{size} {minutes:g} {base or 'none'} {arguments.seed}"
                if name not in done:
                    done[name] = measure(arguments.data, test, size, minutes, base, arguments.seed)
                    if arguments.json:
                        arguments.json.write_text(json.dumps(done, indent=1) + "\n", "utf-8")
                bits[base] = done[name]["bits_per_byte"]
            better = 1 - bits["base"] / min(untouched, bits[None])
            print(
                f"| {size / 1000:g} KB | {minutes:g} | {bits[None]:.3f} | {bits['base']:.3f} | "
                f"{better:.1%} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
