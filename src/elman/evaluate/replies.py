"""What a bot says: variety and length, beside what people said in the same places."""

import re
from collections import Counter
from dataclasses import dataclass
from statistics import median

import numpy as np

from elman.data.corpus import Corpus
from elman.data.tokenizer import Tokenizer
from elman.model.chatbot import Chatbot
from elman.model.decoding import Sampling, reply_batch
from elman.model.scoring import counts

_WORD = re.compile(r"\w+|[^\w\s]")


@dataclass(frozen=True)
class Pair:
    """A bot's reply and the one that was really given."""

    bot: str
    person: str


def sample_replies(
    chatbot: Chatbot,
    corpus: Corpus,
    tokenizer: Tokenizer,
    learn_from: str,
    sampling: Sampling,
    number: int,
    seed: int,
) -> list[Pair]:
    """Replies in places of the corpus that are drawn by seed."""
    places = [
        (index, position)
        for index in range(len(corpus))
        for position, message in enumerate(corpus.messages(index))
        if position > 0 and counts(message, learn_from)
    ]
    if not places:
        return []
    drawn = np.random.default_rng(seed).permutation(len(places))[:number]
    chosen = [places[index] for index in sorted(drawn)]
    histories = [corpus.messages(index)[:position] for index, position in chosen]
    _, state = chatbot.score(histories, chatbot.initial_state(len(histories)))
    said = reply_batch(chatbot, state, sampling)
    truth = [corpus.messages(index)[position] for index, position in chosen]
    return [
        Pair(tokenizer.decode(ours), tokenizer.decode(theirs))
        for ours, theirs in zip(said, truth, strict=True)
    ]


def words(text: str) -> list[str]:
    return _WORD.findall(text.lower())


def distinct(texts: list[str], n: int) -> float:
    """Different n-grams of words over all n-grams (Li et al. 2016)."""
    grams = [tuple(w[i : i + n]) for w in map(words, texts) for i in range(len(w) - n + 1)]
    return len(set(grams)) / max(len(grams), 1)


def repeated(texts: list[str]) -> float:
    """The share of texts that were said more than once, word for word."""
    times = Counter(" ".join(words(text)) for text in texts)
    return sum(count for count in times.values() if count > 1) / max(len(texts), 1)


def median_length(texts: list[str]) -> float:
    """Words of a typical text: a few pasted pages would draw up a mean."""
    return float(median(len(words(text)) for text in texts)) if texts else 0.0
