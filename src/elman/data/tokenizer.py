"""Byte-level byte-pair encoding, and the few symbols that are not text."""

import codecs
import hashlib
import json
import re
from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import Any, Final

import numpy as np
import tokenizers
from tokenizers import models, normalizers, pre_tokenizers, trainers

from elman.data.characters import Characters
from elman.data.conversation import Role
from elman.data.untrusted import parse_json
from elman.errors import ElmanError

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

_NOT_UTF8 = re.compile("([\udc80-\udcff])")


class Tokenizer:
    """Text to ids and back, exact for any text and any bytes.

    The pieces are those of the `tokenizers` library; this class shifts their ids past the special
    ones. A vocabulary of 260 has every byte and no merges: plain bytes. Otherwise every text is
    encoded with a space before it, so that a word is the same piece wherever it stands, and can be
    copied from the beginning of a message into the middle of another.

    Args:
        bpe: a byte-level BPE without special tokens; with its normalizer, if any, the space begins.

    Raises:
        ElmanError: where a byte has no piece of its own, so that not all text could be written.
    """

    def __init__(self, bpe: tokenizers.Tokenizer) -> None:
        _check_exact(bpe)
        self._json = bpe.to_str(pretty=True)
        self._begin = "" if bpe.normalizer is None else BEGIN
        bpe.normalizer = None  # the space is put before bytes that are not UTF-8, too
        self._bpe = bpe
        alphabet = _byte_of_character()
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
        if not MIN_VOCABULARY_SIZE <= vocabulary <= MAX_VOCABULARY_SIZE:
            raise ElmanError(
                f"vocabulary {vocabulary}: must be from {MIN_VOCABULARY_SIZE} (plain bytes) to "
                f"{MAX_VOCABULARY_SIZE:,}"
            )
        bpe = _untrained(BEGIN if vocabulary > MIN_VOCABULARY_SIZE else "")
        trainer = trainers.BpeTrainer(
            vocab_size=vocabulary - SPECIALS,
            min_frequency=2,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        )
        bpe.train_from_iterator(texts, trainer)
        return cls(bpe)

    @cached_property
    def _ids(self) -> np.ndarray:
        """Of every byte that stands alone, (256,)."""
        return np.array([self._id_of_byte[byte] for byte in range(256)])

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
        # As a batch of one: unlike `encode`, that leaves other threads the interpreter meanwhile.
        [found] = self._bpe.encode_batch_fast([text], add_special_tokens=False)
        return [token + SPECIALS for token in found.ids]

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the ids of many texts, on all cores."""
        if self.vocabulary_size == MIN_VOCABULARY_SIZE:
            return [self._ids[np.frombuffer(text.encode(), np.uint8)].tolist() for text in texts]
        begun = [self._begin + text for text in texts]
        found = self._bpe.encode_batch_fast(begun, add_special_tokens=False)
        return [[token + SPECIALS for token in encoding.ids] for encoding in found]

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
        return self._json

    @classmethod
    def from_json(cls, text: str) -> "Tokenizer":
        """Raises ElmanError where the text is no tokenizer of Elman's."""
        _check_pieces(parse_json(text, "tokenizer"))
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


def _untrained(begin: str = "") -> tokenizers.Tokenizer:
    bpe = tokenizers.Tokenizer(models.BPE())
    if begin:
        bpe.normalizer = normalizers.Prepend(begin)
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    return bpe


def _check_exact(bpe: tokenizers.Tokenizer) -> None:
    """Raises ElmanError where a part of the tokenizer would change the text."""
    if _without_pieces(bpe) not in [_without_pieces(_untrained(begin)) for begin in ("", BEGIN)]:
        raise ElmanError(
            "the tokenizer does not keep text exactly, or not always alike; it was not made by "
            "Elman"
        )
    if bpe.get_vocab_size() > _MAX_TEXT_TOKENS:
        raise _too_many_pieces(bpe.get_vocab_size())


def _too_many_pieces(count: int) -> ElmanError:
    return ElmanError(f"the tokenizer has {count:,} pieces; at most {_MAX_TEXT_TOKENS:,} fit")


def _without_pieces(bpe: tokenizers.Tokenizer) -> dict[str, Any]:
    """Return all that a tokenizer does to text beside its pieces, such as dropping merges at
    random.
    """
    found: dict[str, Any] = json.loads(bpe.to_str())
    found["model"] = {
        name: value for name, value in found["model"].items() if name not in ("vocab", "merges")
    }
    return found


def _check_pieces(found: Any) -> None:
    """Raises ElmanError where the library, given such pieces, could end the process."""
    model = found.get("model") if isinstance(found, dict) else None
    vocabulary, merges = (
        (model.get("vocab"), model.get("merges")) if isinstance(model, dict) else (None, None)
    )
    if not (isinstance(vocabulary, dict) and isinstance(merges, list)):
        raise ElmanError("not a tokenizer: it has no pieces, or no merges")
    if len(vocabulary) > _MAX_TEXT_TOKENS:
        raise _too_many_pieces(len(vocabulary))
    for merge in merges:
        pair = merge.split(" ") if isinstance(merge, str) else merge
        if not (
            isinstance(pair, list)
            and len(pair) == 2
            and all(isinstance(part, str) and part in vocabulary for part in pair)
            and "".join(pair) in vocabulary
        ):
            raise ElmanError("the tokenizer merges what are none of its pieces")


def _byte_of_character() -> dict[str, int]:
    """Undoes the byte-level alphabet, which writes each byte as one printable character.

    Printable bytes of Latin-1 stand for themselves; the others are numbered from U+0100 on
    (Radford et al. 2019, GPT-2).
    """
    plain = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in plain]
    return {chr(b): b for b in plain} | {chr(0x100 + n): b for n, b in enumerate(others)}
