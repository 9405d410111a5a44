"""Sources to a corpus on disk: read in pieces by many processes, and never all in memory.

Every pass reads the sources anew and in pieces. What each finds is put together in the order of
the sources, so a corpus does not depend on how it was cut or on how many processes there were.
"""

import hashlib
import json
import shutil
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

import elman
from elman.data.corpus import Corpus
from elman.data.dataset import others_seen, settle
from elman.data.files import write_file
from elman.data.locks import only_one
from elman.data.notes import Notes
from elman.data.overlap import SHINGLE_BYTES, SHINGLE_TOKENS, without
from elman.data.people import dropped, known
from elman.data.readers import FirstReading, read
from elman.data.segmentation import Gaps
from elman.data.shards.files import ShardWriter
from elman.data.shards.finish import MAX_HELD_OUT_BYTES, appear, held_out_first, part_of
from elman.data.shards.index import (
    CORPUS_FORMAT,
    INDEX,
    TOKENIZER,
    BuiltView,
    Index,
    ShardedPart,
    is_built,
    partial,
    read_index,
)
from elman.data.shards.pieces import PIECE_BYTES, Piece, cut
from elman.data.shards.work import (
    PIECES_FOLDER,
    Encode,
    Encoded,
    FindNear,
    FirstLook,
    Sight,
    SurveyPiece,
    TakeTexts,
    finished,
)
from elman.data.shards.workers import cores, in_order
from elman.data.source import BUILT_IN, Source, fingerprint
from elman.data.split import Division, Survey
from elman.data.tokenizer import MAX_LEARNED_BYTES, MIN_VOCABULARY_SIZE, Tokenizer
from elman.data.view import View
from elman.errors import ElmanError

SHARD_TOKENS = 1 << 25
"""Tokens of a shard, about: 64 MB."""


@dataclass(frozen=True)
class CorpusBuild:
    """What is to be built, and with how much at a time.

    Args:
        sources: files, folders and archives of conversations, in order.
        out: the folder to make.
        view: how they are seen. Canaries, a limit on text and what is forgotten are refused.
        test: whether a test part is held out, too.
        encoding: of the files.
        tokenizer: what they are encoded with; None: one is learned.
        vocabulary: from the bytes of text to the size of a tokenizer that is learned.
        workers: processes; None: one for each core.
        piece_bytes: of the sources, that one process reads at a time.
        shard_tokens: of a shard, about.
        tell: told what is being done.
    """

    sources: Sequence[str]
    out: Path
    view: View = field(default_factory=View)
    test: bool = False
    encoding: str = "utf-8"
    tokenizer: Tokenizer | None = None
    vocabulary: Callable[[int], int] = lambda text_bytes: 4096
    workers: int | None = None
    piece_bytes: int = PIECE_BYTES
    shard_tokens: int = SHARD_TOKENS
    tell: Callable[[str], None] = lambda text: None

    def run(self) -> tuple[Index, Notes]:
        """Build the corpus; its folder appears at once, when all of it is on disk.

        Returns:
            Its index, and what was left out or changed in the sources.

        Raises:
            ElmanError: for anything wrong with the sources, or where the folder is taken.
        """
        self._check()
        folder = partial(self.out)
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ElmanError(f"{self.out}: cannot be written: {error.strerror}") from None
        with only_one(folder, self.tell, "built"):
            index, notes = self._built(folder)
        appear(folder, self.out)
        return index, notes

    def _check(self) -> None:
        if is_built(self.out):
            raise ElmanError(f"{self.out}: a corpus is there already; name another --out")
        if self.out.exists() and (not self.out.is_dir() or any(self.out.iterdir())):
            raise ElmanError(f"{self.out}: something is there already; name another --out")
        for path in self.sources:
            if path == "-" or (Path(path).exists() and fingerprint(path) is None):
                raise ElmanError(
                    f"{path}: can be read only once, and a build reads its sources several times: "
                    "write it into a file first"
                )
            if is_built(path):
                raise ElmanError(f"{path}: is a corpus that was built; name what it was built of")
        for name in ("max_text_bytes", "canaries", "forgotten"):
            if getattr(self.view, name):
                raise ElmanError(f"data.{name}: not in a corpus on disk; train on the sources")

    def _built(self, folder: Path) -> tuple[Index, Notes]:
        source = Source.joined(self.sources, self.encoding)
        asked = self.view
        if list(self.sources) == [BUILT_IN] and asked.split == "auto":
            asked = replace(asked, split="id")
        notes = Notes()
        pieces = cut(source.documents, notes, self.piece_bytes)
        first = self._first(asked, pieces)
        seen, reading, _ = settle(asked, first)
        people = first.people if asked.rename else Counter[str]()
        sight = Sight(replace(seen, gap=reading.gap), reading.gap, people)
        survey, counts = self._survey(sight, pieces, notes)
        if not survey.conversations:
            for _ in read(source.documents, None, reading):  # which says what is missing
                raise ElmanError(f"{source.path}: {seen.bot} speaks with nobody in it")
        sight = replace(sight, view=replace(sight.view, others=others_seen(seen, survey)))
        division = survey.division(self.test)
        if division.needs_all:
            pieces, counts = cut(source.documents, Notes(), whole=True), [survey.conversations]
        tokenizer = self.tokenizer or self._learned(sight, division, survey, pieces, counts)
        index = self._index(sight, survey, tokenizer)
        if (folder / INDEX).exists() and read_index(folder).plan == index.plan:
            return read_index(folder), notes  # killed before it got its name
        self._begin(folder, index.plan, tokenizer)
        encoded = self._encoded(folder, sight, division, tokenizer, pieces)
        parts, near = self._parts(folder, tokenizer, encoded)
        if "train" not in parts:
            raise ElmanError(f"{source.path}: nothing is left to train on")
        index = index.model_copy(update={"parts": parts, "near_duplicates": near})
        write_file(folder / INDEX, index.model_dump_json(indent=1) + "\n")
        return index, notes

    @property
    def _workers(self) -> int:
        return self.workers or cores()

    def _first(self, asked: View, pieces: Sequence[Piece]) -> FirstReading:
        """Find who is there, where somebody is named, and how long people paused."""
        self.tell("looking for people and pauses")
        gaps, people = Gaps(), Counter[str]()
        has_chats = False
        sizes = [piece.size for piece in pieces]
        for found in in_order(FirstLook(asked.names_people), pieces, self._workers, sizes):
            people.update(found.people)
            if found.gaps is not None:
                has_chats = True
                gaps.bins.update(found.gaps.bins)
        return FirstReading(gaps if has_chats else None, people, Notes(), None)

    def _survey(
        self, sight: Sight, pieces: Sequence[Piece], notes: Notes
    ) -> tuple[Survey, list[int]]:
        """Survey the pieces; return also how many conversations each has."""
        survey, counts = Survey(sight.view.split), []
        sizes = [piece.size for piece in pieces]
        done = 0
        for found, told in in_order(SurveyPiece(sight), pieces, self._workers, sizes):
            survey.add(found)
            notes.add(told)
            counts.append(found.conversations)
            done += sizes[len(counts) - 1]
            self.tell(f"surveying: {done / sum(sizes):.0%}")
        return survey, counts

    def _learned(
        self,
        sight: Sight,
        division: Division,
        survey: Survey,
        pieces: Sequence[Piece],
        counts: Sequence[int],
    ) -> Tokenizer:
        """Learn a tokenizer from the texts that `Dataset.texts` yields."""
        size = self.vocabulary(survey.text_bytes)
        if size == MIN_VOCABULARY_SIZE:
            return Tokenizer.train((), size)
        self.tell(f"learning a vocabulary of {size:,}")
        every = survey.text_bytes // MAX_LEARNED_BYTES | 1
        items, conversations, turns = [], 0, 0
        for piece, count in zip(pieces, counts, strict=True):
            items.append((piece, turns))
            if not division.needs_all:
                turns += survey.turns_learned(division, conversations, count)
            conversations += count
        sizes = [piece.size for piece in pieces]
        taken = in_order(TakeTexts(sight, division, every), items, self._workers, sizes)
        return Tokenizer.train((text for texts in taken for text in texts), size)

    def _index(self, sight: Sight, survey: Survey, tokenizer: Tokenizer) -> Index:
        """Make the index without its parts."""
        view = sight.view
        sources = [
            str(Path(each).resolve()) if Path(each).exists() else each for each in self.sources
        ]
        facts: dict[str, Any] = {
            "format": CORPUS_FORMAT,
            "elman": elman.__version__,
            "tokenizer": tokenizer.digest,
            "sources": sources,
            "fingerprints": [fingerprint(path) for path in sources],
            "view": BuiltView(
                bot=view.bot,
                others=view.others or "user",
                gap=sight.gap,
                split=view.split,
                drop=list(dropped(view.drop, view.hides_names)),
                redact=view.redact,
                rename=view.rename,
                test=self.test,
                encoding=self.encoding,
            ).model_dump(),
            "known": list(known(survey.people, view.bot)) if view.others == "names" else [],
            "text_bytes": survey.text_bytes,
        }
        plan = json.dumps([facts, self.piece_bytes, self.shard_tokens], sort_keys=True)
        digest = hashlib.sha256(plan.encode()).hexdigest()
        return Index.model_validate({**facts, "plan": digest, "near_duplicates": 0, "parts": {}})

    def _begin(self, folder: Path, plan: str, tokenizer: Tokenizer) -> None:
        """Go on with what a build was killed at, if it is the same; else begin anew."""
        pieces = folder / PIECES_FOLDER
        written = pieces / "plan"
        if written.exists() and written.read_text() == plan:
            self.tell(f"going on: {len(list(pieces.glob('*.json'))):,} pieces were done before")
            return
        for path in folder.iterdir():
            if path.is_dir():
                shutil.rmtree(path)
            elif path.suffix in (".shard", ".json"):
                path.unlink()
        pieces.mkdir()
        write_file(folder / TOKENIZER, tokenizer.to_json())
        write_file(written, plan)

    def _encoded(
        self,
        folder: Path,
        sight: Sight,
        division: Division,
        tokenizer: Tokenizer,
        pieces: Sequence[Piece],
    ) -> list[Encoded]:
        job = Encode(
            sight, division, tokenizer.to_json(), folder, self.shard_tokens, MAX_HELD_OUT_BYTES
        )
        sizes = [piece.size for piece in pieces]
        found: list[Encoded] = []
        for each in in_order(job, list(enumerate(pieces)), self._workers, sizes):
            found.append(each)
            self.tell(f"encoding: {sum(sizes[: len(found)]) / sum(sizes):.0%}")
        return found

    def _parts(
        self, folder: Path, tokenizer: Tokenizer, encoded: Sequence[Encoded]
    ) -> tuple[dict[str, ShardedPart], int]:
        """Put the shards of all pieces together, and leave out what is held out and learned."""
        self.tell("looking for held-out conversations that are nearly learned")
        train = [shard for each in encoded for shard in each.shards.get("train", ())]
        parts: dict[str, ShardedPart] = {}
        if train:
            parts["train"] = part_of(folder, train)
        near_duplicates = 0
        width = SHINGLE_TOKENS if tokenizer.vocabulary_size > MIN_VOCABULARY_SIZE else SHINGLE_BYTES
        for name in ("dev", "test"):
            held_out = Corpus.of(held_out_first(folder, name, tokenizer, encoded))
            if not len(held_out):
                continue
            near = np.zeros(len(held_out), bool)
            job = FindNear(held_out, width, folder, tokenizer.digest, tokenizer.vocabulary_size)
            for found in in_order(job, train, self._workers):
                near |= found
            if not near.all():
                near_duplicates += int(near.sum())
                held_out = without(held_out, near)
            with ShardWriter(folder / f"{name}.shard", tokenizer.digest) as writer:
                writer.write(held_out.ids, np.diff(held_out.starts).tolist())
                parts[name] = part_of(folder, [finished(writer)])
        return parts, near_duplicates
