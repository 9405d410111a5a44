"""What a bot becomes of how much text: the figures behind what `elman train` says to hope for.

    python benchmarks/data_size.py                  # about 40 minutes

Growing parts of the built-in training conversations are trained on with Elman's defaults until the
early stop, and scored on the dev part of the built-in data: on other people's conversations. The
budget is in steps, so that the speed of the machine changes nothing. Paste the rows into
`MEASURED` of elman/data/expectation.py. With --json FILE, finished sizes are kept there.
"""

import json
import tempfile
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any

import runs
import torch
from machine import describe

from elman.chat import Session
from elman.data.conversation import Conversation
from elman.data.corpus import Corpus
from elman.data.dataset import Dataset
from elman.data.source import BUILT_IN
from elman.evaluate.context import gain_by_lag
from elman.generate.network import NetworkBot, load_network_bot
from elman.generate.sampling import SamplingParams
from elman.generate.scoring import bits_per_byte
from elman.train import Config, train

SIZES = (20_000, 60_000, 200_000, 600_000, 2_000_000, 8_000_000)
STEPS = 4000
VALIDATIONS, PATIENCE = 40, 8
LAGS = 4
PROMPTS = ("hi! how are you?", "what are you studying?", "any plans for the weekend?", "why?")
REPLIES = 1000


def first(conversations: Iterable[Conversation], size: int) -> list[Conversation]:
    """The first conversations, up to so many bytes of text."""
    chosen: list[Conversation] = []
    for conversation in conversations:
        size -= sum(len(text.encode()) for _, text in conversation.runs())
        if size < 0 and chosen:
            break
        chosen.append(conversation)
    return chosen


def measure(size: int, parts: dict[str, list[Conversation]], seed: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        source, out = Path(folder) / "part.jsonl", Path(folder) / "bot"
        chosen = first(parts["train"], size)
        source.write_text(
            "".join(json.dumps(each.to_json()) + "\n" for each in chosen), encoding="utf-8"
        )
        config = Config.make(
            {
                "data": {"path": str(source), "split": "id"},
                "train": {
                    "steps": STEPS,
                    "base": "none",
                    "validations": VALIDATIONS,
                    "patience": PATIENCE,
                    "seed": seed,
                },
            }
        )
        result = train(config, out)
        bot = load_network_bot(out)
        dev = Corpus.encode(parts["dev"], bot.tokenizer)
        gains = gain_by_lag(
            bot.decoder, dev, bot.tokenizer, "all", lags=LAGS, replies=REPLIES, seed=seed
        )
        return {
            "bytes": size,
            "conversations": len(chosen),
            "steps": result.steps,
            "stopped": result.reason,
            "bits_per_byte": round(bits_per_byte(bot.decoder, dev, bot.tokenizer, "all"), 3),
            "context_gain": None if gains is None else round(sum(gains), 4),
            "replies": replies(bot, seed),
        }


def replies(bot: NetworkBot, seed: int) -> list[str]:
    """What it says to a few messages, to be read by a person."""
    session = Session(bot, SamplingParams(seed=seed))
    return ["".join(session.say(text)) for text in PROMPTS]


def main() -> None:
    options = runs.parser(__doc__)
    options.add_argument("--sizes", type=int, nargs="+", default=list(SIZES), help="in bytes")
    options.add_argument("--seed", type=int, default=0)
    arguments = options.parse_args()
    torch.set_num_threads(arguments.threads)
    print(describe(), flush=True)
    parts: dict[str, list[Conversation]] = {"train": [], "dev": [], "test": []}
    for part, conversation in Dataset.read(BUILT_IN).parts(test=True):
        parts[part].append(conversation)
    finished = runs.Finished(arguments.json)
    for size in arguments.sizes:
        found = finished.get(str(size), partial(measure, size, parts, arguments.seed))
        print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
