"""How a bot replies best: as its own held-out conversations say.

What makes small talk lively spoils orders and bookings, where the right reply may well be one that
fits often. So each bot's own held-out conversations decide how replies are drawn and chosen: its
replies shall have the most words in common with what was really replied, among the choices whose
replies are about as varied as people's.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise, product
from typing import NamedTuple

import numpy as np

from elman.data.tokenizer import Tokenizer
from elman.generate.decoder import Decoder
from elman.generate.likelihood import Likelihoods, as_drawn
from elman.generate.penalties import Habits, beyond, words_of
from elman.generate.positions import HeldOut, in_common
from elman.generate.rerank import Gains, draw, gained, ranked
from elman.generate.sampling import SamplingParams

WARMTHS = ((0.7, 0.1), (0.5, 0.1), (0.85, 0.05), (1.0, 0.02))
"""Temperatures and min-p that are tried. Of those that are as good, the first is taken."""

SAMPLES_TRIED = (8, 4)

MMI_WEIGHTS = (1.0, 0.75, 0.5, 0.25, 0.0)

MIN_VARIETY = 0.9
"""Different pairs of words over all of them, beside people's."""

FITTED_REPLIES = 64
"""Held-out replies that are compared with."""

MAX_DRAWN_TOKENS = 60
"""Tokens of a reply that is drawn."""


class Choice(NamedTuple):
    """One way to draw and choose replies, by the names of `ReplyConfig`."""

    temperature: float
    min_p: float
    samples: int
    mmi_weight: float


def choices(given: Mapping[str, float]) -> list[Choice]:
    """List what is tried, first what is taken where others are not better.

    Args:
        given: what somebody has chosen already, by name.
    """
    every = [
        Choice(*warmth, samples, mmi_weight)._replace(**given)  # type: ignore[arg-type]
        for warmth, samples, mmi_weight in product(WARMTHS, SAMPLES_TRIED, MMI_WEIGHTS)
    ]
    return list(dict.fromkeys(every))


def fit_replies(
    decoder: Decoder,
    tokenizer: Tokenizer,
    heldout: HeldOut,
    limits: Habits,
    given: Mapping[str, float] | None = None,
    gains_of: Gains | None = None,
) -> Choice:
    """Find how a bot replies best.

    It is the first choice whose replies are not further from the real ones (F1 of words) than those
    of the best, give or take one standard error; among those that are varied enough.

    Args:
        decoder: of the bot.
        tokenizer: its own.
        heldout: replies from conversations that it has not learned from, at least one.
        limits: how far people go in each habit.
        given: what somebody has chosen already, by name.
        gains_of: what else the replies' scores gain; None: nothing.
    """
    tried = choices(given or {})
    drawn = np.sort(np.random.default_rng(0).permutation(len(heldout.replies))[:FITTED_REPLIES])
    heldout = heldout.select(decoder, drawn.tolist())
    alike = np.zeros((len(tried), len(heldout.replies)))
    said: list[list[str]] = [[] for _ in tried]
    for warmth in dict.fromkeys((each.temperature, each.min_p) for each in tried):
        some = [n for n, each in enumerate(tried) if each[:2] == warmth]
        most = max(tried[n].samples for n in some)
        params = SamplingParams(
            temperature=warmth[0], min_p=warmth[1], seed=0, max_tokens=MAX_DRAWN_TOKENS
        )
        rows = draw(decoder, heldout.state, params, most, params.generator())
        likely = list(as_drawn(decoder, heldout.state, rows, gaining=gains_of is not None))
        texts = [[each.tokens for each in own] for own in rows]
        gains = gained(gains_of, decoder, heldout.state, rows, likely)
        for position, (replies, gain, found) in enumerate(zip(texts, gains, likely, strict=True)):
            history = heldout.histories[position]
            far = [beyond(reply, history, limits, tokenizer) for reply in replies]
            for n in some:
                few = slice(tried[n].samples)
                first = ranked(
                    replies[few],
                    Likelihoods(*(None if part is None else part[few] for part in found)),  # type: ignore[arg-type]
                    tried[n].mmi_weight,
                    -gain[few],
                    beyond=far[few],
                )[0]
                alike[n, position] = in_common(tokenizer, first.tokens, heldout.replies[position])
                said[n].append(tokenizer.decode(first.tokens))
    people = [tokenizer.decode(reply) for reply in heldout.replies]
    share = np.array([variety(each) for each in said]) / max(variety(people), 1e-9)
    varied = np.flatnonzero(share >= min(MIN_VARIETY, share.max()))
    return tried[int(varied[first_as_good(alike[varied])])]


def first_as_good(alike: np.ndarray) -> int:
    """Return the first row whose mean is the highest, but for one standard error of what it lacks.

    Args:
        alike: (rows, positions).
    """
    lost = alike[alike.mean(1).argmax()] - alike
    error = lost.std(1) / np.sqrt(lost.shape[1])
    return int((lost.mean(1) <= error).argmax())


def variety(texts: Sequence[str]) -> float:
    """Return different pairs of words over all pairs (distinct-2, Li et al. 2016)."""
    pairs = [pair for text in texts for pair in _pairs(words_of(text))]
    return len(set(pairs)) / max(len(pairs), 1)


def _pairs(words: Sequence[str]) -> list[tuple[str, str]]:
    return list(pairwise(words))
