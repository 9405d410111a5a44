"""A bot as a folder that others can load: what the Hugging Face Hub calls a model repository."""

import json
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from elman.data.files import CONFIG, new_folder, write_file
from elman.data.tokenizer import Tokenizer
from elman.errors import ElmanError
from elman.export.card import model_card
from elman.export.private import config_to_leave, private_words
from elman.generate.manners import read_manners
from elman.generate.smalltalk import SmallTalk
from elman.model.array_files import opened, write_arrays
from elman.model.config import ModelConfig
from elman.model.folder import (
    LEAVING_FILES,
    MATCH,
    REPLIES,
    TOKENIZER,
    WEIGHTS,
    WRITTEN,
    folder_of,
    no_weights,
    read_config,
    read_tokenizer,
)
from elman.runtime.weights import Weights, is_known, weights_of

MODEL_CARD = "README.md"

MODEL_TYPE = {"model_type": "elman"}
"""By what the Hub knows whose a configuration is."""


def write_folder(
    bot: Path | str,
    out: Path,
    tell: Callable[[str], None],
    *,
    name: str | None = None,
    license_id: str | None = None,
    languages: Sequence[str] = (),
    with_replies: bool = False,
) -> dict[str, Any]:
    """Write what others need of a bot into a new folder: the same bits, and no private files.

    Args:
        bot: its folder, or "base".
        out: the new folder.
        tell: is told what private words leave all the same.
        name: of the bot, for its card; None: that of the new folder.
        license_id, languages: as `model_card` has them.
        with_replies: take along the replies of people.

    Returns:
        `files`, their names, and `bytes`, of all.

    Raises:
        ElmanError: where the bot is damaged, has no replies to take along, or `out` is there.
    """
    folder = folder_of(bot)
    config = checked_bot(folder)
    if with_replies and not (folder / REPLIES).is_file():
        raise ElmanError(f"{folder}: has no {REPLIES} to take along; leave out --with-replies")
    for warning in private_words(config, with_replies):
        tell(warning)
    with new_folder(out) as new:
        _copy(folder, new, (*LEAVING_FILES, REPLIES) if with_replies else LEAVING_FILES)
        write_json(new / CONFIG, MODEL_TYPE | config_to_leave(config))
        write_file(
            new / MODEL_CARD, model_card(name or out.resolve().name, config, license_id, languages)
        )
        return written(new)


def written(folder: Path) -> dict[str, Any]:
    """Return the names of a new folder's files, and the bytes of all."""
    files = sorted(folder.iterdir())
    return {
        "bytes": sum(path.stat().st_size for path in files),
        "files": [path.name for path in files],
    }


def take_folder(folder: Path, out: Path) -> None:
    """Make a bot's folder of one that came from elsewhere: the same bits, and nothing unknown.

    Raises:
        ElmanError: where the bot is damaged, of a newer format, or `out` is there.
    """
    config = checked_bot(folder)
    with new_folder(out) as new:
        _copy(folder, new, (*LEAVING_FILES, REPLIES))
        write_json(new / CONFIG, config_to_leave(config))


def make_folder(
    out: Path,
    config: Mapping[str, Any],
    tokenizer: Tokenizer,
    weights: Weights,
    files: Mapping[str, Any] = MappingProxyType({}),
) -> None:
    """Make a bot's folder of what a file held; `files` are others by name, as JSON.

    Raises:
        ElmanError: where `out` is there.
    """
    with new_folder(out) as new:
        write_arrays(new / WEIGHTS, weights.stored, {"tokenizer": tokenizer.digest})
        write_file(new / TOKENIZER, tokenizer.to_json())
        for name, value in {CONFIG: config_to_leave(config), **files}.items():
            write_json(new / name, value)


def checked_bot(folder: Path) -> dict[str, Any]:
    """Read the configuration of a bot, and check its other files; no code is run.

    Raises:
        ElmanError: where something is missing, damaged, or does not belong together.
    """
    config, tokenizer = read_config(folder, trust=None), read_tokenizer(folder)
    path = folder / WEIGHTS
    if not path.exists():
        raise ElmanError(no_weights(folder))
    SmallTalk.read(folder)
    read_manners(folder)
    for name in (MATCH, WRITTEN, REPLIES):
        if (folder / name).exists():
            with opened(folder / name, "np"):
                pass
    if is_known(ModelConfig.model_validate(config["model"])):
        weights_of(folder, config, tokenizer)
        return config
    with opened(path, "np") as (_, facts):  # only its own cell knows which arrays there must be
        if facts.get("tokenizer") != tokenizer.digest:
            raise ElmanError(f"{folder}: {WEIGHTS} and {TOKENIZER} do not belong together")
    return config


def write_json(path: Path, value: Any) -> None:
    """Write JSON for people to read."""
    write_file(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def _copy(source: Path, target: Path, names: Iterable[str]) -> None:
    for name in names:
        if (source / name).is_file():
            shutil.copyfile(source / name, target / name)
