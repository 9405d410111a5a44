"""What is said where nothing written fits: that somebody listens, or that it is not known."""

import re
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Annotated
from zlib import crc32

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from elman.generate.exchanges import sentences_of
from elman.generate.penalties import words_of

TRIED = 200
"""Ways that are looked at for one of which nothing was said yet."""

STRIDE = 7919
"""A prime number of ways on: neighbors begin alike."""

_HELLO = (
    r"\W*(?:hi|hiya|hello|hey|heya|howdy"
    r"|good (?:morning|afternoon|evening|day)(?=\W*$|[,.!]| elman))"
)
GREETS = re.compile(_HELLO + r"(?=[,.!\s]|$)", re.IGNORECASE)
"""How a message begins that greets."""

GREETS_ALONE = re.compile(
    _HELLO
    + r"(?:[,\s]+(?:there|you|all|again|elman|bot)\b)*(?:[,.!]+\s*[\w']+(?:\s+[\w']+){0,3})?\W*",
    re.IGNORECASE,
)
"""A message that says little else: what else is said is more to be answered."""

MIN_TELLING_CHARS = 5
"""Of a word that should not be said twice in one reply."""


def _sayable(text: str) -> str:
    """Return a text of a file that may be said, or raise ValueError."""
    # Half a character cannot be printed, nor can what moves a terminal's cursor.
    if not text.isprintable() or not text.strip():
        raise ValueError("holds what cannot be shown")
    return text


Saying = Annotated[str, Field(min_length=1, max_length=500), AfterValidator(_sayable)]
Sayings = Annotated[list[Saying], Field(max_length=1000)]


class Listening(BaseModel):
    """Ways to reply that make sense nearly everywhere.

    Args:
        whole: replies to a statement.
        openings: first sentences of such replies.
        invitations: their second sentences, which go with every first one.
        greetings: replies to a statement that hardly does more than greet.
        hellos: first sentences of replies to one that greets and says more.
        unknowing: replies to a question.
        returns: second sentences of such replies, which ask back and go with every first one.
    """

    model_config = ConfigDict(extra="forbid")

    whole: Sayings = []
    openings: Sayings = []
    invitations: Sayings = []
    greetings: Sayings = []
    hellos: Sayings = []
    unknowing: Sayings = []
    returns: Sayings = []

    def to_statement(self, asked: str) -> Iterator[list[str]]:
        """Go through ways to reply to a statement, each in sentences, as `ways` does."""
        others = _replies(self.whole, self.openings, self.invitations, asked)
        if GREETS_ALONE.fullmatch(asked):
            return chain(_replies(self.greetings, (), (), asked), others)
        if GREETS.match(asked):
            return chain(_replies((), self.hellos, self.invitations, asked), others)
        return others

    def to_question(self, asked: str) -> Iterator[list[str]]:
        """Go through ways to reply to a question, each in sentences, as `ways` does."""
        return _replies(self.unknowing, self.unknowing, self.returns, asked)

    def has(self, reply: str) -> bool:
        """Tell whether a reply is one of these."""
        if any(reply in some for some in (self.whole, self.greetings, self.unknowing)):
            return True
        pairs = (
            (self.openings, self.invitations),
            (self.hellos, self.invitations),
            (self.unknowing, self.returns),
        )
        return any(
            reply.startswith(f"{one} ") and reply[len(one) + 1 :] in second
            for first, second in pairs
            for one in first
        )


def _replies(
    whole: Sequence[str], first: Sequence[str], second: Sequence[str], asked: str
) -> Iterator[list[str]]:
    for chosen in ways(len(whole) + len(first) * len(second), asked):
        if chosen < len(whole):
            yield sentences_of(whole[chosen])
            continue
        one, other = divmod(chosen - len(whole), len(second))
        both = [first[one], second[other]]
        if set.isdisjoint(*map(_telling, both)):
            yield [*sentences_of(first[one]), second[other]]


def ways(number: int, asked: str) -> Iterator[int]:
    """Go through ways to reply, `TRIED` at most, beginning elsewhere for another message."""
    first, stride = crc32(asked.encode(errors="replace")), STRIDE if number % STRIDE else 1
    return ((first + step * stride) % number for step in range(min(TRIED, number)))


def _telling(text: str) -> set[str]:
    return {word for word in words_of(text) if len(word) >= MIN_TELLING_CHARS}
