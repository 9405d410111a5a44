"""Choosing tokens: the one sampler of chat, server, training and evaluation."""

import warnings
from array import array
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from elman.data.characters import Characters
from elman.data.tokenizer import END, SPECIALS
from elman.generate.loops import LoopDetector
from elman.generate.points import Points
from elman.generate.token_draw import draw_tokens

LIKELIEST_TOP_P = 1e-9
"""A `top_p` that only the likeliest token is within."""

MAX_RECENT_TOKENS = 4096
"""Of the bot's last reply, those that fall under the repetition penalty: its last ones."""


class SamplingParams(BaseModel):
    """How the tokens of a reply are chosen.

    Args:
        temperature: divides the logits; 0 takes the likeliest token.
        top_p: choose among the likeliest tokens that together have this probability.
        min_p: leave out tokens less likely than this share of the likeliest one's probability.
        repetition_penalty: logits of recent tokens are divided by it if positive, else multiplied
            (Keskar et al. 2019).
        presence_penalty: taken off the logit of each token of the reply so far.
        frequency_penalty: taken off as often as the token was said.
        logit_bias: added to the logits of some tokens.
        stop: texts that end the reply, and do not belong to it.
        logprobs: how many of the likeliest tokens to tell with each; None: no probabilities.
        max_tokens: after so many the reply is ended.
        seed: None draws one.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    temperature: float = Field(0.7, ge=0, le=100)
    top_p: float = Field(0.95, gt=0, le=1)
    min_p: float = Field(0.1, ge=0, le=1)
    repetition_penalty: float = Field(1.1, ge=1, le=10)
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    logit_bias: Mapping[int, float] = {}
    stop: tuple[str, ...] = ()
    logprobs: int | None = None
    max_tokens: int = Field(200, ge=0)
    seed: int | None = None

    @model_validator(mode="before")
    @classmethod
    def _old_name(cls, values: Any) -> Any:
        if isinstance(values, dict) and "longest" in values:
            warnings.warn("longest is called max_tokens now", DeprecationWarning, stacklevel=3)
            values = {**values, "max_tokens": values["longest"]}
            del values["longest"]
        return values

    @classmethod
    def of(cls, config: Mapping[str, Any], **given: Any) -> Self:
        """Take what a bot's configuration says, but for what is given and not None."""
        reply = config.get("reply", {})
        found = {name: reply.get(name) for name in ("temperature", "min_p")}
        values = found | {name: value for name, value in given.items() if value is not None}
        return cls(**{name: value for name, value in values.items() if value is not None})

    @property
    def is_open(self) -> bool:
        """Whether it is left open how, token by token, one reply is drawn."""
        asked = self.presence_penalty or self.frequency_penalty or self.logit_bias
        return self.seed is None and self.temperature > 0 and not asked and self.logprobs is None

    @cached_property
    def bias_arrays(self) -> tuple[np.ndarray, np.ndarray]:
        """The tokens with a bias, int64, and what is added to their logits, float32."""
        tokens = np.fromiter(self.logit_bias.keys(), np.int64)
        return tokens, np.fromiter(self.logit_bias.values(), np.float32)

    def generator(self) -> np.random.Generator:
        """Return a source of the seeds of many replies, one after the other."""
        # A client's seed may be negative, which numpy refuses.
        return np.random.default_rng(None if self.seed is None else self.seed % 2**64)


class ReplySampler:
    """Choose the tokens of one reply, and remember what was said.

    Args:
        params: how.
        recent: tokens that fall under the repetition penalty from the beginning.
        choice: which of the replies to one request it is; each has randomness of its own.
        characters: of the vocabulary; None: any token may follow any other.
        seed: of this reply alone; None: that of `params`.
    """

    def __init__(
        self,
        params: SamplingParams,
        recent: Sequence[int] = (),
        choice: int = 0,
        characters: Characters | None = None,
        seed: int | None = None,
    ) -> None:
        self.params = params
        self.characters = characters
        self.said: list[int] = []
        self.left = params.max_tokens
        """Tokens that may still be said."""
        self.cut = False
        """Whether the reply ended because a character could not be finished in these."""
        self._loops = LoopDetector()
        # Each token of the reply once, and how often it was said.
        self._columns: dict[int, int] = {}
        self._tokens, self._counts = array("q"), array("f")
        self._seen = {token for token in recent[-MAX_RECENT_TOKENS:] if token >= SPECIALS}
        # As an array too: those of all rows become one by joining bytes.
        self._repeated = array("q", sorted(self._seen))
        self._points = Points(params.seed if seed is None else seed, choice)

    def say(self, token: int) -> None:
        """Take the next token of the reply."""
        self.said.append(token)
        self.left -= 1
        self._loops.say(token)
        column = self._columns.setdefault(token, len(self._tokens))
        if column == len(self._tokens):
            self._tokens.append(token)
            self._counts.append(0)
        self._counts[column] += 1
        if token not in self._seen:
            self._seen.add(token)
            self._repeated.append(token)

    @property
    def is_whole(self) -> bool:
        """Whether the reply so far ends between characters."""
        return self.characters is None or self.characters.are_whole(self.said)

    def fitting(self, token: int) -> int:
        """Return a token that was drawn, or END where its character could not be finished."""
        if self.characters is None or self.characters.fits(self.said, token, self.left):
            return token
        self.cut = True
        return END

    @property
    def loops(self) -> list[int]:
        """What would go on with a loop, but for what is asked for."""
        return [t for t in self._loops.next_copies() if self.params.logit_bias.get(t, 0.0) <= 0]

    def point(self) -> float:
        """Return what decides the next token, from 0 to 1; 0 at a temperature of 0."""
        return self._points.at(len(self.said)) if self.params.temperature > 0 else 0.0

    def change(self, logits: np.ndarray) -> None:
        """Apply the penalties and biases that were asked for in place, (vocabulary_size,)."""
        params = self.params
        if self.said and (params.presence_penalty or params.frequency_penalty):
            counts = np.frombuffer(self._counts.tobytes(), np.float32)
            taken = np.float32(params.presence_penalty) + params.frequency_penalty * counts
            logits[np.frombuffer(self._tokens.tobytes(), np.int64)] -= taken
        if params.logit_bias:
            tokens, added = params.bias_arrays
            logits[tokens] += added


def choose(logits: np.ndarray, samplers: Sequence[ReplySampler]) -> list[int]:
    """Choose one token for each row.

    Never chosen are a role, END as the first token of a reply, what goes on with a loop, and what
    leaves a character unfinished; END is where a character could not be finished.

    Args:
        logits: (rows, vocabulary_size).
        samplers: one for each row, all of one vocabulary.
    """
    changed = logits.copy()
    said, left = [each.said for each in samplers], [each.left for each in samplers]
    forbid(changed, said, left, [each.loops for each in samplers], samplers[0].characters)
    _penalize(changed, samplers)
    for row, each in zip(changed, samplers, strict=True):
        each.change(row)
    params = [each.params for each in samplers]
    tokens = draw_tokens(
        changed,
        [each.temperature for each in params],
        [each.top_p for each in params],
        [each.min_p for each in params],
        [each.point() for each in samplers],
    )
    return [each.fitting(token) for each, token in zip(samplers, tokens.tolist(), strict=True)]


def forbid(
    logits: np.ndarray,
    said: Sequence[Sequence[int]],
    left: Sequence[int],
    loops: Sequence[Sequence[int]],
    characters: Characters | None,
) -> None:
    """Set to -inf what no reply says next.

    Args:
        logits: (rows, vocabulary_size), changed in place.
        said: the reply of each row so far.
        left: tokens that may still be said in each row.
        loops: what would go on with a loop in each row; it stays where nothing else may come.
        characters: of the vocabulary; None: any token may follow any other.
    """
    logits[:, END + 1 : SPECIALS] = -np.inf
    if characters is not None:
        characters.refuse(logits, said, left)
    for row, (own, loop) in enumerate(zip(said, loops, strict=True)):
        if not own:
            logits[row, END] = -np.inf
        elif loop:
            before = logits[row, loop]
            logits[row, loop] = -np.inf
            if logits[row].max() == -np.inf:
                logits[row, loop] = before


def _penalize(logits: np.ndarray, samplers: Sequence[ReplySampler]) -> None:
    """Make what was said less likely, by each row's own repetition penalty."""
    columns = np.frombuffer(b"".join(each._repeated for each in samplers), np.int64)
    counts = [len(each._repeated) for each in samplers]
    rows = np.repeat(np.arange(len(counts)), counts)
    penalties = [each.params.repetition_penalty for each in samplers]
    penalty = np.repeat(np.array(penalties, np.float32), counts)
    values = logits[rows, columns]
    logits[rows, columns] = np.where(values > 0, values / penalty, values * penalty)
