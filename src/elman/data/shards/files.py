"""One shard: a file with the tokens of some conversations, and how long each is.

    64 bytes      magic, format, tokenizer's digest, tokens, conversations
    2 x tokens    token ids, uint16
    padding       to a multiple of 4
    4 x conversations    the tokens of each, uint32

All numbers are little-endian, so that every machine reads them where they lie.
"""

import hashlib
import os
import struct
from array import array
from collections.abc import Sequence
from pathlib import Path
from typing import Self

import numpy as np

from elman.data.tokenizer import END
from elman.errors import ElmanError

MAGIC = b"ELMANIDS"
SHARD_FORMAT = 1
_HEADER = struct.Struct("<8sI32sQQ4x")
HEADER_BYTES = _HEADER.size
_DIGESTED_AT_ONCE = 1 << 22


def shard_bytes(tokens: int, conversations: int) -> int:
    """Say how large a shard is."""
    return _lengths_at(tokens) + 4 * conversations


def _lengths_at(tokens: int) -> int:
    return HEADER_BYTES + -(-2 * tokens // 4) * 4


class ShardWriter:
    """Writes a shard as conversations come, in the memory of one batch of them.

    Args:
        path: of the file.
        tokenizer: the digest of what makes the ids.
    """

    def __init__(self, path: Path, tokenizer: str) -> None:
        self.path = path
        self.tokens = self.messages = 0
        self.lengths = array("I")
        self._tokenizer = tokenizer
        self._file = path.open("wb")
        self._file.write(b"\0" * HEADER_BYTES)

    def write(self, ids: np.ndarray, lengths: Sequence[int]) -> None:
        """Add conversations: their tokens one after another, and how many each has."""
        self._file.write(ids.astype("<u2", copy=False).tobytes())
        self.tokens += len(ids)
        self.messages += int((ids == END).sum())
        self.lengths.extend(lengths)

    def close(self) -> str:
        """Write the rest, and bring it to the disk; returns the digest of the file."""
        with self._file as file:
            file.write(b"\0" * (_lengths_at(self.tokens) - HEADER_BYTES - 2 * self.tokens))
            file.write(np.asarray(self.lengths).astype("<u4").tobytes())
            file.seek(0)
            digest = bytes.fromhex(self._tokenizer)
            sizes = (self.tokens, len(self.lengths))
            file.write(_HEADER.pack(MAGIC, SHARD_FORMAT, digest, *sizes))
            file.flush()
            os.fsync(file.fileno())
        return file_digest(self.path)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()


def file_digest(path: Path) -> str:
    """Return the sha256 of a file, in hexadecimal."""
    content = hashlib.sha256()
    with path.open("rb") as file:
        while data := file.read(_DIGESTED_AT_ONCE):
            content.update(data)
    return content.hexdigest()


def open_shard(
    path: Path, tokenizer: str, tokens: int, conversations: int
) -> tuple[np.ndarray, np.ndarray]:
    """Map a shard into memory, once its header and its size are what is expected.

    Args:
        path: of the file.
        tokenizer: the digest of what must have made it.
        tokens, conversations: that it must hold.

    Returns:
        Token ids and the tokens of each conversation, in the file.

    Raises:
        ElmanError: where it is gone, cut, damaged, or of another build.
    """
    remedy = "build the corpus again, or copy this file again from where it was whole"
    try:
        with path.open("rb") as file:
            header = file.read(HEADER_BYTES)
        size = path.stat().st_size
    except OSError as error:
        raise ElmanError(f"{path}: a part of the corpus cannot be read: {error.strerror}") from None
    if len(header) < HEADER_BYTES:
        raise ElmanError(f"{path}: cut: it has {size:,} bytes, not even a header; {remedy}")
    magic, number, digest, *sizes = _HEADER.unpack(header)
    if magic != MAGIC:
        raise ElmanError(f"{path}: no part of a corpus, or damaged; {remedy}")
    if number != SHARD_FORMAT:
        raise ElmanError(
            f"{path}: of format {number}; this Elman reads format {SHARD_FORMAT}: use the version "
            "that made it, or build the corpus again"
        )
    if digest.hex() != tokenizer:
        raise ElmanError(
            f"{path}: another tokenizer made it (digest {digest.hex()[:12]}, expected "
            f"{tokenizer[:12]}): it belongs to another corpus"
        )
    wanted = shard_bytes(tokens, conversations)
    if sizes != [tokens, conversations] or size != wanted:
        what = "cut" if size < wanted else "not what the index says"
        raise ElmanError(f"{path}: {what}: {size:,} bytes, expected {wanted:,}; {remedy}")
    if not tokens:
        return np.zeros(0, "<u2"), np.zeros(0, "<u4")
    ids = np.memmap(path, "<u2", "r", HEADER_BYTES, (tokens,))
    return ids, np.memmap(path, "<u4", "r", _lengths_at(tokens), (conversations,))
