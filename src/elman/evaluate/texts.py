"""Measures of texts: what a bot says, beside what people said at the same positions."""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import median

from elman.bptt import State
from elman.data.corpus import Corpus
from elman.data.tokenizer import Tokenizer
from elman.generate.penalties import History
from elman.generate.positions import ReplyPosition

Responder = Callable[[State, Sequence[History]], Sequence[Sequence[int]]]
"""A reply's tokens, without END, for each row of a state, given what was said before."""

REPLIES_AT_ONCE = 64

COPIED = 8
"""Words in a row that make a copy of a line of the training data."""

_WORD = re.compile(r"\w+|[^\w\s]")


@dataclass(frozen=True)
class Pair:
    """A bot's reply and the one that was really given."""

    bot: str
    person: str

    @property
    def exact(self) -> bool:
        """Whether they are the same, word for word."""
        return words(self.bot) == words(self.person)


def reply_in(
    positions: Sequence[ReplyPosition],
    state: State,
    corpus: Corpus,
    tokenizer: Tokenizer,
    respond: Responder,
) -> list[Pair]:
    """Let a bot reply at some positions, of which `state` are the states."""
    pairs = []
    for begin in range(0, len(positions), REPLIES_AT_ONCE):
        some = positions[begin : begin + REPLIES_AT_ONCE]
        rows = tuple(tensor[begin : begin + REPLIES_AT_ONCE] for tensor in state)
        said = respond(rows, [each.history(corpus, tokenizer) for each in some])
        for position, own in zip(some, said, strict=True):
            pairs.append(Pair(tokenizer.decode(own), tokenizer.decode(position.message(corpus))))
    return pairs


def words(text: str) -> list[str]:
    return _WORD.findall(text.lower())


def distinct(texts: Iterable[str], n: int) -> float:
    """Return the share of different n-grams of words among all n-grams (Li et al. 2016)."""
    grams = [gram for text in texts for gram in _grams(words(text), n)]
    return len(set(grams)) / max(len(grams), 1)


def repeated(texts: Sequence[str]) -> float:
    """Return the share of texts that were said more than once, word for word."""
    times = Counter(" ".join(words(text)) for text in texts)
    return sum(count for count in times.values() if count > 1) / max(len(texts), 1)


def median_length(texts: Sequence[str]) -> float:
    """Count the words of a typical text: a few pasted pages would draw up a mean."""
    return float(median(len(words(text)) for text in texts)) if texts else 0.0


def bleu(pairs: Sequence[Pair]) -> float:
    """Return BLEU of all replies together, 0 to 100 (Papineni et al. 2002; sacreBLEU)."""
    from sacrebleu import corpus_bleu

    if not pairs:
        return 0.0
    return float(corpus_bleu([p.bot for p in pairs], [[p.person for p in pairs]]).score)


class Copies:
    """Find which texts repeat what a bot learned from, every message of which is read once."""

    def __init__(self, texts: Sequence[str], training: Iterable[str]) -> None:
        self._texts = [words(text) for text in texts]
        wanted = {gram for text in self._texts for gram in _grams(text, COPIED)}
        whole = set(map(tuple, self._texts))
        self._grams: set[tuple[str, ...]] = set()
        self._whole: set[tuple[str, ...]] = set()
        for text in training:
            said = words(text)
            self._grams.update(wanted.intersection(_grams(said, COPIED)))
            if (line := tuple(said)) in whole:
                self._whole.add(line)

    @cached_property
    def runs(self) -> list[bool]:
        """Tell of each text whether 8 words in a row stand in one message of the training data."""
        return [any(gram in self._grams for gram in _grams(t, COPIED)) for t in self._texts]

    @cached_property
    def whole(self) -> list[bool]:
        """Tell of each text whether it is one of these messages, word for word."""
        return [tuple(text) in self._whole for text in self._texts]


def _grams(said: Sequence[str], n: int) -> Iterator[tuple[str, ...]]:
    return (tuple(said[i : i + n]) for i in range(len(said) - n + 1))
