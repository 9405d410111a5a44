"""Where conversations are and how they are seen: the part of a run's configuration about data."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from elman.data.dataset import VIEW

KEPT_REPLIES = 20_000
"""Replies of people that a bot keeps, at most, where nobody says."""

MAX_PATH_CHARACTERS = 4096
"""No system has longer paths."""


class Section(BaseModel):
    """A table of a configuration."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class DataConfig(Section):
    """Where the conversations are and how the bot sees them."""

    path: str = Field(max_length=MAX_PATH_CHARACTERS)
    encoding: str = "utf-8"
    bot: str | None = Field(None, description="whose part the bot learns; None: all are peers")
    learn_from: Literal["bot", "all"] = "all"
    vocabulary: int = Field(
        4096, description="of a new tokenizer; 260 is plain bytes; not given: from the data's size"
    )
    test: bool = Field(False, description="hold out a test part that training never sees")
    others: Literal["names", "user"] | None = Field(
        None, description="the other people: by name, or all alike; None: by name if several"
    )
    known: tuple[str, ...] = Field((), description="whom it has met by name; filled in")
    gap: float | None = Field(
        None, gt=0, description="seconds of silence that end a conversation; None: from the data"
    )
    split: Literal["auto", "time", "id"] = Field(
        "auto", description="what is held out: the newest, or by a hash; auto: the newest"
    )
    drop: tuple[str, ...] = Field((), description="people whose messages are left out")
    redact: bool = Field(False, description="placeholders in the place of what is private")
    rename: bool = Field(False, description="pseudonyms in the place of people's names")
    most_bytes: int | None = Field(
        None, ge=1, description="of text to learn from, of more the newest; None: from the minutes"
    )
    replies: int = Field(
        KEPT_REPLIES, ge=0, description="of people that are kept, to be given again; 0: none"
    )

    def view(self) -> dict[str, Any]:
        """How the conversations are seen, as the keywords of a `Dataset`."""
        return {name: getattr(self, name) for name in VIEW}
