"""A corpus whose tokens stay in its files, mapped into memory."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from elman.data.corpus import Corpus
from elman.data.shards.files import file_digest, open_shard
from elman.data.shards.index import Index, ShardedPart, read_index, read_tokenizer
from elman.data.tokenizer import END, SPECIALS, Tokenizer
from elman.errors import ElmanError


class ShardedCorpus(Corpus):
    """Conversations that are read from mapped files when they are asked for.

    It takes 8 bytes of memory a conversation. The system keeps what was read as long as there is
    memory for it, once for all processes that map the same files.

    Args:
        folder: in which the files lie.
        part: what they hold.
        tokenizer: the digest of what made the ids.
        vocabulary_size: ids are below it.

    Raises:
        ElmanError: where a file is gone, cut, or of another build; from `corpus[n]`, where that
            conversation is none.
    """

    def __init__(
        self, folder: Path, part: ShardedPart, tokenizer: str, vocabulary_size: int
    ) -> None:
        self._paths = [folder / shard.file for shard in part.shards]
        self._ids: list[np.ndarray] = []
        self._first_of = np.cumsum([0, *(shard.conversations for shard in part.shards)])
        starts = np.zeros(self._first_of[-1] + 1, np.int64)
        begin = 0
        for path, shard, first in zip(self._paths, part.shards, self._first_of, strict=False):
            ids, lengths = open_shard(path, tokenizer, shard.tokens, shard.conversations)
            ends = starts[first + 1 : first + 1 + len(lengths)]
            np.cumsum(lengths, out=ends, dtype=np.int64)
            if len(lengths) and (lengths.min() < 2 or ends[-1] != len(ids)):
                raise damaged(path)
            ends += begin
            begin += len(ids)
            self._ids.append(ids)
        self._vocabulary_size = vocabulary_size
        # What a corpus in memory computes, the index knows.
        known = {
            "starts": starts,
            "digest": part.digest,
            "message_count": sum(shard.messages for shard in part.shards),
        }
        self.__dict__.update(known)

    @property
    def ids(self) -> np.ndarray:
        """Refused: all tokens at once may be more than memory holds."""
        raise TypeError("these tokens are in files: ask for blocks() or first_tokens()")

    def __repr__(self) -> str:
        return f"ShardedCorpus({len(self):,} conversations, {self.tokens:,} tokens)"

    def __getitem__(self, index: int) -> np.ndarray:
        if not 0 <= index < len(self):
            raise IndexError(index)
        shard = int(np.searchsorted(self._first_of, index, side="right")) - 1
        begin, end = self.starts[index : index + 2] - self.starts[self._first_of[shard]]
        tokens: np.ndarray = self._ids[shard][begin:end]
        is_role = END < tokens[0] < SPECIALS
        if not is_role or tokens[-1] != END or tokens.max() >= self._vocabulary_size:
            raise damaged(self._paths[shard])
        return tokens

    def first_tokens(self, most: int) -> np.ndarray:
        found, left = [np.zeros(0, np.uint16)], most
        for ids in self._ids:
            found.append(ids[:left])
            left -= len(found[-1])
            if not left:
                break
        return np.concatenate(found)

    def blocks(self) -> Iterator[np.ndarray]:
        return iter(self._ids)


def damaged(path: Path) -> ElmanError:
    """Say that a shard is not what was written."""
    return ElmanError(
        f"{path}: damaged: what it holds are no conversations; elman data verify {path.parent} "
        "checks every file; build the corpus again, or copy this file again from where it was whole"
    )


def open_corpus(folder: Path) -> tuple[Index, Tokenizer, dict[str, Corpus]]:
    """Map a corpus that `elman data build` made.

    Sizes, headers and lengths of conversations are checked now, and each conversation when it is
    read. Only `verify` compares every byte.

    Returns:
        Its index, its tokenizer, and its parts: "train", which stays in its files, and "dev" and
        "test" in memory, since they are small.

    Raises:
        ElmanError: where something of it is gone, damaged, or of another build or version.
    """
    index = read_index(folder)
    tokenizer = read_tokenizer(folder, index)
    parts: dict[str, Corpus] = {}
    for name, part in index.parts.items():
        found = ShardedCorpus(folder, part, index.tokenizer, tokenizer.vocabulary_size)
        parts[name] = found if name == "train" else Corpus.of(found[n] for n in range(len(found)))
    return index, tokenizer, parts


def verify(folder: Path) -> Index:
    """Compare every byte of a corpus with its digests.

    Raises:
        ElmanError: naming the first file that is not what was written.
    """
    index, _, _ = open_corpus(folder)
    for part in index.parts.values():
        for shard in part.shards:
            if file_digest(folder / shard.file) != shard.sha256:
                raise ElmanError(
                    f"{folder / shard.file}: damaged: its digest is not that of the index; build "
                    "the corpus again, or copy this file again from where it was whole"
                )
    return index
