"""Byte-level byte-pair encoding, and the few symbols that are not text."""

import hashlib
import json
import re
from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import Final

import numpy as np
import tokenizers
from tokenizers import models, pre_tokenizers, trainers

from elman.data.conversation import Role
from elman.errors import ElmanError

END: Final = 0
"""Ends every message."""
ROLES: Final[dict[Role, int]] = {"user": 1, "bot": 2, "system": 3}
"""Begin every message: who speaks."""
SPECIALS: Final = 4
"""Ids below this are not text. They stand outside the pieces' vocabulary, so no text makes them."""

SMALLEST: Final = SPECIALS + 256
LARGEST: Final = 65_535

_NOT_UTF8 = re.compile("([\udc80-\udcff])")


class Tokenizer:
    """Text to ids and back, exact for any text and any bytes.

    The pieces are those of the `tokenizers` library; this class shifts their ids past the special
    ones. A vocabulary of 260 has every byte and no merges: plain bytes.

    Args:
        bpe: a byte-level BPE without special tokens.

    Raises:
        ElmanError: where a byte has no piece of its own, so that not all text could be written.
    """

    def __init__(self, bpe: tokenizers.Tokenizer) -> None:
        self._bpe = bpe
        alphabet = _byte_of_character()
        _check_exact(bpe)
        pieces = sorted(bpe.get_vocab().items(), key=lambda item: item[1])
        if [number for _, number in pieces] != list(range(len(pieces))):
            raise ElmanError("the tokenizer's ids have gaps; it was not made by Elman")
        try:
            spelled = [bytes(alphabet[c] for c in piece) for piece, _ in pieces]
        except KeyError as error:
            raise ElmanError(
                f"the tokenizer is not byte-level: it has a piece with {error}"
            ) from None
        self._bytes = [b""] * SPECIALS + spelled
        self._id_of_byte = {piece[0]: i for i, piece in enumerate(self._bytes) if len(piece) == 1}
        if len(self._id_of_byte) != 256:
            raise ElmanError("the tokenizer does not have all 256 bytes; it was not made by Elman")

    @classmethod
    def train(cls, texts: Iterable[str], vocabulary: int) -> "Tokenizer":
        """Learn the pieces of some texts.

        Args:
            texts: one for each message.
            vocabulary: how many ids at most, special ones included; 260 for plain bytes.

        Raises:
            ElmanError: where the size is not from 260 to 65,535.
        """
        if not SMALLEST <= vocabulary <= LARGEST:
            raise ElmanError(
                f"vocabulary {vocabulary}: must be from {SMALLEST} (plain bytes) to {LARGEST:,}"
            )
        bpe = _untrained()
        trainer = trainers.BpeTrainer(
            vocab_size=vocabulary - SPECIALS,
            min_frequency=2,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        )
        bpe.train_from_iterator(texts, trainer)
        return cls(bpe)

    @property
    def vocabulary_size(self) -> int:
        return len(self._bytes)

    @cached_property
    def piece_bytes(self) -> np.ndarray:
        """How many bytes of text each id stands for, (vocabulary_size,); 0 for the special ones."""
        return np.array([len(piece) for piece in self._bytes], dtype=np.int64)

    def encode(self, text: str | bytes) -> list[int]:
        """The ids of some text; of bytes, if they are not valid UTF-8, some stand alone."""
        if isinstance(text, bytes):
            text = text.decode("utf-8", "surrogateescape")
            parts = _NOT_UTF8.split(text)
            return [
                token
                for part in parts
                for token in (
                    [self._id_of_byte[ord(part) - 0xDC00]]
                    if _NOT_UTF8.fullmatch(part)
                    else self.encode(part)
                )
            ]
        return [token + SPECIALS for token in self._bpe.encode(text, add_special_tokens=False).ids]

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """The ids of many texts, on all cores."""
        found = self._bpe.encode_batch_fast(list(texts), add_special_tokens=False)
        return [[token + SPECIALS for token in encoding.ids] for encoding in found]

    def decode_bytes(self, ids: Iterable[int]) -> bytes:
        """The bytes that ids stand for; special ones stand for none."""
        return b"".join(self._bytes[i] for i in ids)

    def decode(self, ids: Iterable[int]) -> str:
        """The text that ids stand for; bytes that are not UTF-8 become replacement characters."""
        return self.decode_bytes(ids).decode("utf-8", "replace")

    def to_json(self) -> str:
        return self._bpe.to_str(pretty=True)

    @classmethod
    def from_json(cls, text: str) -> "Tokenizer":
        """Raises ElmanError where the text is no tokenizer of Elman's."""
        try:
            bpe = tokenizers.Tokenizer.from_str(text)
        except Exception as error:  # the library raises bare Exception
            raise ElmanError(
                f"not a tokenizer that tokenizers {tokenizers.__version__} reads: {error}"
            ) from None
        return cls(bpe)

    @cached_property
    def digest(self) -> str:
        """Names the pieces and their ids: equal digests encode alike."""
        canonical = json.dumps(json.loads(self.to_json()), sort_keys=True)
        return hashlib.sha256(canonical.encode()).hexdigest()


def _untrained() -> tokenizers.Tokenizer:
    bpe = tokenizers.Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    return bpe


def _check_exact(bpe: tokenizers.Tokenizer) -> None:
    """Raises ElmanError where a part of the tokenizer would change the text."""
    expected, found = json.loads(_untrained().to_str()), json.loads(bpe.to_str())
    if found["model"]["type"] != "BPE" or any(
        found[part] != expected[part]
        for part in ("normalizer", "pre_tokenizer", "padding", "truncation")
    ):
        raise ElmanError("the tokenizer does not keep text exactly; it was not made by Elman")
    if bpe.get_vocab_size() > LARGEST - SPECIALS:
        raise ElmanError(
            f"the tokenizer has {bpe.get_vocab_size():,} pieces; at most {LARGEST - SPECIALS:,} fit"
        )


def _byte_of_character() -> dict[str, int]:
    """Undoes the byte-level alphabet, which writes each byte as one printable character.

    Printable bytes of Latin-1 stand for themselves; the others are numbered from U+0100 on
    (Radford et al. 2019, GPT-2).
    """
    plain = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in plain]
    return {chr(b): b for b in plain} | {chr(0x100 + n): b for n, b in enumerate(others)}
