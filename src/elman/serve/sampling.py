"""The next tokens of many lanes at once, each lane with wishes and randomness of its own."""

import random
from array import array
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from elman.data.characters import Characters
from elman.data.tokenizer import END, SPECIALS
from elman.model.decoding import Sampling, drawn, forbid, looping


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
        self._counts: Counter[int] = Counter()
        self._seen = {token for token in recent if token >= SPECIALS}
        # The same as an array: those of all lanes become one by joining bytes.
        self._repeated = array("q", sorted(self._seen))
        self._random = wishes.randomness(choice)

    def say(self, token: int) -> None:
        self.said.append(token)
        self.left -= 1
        self._counts[token] += 1
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


def choose(logits: Tensor, choosers: Sequence[Chooser]) -> list[int]:
    """One token for each lane, as `elman.model.decoding.choose_each` would.

    Args:
        logits: (lanes, vocabulary_size).
        choosers: one for each lane.
    """
    logits = _changed(logits, choosers)
    rows = [row for row, each in enumerate(choosers) if each.wishes.sampling.temperature > 0]
    if len(rows) == len(choosers):
        tokens = _drawn(logits, choosers)
    else:
        tokens = logits.argmax(dim=1)
        if rows:
            tokens[rows] = _drawn(logits[rows], [choosers[row] for row in rows])
    return [each.fitting(token) for each, token in zip(choosers, tokens.tolist(), strict=True)]


def _changed(logits: Tensor, choosers: Sequence[Chooser]) -> Tensor:
    """The logits with every lane's penalties and biases."""
    logits = logits.clone()
    # What is asked for may go on with a loop.
    loops = [
        [token for token in looping(each.said) if each.wishes.bias.get(token, 0.0) <= 0]
        for each in choosers
    ]
    said, left = [each.said for each in choosers], [each.left for each in choosers]
    # The lanes are of one bot.
    forbid(logits.numpy(), said, left, loops, choosers[0].characters)
    _penalize(logits, choosers)
    for row, each in enumerate(choosers):
        wishes = each.wishes
        if wishes.presence or wishes.frequency:
            for token, count in each._counts.items():
                logits[row, token] -= wishes.presence + wishes.frequency * count
        for token, bias in wishes.bias.items():
            logits[row, token] += bias
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


def _drawn(logits: Tensor, choosers: Sequence[Chooser]) -> Tensor:
    """A token drawn for each lane, (lanes,)."""
    sampling = [each.wishes.sampling for each in choosers]
    found = drawn(
        logits.numpy(),
        [each.temperature for each in sampling],
        [each.top_p for each in sampling],
        [each.min_p for each in sampling],
        np.array([each._random.random() for each in choosers]),
    )
    return torch.from_numpy(found)


def likelihoods(logits: Tensor, token: int, count: int) -> tuple[float, list[tuple[int, float]]]:
    """log p of a token, and of the `count` likeliest, of one lane's own logits, (V,)."""
    logs = logits.double().log_softmax(0)
    values, order = logs.topk(min(count, len(logs)))
    return float(logs[token]), list(zip(order.tolist(), values.tolist(), strict=True))
