"""What the referee found: faults in words, each with lines that show it again."""

from dataclasses import asdict, dataclass, field
from textwrap import indent, wrap
from typing import Any

WIDTH = 96
"""Characters of a line of the report."""


@dataclass(frozen=True)
class Fault:
    """Something that is wrong with a layer.

    Args:
        check: the name of the check that found it.
        words: what is wrong, as one sentence.
        error: how far off it is, 0 being right.
        reproduction: lines of Python that print the error again; of a right layer they print 0.
        build: how the layer was made.
    """

    check: str
    words: str
    error: float
    reproduction: str
    build: str = ""


def in_one_line(error: Exception) -> str:
    """Say what was raised, on one line."""
    return " ".join(f"{type(error).__name__}: {error}".split())


class NotChecked(Exception):  # noqa: N818 (nothing is wrong)
    """A check does not apply to this layer; the message says why."""


@dataclass
class Verdict:
    """What all checks said of a layer.

    Args:
        faults: what is wrong.
        passed: the names of the checks that found nothing.
        left_out: the names of the others, each with the reason.
    """

    faults: list[Fault] = field(default_factory=list)
    passed: list[str] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)

    @property
    def right(self) -> bool:
        """Whether nothing is wrong."""
        return not self.faults

    def add(self, other: "Verdict") -> None:
        """Take in what was said of the same layer, made in another way."""
        self.faults += other.faults
        failed = {fault.check for fault in self.faults}
        passed = {*self.passed, *other.passed} - failed
        self.passed = [
            name for name in dict.fromkeys([*self.passed, *other.passed]) if name in passed
        ]
        both = self.left_out | other.left_out
        self.left_out = {n: why for n, why in both.items() if n not in passed | failed}

    def to_json(self) -> dict[str, Any]:
        """Return everything as plain values."""
        return {"right": self.right, **asdict(self)}

    def __str__(self) -> str:
        parts = []
        for number, fault in enumerate(self.faults, 1):
            made = f" [{fault.build}]" if fault.build else ""
            words = f"{number}. {fault.check}{made}: {fault.words}"
            parts.append("\n".join(wrap(words, WIDTH, subsequent_indent="   ")))
            parts.append(indent(fault.reproduction, "       "))
        count = len(self.faults)
        found = "nothing is wrong" if not count else f"{count} fault{'s' * (count > 1)}"
        parts.append(f"{found}; right: {', '.join(self.passed) or 'none'}")
        parts += [f"not checked: {name} ({why})" for name, why in self.left_out.items()]
        return "\n".join(parts)
