"""The types that every reader makes and everything else reads."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from itertools import groupby
from typing import Literal

Role = Literal["user", "bot", "system"]

SYSTEM = "<system>"
"""The author of the instructions before a conversation, who is nobody in it."""


@dataclass(frozen=True, slots=True)
class Message:
    """What one author sent at once."""

    author: str
    text: str
    time: datetime | None = None


@dataclass(frozen=True, slots=True)
class Turn:
    """A run of one author's messages, joined by newlines: what Elman counts as one message."""

    role: Role
    text: str


@dataclass(frozen=True)
class Conversation:
    """Messages in the order in which they were sent.

    Args:
        messages: in order.
        id: what the source calls the conversation; a digest of its text where it has no name.
    """

    messages: tuple[Message, ...]
    id: str = ""

    def __post_init__(self) -> None:
        if not self.id:
            digest = hashlib.sha1(usedforsecurity=False)
            for message in self.messages:
                digest.update(f"{message.author}\0{message.text}\0".encode(errors="surrogatepass"))
            object.__setattr__(self, "id", digest.hexdigest())

    @cached_property
    def authors(self) -> tuple[str, ...]:
        """The people in it, in order of appearance."""
        return tuple(dict.fromkeys(m.author for m in self.messages if m.author != SYSTEM))

    def runs(self) -> Iterator[tuple[str, str]]:
        """Author and text of every turn."""
        for author, run in groupby(self.messages, key=lambda message: message.author):
            yield author, "\n".join(message.text for message in run)

    def turns(self, bot: str | None = None) -> list[Turn]:
        """The conversation as the bot sees it.

        Args:
            bot: the author whom the bot plays; None where all are peers: then whoever spoke
                second, that is, whoever answered.
        """
        if bot is None and len(self.authors) > 1:
            bot = self.authors[1]
        roles: dict[str, Role] = {SYSTEM: "system"}
        if bot is not None:
            roles[bot] = "bot"
        return [Turn(roles.get(author, "user"), text) for author, text in self.runs()]

    @property
    def bucket(self) -> int:
        """A number from 0 to 19 that depends on the id alone: how held-out data is chosen."""
        return int(hashlib.sha1(self.id.encode(), usedforsecurity=False).hexdigest(), 16) % 20
