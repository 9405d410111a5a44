"""The types that every reader makes and everything else reads."""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from itertools import groupby
from typing import Any, Literal, NamedTuple

Role = Literal["user", "bot", "system"]
Others = Literal["names", "user"]

SYSTEM = "<system>"
"""The author of the instructions before a conversation, who is nobody in it."""


class Message(NamedTuple):
    """What one author sent at once."""

    author: str
    text: str
    time: datetime | None = None

    @property
    def seconds(self) -> float | None:
        """The time as seconds since 1970; one without a zone is taken as UTC, wherever we are."""
        time = self.time
        if time is None:
            return None
        return (time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp()


@dataclass(frozen=True)
class Chat:
    """Messages that never end, such as a messenger's: to be cut where people paused.

    Args:
        id: what the source calls it.
        messages: in order; a reader's are read once, so that a chat needs no memory.
    """

    id: str
    messages: Iterable[Message]


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
        """Yield author and text of every turn."""
        for author, run in groupby(self.messages, key=lambda message: message.author):
            yield author, "\n".join(message.text for message in run)

    def turns(self, bot: str | None = None, others: Others = "user") -> list[Turn]:
        """Return the conversation as the bot sees it.

        Args:
            bot: the author whom the bot plays; None where all are peers: then whoever spoke
                second, that is, whoever answered.
            others: "names" puts each of the other authors' names before what they say.
        """
        if bot is None and len(self.authors) > 1:
            bot = self.authors[1]
        roles: dict[str, Role] = {SYSTEM: "system"}
        if bot is not None:
            roles[bot] = "bot"
        turns = [(author, roles.get(author, "user"), text) for author, text in self.runs()]
        return [
            Turn(role, named(author, text) if role == "user" and others == "names" else text)
            for author, role, text in turns
        ]

    def to_json(self) -> dict[str, Any]:
        """Return what the reader `turns` takes back as an equal conversation."""
        turns = [
            {"speaker": author, "text": text} | ({} if time is None else {"time": time.isoformat()})
            for author, text, time in self.messages
        ]
        return {"id": self.id, "turns": turns}

    @property
    def start(self) -> float | None:
        """When it began, in seconds since 1970, where the source says so."""
        return self.messages[0].seconds if self.messages else None

    @property
    def bucket(self) -> int:
        """A number from 0 to 19 that depends on the id alone: how held-out data is chosen."""
        return self._hashed % 20

    @property
    def other_bucket(self) -> int:
        """Another such number, for conversations that were divided by `bucket` before."""
        return self._hashed // 20 % 20

    @property
    def place(self) -> float:
        """A number from 0 to 1 that depends on the id alone, and not on the bucket."""
        return (self._hashed // 20) / (2**160 // 20 + 1)

    @property
    def _hashed(self) -> int:
        return int(hashlib.sha1(self.id.encode(), usedforsecurity=False).hexdigest(), 16)


def named(author: str, text: str) -> str:
    """Write what somebody said as a bot that knows people by their names reads it."""
    return f"{author}: {text}"
