"""How often each sequence of tokens was seen, looked up by all of its tokens but the last.

`ngrams.py` says what they are for, and by which formula.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from torch import Tensor, nn

from elman.data.tokenizer import SPECIALS
from elman.model.config import LONGEST_NGRAM, TOKEN_BITS


class Left(NamedTuple):
    """What is left of counts from which some were subtracted.

    Args:
        sequences, counts: of all that were kept; some may not be seen any more.
        contexts, totals: likewise.
        once, twice: sequences that are seen so often now.
    """

    sequences: np.ndarray
    counts: np.ndarray
    contexts: np.ndarray
    totals: np.ndarray
    once: int
    twice: int


class ContextCounts(nn.Module):
    """Sequences of one length, by what all of their tokens but the last are.

        contexts  (K,), keys in ascending order
        begins    (K + 1,), where the words after each begin
        totals    (K,), how many tokens were seen after each, whether kept or not
        words     (kept,), ascending after each context
        counts    (kept,); like all but contexts, in 16 bits where these are enough: without a sign
        discount, least    (1,), D and how often what is kept was seen

    Args:
        vocabulary_size: V.
    """

    contexts: Tensor
    begins: Tensor
    totals: Tensor
    words: Tensor
    counts: Tensor
    discount: Tensor
    least: Tensor

    def __init__(self, vocabulary_size: int) -> None:
        super().__init__()
        self.vocabulary_size = vocabulary_size
        self._fill(np.zeros(0, np.int64), [0], [], [], [], 0.5, 1)

    def _fill(
        self, contexts: Any, begins: Any, totals: Any, words: Any, counts: Any, discount: float,
        least: int,
    ) -> None:  # fmt: skip
        self.register_buffer("contexts", torch.from_numpy(contexts))
        self.register_buffer("begins", _small(begins))
        self.register_buffer("totals", _small(totals))
        self.register_buffer("words", _small(words))
        self.register_buffer("counts", _small(counts))
        self.register_buffer("discount", torch.tensor([discount]))
        self.register_buffer("least", torch.tensor([least]))
        self._forget()

    def _forget(self) -> None:
        """Drop what was derived from the counts before."""
        self._all: np.ndarray | None = None
        self._rare: np.ndarray | None = None
        self._left: np.ndarray | None = None
        self._of_nothing: Tensor | None = None

    def set(self, sequences: np.ndarray, numbers: np.ndarray, least: int) -> None:
        """Store counts.

        Args:
            sequences: the context's key and the word below it, ascending.
            numbers: how often each was seen.
            least: how often what is kept was seen.
        """
        once, twice = (int((numbers == n).sum()) for n in (1, 2))
        discount = once / (once + 2 * twice) if once + twice else 0.5
        kept = numbers >= least
        context = (sequences >> np.uint64(TOKEN_BITS)).astype(np.int64)
        every, begins = np.unique(context, return_index=True)
        totals = np.add.reduceat(numbers, begins) if len(every) else numbers
        contexts, first = np.unique(context[kept], return_index=True)
        self._fill(
            contexts,
            np.append(first, kept.sum()),
            totals[np.isin(every, contexts, assume_unique=True)],
            sequences[kept] & np.uint64((1 << TOKEN_BITS) - 1),
            numbers[kept],
            discount,
            least,
        )

    @property
    def seen(self) -> int:
        """Count the tokens that were seen after the contexts that are kept."""
        return int(_array(self.totals).sum(dtype=np.int64))

    def without(self, sequences: np.ndarray, numbers: np.ndarray, seen: int) -> "Left":
        """Subtract sequences, as `set` takes them, from what was counted.

        Those that were seen once and are not kept are known by their number alone: all tokens that
        were seen, less those of sequences that are kept.

        Args:
            sequences, numbers: what is subtracted.
            seen: tokens that were counted in all.

        Raises:
            ValueError: where they were not counted, or sequences that were seen twice are not kept.
        """
        least = int(self.least)
        if least > 2:
            raise ValueError("rare sequences were left out: count the rest anew")
        counts, kept = _array(self.counts).astype(np.int64), self.sequences
        place = np.minimum(kept.searchsorted(sequences), max(0, len(kept) - 1))
        found = kept[place] == sequences if len(kept) else np.zeros(len(sequences), bool)
        unknown = numbers[~found]
        left = counts.copy()
        np.subtract.at(left, place[found], numbers[found])
        once = 0 if least == 1 else seen - int(counts.sum()) - len(unknown)
        if (left < 0).any() or (unknown > least - 1).any() or once < 0:
            raise ValueError("these were not counted")
        once += int((left == 1).sum())
        contexts = _array(self.contexts)
        totals = _array(self.totals).astype(np.int64)
        own = (sequences >> np.uint64(TOKEN_BITS)).astype(np.int64)
        at = np.minimum(contexts.searchsorted(own), max(0, len(contexts) - 1))
        known = contexts[at] == own if len(contexts) else np.zeros(len(own), bool)
        np.subtract.at(totals, at[known], numbers[known])
        return Left(kept, left, contexts, totals, once, int((left == 2).sum()))

    def put(self, left: "Left") -> None:
        """Store what `without` left."""
        least = int(self.least)
        stays = left.counts >= least
        sequences = left.sequences[stays]
        context = (sequences >> np.uint64(TOKEN_BITS)).astype(np.int64)
        contexts, first = np.unique(context, return_index=True)
        some = left.once + left.twice
        self._fill(
            contexts,
            np.append(first, len(sequences)),
            left.totals[np.isin(left.contexts, contexts, assume_unique=True)],
            sequences & np.uint64((1 << TOKEN_BITS) - 1),
            left.counts[stays],
            left.once / (left.once + 2 * left.twice) if some else 0.5,
            least,
        )

    @property
    def sequences(self) -> np.ndarray:
        """All that are kept, in ascending order, (kept,) uint64."""
        if self._all is None:
            begins = _array(self.begins).astype(np.int64)
            contexts = _array(self.contexts).repeat(begins[1:] - begins[:-1])
            self._all = _sequences(contexts, _array(self.words))
        return self._all

    @property
    def rare(self) -> np.ndarray:
        """Count the tokens seen after each context in sequences that are not kept, (K,)."""
        if self._rare is None:
            ends, totals = _array(self.begins).astype(np.int64), _array(self.totals)
            sums = np.append(0, _array(self.counts).cumsum(dtype=np.int64))
            self._rare = totals.astype(np.int64) - np.diff(sums[ends])
        return self._rare

    @property
    def left(self) -> np.ndarray:
        """Find what each context leaves to the shorter one, (K,)."""
        if self._left is None:
            kept = np.diff(_array(self.begins).astype(np.int64))
            self._left = self.rare + float(self.discount) * kept
        return self._left

    def of_nothing(self, dtype: torch.dtype) -> Tensor:
        """p_1, (V,), of sequences of one token."""
        if self._of_nothing is None or self._of_nothing.dtype != dtype:
            (_, words, p), left = self.apart(np.zeros(1, np.int64), np.ones(1))
            every = np.full(self.vocabulary_size, left / self.vocabulary_size)
            every[words] += p
            self._of_nothing = torch.from_numpy(every).to(dtype)
        return self._of_nothing

    def probability(
        self, context: np.ndarray, words: np.ndarray, shorter: np.ndarray, leave_out: bool
    ) -> np.ndarray:
        """Make p_n of each word from p_{n-1}, given as `shorter`."""
        at, known = self._find(context)
        if not known.any():
            return shorter
        wanted = _sequences(context, words)
        place = np.minimum(self.sequences.searchsorted(wanted), len(self.sequences) - 1)
        found = self.sequences[place] == wanted
        count = np.where(found, _array(self.counts)[place], 0).astype(np.int64)
        total, left = _array(self.totals)[at].astype(np.int64), self.left[at]
        discount = float(self.discount)
        if leave_out:
            stays = count > int(self.least)
            # What is too rare to be kept without it leaves its other occurrences as well.
            more = np.where(stays, 0.0, np.where(found, count - 1 - discount, -1.0))
            # Of very much text only the first tokens are counted; of the others some are known.
            own = found | (self.rare[at] > 0)
            total, left = total - own, left + more * own
            count = np.where(stays, count - 1, 0)
        known &= total > 0
        p = (np.maximum(count - discount, 0) + left * shorter) / np.maximum(total, 1)
        return np.where(known, p, shorter)

    def apart(
        self, context: np.ndarray, share: np.ndarray
    ) -> tuple[tuple[np.ndarray, np.ndarray, np.ndarray], np.ndarray]:
        """Give out what is known here, and tell what is left to shorter contexts.

        Args:
            context: (B,) keys.
            share: the probability of each that is to be given out, (B,).

        Returns:
            Rows, words and p of each, and the share of each row that is left, (B,).
        """
        at, known = self._find(context)
        rows = np.flatnonzero(known)
        at = at[rows]
        rate = share[rows] / _array(self.totals)[at]
        share = share.copy()
        share[rows] = self.left[at] * rate
        begins = _array(self.begins)[at].astype(np.int64)
        lengths = _array(self.begins)[at + 1].astype(np.int64) - begins
        first = lengths.cumsum() - lengths
        place = np.arange(lengths.sum()) + (begins - first).repeat(lengths)
        p = (_array(self.counts)[place] - float(self.discount)) * rate.repeat(lengths)
        return (rows.repeat(lengths), _array(self.words)[place], p), share

    def _find(self, context: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Find each context: its row, and whether it was seen at all."""
        contexts = _array(self.contexts)
        if not len(contexts):
            return np.zeros(len(context), np.int64), np.zeros(len(context), bool)
        at = np.minimum(contexts.searchsorted(context), len(contexts) - 1)
        return at, contexts[at] == context

    def _load_from_state_dict(self, state_dict: Mapping[str, Any], prefix: str, *args: Any) -> None:
        """Load a table whose size is known only from what is loaded."""
        given = {name: state_dict.get(prefix + name) for name in self._buffers}
        if all(isinstance(each, Tensor) and each.dim() == 1 for each in given.values()):
            for name, each in given.items():
                self.register_buffer(name, torch.empty_like(cast(Tensor, each)))
        self._forget()
        super()._load_from_state_dict(state_dict, prefix, *args)
        if not self._holds():
            errors: list[str] = args[-1]
            errors.append(f"{prefix[:-1]} is no table of counts")

    def _holds(self) -> bool:
        """Say whether a table from outside is sound, so that looking up in it is safe."""
        if any(each.dim() != 1 for each in self.buffers()) or not len(self.begins):
            return False
        small = (self.begins, self.totals, self.words, self.counts)
        if any(each.dtype not in (torch.int16, torch.int32) for each in small):
            return False
        contexts, begins = _array(self.contexts), _array(self.begins).astype(np.int64)
        sizes = [len(self.totals), len(begins) - 1, len(self.discount), len(self.least)]
        return (
            sizes == [len(contexts), len(contexts), 1, 1]
            and self.contexts.dtype == torch.int64
            and len(self.counts) == len(self.words) == begins[-1]
            and begins[0] == 0
            and bool((np.diff(begins) > 0).all())
            and bool((np.diff(contexts) > 0).all())
            and bool((_array(self.words) >= 0).all())
            and bool((_array(self.words) < self.vocabulary_size).all())
            and bool((_array(self.counts) > 0).all())
            and bool((_array(self.totals) > 0).all())
            and bool((self.rare >= 0).all())
            and 0 <= float(self.discount) <= 1
        )


def context_keys(ids: Tensor) -> Tensor:
    """Pack the last tokens up to each into one number, by which what comes next is looked up.

    A context is of one message: nothing is seen of what lies before its beginning.

    Args:
        ids: (..., T) int64.

    Returns:
        Of the same shape: the last token in the lowest bits, and the one before above it.
    """
    every = ids.numpy()
    key, inside = np.zeros_like(every), np.ones(every.shape, bool)
    for back in range(LONGEST_NGRAM - 1):
        # The last tokens, shifted: what lies before the first is of no message.
        earlier = np.zeros_like(every)
        earlier[..., back:] = every[..., : every.shape[-1] - back]
        inside &= earlier >= SPECIALS
        key |= (earlier * inside) << (TOKEN_BITS * back)
    return torch.from_numpy(key)


def occurrences(context: np.ndarray, words: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sequences as `ContextCounts.set` takes them, and how often each occurs."""
    return np.unique(_sequences(context, words), return_counts=True)


def _sequences(context: np.ndarray, words: np.ndarray) -> np.ndarray:
    """Put a key and the word below it in one number, uint64."""
    return (context.astype(np.uint64) << np.uint64(TOKEN_BITS)) | words.astype(np.uint64)


def _small(numbers: Any) -> Tensor:
    """Store numbers in 16 bits, or 32 where needed; torch can do too little with uint16."""
    array = np.asarray(numbers, np.int64)
    small = array.max(initial=0) < 1 << TOKEN_BITS
    return torch.from_numpy(array.astype(np.uint16).view(np.int16) if small else array.astype("i4"))


def _array(numbers: Tensor) -> np.ndarray:
    """Undo `_small`."""
    array: np.ndarray = numbers.numpy()
    return array.view(np.uint16) if array.dtype == np.int16 else array
