"""Which of several replies is best: likely after this history, and not after every other.

A bot's likeliest replies fit everywhere ("I don't know"). Mutual information takes off what a reply
would be worth with no history at all (Li et al. 2016, "A Diversity-Promoting Objective Function for
Neural Conversation Models", eq. 9, MMI-antiLM):

    score(r | h) = ((1 - w) * log p(r | h) + w * (log q(r | h) - log q(r))) / sqrt(len(r))

w is `mmi_weight`, and q is p without the share of what a pointer copies: copied words depend most
on history, and would win whether they make sense or not. Dividing by the length would prefer short
replies, not dividing at all long ones (LOG.md). A reply that is likelier than all others together
is right, and is not outdone by a rarer one. Else those come first that go beyond no habit of people
(`elman.generate.penalties`).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import log
from typing import Any, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from elman.data.tokenizer import Tokenizer
from elman.generate.decoder import Decoder, State
from elman.generate.drawing import Drawn, reply_batch
from elman.generate.likelihood import (
    CANDIDATES_AT_ONCE,
    Likelihoods,
    Tokens,
    as_drawn,
)
from elman.generate.penalties import PEOPLE, Habits, History, beyond
from elman.generate.sampling import SamplingParams

MAX_DRAWS = 3
"""How often replies are drawn where each goes beyond what people do."""

REPEATED_SCORE_LOSS = 1.5
"""What a reply loses of its score each time that it was given lately: what is right is said again,
what is only likely is not.
"""

CERTAIN_LOG_P = -log(2)
"""log p from which a reply is likelier than all others together."""


Gains = Callable[
    [Decoder, State, Sequence[Sequence[Tokens]], Sequence[np.ndarray]], Sequence[np.ndarray]
]
"""What the scores of some replies to each row of a state gain (`elman.generate.match`), given what
`Likelihoods.after` is of them.
"""


class Ranking(BaseModel):
    """How one of several replies is chosen.

    Args:
        samples: how many replies are drawn; of several, the first takes the likeliest token each
            time.
        mmi_weight: how much of a reply's likelihood without history is taken off.
        limits: how far people go in each habit.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    samples: int = Field(8, ge=1, le=256)
    mmi_weight: float = Field(1.0, ge=0, le=1)
    limits: Habits = PEOPLE

    @classmethod
    def of(cls, config: Mapping[str, Any], **given: Any) -> Self:
        """Take what a bot's configuration says, but for what is given and not None."""
        reply = config.get("reply", {})
        found = reply.get("mmi_weight", reply.get("mutual"))  # as it was called until 0.1
        limits = [reply.get(f"people_{name}") for name in Habits._fields]
        habits = [each if own is None else own for own, each in zip(limits, PEOPLE, strict=True)]
        values = [("mmi_weight", found), ("samples", reply.get("samples"))]
        values += [("limits", Habits(*habits)), *given.items()]
        return cls(**{name: value for name, value in values if value is not None})


@dataclass(frozen=True)
class Candidate:
    """A reply that could be given.

    Args:
        tokens: without END, at least one.
        score: of `Likelihoods`; higher is better.
        certain: whether it is likelier than all others together.
        state: in which END is yet to be said; None: it was not kept.
        beyond: by how many words it goes beyond what people do; one more where it was said before.
    """

    tokens: Tokens
    score: float
    certain: bool = False
    state: State | None = None
    beyond: int = 0

    def rank(self, avoid: Sequence[Tokens] = ()) -> tuple[bool, int, float]:
        """Return what the best has most of; a reply that is to be avoided is worth less."""
        again = sum(self.tokens == tokens for tokens in avoid)
        return self.certain, -self.beyond, self.score - REPEATED_SCORE_LOSS * again


def ranked(
    replies: Sequence[Tokens],
    likelihoods: Likelihoods,
    mmi_weight: float,
    lost: np.ndarray | float = 0.0,
    states: "Sequence[State | None] | None" = None,
    beyond: Sequence[int] | None = None,
) -> list[Candidate]:
    """Rank the replies of one conversation, the best first.

    Args:
        replies: what could be said, without END.
        likelihoods: of each.
        mmi_weight: how much of a reply's likelihood without history is taken off.
        lost: what else each loses of its score.
        states: of each, in which END is yet to be said; None: not kept.
        beyond: by how many words each goes beyond what people do; None: not counted.
    """
    certain = likelihoods.given > CERTAIN_LOG_P
    scores = likelihoods.scores(mmi_weight) - lost
    found = [
        Candidate(*each)
        for each in zip(
            replies,
            scores.tolist(),
            certain.tolist(),
            states or [None] * len(replies),
            beyond or [0] * len(replies),
            strict=True,
        )
    ]
    return sorted(found, key=Candidate.rank, reverse=True)


def draw(
    decoder: Decoder,
    state: State,
    params: SamplingParams,
    samples: int,
    generator: np.random.Generator,
    recent: Sequence[int] = (),
    keep_states: bool = False,
) -> list[list[Drawn]]:
    """Draw up to `samples` different replies for each row of a state.

    Of several, the first is the one that takes the likeliest token each time.
    """
    samples = samples if params.temperature else 1  # they would all be equal
    count = len(state[0])
    rows = [row for row in range(count) for _ in range(samples)]
    drawn: list[list[Drawn]] = [[] for _ in range(count)]
    for begin in range(0, len(rows), CANDIDATES_AT_ONCE):
        some = rows[begin : begin + CANDIDATES_AT_ONCE]
        first = [samples > 1 and (begin + n) % samples == 0 for n in range(len(some))]
        own = decoder.select(state, some)
        replies = reply_batch(decoder, own, params, generator, recent, first, keep_states)
        for row, reply in zip(some, replies, strict=True):
            drawn[row].append(reply)
    return [list({each.tokens: each for each in own}.values()) for own in drawn]


def best_drawn(
    decoder: Decoder,
    state: State,
    params: SamplingParams,
    ranking: Ranking,
    generator: np.random.Generator,
    recent: Sequence[int] = (),
    histories: Sequence[History] = (),
    tokenizer: Tokenizer | None = None,
    keep_states: bool = False,
    gains_of: Gains | None = None,
) -> list[Candidate]:
    """Draw replies for each row of a state, and return the best of each.

    One that was said before comes last, unless it is certain. Where each reply of a row is so, or
    goes beyond what people do, more are drawn for it.

    Args:
        decoder: who replies.
        state: (rows, size) arrays.
        params: how each is drawn.
        ranking: how many, and what is best.
        generator: where the randomness comes from.
        recent: tokens under the repetition penalty.
        histories: what was said before, one for each row; none: it is not known.
        tokenizer: makes words of tokens; None: no habit is counted.
        keep_states: whether their states are wanted.
        gains_of: what else their scores gain; None: nothing.
    """
    histories = histories or [History()] * len(state[0])
    found: dict[int, list[Candidate]] = {row: [] for row in range(len(histories))}
    rows = list(found)
    for _ in range(MAX_DRAWS if params.temperature else 1):
        own_state = state if len(rows) == len(histories) else decoder.select(state, rows)
        drawn = draw(decoder, own_state, params, ranking.samples, generator, recent, keep_states)
        mmi, gaining = ranking.mmi_weight > 0, gains_of is not None
        likely = list(as_drawn(decoder, own_state, drawn, mmi, gaining))
        gains = gained(gains_of, decoder, own_state, drawn, likely)
        for row, own, likelihood, gain in zip(rows, drawn, likely, gains, strict=True):
            replies, states = [each.tokens for each in own], [each.state for each in own]
            far = [
                (reply in histories[row].said)
                + (beyond(reply, histories[row], ranking.limits, tokenizer) if tokenizer else 0)
                for reply in replies
            ]
            found[row] += ranked(replies, likelihood, ranking.mmi_weight, -gain, states, far)
        rows = [row for row in rows if all(each.beyond and not each.certain for each in found[row])]
        if not rows:
            break
    return [best(found[row], histories[row].said) for row in sorted(found)]


def gained(
    gains_of: Gains | None,
    decoder: Decoder,
    state: State,
    rows: Sequence[Sequence[Drawn]],
    likely: Sequence[Likelihoods],
) -> Sequence[np.ndarray]:
    """Tell what replies that were drawn for each row gain, given what `as_drawn` told of them."""
    if gains_of is None:
        return [np.zeros(len(own)) for own in rows]
    after = [each.after for each in likely if each.after is not None]
    return gains_of(decoder, state, [[each.tokens for each in own] for own in rows], after)


def best(candidates: Sequence[Candidate], avoid: Sequence[Tokens]) -> Candidate:
    """Return the best of some candidates, one that is to be avoided being worth less."""
    return max(candidates, key=lambda each: each.rank(avoid))
