"""Text to pieces by byte-pair encoding, exactly as the `tokenizers` library does it.

That library brings 40 MB. It is needed to learn pieces, and not to use them.
"""

import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from heapq import heapify, heappop, heappush
from itertools import pairwise

MAX_CACHED_WORDS = 1 << 14
"""Words whose pieces are remembered: a few megabytes."""

MAX_CACHED_CHARACTERS = 32
"""A longer word is seldom seen again."""

_WHITE_SPACE = frozenset(
    map(ord, "\t\n\v\f\r\x85\xa0\u1680\u2028\u2029\u202f\u205f\u3000")
) | frozenset(range(0x2000, 0x200B))
_KEPT = frozenset(map(ord, " 'delmrstv"))
"""The space, and what abbreviations such as 've are made of."""

_WORD = re.compile(r"'(?:[sdmt]|ll|ve|re)| ?[Ldelmrstv]+| ?N+| ?['O]+|[ \n]+(?![^ \n])|[ \n]+")
"""GPT-2's pattern (Radford et al. 2019), for text in which one character stands for its kind."""


class _Kinds(dict[int, str]):
    """The kind of each character: L, a letter; N, a number; a line feed, white space; O, others."""

    def __missing__(self, code: int) -> str:
        category = unicodedata.category(chr(code))[0]
        kind = chr(code) if code in _KEPT else category if category in "LN" else "O"
        kind = "\n" if code in _WHITE_SPACE else kind
        if code < 0x10000:  # so that no text makes this large
            self[code] = kind
        return kind


_KINDS = _Kinds()


def split(text: str) -> Iterator[str]:
    """Yield the words of a text, each with the space before it; together they are the text."""
    for found in _WORD.finditer(text.translate(_KINDS)):
        yield text[found.start() : found.end()]


class BytePairs:
    """Encode text by pieces and merges.

    Args:
        byte_ids: the id of each byte, (256,).
        merges: from two ids to when they are merged, the lowest number first, and what they become.
    """

    def __init__(
        self, byte_ids: Sequence[int], merges: Mapping[tuple[int, int], tuple[int, int]]
    ) -> None:
        self._byte_ids, self._merges = byte_ids, merges
        self._cached: dict[str, tuple[int, ...]] = {}

    def encode(self, text: str) -> list[int]:
        """Return the ids of a text."""
        if not self._merges:
            return [self._byte_ids[byte] for byte in text.encode()]
        found: list[int] = []
        for word in split(text):
            found += self._cached.get(word) or self._encoded(word)
        return found

    def _encoded(self, word: str) -> tuple[int, ...]:
        found = self._merged([self._byte_ids[byte] for byte in word.encode()])
        if len(word) <= MAX_CACHED_CHARACTERS:
            if len(self._cached) >= MAX_CACHED_WORDS:
                self._cached.clear()
            self._cached[word] = found
        return found

    def _merged(self, ids: list[int]) -> tuple[int, ...]:
        """Merge pairs, the earliest merge first and the leftmost of its pairs first.

        Time grows with n log n, so that no word of a million letters holds anybody up.
        """
        size, merges = len(ids), self._merges
        before, after = list(range(-1, size - 1)), list(range(1, size + 1))
        waiting = [
            (merges[pair][0], at, merges[pair][1])
            for at, pair in enumerate(pairwise(ids))
            if pair in merges
        ]
        heapify(waiting)
        while waiting:
            _, at, made = heappop(waiting)
            right = after[at]
            # What a pair was made of may have been merged with something else meanwhile.
            if right == size or merges.get((ids[at], ids[right]), (0, -1))[1] != made:
                continue
            ids[at], ids[right] = made, -1
            after[at] = right = after[right]
            if right < size:
                before[right] = at
            for left, last in ((before[at], at), (at, right)):
                if left >= 0 and last < size and (ids[left], ids[last]) in merges:
                    rank, made = merges[ids[left], ids[last]]
                    heappush(waiting, (rank, left, made))
        return tuple(each for each in ids if each >= 0)
