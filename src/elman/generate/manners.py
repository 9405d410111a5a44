"""How a bot's replies differ from people's as a whole, where its folder tells: it asks too seldom,
and says some things to everybody.

Each is mended by what a reply gains. One that asks gains as much as makes the bot ask as often as
people do. One that the bot drew in many conversations loses the logarithm of how many there were.
"""

from collections.abc import Sequence
from math import log1p
from pathlib import Path
from typing import Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from elman.data.files import write_file
from elman.data.tokenizer import Tokenizer
from elman.data.untrusted import parse_json, read_text, validated
from elman.generate.bot import Bot
from elman.generate.decoder import Decoder, State
from elman.generate.likelihood import Tokens
from elman.generate.match import Match
from elman.generate.rerank import Gains
from elman.model.folder import MANNERS, MAX_JSON_BYTES

QUESTION_MARKS = ("?", "\uff1f", "\u061f")


class MannersFile(BaseModel):
    """What a bot's folder holds of its manners.

    Args:
        weights: the digest of the weights whose manners they are.
        tokenizer: that of the tokenizer.
        asks: what the score of a reply with a question mark gains.
        often: replies that were drawn in more than one of a thousand conversations, and in how
            many.
    """

    model_config = ConfigDict(extra="forbid")

    weights: str
    tokenizer: str
    asks: float = Field(0.0, ge=0, le=100)
    often: dict[str, int] = Field({})


def read_manners(folder: Path) -> MannersFile | None:
    """Read what a folder holds, of whichever weights; None where there is none.

    Raises:
        ElmanError: where it is damaged.
    """
    path = folder / MANNERS
    if not path.exists():
        return None
    return validated(MannersFile, parse_json(read_text(path, MAX_JSON_BYTES), path), path)


class Manners:
    """Tells what replies gain.

    Args:
        content: how the bot's replies differ from people's.
        tokenizer: the bot's own.
    """

    def __init__(self, content: MannersFile, tokenizer: Tokenizer) -> None:
        self.content, self._tokenizer = content, tokenizer

    @classmethod
    def read(cls, bot: Bot) -> Self | None:
        """Read what a bot's folder holds; None where there is none, or one of other weights.

        Raises:
            ElmanError: where it is damaged.
        """
        content = read_manners(bot.path)
        if content is None:
            return None
        made_by = {"weights": content.weights, "tokenizer": content.tokenizer}
        return cls(content, bot.tokenizer) if made_by == bot.made_by else None

    def save(self, bot: Bot) -> None:
        """Write them into a bot's folder."""
        write_file(bot.path / MANNERS, self.content.model_dump_json(indent=1) + "\n")

    def gains(
        self,
        decoder: Decoder,
        state: State,
        replies: Sequence[Sequence[Tokens]],
        after: Sequence[np.ndarray] = (),
    ) -> list[np.ndarray]:
        """Return what the score of each reply gains, (replies,) for each row.

        It depends on the replies alone.
        """
        return [np.array([self._gain(tokens) for tokens in own]) for own in replies]

    def _gain(self, tokens: Tokens) -> float:
        text = self._tokenizer.decode(tokens)
        return self.content.asks * has_question(text) - log1p(self.content.often.get(text, 0))


def has_question(text: str) -> bool:
    """Tell whether a text has a question mark."""
    return any(mark in text for mark in QUESTION_MARKS)


def gains_of(bot: Bot) -> Gains | None:
    """Return what else the scores of a bot's replies gain, as its folder tells; None: nothing.

    Raises:
        ElmanError: where what it holds is damaged.
    """
    found = [each.gains for each in (Match.read(bot), Manners.read(bot)) if each is not None]
    if not found:
        return None

    def gains(
        decoder: Decoder,
        state: State,
        replies: Sequence[Sequence[Tokens]],
        after: Sequence[np.ndarray],
    ) -> list[np.ndarray]:
        parts = [each(decoder, state, replies, after) for each in found]
        return [np.sum(own, axis=0) for own in zip(*parts, strict=True)]

    return gains
