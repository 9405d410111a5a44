"""Small talk whose answer somebody wrote: the nearest known phrasing, where it is near enough.

"How are you?" is asked in a hundred ways, and a small net answers some of them well. Phrasings and
answers lie in a bot's folder. A message is compared with all of them by the runs of 2 to 4 bytes
that it is written with, a rare run being worth more than a common one (tf-idf, cosine).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from elman.data.untrusted import parse_json, read_text, validated
from elman.generate.penalties import words_of
from elman.model.folder import SMALL_TALK

MAX_SMALL_TALK_BYTES = 1 << 22

MAX_SMALL_TALK_WORDS = 14
"""Words of a message; a longer one is more than small talk."""

MAX_TELLING_GROUPS = 62
"""Those of a text are the bits of one number."""

RUN_BYTES = (2, 3, 4)

RUNS_AT_ONCE = 1 << 14
"""That are looked at; all of them would take twenty times the memory of what is kept."""

BUCKETS = 1 << 18
"""Runs are told apart by a hash of so many values."""

Text = Annotated[str, Field(min_length=1, max_length=500)]


class Intent(BaseModel):
    """One thing that people say, in several ways.

    Args:
        phrasings: the ways.
        answers: each fits; none: it is left to the net.
        untold: answers where the user has told nothing of themself yet.
    """

    model_config = ConfigDict(extra="forbid")

    phrasings: list[Text] = Field(min_length=1)
    answers: list[Text] = []
    untold: list[Text] = []


class SmallTalkFile(BaseModel):
    """What a bot's folder holds of small talk.

    Args:
        threshold: how alike a message and a phrasing must be, from 0 to 1.
        intents: what can be answered.
        telling: groups of words that tell who is meant, "I" first, and "not". A message and a
            phrasing must have words of the same groups: "What is my name?" is not "What is your
            name?".
    """

    model_config = ConfigDict(extra="forbid")

    threshold: float = Field(ge=0, le=1)
    intents: list[Intent]
    telling: list[list[Text]] = Field([], max_length=MAX_TELLING_GROUPS)


@dataclass
class SmallTalk:
    """Answers to what is asked in known ways.

    Args:
        content: phrasings, answers, and how near is near enough.
    """

    content: SmallTalkFile
    _intent: np.ndarray = field(init=False, repr=False)
    _row: np.ndarray = field(init=False, repr=False)
    _bucket: np.ndarray = field(init=False, repr=False)
    _begin: np.ndarray = field(init=False, repr=False)
    _weight: np.ndarray = field(init=False, repr=False)
    _rarity: np.ndarray = field(init=False, repr=False)
    _group: dict[str, int] = field(init=False, repr=False)
    _told: np.ndarray = field(init=False, repr=False)

    def __post_init__(self) -> None:
        intents = self.content.intents
        phrasings = [text for each in intents for text in each.phrasings]
        self._intent = np.repeat(np.arange(len(intents)), [len(i.phrasings) for i in intents])
        self._row, bucket = _runs(phrasings)
        first = np.flatnonzero(np.append(True, bucket[1:] != bucket[:-1])[: len(bucket)])
        self._begin = np.append(first, len(bucket))
        often = np.diff(self._begin)
        # The last bucket and rarity stand for every run that no phrasing has.
        self._bucket = np.append(bucket[first], BUCKETS)
        self._rarity = np.log((1 + len(phrasings)) / (1 + np.append(often, 0)))
        weight = np.repeat(self._rarity[:-1].astype(np.float32), often)
        slices = [slice(n, n + RUNS_AT_ONCE) for n in range(0, len(weight), RUNS_AT_ONCE)]
        squares = np.full(len(phrasings), 1e-18)
        for some in slices:
            squares += np.bincount(self._row[some], weight[some] ** 2, len(phrasings))
        lengths = np.sqrt(squares).astype(np.float32)
        for some in slices:
            weight[some] /= lengths[self._row[some]]
        self._weight = weight
        self._group = {word: n for n, own in enumerate(self.content.telling) for word in own}
        self._told = np.array([self._telling(text) for text in phrasings], np.int64)

    @classmethod
    def read(cls, folder: Path) -> "SmallTalk | None":
        """Read what a bot's folder holds; None where there is none.

        Raises:
            ElmanError: where it is damaged.
        """
        path = folder / SMALL_TALK
        if not path.exists():
            return None
        given = parse_json(read_text(path, MAX_SMALL_TALK_BYTES), path)
        return cls(validated(SmallTalkFile, given, path))

    def nearest(self, text: str) -> tuple[int, float]:
        """Return the intent of the nearest phrasing, and how alike they are, from 0 to 1."""
        _, buckets = _runs([text])
        at = np.searchsorted(self._bucket, buckets)
        known = self._bucket[at] == buckets
        rarity = self._rarity[np.where(known, at, -1)]
        alike = np.zeros(len(self._intent))
        for place, weight in zip(at[known].tolist(), rarity[known].tolist(), strict=True):
            there = slice(self._begin[place], self._begin[place + 1])
            alike[self._row[there]] += weight * self._weight[there]
        alike[self._told != self._telling(text)] = 0
        best = int(alike.argmax())
        return int(self._intent[best]), float(alike[best]) / max(
            float(np.linalg.norm(rarity)), 1e-9
        )

    def _telling(self, text: str) -> int:
        """Return which groups of telling words are in a text, each a bit."""
        words = {part for word in words_of(text) for part in (word, word.split("'")[0])}
        return sum({1 << self._group[word] for word in words if word in self._group})

    def answer(
        self, text: str, said: Iterable[str] = (), heard: Iterable[str] | None = None
    ) -> str | None:
        """Return an answer that was not given lately; None: the net is to reply.

        Args:
            text: the message.
            said: what the bot said lately.
            heard: all that the user said before; None: it is not known.
        """
        if not 0 < len(words_of(text)) <= MAX_SMALL_TALK_WORDS:
            return None
        intent, alike = self.nearest(text)
        if alike < self.content.threshold:
            return None
        before, found = set(said), self.content.intents[intent]
        untold = heard is not None and not any(map(self._tells, heard))
        answers = found.untold if untold and found.untold else found.answers
        return next((a for a in answers if a not in before), None)

    def _tells(self, message: str) -> bool:
        """Tell whether a user may have said something of themself: no question, and with an "I"."""
        asks = message.rstrip().endswith("?")
        return not asks and (not self.content.telling or self._telling(message) & 1 > 0)


def _runs(texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Return each run of bytes of some texts once, as the text's number and a bucket, by buckets.

    There are hundreds of thousands of runs, so each array of all of them is megabytes.
    """
    plain = [f" {' '.join(words_of(text)).replace(chr(39), '')} " for text in texts]
    data = np.frombuffer("\n".join(plain).encode(), np.uint8)
    row = np.cumsum(data == ord("\n"), dtype=np.uint32)
    size = max(1, len(texts))
    kind = np.dtype(np.uint32 if BUCKETS * size <= 1 << 32 else np.uint64)
    found = [np.zeros(0, kind)]
    places = [
        (length, begin, min(begin + RUNS_AT_ONCE, len(data) - length + 1))
        for length in RUN_BYTES
        for begin in range(0, len(data) - length + 1, RUNS_AT_ONCE)
    ]
    for length, begin, end in places:
        code = np.full(end - begin, length, np.uint64)
        within = np.ones(end - begin, bool)
        for n in range(length):
            code *= np.uint64(1_000_003)
            code += data[begin + n : end + n]
            within &= data[begin + n : end + n] != ord("\n")
        code ^= code >> np.uint64(29)
        code %= np.uint64(BUCKETS)
        found.append(code[within].astype(kind) * size + row[begin:end][within])
    keys = np.concatenate(found)
    found.clear()
    keys.sort()
    # What `np.unique` gives, which took ten times as long.
    new = np.ones(len(keys), bool)
    new[1:] = keys[1:] != keys[:-1]
    keys = keys[new]
    rows = keys % size
    keys //= size
    return rows, keys
