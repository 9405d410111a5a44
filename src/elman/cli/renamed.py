"""Flags that have another name now: the old one goes on working for one release, and says so."""

import sys
from collections.abc import Sequence
from itertools import islice

MMI_WEIGHT = {"--mutual": "--mmi-weight"}

RENAMED_FLAGS = {
    "ab": MMI_WEIGHT,
    "bench": {"--lanes": "--batch-size"},
    "chat": {"--longest": "--max-tokens", **MMI_WEIGHT},
    "eval": MMI_WEIGHT,
    "serve": MMI_WEIGHT,
    "train": {
        "--batch-size": "--set train.batch_size",
        "--cell": "--set model.cell",
        "--clip": "--set train.clip",
        "--dropout": "--set model.dropout",
        "--epochs": "--set train.epochs",
        "--hidden-size": "--set model.hidden_size",
        "--lanes": "--set train.batch_size",
        "--layers": "--set model.layers",
        "--learn-from": "--set data.learn_from",
        "--lr": "--set train.lr",
        "--memory": "--set model.memory",
        "--mlp": "--set model.mlp",
        "--ngrams": "--set model.ngrams",
        "--no-slide": "--set train.slide=false",
        "--optimizer": "--set train.optimizer",
        "--others": "--set data.others",
        "--pointer": "--set model.pointer",
        "--seed": "--set train.seed",
        "--slide": "--set train.slide=true",
        "--steps": "--set train.steps",
        "--unfold": "--set train.unfold",
        "--unit": "--set train.unit",
        "--vocabulary": "--set data.vocabulary",
    },
}
"""The flags of each verb that are called something else now, or are given as a setting."""


def with_new_names(arguments: Sequence[str]) -> list[str]:
    """Put new names of flags in the place of old ones, and say each new name once on stderr."""
    renamed = RENAMED_FLAGS.get(arguments[0], {}) if arguments else {}
    found: list[str] = []
    told: set[str] = set()
    rest = iter(arguments)
    for argument in rest:
        if argument == "--":
            return [*found, argument, *rest]
        flag, equals, value = argument.partition("=")
        if (new := renamed.get(flag)) is None:
            found.append(argument)
            continue
        if flag not in told:
            print(f"elman: {flag} is called {new} now", file=sys.stderr)
            told.add(flag)
        name, _, setting = new.partition(" ")
        found.append(name)
        if "=" in setting:
            found.append(setting)
        elif equals:
            found.append(f"{setting}={value}" if setting else value)
        elif setting:
            found += [f"{setting}={value}" for value in islice(rest, 1)]
    return found
