"""Two bots on the same conversations: is one better, or was it luck?"""

from collections.abc import Callable
from dataclasses import dataclass
from math import log
from typing import Any

import numpy as np

from elman.errors import ElmanError
from elman.evaluate.measures import Measured
from elman.evaluate.texts import distinct, repeated, words

COMPARISON_RESAMPLES = 500
"""Bootstrap samples for an interval."""

Of = Callable[[Measured, np.ndarray], float]
"""A measure taken over some of the conversations or reply positions, by their numbers."""


@dataclass(frozen=True)
class Difference:
    """One measure of two bots.

    Args:
        name: of the measure, as in `Report`.
        one, other: of each bot.
        interval: the 95 % interval of other - one, by paired bootstrap: both bots are measured on
            the same drawn conversations or positions (Efron 1979; Koehn 2004).
        higher_is_better: None where more is neither better nor worse.
    """

    name: str
    one: float
    other: float
    interval: tuple[float, float]
    higher_is_better: bool | None

    @property
    def better(self) -> str | None:
        """Either "one" or "other"; None where the interval leaves a doubt."""
        low, high = self.interval
        if self.higher_is_better is None or low <= 0 <= high:
            return None
        return "other" if (low > 0) == self.higher_is_better else "one"

    def to_json(self) -> dict[str, Any]:
        return {
            "measure": self.name,
            "one": self.one,
            "other": self.other,
            "difference": self.other - self.one,
            "interval": self.interval,
            "better": self.better,
        }


def compare(one: Measured, other: Measured, seed: int = 0) -> list[Difference]:
    """Compare two bots measured on the same conversations with the same seed.

    Raises:
        ElmanError: where they were not.
    """
    check_alike(one, other)

    draw = np.random.default_rng(seed)

    def difference(name: str, of: Of, count: int, higher_is_better: bool | None) -> Difference:
        drawn = draw.integers(count, size=(COMPARISON_RESAMPLES, count))
        changes = [of(other, rows) - of(one, rows) for rows in drawn]
        low, high = np.percentile(changes, [2.5, 97.5]).tolist()
        every = np.arange(count)
        return Difference(name, of(one, every), of(other, every), (low, high), higher_is_better)

    found = [difference("bits_per_byte", _bits_per_byte, len(one.nats), False)]
    places = len(one.positions)
    if len(one.found) and len(other.found):
        found.append(difference("hits_at_1", _hits, places, True))
    if places:
        found += [
            difference("exact_match", _exact, places, True),
            difference("mean_reply_words", _length, places, None),
            difference("distinct_2", lambda m, rows: distinct(_texts(m, rows), 2), places, True),
            difference("repeated_replies", lambda m, r: repeated(_texts(m, r)), places, False),
        ]
    return found


def check_alike(one: Measured, other: Measured) -> None:
    """Raise ElmanError where two bots were not measured at the same reply positions."""
    if one.positions != other.positions or len(one.nats) != len(other.nats):
        raise ElmanError(
            "the two bots see these conversations differently: they cannot be compared"
        )


def _bits_per_byte(each: Measured, rows: np.ndarray) -> float:
    return float(each.nats[rows].sum() / log(2) / max(1, each.text_bytes[rows].sum()))


def _hits(each: Measured, rows: np.ndarray) -> float:
    return float(each.found[rows].mean())


def _exact(each: Measured, rows: np.ndarray) -> float:
    return float(np.mean([each.pairs[row].exact for row in rows]))


def _length(each: Measured, rows: np.ndarray) -> float:
    return float(np.mean([len(words(text)) for text in _texts(each, rows)]))


def _texts(each: Measured, rows: np.ndarray) -> list[str]:
    return [each.pairs[row].bot for row in rows]
