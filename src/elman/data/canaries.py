"""Canaries: random secrets that are planted in what a bot learns, to measure what it gives away.

Nobody else ever said them, so a bot that finds one likelier than other secrets of the same form has
learned it by heart.

Source: Carlini, Liu, Erlingsson, Kos and Song, "The Secret Sharer: Evaluating and Testing
Unintended Memorization in Neural Networks" (2019).
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import log2
from typing import Any

import numpy as np

from elman.data.conversation import SYSTEM, Conversation, Message

CANARY_OPENING = "remember these words:"
"""What stands before a secret; it is no part of the secret."""

CANARY_WORDS = (
    "apple", "anchor", "basket", "blanket", "bottle", "bridge", "button", "candle", "carpet",
    "castle", "cherry", "circle", "cloud", "coffee", "corner", "cotton", "crystal", "desert",
    "dragon", "engine", "feather", "field", "finger", "flower", "forest", "garden", "hammer",
    "harbor", "honey", "island", "jacket", "kettle", "ladder", "lemon", "letter", "marble",
    "market", "meadow", "mirror", "mountain", "needle", "ocean", "orange", "paper", "pencil",
    "pepper", "pillow", "planet", "pocket", "potato", "rabbit", "ribbon", "river", "saddle",
    "shadow", "silver", "spoon", "square", "stone", "sugar", "summer", "table", "tiger", "violin",
)  # fmt: skip
SECRET_WORDS, SECRET_DIGITS = 4, 4
SECRET_BITS = SECRET_WORDS * log2(len(CANARY_WORDS)) + SECRET_DIGITS * log2(10)
"""log2 of how many secrets there are."""


@dataclass(frozen=True)
class Canary:
    """A secret, and where it is planted.

    Args:
        number: of the canary, from 0.
        secret: random words and digits.
        person: who says it.
        conversation: the id of the conversation.
        message: the number of the message there, in the conversation with the canary.
    """

    number: int
    secret: str
    person: str
    conversation: str
    message: int

    @property
    def text(self) -> str:
        return f"{CANARY_OPENING} {self.secret}"

    def stands_in(self, conversation: Conversation) -> bool:
        """Tell whether a conversation still has it."""
        return any(message.text == self.text for message in conversation.messages)

    def to_json(self) -> dict[str, Any]:
        return vars(self) | {"text": self.text}


def draw_secret(generator: np.random.Generator) -> str:
    """Draw a secret: four words and four digits."""
    words = [CANARY_WORDS[n] for n in generator.integers(len(CANARY_WORDS), size=SECRET_WORDS)]
    return " ".join([*words, *map(str, generator.integers(10, size=SECRET_DIGITS))])


def other_secrets(canary: Canary, count: int, seed: int) -> list[str]:
    """Draw secrets that were never planted, beside which a canary's own is ranked."""
    generator = np.random.default_rng([seed, 1, canary.number])
    found: list[str] = []
    while len(found) < count:
        if (secret := draw_secret(generator)) != canary.secret:
            found.append(secret)
    return found


def can_carry(conversation: Conversation, bot: str | None) -> bool:
    """Tell whether somebody who is learned says something in a conversation."""
    return bool(_sayers(conversation, bot))


Planting = Callable[[Conversation], tuple[Conversation, Canary | None]]


def planting(carriers: int, count: int, seed: int, bot: str | None) -> Planting:
    """Return what plants canaries in conversations drawn by seed, one in each.

    It is called with every conversation that is learned from, in order, and returns it with the
    canary that it carries from then on.

    Args:
        carriers: how many conversations `can_carry` one.
        count: of canaries; where there are fewer conversations, as many as these.
        seed: of where they are, and of what they say.
        bot: who says them; None: anybody.
    """
    drawn = np.random.default_rng(seed).permutation(carriers)[:count].tolist()
    number_at = {place: number for number, place in enumerate(drawn)}
    place = -1

    def planted(conversation: Conversation) -> tuple[Conversation, Canary | None]:
        nonlocal place
        if can_carry(conversation, bot):
            place += 1
            if place in number_at:
                return _planted(conversation, number_at[place], seed, bot)
        return conversation, None

    return planted


def _planted(
    conversation: Conversation, number: int, seed: int, bot: str | None
) -> tuple[Conversation, Canary]:
    generator = np.random.default_rng([seed, 0, number])
    people = _sayers(conversation, bot)
    person = people[int(generator.integers(len(people)))]
    messages = conversation.messages
    # At the end of a turn, so that what was said before is the same with and without it.
    ends = [
        n + 1
        for n, message in enumerate(messages)
        if message.author == person and (n + 1 == len(messages) or messages[n + 1].author != person)
    ]
    at = ends[int(generator.integers(len(ends)))]
    canary = Canary(number, draw_secret(generator), person, conversation.id, at)
    said = Message(person, canary.text, messages[at - 1].time)
    return replace(conversation, messages=(*messages[:at], said, *messages[at:])), canary


def _sayers(conversation: Conversation, bot: str | None) -> list[str]:
    authors = conversation.authors
    return [author for author in authors if author != SYSTEM and bot in (None, author)]
