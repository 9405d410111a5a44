"""How likely replies are, after a history and after none."""

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from elman.data.conversation import Role
from elman.data.tokenizer import END, ROLES
from elman.generate.decoder import Decoder, State
from elman.generate.drawing import Drawn
from elman.generate.penalties import Tokens as Tokens

CANDIDATES_AT_ONCE = 128
"""Candidates that are drawn or scored side by side."""


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


def as_message(tokens: Sequence[int], role: Role = "bot") -> np.ndarray:
    """Return the tokens of a text as a message, from its role to its END."""
    return np.array([ROLES[role], *tokens, END], np.int64)
