"""Initial embeddings, counted from which tokens stand near which.

Source: Levy and Goldberg, "Neural Word Embedding as Implicit Matrix Factorization" (2014).
"""

import numpy as np
import torch
from torch import Tensor

from elman.data.tokenizer import END, SPECIALS
from elman.model.chatbot import Chatbot

NEIGHBOUR_DISTANCE_TOKENS = 2
"""How many tokens apart still count as near; a neighbour further away counts less."""

FREQUENCY_POWER = 0.75
"""Exponent of how often neighbours occur: rare ones are less informative than they look."""

MIN_NEIGHBOUR_TOKENS = 100_000
"""From fewer, tokens that stand in the same positions would begin too much alike."""

MAX_NEIGHBOUR_TOKENS = 1 << 23
"""Tokens of a corpus that are counted: bounds time."""

MAX_PAIRS_VOCABULARY = 8192
"""Largest vocabulary for which a table of all pairs is made."""


def begin_with(chatbot: Chatbot, ids: np.ndarray, seed: int = 0) -> None:
    """Set a new chatbot's tied embedding and its output bias from counts.

    The embedding is the truncated singular value decomposition of the positive pointwise mutual
    information of neighbours. It is turned at random, and as large as the random one was. The bias
    is the logarithm of how often each token occurs.

    Args:
        chatbot: with random weights.
        ids: tokens to count, (T,).
        seed: of the decomposition.
    """
    weight, bias = chatbot.output_layer
    vocabulary, size = weight.shape
    tokens = torch.from_numpy(ids[:MAX_NEIGHBOUR_TOKENS].astype(np.int64))
    with torch.no_grad():
        occurs = torch.bincount(tokens, minlength=vocabulary).float() + 0.5
        occurs[END + 1 : SPECIALS] = 0.5  # who speaks next is given, and never said
        logarithm = occurs.log()
        bias.copy_(logarithm - logarithm.mean())
        if len(tokens) >= MIN_NEIGHBOUR_TOKENS and size < vocabulary <= MAX_PAIRS_VOCABULARY:
            with torch.random.fork_rng(devices=[]):  # a run does not depend on what was drawn here
                torch.manual_seed(seed)
                found = _decomposed(_information(tokens, vocabulary), size)
            weight.copy_(found * weight.std() / found.std())


def _information(tokens: Tensor, vocabulary: int) -> Tensor:
    """max(0, log p(neighbour | token) / p(neighbour)), (V, V)."""
    together = torch.zeros(vocabulary * vocabulary)
    for distance in range(1, NEIGHBOUR_DISTANCE_TOKENS + 1):
        pairs = tokens[:-distance] * vocabulary + tokens[distance:]
        together += torch.bincount(pairs, minlength=len(together)) / distance
    together = together.view(vocabulary, vocabulary)
    together = together + together.t()
    of_piece = together.sum(1, keepdim=True).clamp_(min=1)
    of_neighbour = of_piece.t() ** FREQUENCY_POWER
    expected = of_piece * (of_neighbour / of_neighbour.sum())
    return (together / expected).clamp_(min=1).log_()


def _decomposed(matrix: Tensor, size: int) -> Tensor:
    """U sqrt(S) of the `size` largest singular values, centred and turned at random, (V, size)."""
    left, values, _ = torch.svd_lowrank(matrix, q=size, niter=2)
    turned, _ = torch.linalg.qr(torch.randn(size, size))
    found = left * values.sqrt()
    result: Tensor = (found - found.mean(0)) @ turned
    return result
