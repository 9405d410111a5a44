"""A place in a text."""

from typing import NamedTuple


class Span(NamedTuple):
    """Private data in a text: `text[start:end]`."""

    kind: str
    start: int
    end: int
