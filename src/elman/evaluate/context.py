"""How much the history of a conversation helps a bot."""

from collections.abc import Iterator
from itertools import pairwise
from math import log

import numpy as np

from elman.bptt import State
from elman.data.corpus import Corpus, is_scored
from elman.data.tokenizer import Tokenizer
from elman.generate.decoder import Decoder
from elman.generate.scoring import SCORED_ROWS, ReadStep, by_length

GAIN_RESAMPLES = 2000
"""Bootstrap samples for an interval."""


class Gain:
    """Count the bits per byte that the true history saves on replies, against a control.

    Args:
        true: nats of each conversation's replies given their history, (conversations,).
        control: nats of the same replies given something else, (conversations,).
        text_bytes: of the same replies, (conversations,).
    """

    def __init__(self, true: np.ndarray, control: np.ndarray, text_bytes: np.ndarray) -> None:
        self._saved = (control - true) / log(2)
        self._bytes = text_bytes

    @property
    def mean(self) -> float:
        return float(self._saved.sum() / self._bytes.sum())

    def interval(self, seed: int) -> tuple[float, float]:
        """Draw the 95 % interval, by bootstrap over whole conversations (Efron 1979)."""
        count = len(self._saved)
        drawn = np.random.default_rng(seed).integers(count, size=(GAIN_RESAMPLES, count))
        means = self._saved[drawn].sum(1) / self._bytes[drawn].sum(1)
        low, high = np.percentile(means, [2.5, 97.5])
        return float(low), float(high)


def context_gain(
    decoder: Decoder, corpus: Corpus, tokenizer: Tokenizer, learn_from: str
) -> tuple[Gain, Gain, int] | None:
    """Compare each reply's true history with none, and with another conversation's of equal length.

    The first message of a conversation has no history, and is left out. So is a message for which
    no other conversation is long enough.

    Returns:
        Both gains, and over how many replies they are taken; None where there is no reply.
    """
    # For each conversation: nats with the true, no, and another's history; and bytes.
    sums = np.zeros((len(corpus), 4))
    replies = 0
    for step, nats in _side_by_side(decoder, corpus):
        rows = [n for n, message in enumerate(step.messages) if is_scored(message, learn_from)]
        if step.numbers[0] == 0 or len(step.messages) < 2 or not rows:
            continue
        said = [step.messages[row] for row in rows]
        none = _nats(decoder, said, decoder.initial_state(len(said)))
        others = [(row - 1) % len(step.messages) for row in rows]
        other = _nats(decoder, said, decoder.select(step.before, others))
        text_bytes = [int(tokenizer.piece_bytes[message].sum()) for message in said]
        for row, *costs in zip(rows, nats[rows], none, other, text_bytes, strict=True):
            sums[step.conversations[row]] += costs
        replies += len(rows)
    sums = sums[sums[:, 3] > 0]
    if not len(sums):
        return None
    costs_true, costs_none, costs_other, sizes = sums.T
    return Gain(costs_true, costs_none, sizes), Gain(costs_true, costs_other, sizes), replies


def _side_by_side(decoder: Decoder, corpus: Corpus) -> Iterator[tuple[ReadStep, np.ndarray]]:
    """Read conversations of similar length side by side, all at the same message at a time.

    Yields:
        The messages of one number, and -log p of each in nats, (conversations,).
    """
    for group in by_length(np.array([len(corpus[n]) for n in range(len(corpus))])):
        messages = {index: corpus.messages(index) for index in group}
        going, state = group, decoder.initial_state(len(group))
        for number in range(max(map(len, messages.values()))):
            rows = [row for row, index in enumerate(going) if number < len(messages[index])]
            going, before = [going[row] for row in rows], decoder.select(state, rows)
            said = [messages[index][number] for index in going]
            nats, state = decoder.score([[message] for message in said], before)
            yield ReadStep(going, [number] * len(going), said, before), np.concatenate(nats)


def gain_by_lag(
    decoder: Decoder,
    corpus: Corpus,
    tokenizer: Tokenizer,
    learn_from: str,
    *,
    lags: int,
    replies: int,
    seed: int,
) -> list[float] | None:
    """Measure what each earlier message is worth, beyond the messages after it.

    A reply is scored given only the k messages before it, for k = 0 to `lags`. The gain at lag k is
    what the k-th message back saves, in bits per byte. As many as `replies` are drawn by seed from
    those with `lags` messages before them.

    Returns:
        The gain at lag 1, 2, ..., or None where no reply has so many messages before it.
    """
    places = [
        (index, position)
        for index in range(len(corpus))
        for position, message in enumerate(corpus.messages(index))
        if position >= lags and is_scored(message, learn_from)
    ]
    if not places:
        return None
    drawn = np.random.default_rng(seed).permutation(len(places))[:replies]
    conversations = [(corpus.messages(places[n][0]), places[n][1]) for n in sorted(drawn)]
    text_bytes = sum(int(tokenizer.piece_bytes[own[at]].sum()) for own, at in conversations)
    bits = []
    for lag in range(lags + 1):
        nats = 0.0
        for begin in range(0, len(conversations), SCORED_ROWS):
            some = conversations[begin : begin + SCORED_ROWS]
            heard = [own[at - lag : at + 1] for own, at in some]
            scores, _ = decoder.score(heard, decoder.initial_state(len(some)))
            nats += sum(float(own[-1]) for own in scores)
        bits.append(nats / log(2) / text_bytes)
    return [before - after for before, after in pairwise(bits)]


def _nats(decoder: Decoder, messages: list[np.ndarray], state: State) -> np.ndarray:
    nats, _ = decoder.score([[message] for message in messages], state)
    return np.concatenate(nats)
