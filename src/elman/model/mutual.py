"""How much of a reply's likelihood without history is taken off: as held-out conversations say.

What makes small talk lively spoils orders and bookings, where the right reply may well be one that
fits often. So each bot's own held-out conversations decide: the most is taken off that costs no
words in common with what was really replied.
"""

import numpy as np

from elman.data.tokenizer import Tokenizer
from elman.model.chatbot import Chatbot
from elman.model.decoding import Sampling
from elman.model.places import HeldOut
from elman.model.ranking import Ranking, as_drawn, draw, ranked
from elman.model.retrieval import in_common

MUTUAL_CHOICES = (1.0, 0.75, 0.5, 0.25, 0.0)

FITTED_REPLIES = 96
"""Held-out replies that are compared with."""

MAX_DRAWN_TOKENS = 60
"""Tokens of a reply that is drawn."""


def fitted(chatbot: Chatbot, tokenizer: Tokenizer, heldout: HeldOut) -> float:
    """`Ranking.mutual` for a bot: the most by which its replies are not further from the real ones
    (F1 of words) than by the best choice, give or take one standard error.

    Args:
        chatbot: in evaluation mode.
        tokenizer: its own.
        heldout: replies from conversations that it has not learned from, at least one.
    """
    drawn = np.sort(np.random.default_rng(0).permutation(len(heldout.replies))[:FITTED_REPLIES])
    real = [heldout.replies[n] for n in drawn]
    state = tuple(tensor[drawn] for tensor in heldout.state)
    sampling = Sampling(seed=0, longest=MAX_DRAWN_TOKENS)
    lanes = draw(chatbot, state, sampling, Ranking().samples, sampling.generator())
    alike = np.zeros((len(MUTUAL_CHOICES), len(real)))
    own = as_drawn(chatbot, lanes)
    for place, ((replies, likely), said) in enumerate(zip(own, real, strict=True)):
        for row, mutual in enumerate(MUTUAL_CHOICES):
            best = ranked(replies, likely, mutual)[0]
            alike[row, place] = in_common(tokenizer, best.tokens, said)
    return MUTUAL_CHOICES[first_as_good(alike)]


def first_as_good(alike: np.ndarray) -> int:
    """The first row whose mean is the highest of all, but for one standard error of what it lacks.

    Args:
        alike: (rows, places).
    """
    lost = alike[alike.mean(1).argmax()] - alike
    error = lost.std(1) / np.sqrt(lost.shape[1])
    return int((lost.mean(1) <= error).argmax())
