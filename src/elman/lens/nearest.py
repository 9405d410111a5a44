"""The lines of the training data that are nearest to a reply, and whether it copies one."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from difflib import SequenceMatcher
from itertools import count, islice
from typing import Any

import numpy as np

from elman.data.dataset import Dataset
from elman.data.overlap import hashed
from elman.data.source import fingerprint
from elman.errors import ElmanError
from elman.generate.bot import Bot
from elman.model.folder import is_built_in

GRAM_CHARS = 4
"""Characters in a row that two lines are compared by."""

MIN_COPIED_WORDS = 8
"""Words in a row from which on a reply is said to copy."""

MAX_SEARCHED_CHARS = 8_000_000
"""Characters that are searched; of each, about 40 bytes of memory are needed."""

CHUNK_RUNS = 1 << 18
"""Runs that are made into numbers at once: bounds memory."""

MAX_COMPARED_LINES = 200
"""Lines that are compared word for word with a reply that seems to copy them."""

# Where words are written without spaces, each character counts as one.
_WORD = re.compile(r"[\u3040-\u30ff\u3400-\u9fff]|[^\W\u3040-\u30ff\u3400-\u9fff]+")


@dataclass(frozen=True)
class NearestLine:
    """A line, and how like the text that was looked for it is: from 0, nothing, to 1, the same."""

    text: str
    likeness: float

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class CopiedWords:
    """Words in a row that stand in a line of the training data as well."""

    words: int
    line: str

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


class Lines:
    """Lines of text that can be searched by likeness; every line is compared.

    Likeness is Jaccard's index over runs of GRAM_CHARS characters: the runs that both lines have,
    over those that either has. A run weighs the more, the fewer lines have it. Case, punctuation
    and spaces do not count.

    Args:
        texts: the lines; equal ones count as one.
        largest: characters after which no more lines are taken; `complete` says whether all were.
    """

    def __init__(self, texts: Iterable[str], largest: int = MAX_SEARCHED_CHARS) -> None:
        kept: dict[str, None] = {}
        size = 0
        self.complete = True
        for text in texts:
            size += 0 if text in kept else len(text)
            if size > largest:
                self.complete = False
                break
            kept[text] = None
        self.texts = list(kept)
        self._numbers: dict[str, int] = {}
        numbers = count(1)
        words = [words_of(text) for text in self.texts]
        for word in (word for line in words for word in line):
            if word not in self._numbers:
                self._numbers[word] = next(numbers)
        self._grams, self._owners = _index(_characters(self.texts), GRAM_CHARS)
        self._runs, self._run_owners = _index(self._word_codes(words), MIN_COPIED_WORDS)
        # Where each distinct run begins among the sorted ones, and the end of the last.
        new = np.flatnonzero(self._grams[1:] != self._grams[:-1]) + 1
        self._begins = np.concatenate([[0], new, [len(self._grams)]])[not len(self._grams) :]
        self._distinct = self._grams[self._begins[:-1]]
        lines = np.diff(self._begins)
        self._weights = np.log1p(len(self.texts) / lines)
        every = np.repeat(self._weights, lines)
        self._totals = np.bincount(self._owners, every, minlength=len(self.texts))

    def __len__(self) -> int:
        return len(self.texts)

    def nearest(self, text: str, number: int = 3) -> list[NearestLine]:
        """Find the lines most like a text, the nearest first; none that shares nothing with it."""
        mine, _ = _index(_characters([text]), GRAM_CHARS)
        known = np.isin(mine, self._distinct)
        total = np.log1p(len(self.texts)) * int((~known).sum())
        shared = np.zeros(len(self.texts))
        for at in np.searchsorted(self._distinct, mine[known]):
            shared[self._owners[self._begins[at] : self._begins[at + 1]]] += self._weights[at]
            total += self._weights[at]
        likeness = shared / np.maximum(self._totals + total - shared, 1e-12)
        best = np.argsort(-likeness, kind="stable")[:number]
        return [NearestLine(self.texts[n], float(likeness[n])) for n in best if likeness[n] > 0]

    def copied(self, text: str) -> CopiedWords | None:
        """Find the longest run of words that some line has too; None: none of MIN_COPIED_WORDS."""
        words = words_of(text)
        runs, _ = _index(self._word_codes([words]), MIN_COPIED_WORDS)
        begins = np.searchsorted(self._runs, runs, "left")
        ends = np.searchsorted(self._runs, runs, "right")
        owners = np.concatenate(
            [self._run_owners[b:e] for b, e in zip(begins, ends, strict=True)] or [self._owners[:0]]
        )
        best = None
        for owner in islice(dict.fromkeys(owners.tolist()), MAX_COMPARED_LINES):
            line = self.texts[owner]
            match = SequenceMatcher(None, words_of(line), words, autojunk=False)
            length = match.find_longest_match().size
            if length >= MIN_COPIED_WORDS and (best is None or length > best.words):
                best = CopiedWords(length, line)
        return best

    def _word_codes(self, lines: list[list[str]]) -> np.ndarray:
        """Number the words, with a 0 after each line; words that no line has share one number."""
        unknown = len(self._numbers) + 1
        codes = (
            code for line in lines for code in (*(self._numbers.get(w, unknown) for w in line), 0)
        )
        return np.fromiter(codes, np.uint64)


def training_lines(bot: Bot) -> Lines:
    """Read again what a bot learned to say, from where it was.

    Raises:
        ElmanError: where that is gone; it says what was there.
    """
    data = bot.data
    path = data.path
    if is_built_in(bot.path):
        raise ElmanError(f"what {bot.path.name} learned from does not come with it")
    if path == "-":
        raise ElmanError("it was trained on standard input, which is gone")
    if fingerprint(path) is None:
        raise ElmanError(f"{path}: what it was trained on is not there any more")
    again = Dataset.again(bot.config["data"])
    return Lines(_learned(again, data.test, data.learn_from))


def _learned(dataset: Dataset, test: bool, learn_from: str) -> Iterator[str]:
    for part, conversation in dataset.parts(test):
        if part == "train":
            for turn in conversation.turns(dataset.bot, dataset.others):
                if turn.role == "bot" or (learn_from == "all" and turn.role == "user"):
                    yield turn.text


def words_of(text: str) -> list[str]:
    """Split a text into its words, in one case."""
    return _WORD.findall(text.casefold())


def _characters(texts: list[str]) -> np.ndarray:
    """Write lines as the code points of their words, a space around each and a 0 at the end.

    A line without words, such as one of an emoji, is taken as it is.
    """
    plain = (" ".join(words_of(text)) or text.replace("\0", "") for text in texts)
    joined = "".join(f" {line} \0" for line in plain)
    return np.frombuffer(joined.encode("utf-32-le", "replace"), np.uint32)


def _index(codes: np.ndarray, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Number all runs of `width` codes within a line, each once a line, in ascending order.

    Args:
        codes: with a 0 after each line, uint32 or uint64.

    Returns:
        The runs, and the line of each.
    """
    if len(codes) < width:
        return np.zeros(0, np.uint64), np.zeros(0, np.int32)
    whole, found = [], []
    for begin in range(0, len(codes) - width + 1, CHUNK_RUNS):
        part = codes[begin : begin + CHUNK_RUNS + width - 1]
        runs = np.lib.stride_tricks.sliding_window_view(part, width)
        whole.append((runs != 0).all(axis=1))
        found.append(hashed(runs[whole[-1]]))
    within = np.concatenate(whole)
    owners = np.cumsum(codes == 0, dtype=np.int32)[: len(within)][within]
    keys = np.concatenate(found)
    order = np.argsort(keys, kind="stable")  # stable: the lines of a run stay in order
    keys, owners = keys[order], owners[order]
    first = np.ones(len(keys), bool)
    first[1:] = (keys[1:] != keys[:-1]) | (owners[1:] != owners[:-1])
    return keys[first], owners[first]
