"""What the base is worth: a little of somebody's conversations, learned from it and from nothing.

    python benchmarks/from_base.py --data DIR --json out.json     # about an hour; resumable

DIR holds train.jsonl.gz and test.jsonl.gz (or others: --files) of conversations that the base has
never seen, such as casino's (CC BY 4.0). The first 50 KB and 500 KB of the training conversations
are learned from (or so many --bytes), in the same minutes, everything included; all are scored on
the same test conversations, the first --tested of them. `untouched` is the base as it is; `passes`
are those that a bot of its size is expected to make, by which Elman decides whether to start from
it; `rate` and `dropout` are what was chosen for a start from it. Results that an older version left
in out.json have neither: take a new file.
"""

import gzip
import json
import tempfile
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import runs
import torch
from machine import describe

from elman.data.conversation import Conversation
from elman.data.corpus import Corpus
from elman.data.dataset import Dataset
from elman.generate.network import NetworkBot, load_network_bot
from elman.generate.scoring import bits_per_byte
from elman.model.config import ModelConfig
from elman.train import Config, train
from elman.train.choices import BaseFacts, passes_from_base
from elman.train.machine import measure_machine

SIZES = (50_000, 500_000)


def conversations(path: Path, most: int | None) -> list[Conversation]:
    return list(islice(Dataset.read(str(path)).conversations(), most))


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


def score(bot: NetworkBot, test: list[Conversation]) -> float:
    return bits_per_byte(bot.decoder, Corpus.encode(test, bot.tokenizer), bot.tokenizer, "all")


def measure(
    learned: Path, test: list[Conversation], size: int, minutes: float, seed: int, start: str
) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        source, out = Path(folder) / "part.jsonl", Path(folder) / "bot"
        lines = first(learned, size)
        source.write_text("".join(lines), encoding="utf-8")
        base = None if start == "none" else start
        settings = {"minutes": minutes, "seed": seed, "base": base}
        data_settings = {"path": str(source), "replies": 0}
        values = {"data": data_settings, "train": settings, "reply": {"mmi_weight": 1.0}}
        config = Config.make(values)
        result = train(config, out)
        bot = load_network_bot(out)
        return {
            "lr": bot.config["train"]["lr"],
            "dropout": bot.config["model"]["dropout"],
            "passes": round(passes_of_the_base(config, sum(map(text_bytes, lines))), 2),
            "bits_per_byte": round(score(bot, test), 4),
            "steps": result.steps,
            "seconds": round(result.seconds),
            "ended": result.reason,
        }


def passes_of_the_base(config: Config, size: int) -> float:
    base = load_network_bot("base")
    model = ModelConfig.model_validate(base.config["model"])
    facts = BaseFacts("base", "base", model, base.tokenizer.vocabulary_size, 1.0, 1.0)
    return passes_from_base(config, facts, size, measure_machine(()))


def main() -> None:
    options = runs.parser(__doc__)
    options.add_argument("--data", type=Path, required=True)
    options.add_argument("--minutes", type=float, nargs="+", default=[2.0, 10.0])
    options.add_argument("--bytes", type=int, nargs="+", default=list(SIZES))
    options.add_argument("--files", nargs=2, default=["train.jsonl.gz", "test.jsonl.gz"])
    options.add_argument("--tested", type=int, help="test conversations, at most")
    options.add_argument("--seed", type=int, default=0)
    arguments = options.parse_args()
    torch.set_num_threads(arguments.threads)
    print(describe(), "\n", flush=True)
    finished = runs.Finished(arguments.json)
    learned, tested = (arguments.data / name for name in arguments.files)
    test = conversations(tested, arguments.tested)
    untouched = finished.get("untouched", lambda: round(score(load_network_bot("base"), test), 4))
    print(f"the base, untouched: {untouched:.3f} bits per byte\n")
    print(
        "| text | minutes | passes | rate | dropout | from nothing | from the base "
        "| better than the better |"
    )
    print("|---|---|---|---|---|---|---|---|")
    for size in arguments.bytes:
        for minutes in arguments.minutes:
            run = partial(measure, learned, test, size, minutes, arguments.seed)
            nothing, base = (
                finished.get(f"{size} {minutes:g} {start} {arguments.seed}", partial(run, start))
                for start in ("none", "base")
            )
            bits = [each["bits_per_byte"] for each in (nothing, base)]
            better = 1 - bits[1] / min(untouched, bits[0])
            print(
                f"| {size / 1000:g} KB | {minutes:g} | {base['passes']:g} | "
                f"{base['lr']:g} | {base['dropout']:g} | "
                f"{bits[0]:.3f} | {bits[1]:.3f} | {better:.1%} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
