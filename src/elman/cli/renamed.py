"""Flags that have another name now: the old one goes on working for one release, and says so."""

import sys
from collections.abc import Sequence

RENAMED_FLAGS = {"--longest": "--max-tokens", "--mutual": "--mmi-weight"}


def with_new_names(arguments: Sequence[str]) -> list[str]:
    """Put new names of flags in the place of old ones, and say each new name once on stderr."""
    found: list[str] = []
    told: set[str] = set()
    for at, argument in enumerate(arguments):
        if argument == "--":
            return [*found, *arguments[at:]]
        flag, equals, value = argument.partition("=")
        if (new := RENAMED_FLAGS.get(flag)) is not None:
            if flag not in told:
                print(f"elman: {flag} is called {new} now", file=sys.stderr)
                told.add(flag)
            argument = f"{new}{equals}{value}"
        found.append(argument)
    return found
