"""A bot on disk: a folder of JSON and safetensors, written so that it is never half there."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors
import torch
from pydantic import ValidationError
from safetensors.torch import save
from torch import Tensor

import elman
from elman.bptt import State
from elman.bptt.decode import Precision
from elman.data.files import write_file
from elman.data.tokenizer import Tokenizer
from elman.errors import ElmanError
from elman.model import build
from elman.model.chatbot import Chatbot
from elman.model.config import ModelConfig

FORMAT = 1
"""Raised whenever a run directory written before can no longer be read."""

CONFIG = "config.json"
WEIGHTS = "model.safetensors"
TOKENIZER = "tokenizer.json"


BASE = Path(elman.__file__).parent / "bots" / "base"
"""The bot that comes with Elman."""


@dataclass(frozen=True)
class Bot:
    """A chatbot with what it needs to talk.

    Args:
        chatbot: in evaluation mode.
        tokenizer: its own.
        config: the run's whole configuration, as JSON.
        path: its folder.
        precision: of the weights that replies are made from.
    """

    chatbot: Chatbot
    tokenizer: Tokenizer
    config: dict[str, Any]
    path: Path
    precision: Precision = "float32"

    @property
    def knows_names(self) -> bool:
        """Whether it has learned to read each person's name before what they say."""
        return bool(self.config["data"].get("others") == "names")


def write_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, Any]) -> None:
    """Write tensors and JSON metadata as one safetensors file."""
    contiguous = {name: tensor.detach().contiguous() for name, tensor in tensors.items()}
    write_file(path, save(contiguous, {"elman": json.dumps(metadata)}))


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """What `write_tensors` wrote.

    Raises:
        ElmanError: where the file is missing, damaged, truncated or not Elman's.
    """
    if not path.exists():
        raise ElmanError(f"{path}: no such file")
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            metadata = json.loads((file.metadata() or {})["elman"])
            return {name: file.get_tensor(name) for name in file.keys()}, metadata  # noqa: SIM118
    except KeyError:
        raise ElmanError(f"{path}: not written by Elman") from None
    except (safetensors.SafetensorError, ValueError, OSError) as error:
        raise ElmanError(f"{path}: damaged or truncated: {error}") from None


def read_config(folder: Path) -> dict[str, Any]:
    """The configuration of a run directory.

    Raises:
        ElmanError: where there is none, or another version of Elman wrote it.
    """
    path = folder / CONFIG
    if not path.is_file():
        raise ElmanError(f"{folder}: no bot here ({CONFIG} is missing); elman train makes one")
    try:
        config = json.loads(path.read_text("utf-8"))
    except ValueError as error:
        raise ElmanError(f"{path}: damaged: {error}") from None
    if not isinstance(config, dict):
        raise ElmanError(f"{path}: not a configuration of Elman's")
    if config.get("format") != FORMAT:
        version = config.get("elman", "of unknown version")
        raise ElmanError(
            f"{path}: of format {config.get('format')}, made by Elman {version}; this Elman reads "
            f"format {FORMAT}: train it again, or use that version"
        )
    return config


def read_tokenizer(folder: Path) -> Tokenizer:
    """The tokenizer of a run directory."""
    path = folder / TOKENIZER
    try:
        return Tokenizer.from_json(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ElmanError(f"{path}: cannot be read: {error}") from None
    except ElmanError as error:
        raise ElmanError(f"{path}: {error}") from None


def save_weights(folder: Path, chatbot: Chatbot, tokenizer: Tokenizer) -> None:
    """Write the weights that the bot talks with."""
    write_tensors(folder / WEIGHTS, chatbot.state_dict(), {"tokenizer": tokenizer.digest})


def load_bot(folder: Path | str, precision: Precision = "float32") -> Bot:
    """The bot of a run directory.

    Args:
        folder: what training wrote; "base": the bot that comes with Elman, unless the bot of
            a folder is called so.
        precision: of the weights that replies are made from.

    Raises:
        ElmanError: where something of it is missing, damaged, or does not belong together.
    """
    folder = Path(folder)
    if folder == Path("base") and not (folder / CONFIG).exists():
        folder = BASE
    config = read_config(folder)
    if not (folder / WEIGHTS).exists():
        raise ElmanError(
            f"{folder}: has no weights yet; elman train --resume {folder} goes on with its training"
        )
    tokenizer = read_tokenizer(folder)
    tensors, metadata = read_tensors(folder / WEIGHTS)
    if metadata.get("tokenizer") != tokenizer.digest:
        raise ElmanError(f"{folder}: {WEIGHTS} and {TOKENIZER} do not belong together")
    try:
        chatbot = build(ModelConfig.model_validate(config["model"]), tokenizer.vocabulary_size)
        chatbot.load_state_dict(tensors)
    except (KeyError, ValidationError) as error:
        raise ElmanError(f"{folder / CONFIG}: {error}") from None
    except RuntimeError as error:
        raise ElmanError(f"{folder / WEIGHTS}: does not fit {CONFIG}: {error}") from None
    chatbot.characters = tokenizer.characters
    return Bot(chatbot.eval().pack(precision), tokenizer, config, folder, precision)


def weights_digest(chatbot: Chatbot) -> str:
    """Names the weights: a state is valid only for the weights that made it."""
    digest = hashlib.sha256()
    for name, tensor in sorted(chatbot.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        flat = tensor.detach().contiguous().reshape(-1)  # a scalar cannot be viewed as bytes
        digest.update(flat.view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def save_state(path: Path, bot: Bot, state: State, facts: Mapping[str, Any]) -> None:
    """Keep the state of one conversation: a file of a few kilobytes.

    Args:
        path: where.
        bot: whose state it is; its digests go with it.
        state: (1, size) tensors.
        facts: anything else, as JSON, such as how many messages were read.
    """
    tensors = {spec.name: t for spec, t in zip(bot.chatbot.state_spec, state, strict=True)}
    write_tensors(path, tensors, {"state": FORMAT, **facts, **made_by(bot.chatbot, bot.tokenizer)})


def load_state(path: Path, bot: Bot) -> tuple[State, dict[str, Any]]:
    """What `save_state` kept: the state and the facts.

    Raises:
        ElmanError: where the file is damaged, or other weights or another tokenizer made it.
    """
    tensors, facts = read_tensors(path)
    if facts.get("state") != FORMAT:
        raise ElmanError(f"{path}: not a saved state of this version of Elman")
    for what, digest in made_by(bot.chatbot, bot.tokenizer).items():
        if facts.get(what) != digest:
            raise ElmanError(
                f"{path}: this state was made by other {what} than those of {bot.path}; "
                "it means nothing to them. Load it into the bot that made it"
            )
    spec = bot.chatbot.state_spec
    if {name: tuple(t.shape) for name, t in tensors.items()} != {s.name: (1, s.size) for s in spec}:
        raise ElmanError(f"{path}: its tensors do not fit the bot's state")
    return tuple(tensors[part.name] for part in spec), facts


def made_by(chatbot: Chatbot, tokenizer: Tokenizer) -> dict[str, str]:
    """Digests of what makes states: a state is valid only for these."""
    return {"weights": weights_digest(chatbot), "tokenizer": tokenizer.digest}


def state_digest(bot: Bot) -> bytes:
    """Names all that a state depends on: weights, pieces, precision and layout. 16 bytes."""
    digests = made_by(bot.chatbot, bot.tokenizer)
    parts = [*digests.values(), bot.precision, *map(str, bot.chatbot.state_spec)]
    return hashlib.blake2b("\n".join(parts).encode(), digest_size=16).digest()
