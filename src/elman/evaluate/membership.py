"""Whether it can be told from a bot's loss that it learned from a conversation.

A bot finds likelier what it learned. How well that tells the conversations of its training from
others is the area under the ROC curve (AUC): the chance that one that was learned has the lower
loss of the two; 0.5 is chance. Some talk is easier for any bot, so the loss of the bot that it
started from is taken off where that is known (Watson et al., "On the Importance of Difficulty
Calibration in Membership Inference Attacks", 2022).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import log

import numpy as np

from elman.data.corpus import Corpus
from elman.data.tokenizer import END, Tokenizer
from elman.generate.bot import Bot
from elman.generate.scoring import conversation_costs

AUDITED_CONVERSATIONS = 300
"""Conversations of each side whose losses are compared, at most."""

MEMBERSHIP_RESAMPLES = 500
"""Bootstrap samples for an interval."""


@dataclass(frozen=True)
class Auc:
    """An area under the ROC curve, and its 95 % interval by bootstrap over whole conversations."""

    auc: float
    interval: tuple[float, float]
    learned: int
    held_out: int


def auc(learned: np.ndarray, held_out: np.ndarray, seed: int) -> Auc | None:
    """Measure how well losses tell what was learned; None where one side has none.

    Args:
        learned: losses of conversations that were learned from, (N,).
        held_out: those of others, (M,).
        seed: of the bootstrap.
    """
    if not len(learned) or not len(held_out):
        return None
    # Of every pair, whether the one that was learned has the lower loss; half for a tie.
    lower = (learned[:, None] < held_out) + 0.5 * (learned[:, None] == held_out)
    draw = np.random.default_rng(seed)
    found = []
    for _ in range(MEMBERSHIP_RESAMPLES):
        rows = draw.integers(len(learned), size=len(learned))
        columns = draw.integers(len(held_out), size=len(held_out))
        found.append(float(lower[rows][:, columns].mean()))
    low, high = np.percentile(found, [2.5, 97.5])
    return Auc(float(lower.mean()), (float(low), float(high)), *lower.shape)


def losses(bot: Bot, corpus: Corpus, learn_from: str) -> np.ndarray:
    """Compute bits per byte of each conversation's learned messages, NaN where there are none."""
    nats, text_bytes = conversation_costs(bot.decoder, bot.tokenizer, corpus, learn_from)
    known = text_bytes > 0
    return np.where(known, nats / log(2) / np.where(known, text_bytes, 1), np.nan)


def encoded_for(corpus: Corpus, tokenizer: Tokenizer, other: Tokenizer) -> Corpus:
    """Encode a corpus of one tokenizer with another one."""
    if tokenizer.digest == other.digest:
        return corpus
    conversations = []
    for index in range(len(corpus)):
        messages = corpus.messages(index)
        said = other.encode_batch([tokenizer.decode(message) for message in messages])
        both = zip(messages, said, strict=True)
        tokens = [n for message, text in both for n in (int(message[0]), *text, END)]
        conversations.append(np.array(tokens, np.uint16))
    return Corpus.of(conversations)


@dataclass(frozen=True)
class Sides:
    """The losses of conversations that were learned from, and of others.

    Args:
        own, base: of learned conversations by their numbers; by the bot and by its base.
        own_held_out, base_held_out: of others.
        drawn: the numbers of the learned ones that stand for all of them.
        of_person: those of each person.
    """

    own: Mapping[int, float]
    base: Mapping[int, float]
    own_held_out: np.ndarray
    base_held_out: np.ndarray
    drawn: list[int]
    of_person: dict[str, list[int]]

    @classmethod
    def of(
        cls,
        bot: Bot,
        train: Corpus,
        held_out: Corpus | None,
        people: Mapping[str, Sequence[int]],
        learn_from: str,
        base: Bot | None,
        seed: int,
    ) -> "Sides":
        """Measure losses.

        Args:
            bot: whose.
            train: what it learned from.
            held_out: what it never saw, if there is any.
            people: the numbers of each person's conversations in `train`.
            learn_from: whose messages count, "bot" or "all".
            base: the bot that it started from, if that is known.
            seed: of what is drawn.
        """
        generator = np.random.default_rng(seed)
        drawn = _drawn(range(len(train)), AUDITED_CONVERSATIONS, generator)
        few = max(1, AUDITED_CONVERSATIONS // max(1, len(people)))
        of_person = {name: _drawn(every, few, generator) for name, every in people.items()}
        numbers = sorted({*drawn, *(n for every in of_person.values() for n in every)})
        others = Corpus.of([]) if held_out is None else held_out
        others = _some(others, _drawn(range(len(others)), AUDITED_CONVERSATIONS, generator))
        learned = _some(train, numbers)

        def both(other: Bot) -> tuple[dict[int, float], np.ndarray]:
            corpora = (
                encoded_for(each, bot.tokenizer, other.tokenizer) for each in (learned, others)
            )
            ours, theirs = (losses(other, corpus, learn_from) for corpus in corpora)
            return dict(zip(numbers, ours.tolist(), strict=True)), theirs

        own, own_held_out = both(bot)
        based, base_held_out = ({}, np.zeros(0)) if base is None else both(base)
        return cls(own, based, own_held_out, base_held_out, drawn, of_person)

    def auc(self, numbers: Sequence[int], seed: int, *, calibrated: bool) -> Auc | None:
        """Measure how well some learned conversations, by number, are told from the others."""
        learned = np.array([self.own[n] for n in numbers])
        held_out = self.own_held_out
        if calibrated:
            learned = learned - np.array([self.base[n] for n in numbers])
            held_out = held_out - self.base_held_out
        return auc(learned[~np.isnan(learned)], held_out[~np.isnan(held_out)], seed)


def _drawn(numbers: Sequence[int], most: int, generator: np.random.Generator) -> list[int]:
    order = generator.permutation(len(numbers))[:most]
    return sorted(numbers[n] for n in order.tolist())


def _some(corpus: Corpus, numbers: Iterable[int]) -> Corpus:
    return Corpus.of(corpus[n] for n in numbers)
