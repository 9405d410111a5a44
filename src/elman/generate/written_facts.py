"""How written replies are ranked, and what is said where none fits, as the file says."""

from typing import Annotated

import numpy as np
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from elman.generate.told import ToldRanking, Weight

WRITTEN_FORMAT = 2

WORD_TRAITS = (
    *("asked", "last", "before", "said", "both", "share"),
    *("support", "shared", "words", "question"),
)
"""What is known of a reply without the net, by which it is ranked.

The first six are those of the place in which it was written (`elman.generate.exchanges.Place`).
support: how like the replies to the likest places are to it. shared: what its words have in common
with the message. words: how many it has, in eighths. question: whether it asks.
"""

NET_TRAITS = ("given", "match")
"""What the net makes of a reply: log p after what was said, in nats per square root of a token, and
how well it belongs (`elman.generate.match`).
"""


def _sayable(text: str) -> str:
    """Return a text of a file that may be said, or raise ValueError."""
    if not text.isprintable():  # half a character is not, nor is what moves a terminal's cursor
        raise ValueError("holds what cannot be shown")
    return text


Line = Annotated[str, Field(min_length=1, max_length=500), AfterValidator(_sayable)]


class Regression(BaseModel):
    """How probably a reply makes sense, by some of its traits.

    Args:
        weights: of each trait.
        bias: what is added.
    """

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    weights: list[Weight]
    bias: Weight

    def __call__(self, traits: np.ndarray) -> np.ndarray:
        """Tell it for replies with these traits, (N, traits)."""
        found: np.ndarray = 1 / (1 + np.exp(-(traits @ np.array(self.weights) + self.bias)))
        return found


class RankingFacts(BaseModel):
    """How replies are ranked, as the file says.

    Args:
        written: the version of the format.
        by_words: by `WORD_TRAITS`.
        by_all: by those and `NET_TRAITS`.
        bound: how probably a reply must make sense, from 0 to 1, to be given;
        question_bound: in answer to a question.
        listening: what is said else: it makes sense after nearly any statement.
        unknowing: what is said else to a question.
        told: how sentences that were told are ranked.
        untold: what is said where nothing was told of what is asked.
    """

    model_config = ConfigDict(extra="forbid")

    written: int = Field(ge=WRITTEN_FORMAT, le=WRITTEN_FORMAT)
    by_words: Regression
    by_all: Regression
    bound: float = Field(ge=0, le=1)
    question_bound: float = Field(ge=0, le=1)
    listening: list[Line] = []
    unknowing: list[Line] = []
    told: ToldRanking
    untold: list[Line] = []
