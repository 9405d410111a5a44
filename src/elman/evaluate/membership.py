"""Whether it can be told from a bot's loss that it learned from a conversation.

A bot finds likelier what it learned. How well that tells the conversations of its training from
others is the area under the ROC curve (AUC): the chance that one that was learned has the lower
loss of the two; 0.5 is chance. Some talk is easier for any bot, so the loss of the bot that it
started from is taken off where that is known (Watson et al., "On the Importance of Difficulty
Calibration in Membership Inference Attacks", 2022).
"""

from dataclasses import dataclass
from math import log

import numpy as np

from elman.data.corpus import Corpus, is_scored
from elman.data.tokenizer import END, Tokenizer
from elman.generate.bot import Bot
from elman.generate.scoring import message_nats

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
    nats, text_bytes = np.zeros(len(corpus)), np.zeros(len(corpus))
    for index, messages, costs in message_nats(bot.decoder, corpus):
        for message, cost in zip(messages, costs, strict=True):
            if is_scored(message, learn_from):
                nats[index] += cost
                text_bytes[index] += bot.tokenizer.piece_bytes[message].sum()
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
    starts = np.cumsum([0, *map(len, conversations)])
    return Corpus(np.concatenate([np.zeros(0, np.uint16), *conversations]), starts)
