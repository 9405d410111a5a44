"""What people said and what somebody wrote in reply, as a file holds it."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from elman.errors import ElmanError
from elman.generate.stems import stems_of

MAX_LENGTH = 255
"""Stems of what a person said, and bytes of a reply: a length is one byte."""

MAX_STEMS = 1 << 16
"""Different stems in what people say; a rarer one is none."""


class WrittenExchange(NamedTuple):
    """What a person said, and the answer to it.

    Args:
        asked: by the person.
        reply: what was written; empty: it fits in its own conversation alone.
        goes_on: whether it follows the exchange before it, in one conversation.
    """

    asked: str
    reply: str
    goes_on: bool = False


class WrittenArrays(NamedTuple):
    """Exchanges as a file holds them.

    Args:
        known: the different stems, (S,) int32 whose bits are unsigned.
        stems: of what people said, one after the other, by their number in `known`, int16 whose
            bits are unsigned.
        lengths: how many stems each has, (R,) uint8.
        replies: the texts, one after the other, UTF-8 bytes.
        reply_lengths: how many bytes each has, (R,) uint8.
        goes_on: whether each follows the one before it, (R,) bool.
        common: stems of words that stand in replies to everything, int32 as `known`.
        asking: weights of the words by which a message asks for what was told, float16
            (`elman.generate.told.AskingWords`).
    """

    known: np.ndarray
    stems: np.ndarray
    lengths: np.ndarray
    replies: np.ndarray
    reply_lengths: np.ndarray
    goes_on: np.ndarray
    common: np.ndarray
    asking: np.ndarray

    @classmethod
    def of(
        cls, exchanges: Sequence[WrittenExchange], common_in: int, asking: np.ndarray
    ) -> "WrittenArrays":
        """Make them of exchanges.

        Args:
            exchanges: in the order of their conversations. Of what a person said the first
                `MAX_LENGTH` words count, and a reply of more bytes is none.
            common_in: replies in which a stem must stand to be common.
            asking: as above.
        """
        asked = [stems_of(each.asked) for each in exchanges]
        often = Counter(stem for own in asked for stem in own)
        number = {stem: n for n, (stem, _) in enumerate(often.most_common(MAX_STEMS))}
        asked = [[stem for stem in own if stem in number][:MAX_LENGTH] for own in asked]
        replies = [each.reply.encode() for each in exchanges]
        replies = [text if len(text) <= MAX_LENGTH else b"" for text in replies]
        counts = Counter(stem for each in exchanges for stem in set(stems_of(each.reply)))
        common = sorted(stem for stem, count in counts.items() if count >= common_in)
        return cls(
            np.array(list(number), np.uint32).view(np.int32),
            np.array([number[stem] for own in asked for stem in own], np.uint16).view(np.int16),
            np.array([len(own) for own in asked], np.uint8),
            np.frombuffer(b"".join(replies), np.uint8),
            np.array([len(own) for own in replies], np.uint8),
            np.array([each.goes_on for each in exchanges], bool),
            np.array(common, np.uint32).view(np.int32),
            asking.astype(np.float16),
        )

    def check(self, path: Path) -> None:
        """Raise ElmanError where arrays from outside do not belong together."""
        kinds = ("int32", "int16", "uint8", "uint8", "uint8", "bool", "int32", "float16")
        fits = all(each.dtype == kind for each, kind in zip(self, kinds, strict=True)) and all(
            each.ndim == 1 for each in self
        )
        for flat, lengths in ((self.stems, self.lengths), (self.replies, self.reply_lengths)):
            fits = fits and len(lengths) == len(self.goes_on) > 0 and lengths.sum() == len(flat)
        fits = fits and not self.goes_on[0] and len(np.unique(self.known)) == len(self.known)
        fits = fits and bool((self.stems.view(np.uint16) < len(self.known)).all())
        fits = fits and np.isfinite(self.asking).all()
        if not fits:
            raise ElmanError(f"{path}: damaged, or another version of Elman made it: delete it")
