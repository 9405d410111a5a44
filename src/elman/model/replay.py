"""A sample of what a bot has learned, kept in its folder, so that it can learn more without
forgetting where the conversations are gone.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

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


@dataclass(frozen=True)
class Replay:
    """Conversations as the bot reads them: redacted and renamed where its data was.

    Args:
        train, held_out: of what training learned from, and held out.
        later, later_held_out: of what updates did since.
    """

    train: Corpus = NOTHING
    held_out: Corpus = NOTHING
    later: Corpus = NOTHING
    later_held_out: Corpus = NOTHING


def drawn(corpus: Corpus, tokens: int) -> Corpus:
    """Return whole conversations, drawn by a fixed seed, of at most so many tokens."""
    if corpus.tokens <= tokens:
        return Corpus(corpus.first_tokens(tokens), corpus.starts)
    lengths = np.diff(corpus.starts)
    order = np.random.default_rng(0).permutation(len(corpus))
    count = int(np.searchsorted(lengths[order].cumsum(), tokens, side="right"))
    return Corpus.of(corpus[n] for n in np.sort(order[:count]).tolist())


def write_replay(folder: Path, replay: Replay, tokenizer: Tokenizer) -> None:
    """Keep a sample in the folder of a version, within its limits."""
    kept = {
        "train": drawn(replay.train, MAX_KEPT_TOKENS),
        "held_out": drawn(replay.held_out, MAX_KEPT_HELD_OUT_TOKENS),
        "later": drawn(replay.later, MAX_LATER_TOKENS),
        "later_held_out": drawn(replay.later_held_out, MAX_KEPT_HELD_OUT_TOKENS),
    }
    arrays = {f"{name}.ids": corpus.ids.view(np.int16) for name, corpus in kept.items()}
    arrays |= {f"{name}.starts": corpus.starts for name, corpus in kept.items()}
    facts = {"replay": REPLAY_FORMAT, "tokenizer": tokenizer.digest}
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

    arrays, _ = read_arrays(path, check)
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
    return Replay(**found)
