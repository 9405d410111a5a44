"""From what became of the pieces to a corpus: its parts, their digests, and its name."""

import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from elman.data.corpus import content_digest
from elman.data.shards.corpus import ShardedCorpus
from elman.data.shards.files import HEADER_BYTES
from elman.data.shards.index import Shard, ShardedPart, read_index
from elman.data.shards.work import PIECES_FOLDER, Encoded
from elman.data.tokenizer import Tokenizer
from elman.errors import ElmanError

MAX_HELD_OUT_BYTES = 1 << 21
"""Text of each held-out part, about, that is kept: to find what is nearly the same in all that is
learned, it must fit into memory, several times.
"""


def held_out_first(
    folder: Path, name: str, tokenizer: Tokenizer, encoded: Sequence[Encoded]
) -> Iterator[np.ndarray]:
    """Yield the first conversations of a held-out part, up to `MAX_HELD_OUT_BYTES` of text."""
    total = 0
    for each in encoded:
        part = ShardedPart(digest="0" * 64, shards=each.shards.get(name, []))
        corpus = ShardedCorpus(folder, part, tokenizer.digest, tokenizer.vocabulary_size)
        for number, size in enumerate(each.held_out_bytes.get(name, ())):
            if total >= MAX_HELD_OUT_BYTES:
                return
            yield corpus[number]
            total += size


def part_of(folder: Path, shards: Sequence[Shard]) -> ShardedPart:
    """Describe shards, with the digest of the same corpus in memory."""

    def blocks() -> Iterator[np.ndarray]:
        for shard in shards:  # read, not mapped: what is mapped would count as memory
            with (folder / shard.file).open("rb") as file:
                file.seek(HEADER_BYTES)
                yield np.fromfile(file, "<u2", shard.tokens)

    def starts() -> Iterator[np.ndarray]:
        begin = np.zeros(1, np.int64)
        yield begin
        for shard in shards:
            with (folder / shard.file).open("rb") as file:
                file.seek(-4 * shard.conversations, os.SEEK_END)
                lengths = np.fromfile(file, "<u4", shard.conversations)
            ends = begin[-1] + np.cumsum(lengths, dtype=np.int64)
            yield ends
            begin = ends if len(ends) else begin

    return ShardedPart(digest=content_digest(blocks(), starts()), shards=list(shards))


def appear(folder: Path, out: Path) -> None:
    """Give a corpus that is whole its name."""
    shutil.rmtree(folder / PIECES_FOLDER, ignore_errors=True)
    used = {shard.file for part in read_index(folder).parts.values() for shard in part.shards}
    for path in folder.glob("*.shard"):
        if path.name not in used:
            path.unlink()
    try:
        if out.is_dir():
            out.rmdir()  # it is empty
        _sync(folder)
        folder.rename(out)
        _sync(out.parent)
    except OSError as error:
        raise ElmanError(f"{out}: cannot be written: {error.strerror}") from None


def _sync(folder: Path) -> None:
    """Bring the names in a folder to the disk."""
    if os.name == "nt":
        return  # it cannot be done there
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
