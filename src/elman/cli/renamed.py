"""Flags that have another name now: the old one goes on working for one release, and says so."""

import sys
from collections.abc import Sequence

RENAMED_FLAGS = {
    "ab": {"--mutual": "--mmi-weight"},
    "bench": {"--lanes": "--batch-size"},
    "chat": {"--longest": "--max-tokens", "--mutual": "--mmi-weight"},
    "eval": {"--mutual": "--mmi-weight"},
    "serve": {"--mutual": "--mmi-weight"},
    "train": {"--lanes": "--batch-size"},
}
"""The flags of each verb that are called something else now."""


def with_new_names(arguments: Sequence[str]) -> list[str]:
    """Put new names of flags in the place of old ones, and say each new name once on stderr."""
    renamed = RENAMED_FLAGS.get(arguments[0], {}) if arguments else {}
    found: list[str] = []
    told: set[str] = set()
    for at, argument in enumerate(arguments):
        if argument == "--":
            return [*found, *arguments[at:]]
        flag, equals, value = argument.partition("=")
        if (new := renamed.get(flag)) is not None:
            if flag not in told:
                print(f"elman: {flag} is called {new} now", file=sys.stderr)
                told.add(flag)
            argument = f"{new}{equals}{value}"
        found.append(argument)
    return found
