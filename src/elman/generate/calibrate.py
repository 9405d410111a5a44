"""How much of a reply's likelihood without history is taken off: as held-out conversations say.

What makes small talk lively spoils orders and bookings, where the right reply may well be one that
fits often. So each bot's own held-out conversations decide: the most is taken off that costs no
words in common with what was really replied.
"""

import numpy as np

from elman.data.tokenizer import Tokenizer
from elman.generate.decoder import Decoder
from elman.generate.positions import HeldOut, in_common
from elman.generate.rerank import Ranking, as_drawn, draw, ranked
from elman.generate.sampling import SamplingParams

MMI_WEIGHTS = (1.0, 0.75, 0.5, 0.25, 0.0)

FITTED_REPLIES = 96
"""Held-out replies that are compared with."""

MAX_DRAWN_TOKENS = 60
"""Tokens of a reply that is drawn."""


def fit_mmi_weight(decoder: Decoder, tokenizer: Tokenizer, heldout: HeldOut) -> float:
    """Find `Ranking.mmi_weight` for a bot.

    It is the largest by which its replies are not further from the real ones (F1 of words) than by
    the best choice, give or take one standard error.

    Args:
        decoder: of the bot.
        tokenizer: its own.
        heldout: replies from conversations that it has not learned from, at least one.
    """
    drawn = np.sort(np.random.default_rng(0).permutation(len(heldout.replies))[:FITTED_REPLIES])
    real = [heldout.replies[n] for n in drawn]
    state = decoder.select(heldout.state, drawn.tolist())
    params = SamplingParams(seed=0, max_tokens=MAX_DRAWN_TOKENS)
    rows = draw(decoder, state, params, Ranking().samples, params.generator())
    alike = np.zeros((len(MMI_WEIGHTS), len(real)))
    likely = as_drawn(decoder, rows)
    for position, (own, found, said) in enumerate(zip(rows, likely, real, strict=True)):
        replies = [each.tokens for each in own]
        for choice, mmi_weight in enumerate(MMI_WEIGHTS):
            first = ranked(replies, found, mmi_weight)[0]
            alike[choice, position] = in_common(tokenizer, first.tokens, said)
    return MMI_WEIGHTS[first_as_good(alike)]


def first_as_good(alike: np.ndarray) -> int:
    """Return the first row whose mean is the highest, but for one standard error of what it lacks.

    Args:
        alike: (rows, positions).
    """
    lost = alike[alike.mean(1).argmax()] - alike
    error = lost.std(1) / np.sqrt(lost.shape[1])
    return int((lost.mean(1) <= error).argmax())
