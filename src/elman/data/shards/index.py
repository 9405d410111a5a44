"""The index of a corpus on disk: what was built of which sources, and what each shard holds."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from elman.data.tokenizer import Tokenizer
from elman.data.untrusted import parse_json, read_text, validated
from elman.errors import ElmanError

INDEX, TOKENIZER = "corpus.json", "tokenizer.json"
CORPUS_FORMAT = 1
"""Raised whenever a corpus that was built before can no longer be read."""

MAX_INDEX_BYTES = 1 << 26

_Count = Annotated[int, Field(ge=0)]
_Digest = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class _Table(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")


class Shard(_Table):
    """What one file holds; `sha256` is of the whole file."""

    file: str = Field(pattern=r"^[a-z0-9-]+\.shard$")
    conversations: _Count
    messages: _Count
    tokens: _Count
    sha256: _Digest


class ShardedPart(_Table):
    """The conversations that are learned from, or some that are held out.

    `digest` is that of the same `Corpus` in memory.
    """

    digest: _Digest
    shards: list[Shard]


class BuiltView(_Table):
    """How the conversations were seen, named as in the configuration of a run."""

    bot: str | None
    others: Literal["names", "user"]
    gap: float | None
    split: Literal["auto", "time", "id"]
    drop: list[str]
    redact: bool
    rename: bool
    test: bool
    encoding: str


class Index(_Table):
    """All that is known of a corpus without its tokens.

    Args:
        format: of this file.
        elman: the version that made it.
        plan: names everything that decides what is built: equal plans build equal corpora.
        tokenizer: the digest of what made the ids.
        sources: where the conversations were.
        fingerprints: of the sources, as `elman.data.source.fingerprint` makes them.
        view: how they were seen.
        known: whom the bot meets by name.
        text_bytes: of all conversations.
        near_duplicates: held-out conversations that were left out.
        parts: the conversations.
    """

    format: Literal[1]
    elman: str
    plan: _Digest
    tokenizer: _Digest
    sources: list[str]
    fingerprints: list[str | None]
    view: BuiltView
    known: list[str]
    text_bytes: _Count
    near_duplicates: _Count
    parts: dict[Literal["train", "dev", "test"], ShardedPart]


def is_built(path: Path | str) -> bool:
    """Tell whether a corpus on disk lies at a path."""
    return str(path) != "-" and (Path(path) / INDEX).is_file()


def partial(folder: Path) -> Path:
    """Return where a corpus lies while it is being built: beside the place that it will have."""
    return folder.parent / f".{folder.name}.building"


def read_index(folder: Path) -> Index:
    """Read the index of a corpus.

    Raises:
        ElmanError: where it is damaged, or of a later version of Elman.
    """
    path = folder / INDEX
    found = parse_json(read_text(path, MAX_INDEX_BYTES), path)
    number = found.get("format") if isinstance(found, dict) else None
    if number != CORPUS_FORMAT:
        made = str(found.get("elman", "unknown"))[:20] if isinstance(found, dict) else "unknown"
        raise ElmanError(
            f"{path}: of format {str(number)[:20]}, made by Elman {made}; this Elman reads format "
            f"{CORPUS_FORMAT}: use that version, or build the corpus again"
        )
    return validated(Index, found, path)


def read_tokenizer(folder: Path, index: Index) -> Tokenizer:
    """Read the tokenizer of a corpus.

    Raises:
        ElmanError: where it is damaged, or not the one that made the corpus.
    """
    path = folder / TOKENIZER
    try:
        tokenizer = Tokenizer.from_json(read_text(path, MAX_INDEX_BYTES))
    except ElmanError as error:
        place = "" if str(error).startswith(str(path)) else f"{path}: "
        raise ElmanError(f"{place}{error}") from None
    if tokenizer.digest != index.tokenizer:
        raise ElmanError(
            f"{path}: not the tokenizer that made this corpus: copy the whole folder again, or "
            "build it again"
        )
    return tokenizer
