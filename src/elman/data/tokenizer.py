"""Byte-level byte-pair encoding, and the few symbols that are not text."""

import codecs
import hashlib
import json
import re
from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import Any, Final

import numpy as np

from elman.data.bpe import BytePairs
from elman.data.characters import Characters
from elman.data.conversation import Role
from elman.data.untrusted import parse_json
from elman.errors import ElmanError, missing_extra

END: Final = 0
"""Ends every message."""
ROLES: Final[dict[Role, int]] = {"user": 1, "bot": 2, "system": 3}
"""Begin every message: who speaks."""
SPECIALS: Final = 4
"""Ids below this are not text. They stand outside the pieces' vocabulary, so no text makes them."""

MIN_VOCABULARY_SIZE: Final = SPECIALS + 256
"""Plain bytes, with the special ids."""
MAX_VOCABULARY_SIZE: Final = 65_535
"""Ids are kept as uint16."""
_MAX_TEXT_TOKENS: Final = MAX_VOCABULARY_SIZE - SPECIALS

MAX_LEARNED_BYTES: Final = 1 << 22
"""Text from which pieces are learned: more takes longer, and finds pieces that are longer
by a tenth of a percent.
"""

BEGIN = " "
"""Before every text that is encoded in pieces."""

_PARTS: Final[dict[str, Any]] = {
    "version": "1.0",
    "truncation": None,
    "padding": None,
    "added_tokens": [],
    "normalizer": None,
    "pre_tokenizer": {
        "type": "ByteLevel",
        "add_prefix_space": False,
        "trim_offsets": True,
        "use_regex": True,
    },
    "post_processor": None,
    "decoder": None,
}
"""A tokenizer of plain bytes as the `tokenizers` library writes it, but for its pieces."""

_SPACE: Final = {"type": "Prepend", "prepend": BEGIN}
"""The normalizer of all others."""

_MODEL: Final[dict[str, Any]] = {
    "type": "BPE",
    "dropout": None,
    "unk_token": None,
    "continuing_subword_prefix": None,
    "end_of_word_suffix": None,
    "fuse_unk": False,
    "byte_fallback": False,
    "ignore_merges": False,
}

_NOT_UTF8 = re.compile("([\udc80-\udcff])")


class Tokenizer:
    """Text to ids and back, exact for any text and any bytes.

    Pieces are learned by the `tokenizers` library; this class shifts their ids past the special
    ones. A vocabulary of 260 has every byte and no merges: plain bytes. Otherwise every text is
    encoded with a space before it, so that a word is the same piece wherever it stands, and can be
    copied from the beginning of a message into the middle of another.

    Args:
        found: a byte-level BPE without special tokens, as that library writes it in JSON; with its
            normalizer, if any, the space begins.

    Raises:
        ElmanError: where it is something else, or a byte has no piece of its own, so that not all
            text could be written.
    """

    def __init__(self, found: Any) -> None:
        vocabulary, merges = _pieces(found)
        parts = _checked_parts(found)
        alphabet = _byte_of_character()
        pieces = sorted(vocabulary, key=vocabulary.__getitem__)
        if [vocabulary[piece] for piece in pieces] != list(range(len(pieces))):
            raise ElmanError("the tokenizer's ids have gaps; it was not made by Elman")
        try:
            spelled = [bytes(alphabet[c] for c in piece) for piece in pieces]
        except KeyError as error:
            raise ElmanError(
                f"the tokenizer is not byte-level: it has a piece with {error}"
            ) from None
        self._begin = "" if parts["normalizer"] is None else BEGIN
        self._bytes = [b""] * SPECIALS + spelled
        self._id_of_byte = {piece[0]: i for i, piece in enumerate(self._bytes) if len(piece) == 1}
        if len(self._id_of_byte) != 256:
            raise ElmanError("the tokenizer does not have all 256 bytes; it was not made by Elman")
        ids = {piece: SPECIALS + i for i, piece in enumerate(pieces)}
        self._bpe = BytePairs(
            [self._id_of_byte[byte] for byte in range(256)],
            {(ids[a], ids[b]): (rank, ids[a + b]) for rank, (a, b) in enumerate(merges)},
        )
        parts["model"] |= {"vocab": {p: i for i, p in enumerate(pieces)}, "merges": merges}
        self._parts = parts

    @classmethod
    def train(cls, texts: Iterable[str], vocabulary: int) -> "Tokenizer":
        """Learn the pieces of some texts.

        Args:
            texts: one for each message.
            vocabulary: how many ids at most, special ones included; 260 for plain bytes.

        Raises:
            ElmanError: where the size is not from 260 to 65,535, or the library is not installed.
        """
        if not MIN_VOCABULARY_SIZE <= vocabulary <= MAX_VOCABULARY_SIZE:
            raise ElmanError(
                f"vocabulary {vocabulary}: must be from {MIN_VOCABULARY_SIZE} (plain bytes) to "
                f"{MAX_VOCABULARY_SIZE:,}"
            )
        try:
            from tokenizers import Tokenizer as Learning
            from tokenizers import models, normalizers, pre_tokenizers, trainers
        except ModuleNotFoundError:
            raise missing_extra("train", "learning pieces of text", ["tokenizers"]) from None
        bpe = Learning(models.BPE())
        if vocabulary > MIN_VOCABULARY_SIZE:
            bpe.normalizer = normalizers.Prepend(BEGIN)
        bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        trainer = trainers.BpeTrainer(
            vocab_size=vocabulary - SPECIALS,
            min_frequency=2,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        )
        bpe.train_from_iterator(texts, trainer)
        return cls(json.loads(bpe.to_str()))

    @property
    def vocabulary_size(self) -> int:
        return len(self._bytes)

    @cached_property
    def piece_bytes(self) -> np.ndarray:
        """How many bytes of text each id stands for, (vocabulary_size,).

        The sum over a whole message is that of its text: END takes the space away that was put
        before it; roles stand for nothing.
        """
        found = np.array([len(piece) for piece in self._bytes], dtype=np.int64)
        found[END] = -len(self._begin)
        return found

    @cached_property
    def characters(self) -> Characters:
        """Which tokens keep a text one of whole characters."""
        return Characters(self._bytes)

    def encode(self, text: str | bytes) -> list[int]:
        """Return the ids of some text, or of bytes; those that are not valid UTF-8 stand alone."""
        if isinstance(text, bytes):
            text = text.decode("utf-8", "surrogateescape")
        return [token for part in _NOT_UTF8.split(self._begin + text) for token in self._part(part)]

    def _part(self, text: str) -> list[int]:
        if _NOT_UTF8.fullmatch(text):
            return [self._id_of_byte[ord(text) - 0xDC00]]
        return self._bpe.encode(text)

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the ids of many texts."""
        return [self._bpe.encode(self._begin + text) for text in texts]

    def spelled(self, token: int) -> bytes:
        """Return the bytes that one id stands for, wherever it stands; a special one stands for
        none.
        """
        return self._bytes[token]

    def decode_bytes(self, ids: Iterable[int]) -> bytes:
        """Return the bytes of a text that ids stand for, from its beginning."""
        return b"".join(self._bytes[i] for i in ids).removeprefix(self._begin.encode())

    def decode(self, ids: Iterable[int]) -> str:
        """Return the text that ids stand for, from its beginning.

        Bytes that are not UTF-8 become replacement characters.
        """
        return self.decode_bytes(ids).decode("utf-8", "replace")

    def decode_stream(self) -> "DecodeStream":
        """Decode a text that comes token by token."""
        return DecodeStream(self._bytes, self._begin.encode())

    def to_json(self) -> str:
        # Without white space it is half as large, and 4,096 pieces are nothing to read anyway.
        return json.dumps(self._parts, separators=(",", ":"), ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> "Tokenizer":
        """Raises ElmanError where the text is no tokenizer of Elman's."""
        return cls(parse_json(text, "tokenizer"))

    @cached_property
    def digest(self) -> str:
        """Names the pieces and their ids: equal digests encode alike."""
        canonical = json.dumps(self._parts, sort_keys=True)
        return hashlib.sha256(canonical.encode()).hexdigest()


class DecodeStream:
    """Decodes a text token by token; together the parts are what `decode` makes of all tokens."""

    def __init__(self, spelled: Sequence[bytes], begin: bytes) -> None:
        self._spelled, self._begin = spelled, begin
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def bytes_of(self, token: int) -> bytes:
        """Return the bytes that the next token adds."""
        piece = self._spelled[token]
        if piece and self._begin:
            piece, self._begin = piece.removeprefix(self._begin), b""
        return piece

    def say(self, token: int) -> str:
        """Return the text that the next token completes."""
        return self._decoder.decode(self.bytes_of(token))

    def rest(self) -> str:
        """Return what is left at the end: characters that never were completed."""
        return self._decoder.decode(b"", final=True)


def _pieces(found: Any) -> tuple[dict[str, int], list[list[str]]]:
    """Return the pieces with their ids, and the merges, of a tokenizer's JSON."""
    model = found.get("model") if isinstance(found, dict) else None
    vocabulary, merges = (
        (model.get("vocab"), model.get("merges")) if isinstance(model, dict) else (None, None)
    )
    if not (
        isinstance(vocabulary, dict)
        and all(type(number) is int for number in vocabulary.values())
        and isinstance(merges, list)
    ):
        raise ElmanError("not a tokenizer: it has no pieces, or no merges")
    if len(vocabulary) > _MAX_TEXT_TOKENS:
        raise ElmanError(
            f"the tokenizer has {len(vocabulary):,} pieces; at most {_MAX_TEXT_TOKENS:,} fit"
        )
    pairs = [merge.split(" ") if isinstance(merge, str) else merge for merge in merges]
    for pair in pairs:
        if not (
            isinstance(pair, list)
            and len(pair) == 2
            and all(isinstance(part, str) and part in vocabulary for part in pair)
            and "".join(pair) in vocabulary
        ):
            raise ElmanError("the tokenizer merges what are none of its pieces")
    return vocabulary, pairs


def _checked_parts(found: dict[str, Any]) -> dict[str, Any]:
    """Return all that a tokenizer does to text beside its pieces.

    Raises:
        ElmanError: where a part of it would change the text, or encode it not always alike.
    """
    model = {
        name: value for name, value in found["model"].items() if name not in ("vocab", "merges")
    }
    parts = _PARTS | found | {"model": _MODEL | model}
    if parts not in [_PARTS | {"normalizer": each, "model": _MODEL} for each in (None, _SPACE)]:
        raise ElmanError(
            "the tokenizer does not keep text exactly, or not always alike; it was not made by "
            "Elman"
        )
    return parts


def _byte_of_character() -> dict[str, int]:
    """Undoes the byte-level alphabet, which writes each byte as one printable character.

    Printable bytes of Latin-1 stand for themselves; the others are numbered from U+0100 on
    (Radford et al. 2019, GPT-2).
    """
    plain = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in plain]
    return {chr(b): b for b in plain} | {chr(0x100 + n): b for n, b in enumerate(others)}
