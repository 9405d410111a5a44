"""The two memories side by side, and what a longer unfolding buys.

    python benchmarks/memories.py --figure docs/unfolding.png        # about 45 minutes
    python benchmarks/memories.py --minutes 1 --unfolds 1 5          # a quick look

Every row is trained on the built-in conversations with Elman's defaults, minutes including
everything, and scored on the dev part, bare text. The time of a turn is the median of reading a
message of 12 tokens and saying one of 12. With --json FILE, finished runs are kept there and a
second call goes on with the rest.
"""

import argparse
import json
import tempfile
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import torch
from machine import describe

from elman.data.corpus import Corpus
from elman.data.readers import read
from elman.data.source import BUILT_IN, documents
from elman.data.split import Survey
from elman.evaluate.context import gain_by_lag
from elman.generate.network import NetworkBot, load_network_bot
from elman.generate.scoring import bits_per_byte
from elman.model import MEMORIES
from elman.train import Config, train
from elman.train.choices import UNFOLD

DEFAULT_UNIT = {"messages": "messages", "tokens": "steps"}
LAGS = 8
REPLIES = 1000


def held_out(bot: NetworkBot) -> Corpus:
    survey = Survey()
    sources = documents(BUILT_IN)
    for _ in survey.watch(read(sources)):
        pass
    divided = survey.divide(read(sources), test=True)
    return Corpus.encode((each for part, each in divided if part == "dev"), bot.tokenizer)


@torch.no_grad()
def turn_milliseconds(bot: NetworkBot, tokens: int = 12, turns: int = 15) -> float:
    """Reading a message and saying one, for one conversation."""
    message = [1, *range(10, 10 + tokens), 0]
    state = bot.chatbot.initial_state(1)
    seconds = []
    for _ in range(turns):
        begin = perf_counter()
        state = bot.chatbot.read(message, state)
        _, state = bot.chatbot.begin_reply(state)
        for token in range(10, 10 + tokens):
            _, state = bot.chatbot.step(torch.tensor([token]), state)
        state = bot.chatbot.end_message(state)
        seconds.append(perf_counter() - begin)
    return 1000 * median(seconds)


def measured(memory: str, minutes: float, unfold: int | None) -> dict[str, Any]:
    """One training run, and all that is published of it."""
    settings: dict[str, Any] = {"minutes": minutes, "base": "none"}
    if unfold is not None:
        settings["unfold"] = unfold
    config = Config.make(
        {
            "data": {"path": BUILT_IN, "test": True, "replies": 0},
            "model": {"memory": memory},
            "train": settings,
            "reply": {"mmi_weight": 1.0},
        }
    )
    with tempfile.TemporaryDirectory() as folder:
        result = train(config, Path(folder))
        bot = load_network_bot(Path(folder))
    corpus = held_out(bot)
    state = bot.chatbot.initial_state(1)
    return {
        "memory": memory,
        "minutes": minutes,
        "unfold": bot.config["train"]["unfold"],
        "unit": bot.config["train"]["unit"],
        "steps": result.steps,
        "bits_per_byte": bits_per_byte(bot.decoder, corpus, bot.tokenizer, "all"),
        "gain_by_lag": gain_by_lag(
            bot.decoder, corpus, bot.tokenizer, "all", lags=LAGS, replies=REPLIES, seed=0
        ),
        "state_bytes": sum(tensor.nbytes for tensor in state),
        "turn_milliseconds": turn_milliseconds(bot),
    }


def table(rows: list[dict[str, Any]]) -> str:
    lags = " | ".join(f"lag {lag}" for lag in range(1, LAGS + 1))
    lines = [
        f"| memory | unfolded over | minutes | steps | bits per byte | state | a turn | {lags} |",
        "|" + "---|" * (7 + LAGS),
    ]
    for row in rows:
        gains = " | ".join(f"{gain:.4f}" for gain in row["gain_by_lag"])
        lines.append(
            f"| {row['memory']} | {row['unfold']} {row['unit']} | {row['minutes']:g} | "
            f"{row['steps']:,} | {row['bits_per_byte']:.3f} | {row['state_bytes']:,} bytes | "
            f"{row['turn_milliseconds']:.0f} ms | {gains} |"
        )
    return "\n".join(lines)


def draw(rows: list[dict[str, Any]], path: Path) -> None:
    """Context gain by lag, a line for each unfolding."""
    import matplotlib.pyplot as plt

    colors = ["#0072b2", "#56b4e9", "#009e73", "#d55e00", "#cc79a7"]
    figure, axes = plt.subplots(figsize=(7, 4), layout="constrained")
    lags = range(1, LAGS + 1)
    for row, color in zip(rows, colors, strict=False):
        axes.plot(lags, row["gain_by_lag"], "o-", color=color, label=f"K = {row['unfold']}")
    axes.axhline(0, color="0.7", linewidth=0.8)
    axes.set_yscale("symlog", linthresh=0.002)
    axes.set_xlabel("the message that many back")
    axes.set_ylabel("bits per byte that it saves")
    axes.set_title(
        f"What a longer unfolding buys (messages memory, {rows[0]['minutes']:g} minutes each)",
        fontsize=10,
    )
    axes.legend(frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=130)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--minutes", type=float, nargs="+", default=[1.0, 3.0, 10.0])
    memories = list(MEMORIES)
    parser.add_argument("--memories", nargs="+", choices=memories, default=memories)
    parser.add_argument("--unfolds", type=int, nargs="*", default=[1, 2, 5, 10])
    parser.add_argument("--unfold-minutes", type=float, default=3.0)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", type=Path, help="keep finished runs here and go on from them")
    parser.add_argument("--figure", type=Path, help="draw the effect of K here")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    print(describe(), flush=True)
    kept: dict[str, Any] = {}
    if arguments.json and arguments.json.exists():
        kept = json.loads(arguments.json.read_text())["runs"]

    def run(memory: str, minutes: float, unfold: int | None) -> dict[str, Any]:
        name = f"{memory} {minutes:g} {unfold or UNFOLD[DEFAULT_UNIT[memory]]}"
        if name not in kept:
            kept[name] = measured(memory, minutes, unfold)
            if arguments.json:
                content = json.dumps({"machine": describe(), "runs": kept}, indent=1)
                arguments.json.write_text(content + "\n")
        row: dict[str, Any] = kept[name]
        return row

    rows = [
        run(memory, minutes, None) for minutes in arguments.minutes for memory in arguments.memories
    ]
    print(table(sorted(rows, key=lambda row: (row["memory"], row["minutes"]))), flush=True)
    unfolded = [run("messages", arguments.unfold_minutes, k) for k in sorted(arguments.unfolds)]
    if unfolded:
        print("\n" + table(unfolded))
    if arguments.figure and unfolded:
        draw(unfolded, arguments.figure)


if __name__ == "__main__":
    main()
