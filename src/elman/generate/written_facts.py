"""How written replies are ranked, and what is said where none fits, as the file says."""

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from elman.generate.exchanges import Meant
from elman.generate.listening import Listening, Sayings
from elman.generate.told import ToldRanking, Weight

WRITTEN_FORMAT = 3

MAX_LOGIT = 50.0
"""Of a probability; what is beyond is 0 or 1."""

WORD_TRAITS = (
    *("asked", "last", "before", "said", "both", "share"),
    *Meant._fields,
    *("support", "shared", "words", "question", "told", "follows", "asks"),
)
"""What is known of a reply without the net, by which it is ranked.

The first six are those of the place in which it was written (`elman.generate.exchanges.Place`);
then comes what the words mean there (`elman.generate.exchanges.Meant`).
support: how like the replies to the likest places are to it. shared: what its words have in common
with the message. words: how many it has, in eighths. question: whether it asks. told: whether it
asks what the message tells. follows: whether there was a message before. asks: whether the message
has a question.
"""

NET_TRAITS = ("given", "match")
"""What the net makes of a reply: log p after what was said, in nats per square root of a token, and
how well it belongs (`elman.generate.match`).
"""


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
        logits = (traits @ np.array(self.weights) + self.bias).clip(-MAX_LOGIT, MAX_LOGIT)
        found: np.ndarray = 1 / (1 + np.exp(-logits))
        return found


class RankingFacts(BaseModel):
    """How replies are ranked, as the file says.

    Args:
        written: the version of the format.
        by_words: by `WORD_TRAITS`.
        by_all: by those and `NET_TRAITS`.
        bound: how probably a reply must make sense, from 0 to 1, to be given;
        question_bound: in answer to a question.
        listening: what is said else.
        told: how sentences that were told are ranked.
        untold: what is said where nothing was told of what is asked.
    """

    model_config = ConfigDict(extra="forbid")

    written: int = Field(ge=WRITTEN_FORMAT, le=WRITTEN_FORMAT)
    by_words: Regression
    by_all: Regression
    bound: float = Field(ge=0, le=1)
    question_bound: float = Field(ge=0, le=1)
    listening: Listening = Listening()
    told: ToldRanking
    untold: Sayings = []
