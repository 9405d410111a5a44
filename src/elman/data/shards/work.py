"""What a process does with one piece of the sources: look at it, take texts of it, encode it."""

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from elman.data.conversation import Conversation
from elman.data.corpus import Corpus, encode_parts
from elman.data.dataset import Labelled, with_bot
from elman.data.files import write_file
from elman.data.notes import Notes
from elman.data.overlap import HeldOutShingles
from elman.data.people import People
from elman.data.readers import FirstReading, Reading, answered, first_reading_of
from elman.data.shards.corpus import ShardedCorpus
from elman.data.shards.files import ShardWriter
from elman.data.shards.index import Shard, ShardedPart
from elman.data.shards.pieces import Piece
from elman.data.split import Division, Survey
from elman.data.tokenizer import Tokenizer
from elman.data.view import View, composed

ENCODED_AT_ONCE = 256
"""Conversations that are encoded before they are written."""

PIECES_FOLDER = "pieces"
"""The folder with what was done, while a corpus is being built."""


@dataclass(frozen=True)
class FirstLook:
    """Find the people and the pauses of a piece.

    Args:
        count_people: whether everybody's messages are counted.
    """

    count_people: bool

    def __call__(self, piece: Piece) -> FirstReading:
        return first_reading_of(piece.groups_of(Notes()), Notes(), self.count_people)


@dataclass(frozen=True)
class Sight:
    """How pieces are seen.

    Args:
        view: with people named as its conversations name them.
        gap: seconds of silence that end a conversation.
        people: everybody's messages, where people are renamed.
    """

    view: View
    gap: float | None
    people: Counter[str] = field(default_factory=Counter)

    def conversations(self, piece: Piece, notes: Notes) -> Iterator[Conversation]:
        """Read a piece as `Dataset.conversations` does."""
        found = answered(piece.items(notes), notes, self._reading)
        return with_bot(found, self.view.bot, notes)

    @cached_property
    def _reading(self) -> Reading:
        changes, _ = self.view.changes(People(self.people))
        drop = frozenset(self.view.drop)
        return Reading(self.gap, drop, composed(changes), self.view.hides_names)

    def __getstate__(self) -> dict[str, Any]:
        return {"view": self.view, "gap": self.gap, "people": self.people}


@dataclass(frozen=True)
class SurveyPiece:
    """Count what is in a piece."""

    sight: Sight

    def __call__(self, piece: Piece) -> tuple[Survey, Notes]:
        survey, notes = Survey(self.sight.view.split), Notes()
        for _ in survey.watch(self.sight.conversations(piece, notes)):
            pass
        return survey, notes


@dataclass(frozen=True)
class TakeTexts:
    """Take every so many-th message that is learned from, counted from the first of all pieces.

    Args:
        sight: how pieces are seen.
        division: what is held out.
        every: of how many messages one is taken.
    """

    sight: Sight
    division: Division
    every: int

    def __call__(self, item: tuple[Piece, int]) -> list[str]:
        piece, before = item
        view = self.sight.view
        learned = (
            turn.text
            for part, each in self.division.parts(self.sight.conversations(piece, Notes()))
            if part == "train"
            for turn in each.turns(view.bot, view.others or "user")
        )
        return list(islice(learned, -before % self.every, None, self.every))


@dataclass(frozen=True)
class Encoded:
    """What became of a piece.

    Args:
        shards: by the part that they are of.
        held_out_bytes: the text of each held-out conversation.
    """

    shards: dict[str, list[Shard]]
    held_out_bytes: dict[str, list[int]]


@dataclass(frozen=True)
class Encode:
    """Write a piece as shards. What was written by a build that was killed is left as it is.

    Args:
        sight: how pieces are seen.
        division: what is held out.
        tokenizer: as JSON.
        folder: of the corpus that is being built.
        shard_tokens: from how many on the next shard begins.
        max_held_out_bytes: text of each held-out part, about, that is kept.
    """

    sight: Sight
    division: Division
    tokenizer: str
    folder: Path
    shard_tokens: int
    max_held_out_bytes: int

    @cached_property
    def _tokenizer(self) -> Tokenizer:
        return Tokenizer.from_json(self.tokenizer)

    def __call__(self, item: tuple[int, Piece]) -> Encoded:
        number, piece = item
        record = self.folder / PIECES_FOLDER / f"{number:06d}.json"
        if record.exists():
            return _read_record(record)
        encoded = self._encoded(number, piece)
        shards = {name: [each.model_dump() for each in of] for name, of in encoded.shards.items()}
        content = {"shards": shards, "held_out_bytes": encoded.held_out_bytes}
        write_file(record, json.dumps(content))
        return encoded

    def _encoded(self, number: int, piece: Piece) -> Encoded:
        view = self.sight.view
        writers: dict[str, ShardWriter] = {}
        found = Encoded({}, {})
        labelled = self._kept(piece, found.held_out_bytes)
        while batch := list(islice(labelled, ENCODED_AT_ONCE)):
            parts = encode_parts(batch, self._tokenizer, view.bot, view.others or "user")
            for name, corpus in parts.items():
                if name not in writers:
                    sequence = len(found.shards.setdefault(name, []))
                    path = self.folder / f"{name}-{number:06d}-{sequence:03d}.shard"
                    writers[name] = ShardWriter(path, self._tokenizer.digest)
                writers[name].write(corpus.ids, np.diff(corpus.starts).tolist())
                if writers[name].tokens >= self.shard_tokens:
                    found.shards[name].append(finished(writers.pop(name)))
        for name, writer in writers.items():
            found.shards[name].append(finished(writer))
        return found

    def _kept(self, piece: Piece, sizes: dict[str, list[int]]) -> Iterator[Labelled]:
        """Yield conversations with their parts; of held-out ones the first, with their sizes."""
        totals: Counter[str] = Counter()
        for part, each in self.division.parts(self.sight.conversations(piece, Notes())):
            if part != "train":
                if totals[part] >= self.max_held_out_bytes:
                    continue
                size = sum(len(message.text.encode()) for message in each.messages)
                sizes.setdefault(part, []).append(size)
                totals[part] += size
            yield part, each

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_tokenizer"}


def finished(writer: ShardWriter) -> Shard:
    """End a shard, and say what is in it."""
    digest = writer.close()
    return Shard(
        file=writer.path.name,
        conversations=len(writer.lengths),
        messages=writer.messages,
        tokens=writer.tokens,
        sha256=digest,
    )


def _read_record(record: Path) -> Encoded:
    content = json.loads(record.read_text("utf-8"))
    shards = {
        name: [Shard.model_validate(each) for each in of] for name, of in content["shards"].items()
    }
    return Encoded(shards, content["held_out_bytes"])


@dataclass(frozen=True)
class FindNear:
    """Mark the held-out conversations that are nearly one of a shard's.

    Args:
        held_out: the conversations.
        width: tokens of a shingle.
        folder: of the shards.
        tokenizer: the digest of what made the ids.
        vocabulary_size: ids are below it.
    """

    held_out: Corpus
    width: int
    folder: Path
    tokenizer: str
    vocabulary_size: int

    @cached_property
    def _shingles(self) -> HeldOutShingles:
        return HeldOutShingles(self.held_out, self.width)

    def __call__(self, shard: Shard) -> np.ndarray:
        part = ShardedPart(digest="0" * 64, shards=[shard])
        train = ShardedCorpus(self.folder, part, self.tokenizer, self.vocabulary_size)
        return self._shingles.near(train)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_shingles"}
