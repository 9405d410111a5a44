"""What each ingredient of the recipe is worth: taken out of it, and alone.

    python benchmarks/ablation.py --threads 1

Everything learns from the built-in conversations, from nothing, for the same minutes, which include
reading, learning a vocabulary and encoding; scored are bare messages of the dev part, in bits per
byte. Finished runs are kept in --json, so an interrupted table goes on.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from statistics import mean
from typing import Any
from unittest.mock import patch

import runs
import torch
from machine import describe
from minutes import elman_trained

from elman.data.dataset import Dataset
from elman.data.source import BUILT_IN
from elman.data.tokenizer import MIN_VOCABULARY_SIZE
from elman.generate.scoring import bits_per_byte
from elman.native.library import KERNELS_VARIABLE, load
from elman.train import loop

Trial = dict[str, dict[str, Any]]


@dataclass(frozen=True)
class Ingredient:
    """Something that the recipe does.

    Args:
        title: what it is, and what stands in its place where it is taken out.
        without: the configuration that takes it out.
        counted: False takes out what is counted beforehand.
        compiled: False takes out the compiled loops and losses.
    """

    title: str
    without: Trial
    counted: bool = True
    compiled: bool = True


INGREDIENTS = {
    "pointer": Ingredient("pointer (none)", {"model": {"pointer": 0}}),
    "ngrams": Ingredient("counts beside the net (none)", {"model": {"ngrams": 0}}),
    "copying": Ingredient(
        "pointer taught beside the loss", {"train": {"pointer_loss_weight": 0.0}}
    ),
    "counted": Ingredient("counted embeddings (random)", {}, counted=False),
    "pieces": Ingredient("4,096 pieces (bytes)", {"data": {"vocabulary": MIN_VOCABULARY_SIZE}}),
    "bfloat16": Ingredient("bfloat16 (float32)", {"train": {"precision": "float32"}}),
    "compiled": Ingredient("compiled loops and loss (Python)", {}, compiled=False),
    "small": Ingredient("hidden size 256 (384)", {"model": {"hidden_size": 384}}),
    "mlp": Ingredient("MLPs (none)", {"model": {"mlp": 0.0}}),
    "adamw": Ingredient("AdamW (Muon)", {"train": {"optimizer": "muon", "lr": 5e-3}}),
}


def measured(left_out: list[str], minutes: float, seed: int) -> float:
    """Bits per byte of the dev part without some ingredients."""
    trial: Trial = {}
    counted = compiled = True
    for name in left_out:
        ingredient = INGREDIENTS[name]
        counted, compiled = counted and ingredient.counted, compiled and ingredient.compiled
        for section, values in ingredient.without.items():
            trial.setdefault(section, {}).update(values)
    with _kernels(compiled), _counts(counted):
        bot, _ = elman_trained(trial, minutes, seed)
    dev = Dataset.read(BUILT_IN).encode(bot.tokenizer, True)[0]["dev"]
    return round(bits_per_byte(bot.decoder, dev, bot.tokenizer, "all"), 4)


@contextmanager
def _kernels(compiled: bool) -> Iterator[None]:
    with patch.dict(os.environ, {} if compiled else {KERNELS_VARIABLE: "reference"}):
        load.cache_clear()
        yield
    load.cache_clear()


@contextmanager
def _counts(counted: bool) -> Iterator[None]:
    if counted:
        yield
        return
    with patch.object(loop, "begin_with", lambda *_: None):
        yield


def main() -> None:
    options = runs.parser(__doc__)
    options.add_argument("--minutes", type=float, default=2.0)
    options.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    options.add_argument("--only", nargs="+", choices=INGREDIENTS, default=list(INGREDIENTS))
    arguments = options.parse_args()
    torch.set_num_threads(arguments.threads)
    print(describe(), "\n", flush=True)
    finished = runs.Finished(arguments.json)

    def cell(left_out: list[str]) -> str:
        """The mean over the seeds, and half of what lies between the least and the greatest."""
        found = []
        for seed in arguments.seeds:
            key = f"without {', '.join(left_out) or 'nothing'}; {arguments.minutes:g} min; {seed}"
            run = partial(measured, left_out, arguments.minutes, seed)
            found.append(finished.get(key, run))
        return f"{mean(found):.3f} ± {(max(found) - min(found)) / 2:.3f}"

    every = [name for name in INGREDIENTS if name != "adamw"]  # the plainest has it, too
    print("| ingredient (in its place) | taken out | alone |\n|---|---|---|", flush=True)
    print(f"| everything, nothing | {cell([])} | {cell(every)} |", flush=True)
    for name in arguments.only:
        alone = cell([other for other in every if other != name]) if name in every else ""
        print(f"| {INGREDIENTS[name].title} | {cell([name])} | {alone} |", flush=True)


if __name__ == "__main__":
    main()
