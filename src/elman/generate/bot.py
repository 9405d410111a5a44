"""A bot that can talk, and its states on disk."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from elman.data.config import DataConfig
from elman.data.tokenizer import Tokenizer
from elman.data.untrusted import validated
from elman.errors import ElmanError
from elman.generate.decoder import Decoder, State
from elman.model.array_files import ArrayHeader, ArraySpec, check_header, read_arrays, write_arrays
from elman.model.folder import CONFIG, FORMAT, home_of

POINTER = ".pointer."
"""What stands in the names of the parts of a state that are a pointer's record."""

POINTER_IDS = f"{POINTER}ids"
"""What the name of the part of a state ends in that holds tokens."""


@dataclass(frozen=True)
class Bot:
    """What is needed to talk.

    Args:
        decoder: reads messages and says replies.
        tokenizer: its own.
        config: the run's whole configuration, as JSON.
        path: the folder of its files, which is that of one version where it has several.
        precision: of the weights that replies are made from.
        why: in words, what the decoder is, and why that one.
        slower: whether something is missing or damaged, so that another would be faster.
    """

    decoder: Decoder
    tokenizer: Tokenizer
    config: dict[str, Any]
    path: Path
    precision: str = "float32"
    why: str = ""
    slower: bool = False

    @property
    def home(self) -> Path:
        """Its folder, whichever version it is."""
        return home_of(self.path)

    @property
    def data(self) -> DataConfig:
        """What it learned from, and how it saw it.

        Raises:
            ElmanError: where its configuration does not say so.
        """
        return validated(DataConfig, self.config.get("data"), self.path / CONFIG, "data")

    @property
    def knows_names(self) -> bool:
        """Whether it has learned to read each person's name before what they say."""
        return bool(self.config.get("data", {}).get("others") == "names")

    @property
    def made_by(self) -> dict[str, str]:
        """The digests of what makes states: a state is valid only for these."""
        return {"weights": self.decoder.weights_digest, "tokenizer": self.tokenizer.digest}

    @property
    def state_digest(self) -> bytes:
        """The digest of all that a state depends on, in 16 bytes: weights, tokenizer, precision,
        layout.
        """
        layout = [
            f"StateSpec(name={part.name!r}, size={part.size}, dtype=torch.{part.dtype})"
            for part in self.decoder.state_spec
        ]
        parts = [*self.made_by.values(), self.precision, *layout]
        return hashlib.blake2b("\n".join(parts).encode(), digest_size=16).digest()


def save_state(path: Path, bot: Bot, state: State, facts: Mapping[str, Any]) -> None:
    """Keep the state of one conversation: a file of a few kilobytes.

    Args:
        path: where.
        bot: whose state it is; its digests go with it.
        state: of one row.
        facts: anything else, as JSON, such as how many messages were read.
    """
    decoder = bot.decoder
    names = [part.name for part in decoder.state_spec]
    arrays = {
        name: array
        for name, array in zip(names, decoder.to_arrays(state), strict=True)
        if array.any() or POINTER not in name  # an empty record is large, and says nothing
    }
    write_arrays(path, arrays, {"state": FORMAT, **facts, **bot.made_by})


def load_state(path: Path, bot: Bot) -> tuple[State, dict[str, Any]]:
    """Load what `save_state` kept, whichever decoder made it: the state and the facts.

    Raises:
        ElmanError: where the file is damaged, or other weights or another tokenizer made it.
    """
    spec = bot.decoder.state_spec

    def check(header: ArrayHeader, facts: dict[str, Any]) -> None:
        if facts.get("state") != FORMAT:
            raise ElmanError(f"{path}: not a saved state of this version of Elman")
        for what, digest in bot.made_by.items():
            if facts.get(what) != digest:
                raise ElmanError(
                    f"{path}: this state was made by other {what} than those of {bot.path}; "
                    "it means nothing to them. Load it into the bot that made it"
                )
        expected = {
            part.name: ArraySpec((1, part.size), part.dtype)
            for part in spec
            if part.name in header or POINTER not in part.name
        }
        check_header(path, header, expected, "the bot's state")

    arrays, facts = read_arrays(path, check)
    for name, array in arrays.items():
        if (
            name.endswith(POINTER_IDS)
            and not np.isin(array, np.arange(bot.decoder.vocabulary_size)).all()
        ):
            raise ElmanError(f"{path}: its record holds what is no token of this bot's")
    empty = bot.decoder.to_arrays(bot.decoder.initial_state(1))
    state = [
        arrays.get(part.name, nothing).astype(part.dtype)
        for part, nothing in zip(spec, empty, strict=True)
    ]
    return bot.decoder.from_arrays(state), facts
