"""What people said and what somebody wrote in reply, as a file holds it."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple
from zlib import compress, decompressobj
from zlib import error as ZlibError

import numpy as np

from elman.errors import ElmanError
from elman.generate.stems import stems_of
from elman.generate.word_vectors import DIMENSIONS

MAX_LENGTH = 255
"""Stems of what a person said, and bytes of a reply: a length is one byte."""

MAX_EXCHANGES = 1 << 19
"""In a file; what they are found by takes a few hundred bytes of memory for each."""

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
        known: the different stems, the most frequent first, (S,) int32 whose bits are unsigned;
            beside those of what people said others that have a vector.
        stems: of what people said, one after the other, by their number in `known`, int16 whose
            bits are unsigned.
        lengths: how many stems each has, (R,) uint8.
        replies: the texts, one after the other, UTF-8 bytes that zlib has made smaller.
        reply_lengths: how many bytes each has, (R,) uint8.
        goes_on: whether each follows the one before it, (R,) bool.
        vectors: of the words in `known`, (S, D) int8 (`elman.generate.word_vectors`).
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
    vectors: np.ndarray
    common: np.ndarray
    asking: np.ndarray

    @classmethod
    def of(
        cls,
        exchanges: Sequence[WrittenExchange],
        common_in: int,
        asking: np.ndarray,
        vectors: Mapping[int, np.ndarray],
    ) -> "WrittenArrays":
        """Make them of exchanges.

        Args:
            exchanges: in the order of their conversations. Of what a person said the first
                `MAX_LENGTH` words count, and a reply of more bytes is none.
            common_in: replies in which a stem must stand to be common.
            asking: as above.
            vectors: of stems, (D,) int8 each. A stem that has none gets one by chance: it is like
                itself, and nearly nothing else.
        """
        asked = [stems_of(each.asked) for each in exchanges]
        counts = Counter(stem for each in exchanges for stem in set(stems_of(each.reply)))
        often = Counter(stem for own in asked for stem in own)
        often.update(dict.fromkeys(vectors, 0))
        known = [stem for stem, _ in often.most_common(MAX_STEMS)]
        number = {stem: n for n, stem in enumerate(known)}
        asked = [[stem for stem in own if stem in number][:MAX_LENGTH] for own in asked]
        replies = [each.reply.encode() for each in exchanges]
        replies = [text if len(text) <= MAX_LENGTH else b"" for text in replies]
        common = sorted(stem for stem, count in counts.items() if count >= common_in)
        return cls(
            np.array(known, np.uint32).view(np.int32),
            np.array([number[stem] for own in asked for stem in own], np.uint16).view(np.int16),
            np.array([len(own) for own in asked], np.uint8),
            np.frombuffer(compress(b"".join(replies), 9), np.uint8),
            np.array([len(own) for own in replies], np.uint8),
            np.array([each.goes_on for each in exchanges], bool),
            np.array(
                [vectors[stem] if stem in vectors else _by_chance(stem) for stem in known], np.int8
            ).reshape(len(known), DIMENSIONS),
            np.array(common, np.uint32).view(np.int32),
            asking.astype(np.float16),
        )

    def replies_text(self) -> bytes:
        """Return the replies as they were before zlib.

        Raises:
            ValueError: where they are not whole, or not as long as they should be.
        """
        unpacking, length = decompressobj(), int(self.reply_lengths.sum())
        try:
            text = unpacking.decompress(self.replies.tobytes(), length + 1)
        except ZlibError as error:
            raise ValueError("replies are damaged") from error
        if len(text) != length or not unpacking.eof or unpacking.unused_data:
            raise ValueError("replies are not whole")
        return text

    def check(self, path: Path) -> None:
        """Raise ElmanError where arrays from outside do not belong together.

        Whether the replies are whole is told by `replies_text`, which need not be done twice.
        """
        kinds = ("int32", "int16", "uint8", "uint8", "uint8", "bool", "int8", "int32", "float16")
        fits = all(each.dtype == kind for each, kind in zip(self, kinds, strict=True)) and all(
            each.ndim == 1 + (each is self.vectors) for each in self
        )
        fits = fits and self.vectors.shape[1] == DIMENSIONS
        fits = fits and 0 < len(self.lengths) <= MAX_EXCHANGES
        fits = fits and len(self.lengths) == len(self.reply_lengths) == len(self.goes_on)
        fits = fits and self.lengths.sum() == len(self.stems) and not self.goes_on[0]
        fits = fits and len(np.unique(self.known)) == len(self.known) == len(self.vectors)
        fits = fits and bool((self.stems.view(np.uint16) < len(self.known)).all())
        fits = fits and np.isfinite(self.asking).all()
        if not fits:
            raise ElmanError(f"{path}: damaged, or another version of Elman made it: delete it")


def _by_chance(stem: int) -> np.ndarray:
    return np.random.default_rng(stem).integers(-127, 128, DIMENSIONS, np.int8)
