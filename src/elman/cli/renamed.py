"""Flags that have another name now: the old one goes on working for one release, and says so."""

import sys
from collections.abc import Sequence
from itertools import islice

MMI_WEIGHT = {"--mutual": "--mmi-weight"}

FORMER_FLAGS = {
    "data": ("learn_from", "others", "vocabulary"),
    "model": ("cell", "dropout", "hidden_size", "layers", "memory", "mlp", "ngrams", "pointer"),
    "train": ("batch_size", "clip", "epochs", "lr", "optimizer", "seed", "steps", "unfold", "unit"),
}
"""Settings that had a flag of their own, such as --batch-size."""

RENAMED_FLAGS = {
    "ab": MMI_WEIGHT,
    "bench": {"--lanes": "--batch-size"},
    "chat": {"--longest": "--max-tokens", "--precision": "--weights", **MMI_WEIGHT},
    "eval": MMI_WEIGHT,
    "serve": {"--precision": "--weights", **MMI_WEIGHT},
    "train": {
        "--lanes": "--set train.batch_size",
        "--no-slide": "--set train.slide=false",
        "--slide": "--set train.slide=true",
        **{
            f"--{name.replace('_', '-')}": f"--set {table}.{name}"
            for table, names in FORMER_FLAGS.items()
            for name in names
        },
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
