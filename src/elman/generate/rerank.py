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

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import log
from typing import Any, NamedTuple, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from elman.data.conversation import Role
from elman.data.tokenizer import END, ROLES, Tokenizer
from elman.generate.decoder import Decoder, State
from elman.generate.drawing import Drawn, reply_batch
from elman.generate.penalties import PEOPLE, Habits, History, beyond
from elman.generate.penalties import Tokens as Tokens
from elman.generate.sampling import SamplingParams

CANDIDATES_AT_ONCE = 128
"""Candidates that are drawn or scored side by side."""

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


class Likelihoods(NamedTuple):
    """How likely the replies of one conversation are, each (candidates,) float64.

    Args:
        given: log p of each given the history, in nats.
        alone: log p given none.
        lengths: tokens of each, END being one.
        uncopied: as `given`, where nothing is copied; None: as `given`. `alone` is then so too.
        after: (candidates, S) float32, the layers' numbers after each alone; None: not wanted.
    """

    given: np.ndarray
    alone: np.ndarray
    lengths: np.ndarray
    uncopied: np.ndarray | None = None
    after: np.ndarray | None = None

    def scores(self, mmi_weight: float) -> np.ndarray:
        """Score each, in nats per square root of a token; higher is better."""
        uncopied = self.given if self.uncopied is None else self.uncopied
        found = (1 - mmi_weight) * self.given + mmi_weight * (uncopied - self.alone)
        scores: np.ndarray = found / np.sqrt(self.lengths)
        return scores


def likelihoods(
    decoder: Decoder,
    state: State,
    candidates: Sequence[Sequence[Tokens]],
    uncopied: bool = False,
) -> list[Likelihoods]:
    """Tell how likely some replies are.

    Args:
        decoder: who would give them.
        state: (rows, size) arrays, of each conversation after the message to be answered.
        candidates: for each conversation its replies, without END.
        uncopied: whether `Likelihoods.uncopied` is wanted.
    """
    rows = [row for row, own in enumerate(candidates) for _ in own]
    every = [tokens for own in candidates for tokens in own]
    parts = [
        log_likelihoods(decoder, every, state, rows),
        log_likelihoods(decoder, every, copied=not uncopied),
        lengths_with_end(every),
    ]
    if uncopied:
        parts.append(log_likelihoods(decoder, every, state, rows, copied=False))
    return list(map(Likelihoods, *(split(part, map(len, candidates)) for part in parts)))


def log_likelihoods(
    decoder: Decoder,
    replies: Sequence[Tokens],
    state: State | None = None,
    rows: Sequence[int] = (),
    copied: bool = True,
) -> np.ndarray:
    """Return log p of each reply and its END in nats, (replies,) float64.

    Args:
        decoder: who would give them.
        replies: without END.
        state: of some conversations; None: nothing was said before.
        rows: for each reply the row of its conversation in `state`.
        copied: whether what is copied counts.
    """
    costs_of = decoder.costs if copied else decoder.costs_without_copies
    found = np.zeros(len(replies))
    for group in alike_in_length([len(tokens) for tokens in replies]):
        own = (
            decoder.initial_state(len(group))
            if state is None
            else decoder.select(state, [rows[n] for n in group])
        )
        found[group] = -costs_of([as_message(replies[n]) for n in group], own)
    return found


def lengths_with_end(replies: Sequence[Tokens]) -> np.ndarray:
    """Return the tokens of each reply, END being one, (replies,)."""
    return np.array([len(tokens) + 1 for tokens in replies], np.int64)


def split(array: np.ndarray, sizes: Iterable[int]) -> list[np.ndarray]:
    """Split an array into parts of these sizes, which are all of it."""
    return np.split(array, np.cumsum(list(sizes))[:-1])


def alike_in_length(lengths: Sequence[int]) -> Iterator[list[int]]:
    """Group replies, by number, so that none is over twice as long as another of its group."""
    order = sorted(range(len(lengths)), key=lambda n: -lengths[n])
    begin = 0
    while begin < len(order):
        end = begin + 1
        while (
            end < min(len(order), begin + CANDIDATES_AT_ONCE)
            and 2 * lengths[order[end]] >= lengths[order[begin]]
        ):
            end += 1
        yield order[begin:end]
        begin = end


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


def as_drawn(
    decoder: Decoder,
    state: State,
    rows: Sequence[Sequence[Drawn]],
    mmi: bool = True,
    gaining: bool = False,
) -> Iterator[Likelihoods]:
    """Tell how likely the replies are that `draw` gave to each row.

    Args:
        decoder: who drew them.
        state: from which they were drawn.
        rows: the replies.
        mmi: whether what `mmi_weight` weighs is wanted; else it is 0.
        gaining: whether `Likelihoods.after` is wanted.
    """
    every = [each.tokens for own in rows for each in own]
    numbers = [row for row, own in enumerate(rows) for _ in own]
    alone, uncopied, after = np.zeros(len(every)), None, None
    if gaining:
        alone, after = read_alone(decoder, every)
    elif mmi:
        alone = log_likelihoods(decoder, every, copied=False)
    if mmi and decoder.copies:
        uncopied = log_likelihoods(decoder, every, state, numbers, copied=False)
    end = 0
    for own in rows:
        begin, end = end, end + len(own)
        span = slice(begin, end)
        given = -np.array([each.nats for each in own])
        lengths = lengths_with_end([each.tokens for each in own])
        parts = [None if each is None else each[span] for each in (uncopied, after)]
        yield Likelihoods(given, alone[span], lengths, *parts)


def read_alone(decoder: Decoder, replies: Sequence[Tokens]) -> tuple[np.ndarray, np.ndarray]:
    """Read replies to which nothing was said before.

    Returns:
        log p of each and its END in nats where nothing is copied, (replies,) float64, and the
        layers' numbers after each, (replies, S) float32.
    """
    nats = np.zeros(len(replies))
    vectors = decoder.vectors(decoder.initial_state(1)).repeat(len(replies), axis=0)
    for group in alike_in_length([len(tokens) for tokens in replies]):
        messages = [as_message(replies[n]) for n in group]
        costs, after = decoder.read_without_copies(messages, decoder.initial_state(len(group)))
        nats[group], vectors[group] = -costs, decoder.vectors(after)
    return nats, vectors


def best(candidates: Sequence[Candidate], avoid: Sequence[Tokens]) -> Candidate:
    """Return the best of some candidates, one that is to be avoided being worth less."""
    return max(candidates, key=lambda each: each.rank(avoid))


def as_message(tokens: Sequence[int], role: Role = "bot") -> np.ndarray:
    """Return the tokens of a text as a message, from its role to its END."""
    return np.array([ROLES[role], *tokens, END], np.int64)
