"""What the user told, found again where the user asks for it, and said back.

A small net remembers a name, and confuses who broke the lamp. The user's own lines hold the answer:
the one that answers the question best is said back with the person turned ("I live in Lisbon."
becomes "You live in Lisbon."). A multinomial logistic regression tells by the words of both which
one that is, or that nothing was told, or that the message asks for nothing of the kind. It was
learned from sets that were written for it (recipes/told.py).
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated, NamedTuple
from zlib import crc32

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from elman.generate.exchanges import Exchanges, Near
from elman.generate.penalties import History, words_of
from elman.generate.stems import stems_of
from elman.generate.turned import introduced, statements, turned

MAX_TOLD_LINES = 60
"""The user's last messages, in which an answer is sought."""

MAX_TOLD_CHARS = 1000
"""Of each."""

MAX_CANDIDATES = 150
"""Sentences, the last ones, that may answer."""

OWN_ASKS_BELOW, ASKS_BELOW = 0.4, 0.25
"""Of the probability that a message asks for nothing that was told, where it speaks of the user,
and where it does not: people ask one another much that the other shall know.
"""

ASKING_LENGTH_WORDS = 4
"""Words by which messages are told apart in length."""

MAX_ASKING_WORDS = 30
"""Words of a message that may ask for what was told,"""

MAX_ASKING_CHARS = 300
"""and its characters."""

ASKS_FOR_TOLD = re.compile(
    r"""
    ^(?!.*\b(?:should|could|can|would\ you\ (?:do|help)|you\ think)\b)(?:
        .*\b(?:what|which|who|whose|when|where|how\ (?:old|many|often))\b.*\b(?:my|i)\b.*\?
        | (?:.*,\ )?(?:my|the\ \w+\ (?:of\ my|i))\b.*\?
        | .*\b(?:say|tell\ me|remind\ me|recall|remember|forgot)\b.*\b(?:my|i)\b.*
    )$""",
    re.IGNORECASE | re.VERBOSE | re.DOTALL,
)
"""How a message mostly is worded that asks for what was told."""

_NUMBERS = r"""one two three four five six seven eight nine ten eleven twelve \w+teen twenty thirty
    forty fifty sixty seventy eighty ninety hundred thousand once twice half every"""
_TIMES = r"""\d+(?:[snrt][tdh]|am|pm|:\d\d)? (?:mon|tues|wednes|thurs|fri|satur|sun)days? january
    february march april may june july august september october november december spring summer
    autumn fall winter today tonight tomorrow yesterday morning noon afternoon evening night
    midnight weekend week month year ago last next christmas easter"""
_COLORS = "red blue green yellow black white brown gr[ea]y orange purple pink violet silver gold"
_WORK = (
    r"work(?:s|ed|ing)? job (?:i'm|i[ ]am|as)[ ]an? teach(?:es)? drive run sell own \w+ist \w+er"
)

_ASKED_KINDS = {
    "who whose whom name named called call": r"(?-i:(?<=[a-z,'][ ])[A-Z][a-z]+) name[ds]? called?",
    "where place city town country village street": (
        "in at to from near on under behind beside into inside by"
    ),
    "when day date month year birthday soon what[ ]time": _TIMES,
    "how[ ](?:old|many|much|long|often|far|big|tall|late) age number": _NUMBERS + r" \d[\d.,:]*",
    "why reason what[ ]for": "because since so[ ]that for to afraid due",
    "colou?r": _COLORS,
    "job work living profession occupation career earn": _WORK,
}
"""What is asked for, and words by which a sentence may say it."""


def _any_of(words: str) -> str:
    return "|".join(re.sub(r"\[ \]", "\0", words).split()).replace("\0", "[ ]")


_KINDS = [
    (
        re.compile(rf"\b(?:{_any_of(asked)})\b", re.IGNORECASE),
        re.compile(rf"(?<![\w'])(?:{_any_of(said)})(?!\w)", re.IGNORECASE),
    )
    for asked, said in _ASKED_KINDS.items()
]

_OWN = re.compile(r"(?<![\w'])(?:i|i'm|i've|my|me|mine|we|our)(?![\w])", re.I)

LINE_TRAITS = ("covered", "likeness", "shared", "kind", "no_kind", "ago", "own", "words")
"""What is known of a sentence that was told.

covered: what share of the question's meaning its words have (idf). likeness: of both (cosine).
shared: what share of its own meaning the question has. kind, no_kind: whether it has a word of the
kind that is asked for; that it has none. ago: tens of the user's messages since. own: whether it
tells of the user. words: tens of words.
"""

ASKING_TRAITS = ("one", "asks", "worded", "answered", "question", "own", "covered", "both", "kind")
"""What is known of a message that may ask.

one: 1. asks: what `AskingWords` says. worded: whether `ASKS_FOR_TOLD` finds it. answered: how like
it is to what somebody wrote an answer to. question: whether it has a question mark. own: whether
it speaks of the user. covered: the most that a sentence has of it. both: that, where it is worded
so. kind: whether it asks for a known kind of thing.
"""

ASKING_BUCKETS = 1 << 15
"""Words and runs of words are told apart by a hash of so many values."""

MAX_ASKING_LOGIT = 8.0


class AskingWords(NamedTuple):
    """Tells by its words whether a message asks for what was told: a logistic regression.

    Args:
        weights: of the word or run of words in each bucket, (ASKING_BUCKETS,) float16.
        bias: what is added.
    """

    weights: np.ndarray
    bias: float

    def __call__(self, text: str) -> float:
        """Return the logit, between plus and minus `MAX_ASKING_LOGIT`."""
        buckets = asking_buckets(text)
        found = float(self.weights[buckets].astype(np.float64).sum()) / len(buckets) ** 0.5
        return float(np.clip(found + self.bias, -MAX_ASKING_LOGIT, MAX_ASKING_LOGIT))


def asking_buckets(text: str) -> list[int]:
    """Return the buckets of the words of a text, of two in a row, of two around another, of a
    question mark, and of how many words there are.
    """
    words = words_of(text.replace("\u2019", "'"))
    framed = ["^", *words, "$"]
    found = {*words, f"{len(words) // ASKING_LENGTH_WORDS} long", *("?" * ("?" in text))}
    found |= {f"{one} {other}" for one, other in pairwise(framed)}
    found |= {f"{one}_{other}" for one, other in zip(words, words[2:], strict=False)}
    return sorted({crc32(each.encode()) % ASKING_BUCKETS for each in found})


Weight = Annotated[float, Field(ge=-1e6, le=1e6)]


class ToldRanking(BaseModel):
    """What a multinomial regression adds up; what asks for nothing that was told has 0.

    Args:
        lines: for each of `LINE_TRAITS`.
        told: for each of `ASKING_TRAITS`, for every sentence.
        untold: for each of these, that nothing was told of what is asked.
        bias: of `AskingWords`.
    """

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    lines: list[Weight]
    told: list[Weight]
    untold: list[Weight]
    bias: Weight

    @property
    def fits(self) -> bool:
        """Whether it is of these traits."""
        own = [len(each) for each in (self.lines, self.told, self.untold)]
        return own == [len(LINE_TRAITS), len(ASKING_TRAITS), len(ASKING_TRAITS)]

    def __call__(self, lines: np.ndarray, asking: np.ndarray) -> np.ndarray:
        """Tell how probable each sentence, "nothing was told", and "nothing is asked" are.

        Args:
            lines: (N, traits) of the sentences.
            asking: (traits,) of the message.

        Returns:
            (N + 2,), which add up to 1.
        """
        scores = np.concatenate([
            lines @ np.array(self.lines) + asking @ np.array(self.told),
            [asking @ np.array(self.untold), 0.0],
        ])  # fmt: skip
        raised = np.exp(scores - scores.max())
        found: np.ndarray = raised / raised.sum()
        return found


class ToldLine(NamedTuple):
    """A sentence of the user's, and as it is said back.

    Args:
        line: which of the user's messages before, the last one being 0.
        sentence: what the user said, or means: who is introduced has a name.
        reply: as it is said back.
    """

    line: int
    sentence: str
    reply: str


class Told(NamedTuple):
    """What is known of a message that may ask for what was told.

    Args:
        lines: the sentences that were told.
        sense: how probable each is, then "nothing was told", then "nothing is asked".
        whole: whether these are all that was ever told.
        own: whether the message speaks of the user.
    """

    lines: list[ToldLine]
    sense: np.ndarray
    whole: bool
    own: bool

    @property
    def asks(self) -> bool:
        """Whether it asks for what was told."""
        return bool(self.sense[-1] < (OWN_ASKS_BELOW if self.own else ASKS_BELOW))

    @property
    def found(self) -> ToldLine | None:
        """The sentence that answers; None: nothing was told of it."""
        best = int(self.sense[:-1].argmax())
        return self.lines[best] if best < len(self.lines) else None


@dataclass
class ToldFinder:
    """Finds what was told.

    Args:
        exchanges: tell how much words mean.
        asking: tells what asks.
        ranking: tells which sentence answers.
    """

    exchanges: Exchanges
    asking: AskingWords
    ranking: ToldRanking

    def __call__(self, history: History, near: Near) -> Told | None:
        """Find what answers the last message; None where it asks for nothing that could be told.

        Args:
            history: what was said before.
            near: what is written for what is like the message.
        """
        asked = history.asked or ""
        if len(asked) > MAX_ASKING_CHARS or not 0 < len(words_of(asked)) <= MAX_ASKING_WORDS:
            return None
        before = [*history.heard[1:], *history.earlier]
        lines = told_lines(before)
        whole = (
            history.whole
            and len(lines) < MAX_CANDIDATES
            and len(before) <= MAX_TOLD_LINES
            and all(len(text) <= MAX_TOLD_CHARS for text in before)
        )
        of_lines, asking = self.traits(asked, near, lines)
        own = bool(asking[ASKING_TRAITS.index("own")])
        return Told(lines, self.ranking(of_lines, asking), whole, own)

    def confirms(self, told: Told, reply: str, asked: str) -> bool:
        """Tell whether the likeliest sentence has the words by which a reply answers a message."""
        if not told.lines:
            return False
        likeliest = told.lines[int(told.sense[:-2].argmax())]
        new = self.exchanges.new_in(reply, asked)
        return bool(new) and new <= {*stems_of(likeliest.sentence)}

    def traits(
        self, asked: str, near: Near, lines: Sequence[ToldLine]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return `LINE_TRAITS` of each sentence, (N, traits), and `ASKING_TRAITS`, (traits,)."""
        wanted = {*stems_of(asked)}
        meaning = max(self.exchanges.index.meaning(wanted), 1e-6)
        kinds = [said for kind, said in _KINDS if kind.search(asked)]
        found = []
        for each in lines:
            own = {*stems_of(each.sentence)}
            common = self.exchanges.index.meaning(wanted & own)
            kind = any(said.search(each.sentence) for said in kinds)
            found.append([
                common / meaning,
                self.exchanges.likeness(asked, each.sentence),
                common / max(self.exchanges.index.meaning(own), 1e-6),
                float(kind),
                float(bool(kinds) and not kind),
                min(6.0, each.line / 10),
                float(_OWN.search(each.sentence) is not None),
                min(4.0, len(words_of(each.sentence)) / 10),
            ])  # fmt: skip
        worded = float(ASKS_FOR_TOLD.search(asked) is not None)
        covered = max((own[0] for own in found), default=0.0)
        asking = [
            1.0,
            self.asking(asked) / 4,
            worded,
            near.answered,
            float("?" in asked),
            float(_OWN.search(asked) is not None),
            covered,
            covered * worded,
            float(bool(kinds)),
        ]
        return np.reshape(found, (len(lines), len(LINE_TRAITS))), np.array(asking)


def told_lines(heard: Sequence[str]) -> list[ToldLine]:
    """Collect what was told, the last first.

    Args:
        heard: the user's messages before the one that asks, the last one first.
    """
    found: dict[str, ToldLine] = {}
    for line, message in enumerate(heard[:MAX_TOLD_LINES]):
        for sentence in statements(message[:MAX_TOLD_CHARS]):
            ways = [sentence]
            if (name := introduced(sentence)) is not None:
                ways.append(f"My name is {name}.")
            for way in ways:
                reply = turned(way)
                if reply not in found and len(found) < MAX_CANDIDATES:
                    found[reply] = ToldLine(line, way, reply)
    return list(found.values())
