"""A sample of what a bot has learned, kept in its folder, so that it can learn more without
forgetting where the conversations are gone.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from elman.data.corpus import Corpus
from elman.data.tokenizer import Tokenizer
from elman.errors import ElmanError
from elman.model.array_files import ArrayHeader, read_arrays, write_arrays
from elman.model.folder import REPLAY

REPLAY_FORMAT = 1

MAX_KEPT_TOKENS, MAX_KEPT_HELD_OUT_TOKENS = 200_000, 60_000
"""Of what training learned from, and of what it held out: half a megabyte in all."""

MAX_LATER_TOKENS = 400_000
"""Of what later updates learned; of more, some conversations are drawn."""

NOTHING = Corpus.joined()


class TalkSource(NamedTuple):
    """Where talk that was learned later comes from.

    Args:
        person: who talked with the bot.
        conversation: its id; "" for a correction.
    """

    person: str
    conversation: str


@dataclass(frozen=True)
class Replay:
    """Conversations as the bot reads them: redacted and renamed where its data was.

    Args:
        train, held_out: of what training learned from, and held out.
        later, later_held_out: of what updates did since.
        sources, held_out_sources: where each of `later` and of `later_held_out` comes from.
    """

    train: Corpus = NOTHING
    held_out: Corpus = NOTHING
    later: Corpus = NOTHING
    later_held_out: Corpus = NOTHING
    sources: tuple[TalkSource, ...] = ()
    held_out_sources: tuple[TalkSource, ...] = ()

    def with_later(self, other: "Replay") -> "Replay":
        """Add what another one learned later."""
        return replace(
            self,
            later=Corpus.joined(self.later, other.later),
            later_held_out=Corpus.joined(self.later_held_out, other.later_held_out),
            sources=self.sources + other.sources,
            held_out_sources=self.held_out_sources + other.held_out_sources,
        )

    def only(self, numbers: Iterable[int], held_out_numbers: Iterable[int]) -> "Replay":
        """Keep some of what was learned later, by their numbers."""
        some, few = list(numbers), list(held_out_numbers)
        return replace(
            self,
            later=Corpus.of(self.later[n] for n in some),
            later_held_out=Corpus.of(self.later_held_out[n] for n in few),
            sources=tuple(self.sources[n] for n in some),
            held_out_sources=tuple(self.held_out_sources[n] for n in few),
        )


NO_UPDATES = Replay()


def drawn(corpus: Corpus, tokens: int) -> Corpus:
    """Return whole conversations, drawn by a fixed seed, of at most so many tokens."""
    return Corpus.of(corpus[n] for n in _drawn(corpus, tokens))


def _drawn(corpus: Corpus, tokens: int) -> list[int]:
    if corpus.tokens <= tokens:
        return list(range(len(corpus)))
    order = np.random.default_rng(0).permutation(len(corpus))
    lengths = np.diff(corpus.starts)[order]
    count = int(np.searchsorted(lengths.cumsum(), tokens, side="right"))
    return sorted(order[:count].tolist())


def write_replay(folder: Path, replay: Replay, tokenizer: Tokenizer) -> None:
    """Keep a sample in the folder of a version, within its limits."""
    some = replay.only(
        _drawn(replay.later, MAX_LATER_TOKENS),
        _drawn(replay.later_held_out, MAX_KEPT_HELD_OUT_TOKENS),
    )
    kept = {
        "train": drawn(replay.train, MAX_KEPT_TOKENS),
        "held_out": drawn(replay.held_out, MAX_KEPT_HELD_OUT_TOKENS),
        "later": some.later,
        "later_held_out": some.later_held_out,
    }
    arrays = {f"{name}.ids": corpus.ids.view(np.int16) for name, corpus in kept.items()}
    arrays |= {f"{name}.starts": corpus.starts for name, corpus in kept.items()}
    facts = {
        "replay": REPLAY_FORMAT,
        "tokenizer": tokenizer.digest,
        "sources": some.sources,
        "held_out_sources": some.held_out_sources,
    }
    write_arrays(folder / REPLAY, arrays, facts)


def read_replay(folder: Path, tokenizer: Tokenizer) -> Replay | None:
    """Read the sample of a version; None where none was kept.

    Raises:
        ElmanError: where it is damaged, or another tokenizer made it.
    """
    path = folder / REPLAY
    if not path.exists():
        return None

    def check(header: ArrayHeader, facts: dict[str, Any]) -> None:
        if facts.get("replay") != REPLAY_FORMAT or facts.get("tokenizer") != tokenizer.digest:
            raise ElmanError(f"{path}: another version of Elman, or another tokenizer, made it")

    arrays, facts = read_arrays(path, check)
    damaged = ElmanError(f"{path}: damaged: its parts do not belong together")
    found = {}
    for name in ("train", "held_out", "later", "later_held_out"):
        ids, starts = arrays.get(f"{name}.ids"), arrays.get(f"{name}.starts")
        if ids is None or starts is None or ids.dtype != np.int16 or starts.dtype != np.int64:
            raise damaged
        corpus = Corpus(ids.view(np.uint16), starts)
        sound = (
            starts.ndim == ids.ndim == 1
            and len(starts)
            and starts[0] == 0
            and starts[-1] == len(ids)
            and (np.diff(starts) > 1).all()
            and (corpus.ids < tokenizer.vocabulary_size).all()
        )
        if not sound:
            raise damaged
        found[name] = corpus
    sources = [_sources(facts.get(name)) for name in ("sources", "held_out_sources")]
    if [len(each) for each in sources] != [len(found["later"]), len(found["later_held_out"])]:
        raise damaged
    return Replay(**found, sources=sources[0], held_out_sources=sources[1])


def _sources(given: Any) -> tuple[TalkSource, ...]:
    """Read where talk comes from; nothing where it is not said as it should be."""
    rows = given if isinstance(given, list) else []
    whole = [row for row in rows if isinstance(row, list) and len(row) == 2]
    if not all(isinstance(text, str) for row in whole for text in row):
        return ()
    return tuple(TalkSource(*row) for row in whole)
