"""What the lens costs: attribution of a reply after 20 messages, and watching a training run.

    python benchmarks/attribution.py                  # both, on two threads
    python benchmarks/attribution.py --json out.json

The base bot explains real replies of the built-in conversations, each after the 20 messages before
it; the seconds are the median over conversations and runs. Beside them stands how well the other
columns agree with leaving out (Pearson's and Spearman's correlation over messages).

Watching is the share of a run's time that the watcher takes: measured inside one run, and between
pairs of runs of the same steps with and without it, in turns, which no clock inside can hide from.
"""

import argparse
import json
import tempfile
import time
from itertools import islice
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from machine import describe

from elman.data.corpus import Corpus
from elman.data.readers import read
from elman.data.source import BUILT_IN, documents
from elman.generate.network import NetworkBot, load_network_bot
from elman.lens.attribution import Attribution, attribute
from elman.lens.watcher import GradientWatcher
from elman.train import Config, train

MESSAGES = 20

TANGENTS = {
    "linear": "gradient times change of state",
    "gradient": "gradient times input",
    "copied": "words hidden from the pointer",
    "both": "gradient times change of state, and words hidden,",
}


def replies(bot: NetworkBot, count: int) -> list[list[np.ndarray]]:
    """Conversations up to their message after the first 20."""
    found = []
    corpus = Corpus.encode(islice(read(documents(BUILT_IN)), 400), bot.tokenizer)
    for index in range(len(corpus)):
        messages = corpus.messages(index)
        if len(messages) > MESSAGES:
            found.append(messages[: MESSAGES + 1])
    return found[:count]


def _numbers(each: Attribution) -> list[float]:
    """What leaving out found, and what `TANGENTS` name."""
    assert each.linear is not None
    both = each.linear + each.copied
    return [each.nats, each.linear, each.gradient, each.copied, both]


def correlation(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.corrcoef(one, other)[0, 1])


def ranks(values: np.ndarray) -> np.ndarray:
    return np.argsort(np.argsort(values))


def measure_attribution(conversations: int, runs: int) -> dict[str, Any]:
    bot = load_network_bot("base")
    seconds, linear, tokens = [], [], []
    columns: list[np.ndarray] = []
    for messages in replies(bot, conversations):
        *turns, reply = messages
        own = []
        for _ in range(runs):
            begin = time.perf_counter()
            attribute(bot, turns, reply)
            own.append(time.perf_counter() - begin)
        seconds.append(min(own))
        tokens.append(sum(map(len, turns)))
        begin = time.perf_counter()
        found = attribute(bot, turns, reply, linear=True)
        linear.append(time.perf_counter() - begin)
        columns.append(np.array([_numbers(each) for each in found]))
    every = np.concatenate(columns)
    names = list(TANGENTS)
    by_rank = [
        float(np.mean([correlation(ranks(own[:, 0]), ranks(own[:, n + 1])) for own in columns]))
        for n in range(len(names))
    ]
    return {
        "messages": MESSAGES,
        "conversations": len(seconds),
        "tokens": median(tokens),
        "seconds": median(seconds),
        "worst_seconds": max(seconds),
        "seconds_with_linear": median(linear),
        "pearson": {
            name: correlation(every[:, 0], every[:, n + 1]) for n, name in enumerate(names)
        },
        "spearman": dict(zip(names, by_rank, strict=True)),
    }


class Timed:
    """Seconds from the first step to the last, by which validations and reading do not count."""

    def __init__(self) -> None:
        self.steps: list[float] = []
        self.looks = 0

    def __call__(self, kind: str, facts: dict[str, Any]) -> None:
        if kind == "step":
            self.steps.append(time.perf_counter())
        self.looks += kind == "lag"

    @property
    def seconds(self) -> float:
        return self.steps[-1] - self.steps[0]


def measure_watching(steps: int, pairs: int) -> dict[str, Any]:
    values = {
        "data": {"path": BUILT_IN, "replies": 0},
        "train": {"steps": steps, "validations": 1, "precision": "float32", "base": "none"},
        "reply": {"mmi_weight": 1.0},
    }
    inside, between, looks = [], [], []
    for number in range(pairs):
        seconds = {}
        for watched in (True, False) if number % 2 else (False, True):
            made: list[GradientWatcher] = []

            def watcher(*arguments: Any, made: list[GradientWatcher] = made) -> GradientWatcher:
                made.append(GradientWatcher(*arguments))
                return made[-1]

            timed = Timed()
            with tempfile.TemporaryDirectory() as folder:
                train(
                    Config.make(values),
                    Path(folder),
                    observers=(timed,),
                    watcher=watcher if watched else None,
                )
            seconds[watched] = timed.seconds
            if watched:
                inside.append(made[0].spent / timed.seconds)
                looks.append(timed.looks)
        between.append(seconds[True] / seconds[False] - 1)
    return {
        "steps": steps,
        "pairs": pairs,
        "looks": looks,
        "inside": median(inside),
        "between": median(between),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--conversations", type=int, default=20)
    parser.add_argument("--runs", type=int, default=5, help="of each; the fastest counts")
    parser.add_argument("--steps", type=int, default=600, help="of a run that is watched")
    parser.add_argument("--pairs", type=int, default=3, help="of runs; 0: attribution alone")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", type=Path, help="also write the figures here")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    print(describe(), "\n")
    found = measure_attribution(arguments.conversations, arguments.runs)
    print("| attribution after 20 messages, the base | |\n|---|---|")
    print(f"| seconds, median of {found['conversations']} | {found['seconds']:.3f} |")
    print(f"| seconds, the slowest | {found['worst_seconds']:.3f} |")
    print(f"| seconds, with the linear effect | {found['seconds_with_linear']:.3f} |")
    print(f"| tokens before the reply, median | {found['tokens']:.0f} |")
    for name, words in TANGENTS.items():
        print(
            f"| {words} and leaving out: Pearson, Spearman | "
            f"{found['pearson'][name]:.2f}, {found['spearman'][name]:.2f} |",
            flush=True,
        )
    rows: dict[str, Any] = {"attribution": found}
    if arguments.pairs:
        watched = rows["watching"] = measure_watching(arguments.steps, arguments.pairs)
        print(f"\n| watching {watched['steps']} steps, median of {watched['pairs']} | |\n|---|---|")
        print(f"| share of the time, measured inside | {watched['inside']:.2%} |")
        print(f"| longer than a run that is not watched | {watched['between']:.2%} |")
        print(f"| looks in a run | {', '.join(map(str, watched['looks']))} |")
    if arguments.json:
        settings = {"threads": arguments.threads, "machine": describe()}
        arguments.json.write_text(json.dumps(settings | rows, indent=2) + "\n")


if __name__ == "__main__":
    main()
