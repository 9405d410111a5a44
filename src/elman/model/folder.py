"""A bot's folder, but for its weights: read and checked without torch."""

import re
from collections.abc import Collection
from pathlib import Path
from typing import Any

import elman
from elman.data.config import DataConfig
from elman.data.files import CONFIG as CONFIG
from elman.data.tokenizer import Tokenizer
from elman.data.untrusted import parse_json, read_text, validated
from elman.errors import ElmanError
from elman.model.config import ModelConfig, ReplyConfig

FORMAT = 1
"""Raised whenever a run directory written before can no longer be read."""

WEIGHTS = "model.safetensors"
INT8_WEIGHTS = "model.int8.safetensors"
"""The same rounded, where the others are of float32 and to round them costs next to nothing."""

INT8_SCALE = ".int8_scale"
"""What the name of an int8 matrix ends in for the factor of each of its rows, float32."""

TOKENIZER = "tokenizer.json"
REPLIES, SMALL_TALK = "replies.safetensors", "smalltalk.json"
REPLAY, MATCH, COMMON = "replay.safetensors", "match.safetensors", "common.json"
MANNERS, WRITTEN = "manners.json", "written.safetensors"

LEAVING_FILES = (TOKENIZER, WEIGHTS, SMALL_TALK, MATCH, MANNERS, WRITTEN)
"""Of a bot, what leaves home as it is, where it is there: no words that people said to it."""

VERSIONS, CURRENT = "versions", "current.json"
"""The folder in a bot's folder where its versions lie (`versions.py`), and the file there that
names the one it is. Without that file the bot is what training wrote."""

VERSION_ID = re.compile("[0-9a-f]{16}")

MAX_JSON_BYTES = 1 << 25
"""Of a configuration or a tokenizer: 65,000 pieces, or as many names, are a few megabytes."""

BOTS = Path(elman.__file__).parent / "bots"

BASE = BOTS / "base"
"""The bot that comes with Elman."""

LANGUAGES = BOTS / "languages"
"""The one that comes with Elman to start from, with chats in other languages."""

BUILT_IN_BOTS = {path.name: path for path in (BASE, LANGUAGES)}


def is_built_in(folder: Path) -> bool:
    """Tell whether a folder is that of a bot that comes with Elman."""
    return folder in BUILT_IN_BOTS.values()


def folder_of(name: Path | str) -> Path:
    """Return the folder in which the files of a bot lie: that of its current version, or its own.

    Args:
        name: a folder; "base" is the bot that comes with Elman, and "languages" the one to start
            from in other languages, unless a folder here with a bot in it is called so.

    Raises:
        ElmanError: where the version that it is is gone.
    """
    folder = Path(name)
    built_in = BUILT_IN_BOTS.get(str(folder))
    if built_in is not None and not all((folder / name).exists() for name in (CONFIG, TOKENIZER)):
        return built_in
    version = current_id(folder)
    if version is None:
        return folder
    if not (folder / VERSIONS / version / CONFIG).is_file():
        raise ElmanError(
            f"{folder}: its current version {version} is gone from {folder / VERSIONS}; "
            f"elman versions {folder} lists the others, elman rollback {folder} VERSION takes one"
        )
    return folder / VERSIONS / version


def home_of(folder: Path) -> Path:
    """Return the bot's folder of a folder in which the files of one of its versions lie."""
    is_version = folder.parent.name == VERSIONS and VERSION_ID.fullmatch(folder.name)
    return folder.parent.parent if is_version else folder


def current_id(folder: Path) -> str | None:
    """Return which version a bot is; None: what training wrote into its folder.

    Raises:
        ElmanError: where the file that names it is damaged.
    """
    path = folder / VERSIONS / CURRENT
    if not path.is_file():
        return None
    given = parse_json(read_text(path, MAX_JSON_BYTES), path)
    version = given.get("version") if isinstance(given, dict) else None
    if not isinstance(version, str) or VERSION_ID.fullmatch(version) is None:
        raise ElmanError(
            f"{path}: names no version; elman rollback {folder} VERSION takes one of those that "
            f"elman versions {folder} lists"
        )
    return version


def no_bot(folder: Path) -> str:
    """Say that a folder has no bot, and what makes one."""
    if folder.parts[:1] == ("hf:",):  # of a name on the Hub, a path has one slash less
        return f"{folder}: is no folder; elman import hf://OWNER/NAME --out FOLDER makes one of it"
    return f"{folder}: no bot here ({CONFIG} is missing); elman train makes one"


def no_weights(folder: Path) -> str:
    """Say what to do about a folder in which no training has come to weights."""
    return f"{folder}: has no weights yet; elman train --resume {folder} goes on with its training"


def read_config(folder: Path, trust: Collection[str] | None = ()) -> dict[str, Any]:
    """Read the configuration of a run directory.

    Args:
        folder: the run directory.
        trust: cells (`my.module:Name`) from outside Elman that it may name. None: any, for whoever
            builds no network of it, and so runs no code of theirs.

    Raises:
        ElmanError: where there is none, another version of Elman wrote it, a value is wrong, or it
            names code that is not trusted.
    """
    path = folder / CONFIG
    if not path.is_file():
        raise ElmanError(no_bot(folder))
    return checked_config(parse_json(read_text(path, MAX_JSON_BYTES), path), path, trust)


def checked_config(config: Any, path: Path, trust: Collection[str] | None) -> dict[str, Any]:
    """Check a configuration that was read from some file; as `read_config` otherwise."""
    if not isinstance(config, dict):
        raise ElmanError(f"{path}: not a configuration of Elman's")
    made = str(config.get("elman", "of unknown version"))[:20]
    if config.get("format") != FORMAT:
        raise ElmanError(
            f"{path}: of format {str(config.get('format'))[:20]}, made by Elman {made}; this Elman "
            f"reads format {FORMAT}: train it again, or use that version"
        )
    where = path if made == elman.__version__ else f"{path} (made by Elman {made})"
    model = validated(ModelConfig, config.get("model"), where, "model")
    if trust is not None:
        require_trust(model, trust, path)
    sections = {
        "model": model,
        "reply": validated(ReplyConfig, config.get("reply", {}), where, "reply"),
    }
    if config.setdefault("data", {}) != {}:  # a bot that was made by hand may say nothing of it
        sections["data"] = validated(DataConfig, config["data"], where, "data")
    given = {
        name: each.model_dump(mode="json", exclude_unset=True) for name, each in sections.items()
    }
    return config | given


def require_trust(model: ModelConfig, trust: Collection[str], where: object) -> None:
    """Refuse to import code that a file names and nobody trusts.

    Raises:
        ElmanError: where a cell comes from outside Elman and is not in `trust`.
    """
    trusted = {trust} if isinstance(trust, str) else set(trust)
    for name in model.outside_cells:
        if name not in trusted:
            raise ElmanError(
                f"{where}: its cell {name!r} is code from outside Elman, which would be run; if "
                f"you trust that code, say so: --trust {name}"
            )


def read_tokenizer(folder: Path) -> Tokenizer:
    """Read the tokenizer of a run directory."""
    path = folder / TOKENIZER
    return checked_tokenizer(read_text(path, MAX_JSON_BYTES), path)


def checked_tokenizer(text: str, path: Path) -> Tokenizer:
    """Make the tokenizer that was read from some file."""
    try:
        return Tokenizer.from_json(text)
    except ElmanError as error:
        raise ElmanError(f"{path}: {error}") from None
