"""What came next after the last tokens of a message, counted in all that was learned.

Counting takes a second where a net takes an hour to learn as much of what is said word for word;
a net knows what counts cannot, which is all that lies further back. A bot mixes both.

    p(y) = (1 - z) p_net(y) + z p_N(y | h)        z = sigmoid(w . h_t + b), of the state of p_net

Of a context h of n - 1 tokens after which C(h) tokens were seen, and y c(h y) times among them:

    p_n(y | h) = (max(0, c(h y) - D_n) + left(h) p_{n-1}(y)) / C(h)        p_0 = 1 / V

where left(h) is what the discount D_n, and sequences too rare to be kept, leave to the shorter
context; p_n = p_{n-1} where h was never seen. D_n is estimated from how many were seen once and
twice. The gate would learn to rely on the counts far too much, each token having been counted
itself: while learning, every token is taken out of the counts first. The net learns as if nothing
were counted: beside counts it would learn less, and the mixture be worse (LOG.md).

Source: Ney, Essen and Kneser, "On Structuring Probabilistic Dependences in Stochastic Language
Modelling" (1994): absolute discounting, and leaving one out.
"""

from collections.abc import Iterator
from math import log
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from elman.model.config import TOKEN_BITS
from elman.model.counts import ContextCounts, context_keys, occurrences

INITIAL_COUNTED_SHARE = 0.3
"""z, the share of the counts in the mixture, at first."""

MAX_NGRAM_TOKENS = 1 << 23
"""Tokens of a corpus that are counted: bounds time and memory."""

MAX_NGRAMS = 1 << 21
"""Sequences that are kept, about 16 MB; where there are more, the rare ones are left out."""


class NGrams(nn.Module):
    """Counts of sequences of up to `longest` tokens, N; at first there are none.

    Args:
        size: H, of the states.
        vocabulary_size: V.
        longest: tokens of a sequence, the last of which is predicted from the others.
    """

    def __init__(self, size: int, vocabulary_size: int, longest: int) -> None:
        super().__init__()
        self.vocabulary_size = vocabulary_size
        self.layers = nn.ModuleList(ContextCounts(vocabulary_size) for _ in range(longest))
        self.gate = nn.Linear(size, 1)
        nn.init.zeros_(self.gate.weight)
        nn.init.constant_(self.gate.bias, log(INITIAL_COUNTED_SHARE / (1 - INITIAL_COUNTED_SHARE)))

    @property
    def orders(self) -> list["ContextCounts"]:
        return [cast(ContextCounts, order) for order in self.layers]

    def costs(self, hidden: Tensor, targets: Tensor, key: Tensor, nats: Tensor) -> Tensor:
        """-log p of each target in the mixture, (M,); its gradient is for the gate's weights alone.

        Args:
            hidden: what the net predicts each from, (M, H).
            targets: ids, (M,); while training, they are among those that were counted.
            key: of what was read before each, (M,).
            nats: -log p_net, (M,).
        """
        log_p = self.probability(key, targets, leave_out=self.training).log().to(nats.dtype)
        score = self._score(hidden).squeeze(1)
        own, counted = F.logsigmoid(-score) - nats.detach(), F.logsigmoid(score) + log_p
        return -torch.logaddexp(own, counted)

    def mix(self, p: Tensor, hidden: Tensor, key: Tensor) -> Tensor:
        """Mix the counts into the net's p of every token, (B, V), in place.

        Args:
            p: of the net, (B, V).
            hidden: what it is of, (B, H).
            key: of what was read before, (B,).
        """
        score = self._score(hidden)
        counted = self.distribution(key, p.dtype)
        return p.mul_(torch.sigmoid(-score)).addcmul_(torch.sigmoid(score), counted)

    def _score(self, hidden: Tensor) -> Tensor:
        """Make the logit of z, (M, 1)."""
        with torch.autocast(hidden.device.type, enabled=False):
            score: Tensor = self.gate(hidden.detach().to(self.gate.weight.dtype))
        return score

    def count(self, ids: np.ndarray, counted: np.ndarray, most: int = MAX_NGRAMS) -> None:
        """Count, and forget what was counted before.

        Args:
            ids: whole messages, (T,).
            counted: which of them are predicted, (T,) bool.
            most: sequences to keep, at most. The longest ones that were seen only once are never
                kept, since they gain little (LOG.md).
        """
        found = self._occurrences(ids[:MAX_NGRAM_TOKENS], counted[:MAX_NGRAM_TOKENS])
        least = [1] * len(found)
        least[-1] = 2 if len(found) > 1 else 1
        sizes = [int((n >= rare).sum()) for (_, n), rare in zip(found, least, strict=True)]
        while sum(sizes) > most:
            longest = int(np.argmax(sizes))
            least[longest] += 1
            sizes[longest] = int((found[longest][1] >= least[longest]).sum())
        for order, (sequences, numbers), rare in zip(self.orders, found, least, strict=True):
            order.set(sequences, numbers, rare)

    def _occurrences(
        self, ids: np.ndarray, counted: np.ndarray
    ) -> list[tuple[np.ndarray, np.ndarray]]:
        """Count the sequences of each order that end in a token that is counted."""
        key = context_keys(torch.from_numpy(ids.astype(np.int64))).numpy()
        key, words = key[:-1][counted[1:]], ids[1:][counted[1:]]
        return [occurrences(context, words) for context in self._contexts(key)]

    def subtract(self, ids: np.ndarray, counted: np.ndarray) -> None:
        """Take messages out of what was counted, as if they had never been.

        Afterwards every buffer is, byte by byte, what `count` makes of the rest.

        Args:
            ids, counted: as for `count`, of messages that were counted.

        Raises:
            ValueError: where they were not counted; or where there were so many sequences, or
                tokens, that some were left out: the rest must then be counted anew.
        """
        total = self.orders[0].seen
        found = self._occurrences(ids, counted)
        done = [
            order.without(sequences, numbers, total)
            for order, (sequences, numbers) in zip(self.orders, found, strict=True)
        ]
        for order, left in zip(self.orders, done, strict=True):
            order.put(left)

    def probability(self, key: Tensor, targets: Tensor, leave_out: bool) -> Tensor:
        """p of each target, float64, of the shape of `key`.

        Args:
            key: of what was read before, as `context_keys` makes it.
            targets: ids.
            leave_out: whether each target is taken out of what was counted, if it can be there.
        """
        flat, words = key.flatten().numpy(), targets.flatten().numpy()
        p = np.full(len(flat), 1 / self.vocabulary_size)
        for order, context in zip(self.orders, self._contexts(flat), strict=True):
            p = order.probability(context, words, p, leave_out)
        return torch.from_numpy(p).view(key.shape)

    def distribution(self, key: Tensor, dtype: torch.dtype = torch.float64) -> Tensor:
        """p of every token after each of some keys, (B,): (B, V)."""
        first, *longer = zip(self.orders, self._contexts(key.numpy()), strict=True)
        share, apart = np.ones(len(key)), []
        for order, context in reversed(longer):
            own, share = order.apart(context, share)
            apart.append(own)
        # Longer contexts know little of the vocabulary: all of it is passed over once.
        p = torch.from_numpy(share).to(dtype).unsqueeze(1) * first[0].of_nothing(dtype)
        every = p.numpy()
        for rows, words, more in apart:
            every[rows, words] += more
        return p

    def _contexts(self, key: np.ndarray) -> Iterator[np.ndarray]:
        """Cut keys to the context of each order, the shortest first."""
        return (key & ((1 << TOKEN_BITS * n) - 1) for n in range(len(self.orders)))
