"""Does a bot know the right reply when it sees it, and does it remember what was said?"""

import re
from collections import Counter
from collections.abc import Sequence
from itertools import chain

import numpy as np

from elman.data.corpus import Corpus, is_scored
from elman.data.tokenizer import Tokenizer
from elman.evaluate.texts import words
from elman.generate.decoder import Decoder
from elman.generate.likelihood import Likelihoods, Tokens, likelihoods
from elman.generate.positions import ReplyPosition

COMMON_WORDS = 300
"""Words so common in a corpus that nobody remembers who said them."""

DISTANCES = {"1": (1, 1), "2": (2, 2), "3-4": (3, 4), "5-8": (5, 8), "9+": (9, 10**9)}
"""Messages back, by name."""


def candidates(
    corpus: Corpus, positions: Sequence[ReplyPosition], learn_from: str, number: int, seed: int
) -> list[list[Tokens]]:
    """List for each position the real reply, first, and others that were given elsewhere.

    They differ from the real one and from one another. Where the corpus has too few, all are taken.
    """
    every = dict.fromkeys(
        _text(message)
        for index in range(len(corpus))
        for message in corpus.messages(index)
        if is_scored(message, learn_from) and len(message) > 2
    )
    texts = list(every)
    draw = np.random.default_rng(seed)
    found = []
    for position in positions:
        real = _text(position.message(corpus))
        order = draw.choice(len(texts), min(number, len(texts)), replace=False)
        others = [texts[n] for n in order if texts[n] != real]
        found.append([real, *others[: number - 1]])
    return found


def hits(found: Sequence[Likelihoods], of: int) -> np.ndarray:
    """Tell at each position whether the first of the first `of` replies is ranked best, (N,) bool.

    They are ranked by what history adds to their likelihood, whatever a bot takes off.
    """
    return _first([each.scores(1.0)[:of] for each in found])


def hits_by_likelihood(found: Sequence[Likelihoods], of: int) -> np.ndarray:
    """Tell what `hits` does, where replies are ranked by log p per token alone."""
    return _first([(each.given / each.lengths)[:of] for each in found])


def _first(scores: list[np.ndarray]) -> np.ndarray:
    return np.array([int(own.argmax()) == 0 for own in scores], dtype=bool)


def recall(
    decoder: Decoder,
    corpus: Corpus,
    tokenizer: Tokenizer,
    learn_from: str,
    *,
    of: int,
    number: int,
    seed: int,
) -> dict[str, float | None]:
    """Measure how well a bot remembers words that were said before, by how many messages ago.

    Taken are replies with a word that is rare in the corpus and was said earlier in the same
    conversation. The reply competes with itself, other rare words in that word's place. Measured is
    the share in which the real one is likeliest; chance is 1 / `of`.

    Returns:
        For each of `DISTANCES` a share, or None where there are fewer than ten such replies.
    """
    texts = [[tokenizer.decode(m) for m in corpus.messages(i)] for i in range(len(corpus))]
    often = Counter(chain.from_iterable(words(t) for own in texts for t in own))
    common = {word for word, _ in often.most_common(COMMON_WORDS)}
    rare = sorted(w for w in often if w not in common and len(w) > 2 and w.isalpha())
    places = [
        (index, position, word, distance)
        for index, own in enumerate(texts)
        for position, word, distance in _said_again(own, set(rare))
        if is_scored(corpus.messages(index)[position], learn_from)
    ]
    draw = np.random.default_rng(seed)
    chosen = [places[n] for n in draw.permutation(len(places))[:number]]
    right: dict[str, list[bool]] = {name: [] for name in DISTANCES}
    for index, position, word, distance in chosen:
        others = [rare[n] for n in draw.choice(len(rare), min(of, len(rare)), replace=False)]
        swapped = [word, *(w for w in others if w != word)][:of]
        versions = [_swap(texts[index][position], word, other) for other in swapped]
        replies = [(*tokenizer.encode(version),) for version in versions]
        history = corpus.messages(index)[:position]
        _, state = decoder.score([history], decoder.initial_state(1))
        (found,) = likelihoods(decoder, state, [replies])
        name = next(n for n, (low, high) in DISTANCES.items() if low <= distance <= high)
        # What a word is worth on its own is no memory of it.
        right[name].append(int((found.given - found.alone).argmax()) == 0)
    return {name: sum(own) / len(own) if len(own) >= 10 else None for name, own in right.items()}


def _said_again(texts: list[str], rare: set[str]) -> list[tuple[int, str, int]]:
    """Find rare words that were said before, one a message: position, word, messages since."""
    last: dict[str, int] = {}
    found = []
    for position, text in enumerate(texts):
        own = [word for word in dict.fromkeys(words(text)) if word in rare]
        again = [word for word in own if word in last]
        if again:
            found.append((position, again[-1], position - last[again[-1]]))
        last.update(dict.fromkeys(own, position))
    return found


def _swap(text: str, word: str, other: str) -> str:
    """Put another word in the place of one, in the same case."""

    def cased(match: re.Match[str]) -> str:
        return other.capitalize() if match[0][0].isupper() else other

    return re.sub(rf"\b{re.escape(word)}\b", cased, text, count=1, flags=re.IGNORECASE)


def _text(message: np.ndarray) -> Tokens:
    return tuple(message[1:-1].tolist())
