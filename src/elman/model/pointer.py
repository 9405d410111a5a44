"""A pointer over what was lately read and said, so that a reply can repeat it."""

from collections.abc import Callable, Sequence
from math import log
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from elman.bptt import State
from elman.data.tokenizer import SPECIALS
from elman.model.blocks import StateSpec
from elman.model.config import KEY_SIZE, LONGEST_NGRAM
from elman.model.counts import context_keys

INITIAL_RECORD_SHARE = 0.03
"""What a full record gets at first, as a share, where no earlier state is like the present one."""

INITIAL_FOLLOW_SCORES = (4.0, 2.0)
"""At first, what a score gains where the last token is the same as now, and the last two are."""

QUERY_CHUNK_STEPS = 128
"""Steps whose scores exist at once: bounds memory."""

Logits = Callable[[Tensor], Tensor]
"""Makes the vocabulary's logits, (B, V), of hidden states, (B, H)."""


class Pointed(NamedTuple):
    """What the pointer makes of each target y: p(y) = g (p_vocabulary(y) + exp(odds)).

    Args:
        log_gate: log g, the share that is left to the vocabulary.
        odds: log of what is pointed at y, over g.
        alone: log of y's share of all that is looked at, whatever the sentinel lets through; 0
            where y is nowhere to be seen.
        key: of the tokens before y, as `NGrams` wants it.
    """

    log_gate: Tensor
    odds: Tensor
    alone: Tensor
    key: Tensor

    def at(self, places: Tensor) -> "Pointed":
        """Take some of the targets."""
        return Pointed(*(each[places] for each in self))


class PointerOutput(NamedTuple):
    """The distribution of the next token.

    Args:
        p: of every token, (B, V).
        heard: what the vocabulary's logits were made of, (B, H).
        key: of the tokens up to now, (B,), as `NGrams` wants it.
    """

    p: Tensor
    heard: Tensor
    key: Tensor


class TokenRecord(NamedTuple):
    """The L tokens before T steps and those of the steps, oldest first: P = L + T positions.

    Args:
        ids: (B, P).
        keys: (B, P, D).
        first: (B, T), the position at which the conversation of each step begins, or 0.
    """

    ids: Tensor
    keys: Tensor
    first: Tensor

    def key(self, length: int) -> Tensor:
        """Make the keys of the tokens up to each step, (B, T), for `NGrams`; L is `length`."""
        begin = max(0, length - LONGEST_NGRAM)  # no key reaches further back
        return context_keys(self.ids[:, begin:])[:, length - begin :]


class Pointer(nn.Module):
    """Copies from the last L tokens by attention, as far as a sentinel lets it.

        k_j = K h_{j-1} + K' h_j           the key of token x_j: what came before it, and itself
        a_j = (Q h_t) . k_j / sqrt(D)      for the last L tokens of the conversation, x_t included,
              + (v . h_t + c) [x_{j-1} = x_t]    and more for what came after the present token,
              + (v' . h_t + c') [x_{j-2} x_{j-1} = x_{t-1} x_t]    and after the last two
        s   = w . h_t + b                  the sentinel's score
        z   = softmax(a, s)                shares: of each token, and g of the sentinel
        p(y) = g p_vocabulary(y; h_t + R sum_j z_j k_j) + sum of z_j over x_j = y

    Source: Merity et al., "Pointer Sentinel Mixture Models" (2016); the key is made of the state
    that predicted the token, as in the continuous cache of Grave et al. (2016). Roles and END
    are never pointed at. Sums and products are in the weights' precision, under autocast too. The
    gradient reaches every key of a window, whatever the unfolding cuts; what is carried into it
    is a constant.

    Args:
        size: H, of the hidden states.
        length: L, how many tokens it looks back over.
    """

    def __init__(self, size: int, length: int) -> None:
        super().__init__()
        self.length = length
        self.query = nn.Linear(size, KEY_SIZE, bias=False)
        self.before = nn.Linear(size, KEY_SIZE, bias=False)
        self.itself = nn.Linear(size, KEY_SIZE, bias=False)
        # At first it is Grave's cache: what came next when the state was like the present one? To
        # the base that is better than nothing, before any learning (LOG.md).
        nn.init.normal_(self.query.weight, std=size**-0.5)
        with torch.no_grad():
            self.before.weight.copy_(self.query.weight)
        nn.init.zeros_(self.itself.weight)
        self.follow = nn.Linear(size, len(INITIAL_FOLLOW_SCORES))
        nn.init.zeros_(self.follow.weight)
        with torch.no_grad():
            self.follow.bias.copy_(torch.tensor(INITIAL_FOLLOW_SCORES))
        # The vocabulary is told what was looked at: a name that ends there is not to be spelled on.
        self.tell = nn.Linear(KEY_SIZE, size, bias=False)
        nn.init.zeros_(self.tell.weight)
        self.sentinel = nn.Linear(size, 1)
        nn.init.zeros_(self.sentinel.weight)
        nn.init.constant_(self.sentinel.bias, log(length / INITIAL_RECORD_SHARE))

    def state_spec(self, name: str) -> list[StateSpec]:
        """List the record: the last L ids (0: none), their keys, half of the next token's key."""
        dtype = self.sentinel.weight.dtype
        return [
            StateSpec(f"{name}.pointer.ids", self.length, dtype),
            StateSpec(f"{name}.pointer.keys", self.length * KEY_SIZE, dtype),
            StateSpec(f"{name}.pointer.before", KEY_SIZE, dtype),
        ]

    def record(
        self,
        ids: Tensor,
        hidden: Tensor,
        state: State,
        keep: Tensor | None = None,
        lengths: Tensor | None = None,
    ) -> tuple[TokenRecord, State]:
        """Write down what was read.

        Args:
            ids: (T, B) int64; 0 behind the end of a row.
            hidden: the layers' output after each, (T, B, H).
            state: before the first step.
            keep: (T, B); 0 where a conversation starts and all before is forgotten.
            lengths: after how many steps of each row to take the state, (B,); None: after all.

        Returns:
            What `point` looks at, and the state.
        """
        told, keys, last = state
        steps, rows = ids.shape
        with torch.autocast(hidden.device.type, enabled=False):
            hidden = hidden.to(last.dtype)
            nexts = torch.cat([last.unsqueeze(0), self.before(hidden)])
            own = (nexts[:-1] + self.itself(hidden)).transpose(0, 1)
        whole_ids = torch.cat([told.long(), ids.t()], 1)
        whole_keys = torch.cat([keys.view(rows, self.length, KEY_SIZE), own], 1)
        first = torch.zeros_like(ids)
        if keep is not None:
            places = torch.arange(self.length, self.length + steps)
            first = places.unsqueeze(1).where(keep == 0, first).cummax(0).values
        if lengths is None:
            kept = slice(steps, None)
            ids, keys, last = whole_ids[:, kept], whole_keys[:, kept], nexts[-1]
            forgotten = torch.arange(steps, steps + self.length) < first[-1:].t()
        else:
            place = lengths.unsqueeze(1) + torch.arange(self.length)
            keys = whole_keys.gather(1, place.unsqueeze(2).expand(-1, -1, KEY_SIZE))
            ids, last = whole_ids.gather(1, place), nexts[lengths, torch.arange(rows)]
            forgotten = torch.zeros_like(ids, dtype=torch.bool)
        forgotten = forgotten | (ids < SPECIALS)
        ids = ids.masked_fill(forgotten, 0).to(told.dtype)
        keys = keys.masked_fill(forgotten.unsqueeze(2), 0).flatten(1)
        return TokenRecord(whole_ids, whole_keys, first.t()), (ids, keys, last)

    def point(self, record: TokenRecord, hidden: Tensor, targets: Tensor) -> tuple[Tensor, Pointed]:
        """Look at the record from each step, for the target of that step.

        Args:
            record: of the same steps.
            hidden: (T, B, H).
            targets: (T, B).

        Returns:
            What the vocabulary's logits are made of, (T, B, H), and (T, B) tensors.
        """
        parts, tells = [], []
        for begin in range(0, len(hidden), QUERY_CHUNK_STEPS):
            span = slice(begin, begin + QUERY_CHUNK_STEPS)
            shares, ids, told = self._shares(record, hidden[span], begin)
            tells.append(told)
            wanted = ids.unsqueeze(1) == targets[span].t().unsqueeze(2)
            copied = (shares[:, :, :-1] * wanted).sum(2)
            looked = shares[:, :, :-1].sum(2)
            least = torch.finfo(shares.dtype).tiny  # its logarithm is a number
            log_gate = shares[:, :, -1].clamp(min=least).log()
            log_copied = copied.clamp(min=least).log()
            alone = torch.where(copied > least, log_copied - looked.clamp(min=least).log(), 0.0)
            parts.append((log_gate, log_copied - log_gate, alone))
        gates, odds, alone = (torch.cat(each, 1).t() for each in zip(*parts, strict=True))
        key = record.key(self.length)[:, : len(hidden)].t()
        return torch.cat(tells), Pointed(gates, odds, alone, key)

    @torch.no_grad()
    def say(
        self, token: Tensor, read: Tensor, hidden: Tensor, state: State, logits: Logits
    ) -> tuple[PointerOutput, State]:
        """Write down one token and predict the next, in few operations and without gradient.

        It is `record` and `point` for one step, mixed.

        Args:
            token: (B,) int64.
            read: what its key is made of, (B, H).
            hidden: what looks at the record, (B, H).
            state: before it.
            logits: of what `point` gives.

        Returns:
            What is said, and the state after.
        """
        told, keys, last = state
        itself, before = _at_once((self.itself, self.before), read)
        text = (token >= SPECIALS).unsqueeze(1)
        own, word = (last + itself) * text, (token.unsqueeze(1) * text).to(told.dtype)
        # Arrays as small as these take numpy a fraction of torch's time.
        ids = np.concatenate([told.numpy(), word.numpy()], 1)
        after = np.concatenate([keys.numpy()[:, KEY_SIZE:], own.numpy()], 1)
        places = after.reshape(len(token), self.length, KEY_SIZE)
        shares, gate = self._shares_of_last(ids, places, hidden)
        looked = np.einsum("bl,bld->bd", shares, places)
        heard = hidden + self.tell(torch.from_numpy(looked))
        p = logits(heard).softmax(1).mul_(torch.from_numpy(gate))
        rows, words = np.arange(len(ids))[:, None], ids[:, 1:].astype(np.int64)
        np.add.at(p.numpy(), (rows, words), shares)
        key = context_keys(torch.from_numpy(words[:, 1 - LONGEST_NGRAM :]))[:, -1]
        state = (torch.from_numpy(ids[:, 1:].copy()), torch.from_numpy(after), before)
        return PointerOutput(p, heard, key), state

    def _shares_of_last(
        self, ids: np.ndarray, keys: np.ndarray, hidden: Tensor
    ) -> tuple[np.ndarray, np.ndarray]:
        """Share out one step's attention over the last L tokens.

        Args:
            ids: (B, L + 1), 0 where there is no text.
            keys: of the last L, (B, L, D).
            hidden: what looks at them, (B, H).

        Returns:
            The share of each of the last L, (B, L), and the sentinel's, (B, 1).
        """
        layers = (self.query, self.follow, self.sentinel)
        query, follow, sentinel = (made.numpy() for made in _at_once(layers, hidden))
        scores = np.einsum("bld,bd->bl", keys, query / KEY_SIZE**0.5)
        alike = ids[:, 1:] != 0
        for back, gain in enumerate(follow.T):
            then, now = ids[:, : self.length - back], ids[:, self.length - back, None]
            alike = alike[:, back > 0 :] & (then == now) & (now != 0)
            scores[:, back:] += alike * gain[:, None]
        scores[ids[:, 1:] == 0] = -np.inf
        scores = np.concatenate([scores, sentinel], 1)
        shares = np.exp(scores - scores.max(1, keepdims=True))
        shares /= shares.sum(1, keepdims=True)
        return shares[:, :-1], shares[:, -1:]

    def _shares(
        self, record: TokenRecord, hidden: Tensor, begin: int
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Share out the attention of N steps, from the `begin`-th on.

        Returns:
            The share of each token that is looked at and, last, of the sentinel, (B, N, N + L + 1),
            the ids, (B, N + L), and what the vocabulary's logits are made of, (N, B, H). A token
            has no share where it is further back than L, not yet read, of another conversation,
            or not text.
        """
        steps = len(hidden)
        window = slice(begin, begin + steps + self.length)
        ids, keys = record.ids[:, window], record.keys[:, window]
        place = torch.arange(begin, begin + steps + self.length)
        last = place[self.length :].unsqueeze(1)  # of each step: its own token
        first = torch.maximum(last - self.length + 1, record.first[:, begin : begin + steps, None])
        seen = (place >= first) & (place <= last) & (ids >= SPECIALS).unsqueeze(1)
        with torch.autocast(hidden.device.type, enabled=False):
            hidden = hidden.to(keys.dtype)
            # Small things are turned, (N, B) to (B, N), not the hidden states.
            scores = (self.query(hidden) / KEY_SIZE**0.5).transpose(0, 1) @ keys.transpose(1, 2)
            alike = torch.ones_like(seen)
            for back, gain in enumerate(self.follow(hidden).transpose(0, 1).unbind(2)):
                now = ids[:, self.length - back : self.length - back + steps].unsqueeze(2)
                then = ids.roll(back + 1, 1).unsqueeze(1)
                # What came before the oldest token is not known in every way of reading it.
                alike = (
                    alike & (then == now) & (now >= SPECIALS) & (place > last - self.length + back)
                )
                scores = scores + alike * gain.unsqueeze(2)
            scores = scores.masked_fill(~seen, -torch.inf)
            sentinel = self.sentinel(hidden).transpose(0, 1)
            shares = torch.cat([scores, sentinel], 2).softmax(2)
            told = hidden + self.tell((shares[:, :, :-1] @ keys).transpose(0, 1))
        return shares, ids, told


def _at_once(layers: Sequence[nn.Linear], x: Tensor) -> list[Tensor]:
    """Apply some small layers to the same input, in one product."""
    made = F.linear(x, torch.cat([layer.weight for layer in layers]))
    parts = made.split([layer.out_features for layer in layers], 1)
    return [
        part if layer.bias is None else part + layer.bias
        for part, layer in zip(parts, layers, strict=True)
    ]
