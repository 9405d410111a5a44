"""The next tokens of many lanes at once, each lane with wishes and randomness of its own."""

import random
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from elman.data.characters import Characters
from elman.data.tokenizer import END, SPECIALS
from elman.model.decoding import Sampling, drawn, forbid
from elman.serve.loop_detector import LoopDetector
from elman.serve.stopping import StopTexts

MAX_RECENT_TOKENS = 4096
"""Of the bot's last reply, those that fall under the repetition penalty: its last ones."""


@dataclass(frozen=True)
class Wishes:
    """How one request wants its reply.

    Args:
        sampling: temperature, shares of probability, repetition, length, seed.
        presence: taken off the logit of each token of the reply so far.
        frequency: the same, for each time that it was said.
        bias: added to the logits of some tokens.
        stop: texts that end the reply, and do not belong to it.
        logprobs: how many of the likeliest tokens to tell with each; None: no probabilities.
        at_most: tokens of the reply, after those that it begins with; None: as sampling says.
    """

    sampling: Sampling = field(default_factory=Sampling)
    presence: float = 0.0
    frequency: float = 0.0
    bias: Mapping[int, float] = field(default_factory=dict)
    stop: tuple[str, ...] = ()
    logprobs: int | None = None
    at_most: int | None = None

    @property
    def longest(self) -> int:
        return self.sampling.longest if self.at_most is None else self.at_most

    @property
    def open(self) -> bool:
        """Whether nothing says that one reply is to be drawn, and how, token by token."""
        ruled = self.presence or self.frequency or self.bias or self.logprobs is not None
        return self.sampling.seed is None and self.sampling.temperature > 0 and not ruled

    @cached_property
    def stop_texts(self) -> StopTexts:
        """What ends the reply, prepared for all replies to the request."""
        return StopTexts(self.stop)

    @cached_property
    def bias_arrays(self) -> tuple[Tensor, Tensor]:
        """The tokens with a bias, int64, and what is added to their logits, float32."""
        tokens = torch.tensor(list(self.bias), dtype=torch.int64)
        return tokens, torch.tensor(list(self.bias.values()), dtype=torch.float32)

    def randomness(self, choice: int) -> random.Random:
        """Of one of the replies to the request."""
        seed = self.sampling.seed
        return random.Random(None if seed is None else f"{seed} {choice}")  # noqa: S311


class Chooser:
    """Chooses the tokens of one reply, and remembers what was said.

    Args:
        wishes: of its request.
        recent: tokens that fall under the repetition penalty from the beginning.
        choice: which of the request's replies it is.
        characters: of the vocabulary; None: any token may follow any other.
    """

    def __init__(
        self,
        wishes: Wishes,
        recent: Sequence[int] = (),
        choice: int = 0,
        characters: Characters | None = None,
    ) -> None:
        self.wishes = wishes
        self.characters = characters
        self.said: list[int] = []
        self.left = wishes.longest
        """Tokens that may still be said."""
        self.cut = False
        """Whether the reply ended because a character could not be finished in these."""
        self._loops = LoopDetector()
        # Each token of the reply once, and how often it was said.
        self._places: dict[int, int] = {}
        self._tokens, self._counts = array("q"), array("f")
        self._seen = {token for token in recent[-MAX_RECENT_TOKENS:] if token >= SPECIALS}
        # The same as an array: those of all lanes become one by joining bytes.
        self._repeated = array("q", sorted(self._seen))
        self._random = wishes.randomness(choice)

    def say(self, token: int) -> None:
        self.said.append(token)
        self.left -= 1
        self._loops.say(token)
        place = self._places.setdefault(token, len(self._tokens))
        if place == len(self._tokens):
            self._tokens.append(token)
            self._counts.append(0)
        self._counts[place] += 1
        if token not in self._seen:
            self._seen.add(token)
            self._repeated.append(token)

    @property
    def is_whole(self) -> bool:
        """Whether the reply so far ends between characters."""
        return self.characters is None or self.characters.are_whole(self.said)

    def fitting(self, token: int) -> int:
        """A token that was drawn; END where its character could not be finished."""
        if self.characters is None or self.characters.fits(self.said, token, self.left):
            return token
        self.cut = True
        return END

    @property
    def loops(self) -> list[int]:
        """What would go on with a loop, but for what is asked for."""
        return [t for t in self._loops.next_copies() if self.wishes.bias.get(t, 0.0) <= 0]

    def point(self) -> float:
        """Draw what decides the next token, evenly from 0 to 1; of the likeliest one, nothing."""
        return self._random.random() if self.wishes.sampling.temperature > 0 else 0.0

    def change(self, logits: Tensor) -> None:
        """Apply the request's penalties and biases in place, (vocabulary_size,)."""
        wishes = self.wishes
        if self.said and (wishes.presence or wishes.frequency):
            tokens = torch.from_numpy(np.array(self._tokens))
            counts = torch.from_numpy(np.array(self._counts))
            logits[tokens] -= wishes.presence + wishes.frequency * counts
        if wishes.bias:
            tokens, added = wishes.bias_arrays
            logits[tokens] += added


def choose(
    logits: Tensor, choosers: Sequence[Chooser], points: Sequence[float] | None = None
) -> list[int]:
    """One token for each lane, as `elman.model.decoding.choose_each` would.

    Args:
        logits: (lanes, vocabulary_size).
        choosers: one for each lane.
        points: what decides each, as `Chooser.point` drew it; None: it is drawn here.
    """
    if points is None:
        points = [each.point() for each in choosers]
    logits = _changed(logits, choosers)
    rows = [row for row, each in enumerate(choosers) if each.wishes.sampling.temperature > 0]
    if len(rows) == len(choosers):
        tokens = _drawn(logits, choosers, points)
    else:
        tokens = logits.argmax(dim=1)
        if rows:
            own = [points[row] for row in rows]
            tokens[rows] = _drawn(logits[rows], [choosers[row] for row in rows], own)
    return [each.fitting(token) for each, token in zip(choosers, tokens.tolist(), strict=True)]


def _changed(logits: Tensor, choosers: Sequence[Chooser]) -> Tensor:
    """The logits with every lane's penalties and biases."""
    logits = logits.clone()
    loops = [each.loops for each in choosers]
    said, left = [each.said for each in choosers], [each.left for each in choosers]
    # The lanes are of one bot.
    forbid(logits.numpy(), said, left, loops, choosers[0].characters)
    _penalize(logits, choosers)
    for row, each in enumerate(choosers):
        each.change(logits[row])
    return logits


def _penalize(logits: Tensor, choosers: Sequence[Chooser]) -> None:
    """Make what was said less likely, by each lane's own repetition penalty."""
    columns = np.frombuffer(b"".join(each._repeated for each in choosers), np.int64)
    counts = [len(each._repeated) for each in choosers]
    places = torch.from_numpy(np.repeat(np.arange(len(counts)) * logits.shape[1], counts) + columns)
    penalties = [each.wishes.sampling.repetition_penalty for each in choosers]
    penalty = torch.from_numpy(np.repeat(np.array(penalties, np.float32), counts))
    flat = logits.view(-1)
    values = flat[places]
    flat[places] = torch.where(values > 0, values / penalty, values * penalty)


def _drawn(logits: Tensor, choosers: Sequence[Chooser], points: Sequence[float]) -> Tensor:
    """A token drawn for each lane, (lanes,)."""
    sampling = [each.wishes.sampling for each in choosers]
    found = drawn(
        logits.numpy(),
        [each.temperature for each in sampling],
        [each.top_p for each in sampling],
        [each.min_p for each in sampling],
        np.array(points),
    )
    return torch.from_numpy(found)


def likelihoods(logits: Tensor, token: int, count: int) -> tuple[float, list[tuple[int, float]]]:
    """log p of a token, and of the `count` likeliest, of one lane's own logits, (V,)."""
    logs = logits.double().log_softmax(0)
    values, order = logs.topk(min(count, len(logs)))
    return float(logs[token]), list(zip(order.tolist(), values.tolist(), strict=True))
