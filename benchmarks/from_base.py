"""What the base is worth: a little of somebody's conversations, learned from it and from nothing.

    python benchmarks/from_base.py --data DIR --json out.json     # about an hour; resumable

DIR holds train.jsonl.gz and test.jsonl.gz (or others: --files) of conversations that the base has
never seen, such as casino's (CC BY 4.0). The first 50 KB and 500 KB of the training conversations
are learned from (or so many --bytes), in the same minutes, everything included; all are scored on
the same test conversations, the first --tested of them. `untouched` is the base as it is; `passes`
are those that a bot of its size is expected to make, by which Elman decides whether to start from
it.
"""

import argparse
import gzip
import json
import tempfile
from itertools import islice
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
from elman.train.recipe import passes_from

SIZES = (50_000, 500_000)


def conversations(path: Path, most: int | None) -> list[Conversation]:
    return list(islice(Dataset(str(path)).conversations(), most))


def text_bytes(line: str) -> int:
    return sum(len(turn["text"].encode()) for turn in json.loads(line)["turns"])


def first(path: Path, size: int) -> list[str]:
    """The first lines of a set, up to so many bytes of text."""
    lines = []
    with gzip.open(path, "rt", encoding="utf-8") as file:
        for line in file:
            size -= text_bytes(line)
            if size < 0:
                break
            lines.append(line)
    return lines


def score(bot: Bot, test: list[Conversation]) -> float:
    return bits_per_byte(bot.chatbot, Corpus.encode(test, bot.tokenizer), bot.tokenizer, "all")


def measure(
    learned: Path, test: list[Conversation], size: int, minutes: float, base: str | None, seed: int
) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        source, out = Path(folder) / "part.jsonl", Path(folder) / "bot"
        lines = first(learned, size)
        source.write_text("".join(lines), encoding="utf-8")
        settings = {"minutes": minutes, "seed": seed, "base": base}
        data_settings = {"path": str(source), "replies": 0}
        values = {"data": data_settings, "train": settings, "reply": {"mutual": 1.0}}
        config = Config.make(values)
        result = train(config, out)
        return {
            "passes": round(passes_from(load_bot("base"), config, sum(map(text_bytes, lines))), 2),
            "bits_per_byte": round(score(load_bot(out), test), 4),
            "steps": result.steps,
            "seconds": round(result.seconds),
            "ended": result.reason,
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--minutes", type=float, nargs="+", default=[2.0, 10.0])
    parser.add_argument("--bytes", type=int, nargs="+", default=list(SIZES))
    parser.add_argument("--files", nargs=2, default=["train.jsonl.gz", "test.jsonl.gz"])
    parser.add_argument("--tested", type=int, help="test conversations, at most")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, help="keep finished runs here, and go on with them")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    print(describe(), "\n", flush=True)
    done: dict[str, Any] = {}
    if arguments.json and arguments.json.exists():
        done = json.loads(arguments.json.read_text("utf-8"))
    learned, tested = (arguments.data / name for name in arguments.files)
    test = conversations(tested, arguments.tested)
    if "untouched" not in done:
        done["untouched"] = {"bits_per_byte": round(score(load_bot("base"), test), 4)}
    untouched = done["untouched"]["bits_per_byte"]
    print(f"the base, untouched: {untouched:.3f} bits per byte\n")
    print("| text | minutes | passes | from nothing | from the base | better than the better |")
    print("|---|---|---|---|---|---|")
    for size in arguments.bytes:
        for minutes in arguments.minutes:
            bits = {}
            for base in (None, "base"):
                name = f"{size} {minutes:g} {base or 'none'} {arguments.seed}"
                if name not in done:
                    done[name] = measure(learned, test, size, minutes, base, arguments.seed)
                    if arguments.json:
                        arguments.json.write_text(json.dumps(done, indent=1) + "\n", "utf-8")
                bits[base] = done[name]["bits_per_byte"]
            better = 1 - bits["base"] / min(untouched, bits[None])
            print(
                f"| {size / 1000:g} KB | {minutes:g} | {done[name]['passes']:g} | "
                f"{bits[None]:.3f} | {bits['base']:.3f} | {better:.1%} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
