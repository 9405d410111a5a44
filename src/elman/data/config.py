"""Where conversations are and how they are seen: the part of a run's configuration about data."""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from elman.data.tokenizer import MIN_VOCABULARY_SIZE
from elman.data.view import VIEW

KEPT_REPLIES = 20_000
"""Replies of people that a bot keeps at most, where nothing else is given."""

MAX_CANARY_SEED = 2**63 - 1

MAX_PATH_CHARACTERS = 4096
"""No system has longer paths."""


def chosen(how: str) -> dict[str, Any]:
    """Mark a field that is chosen when a run begins, unless it was given; say how, for people."""
    return {"chosen": how}


class Section(BaseModel):
    """A table of a configuration.

    `OLD_NAMES` maps the names that settings had in the last release to their names of today. Both
    are read; only those of today are written.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    OLD_NAMES: ClassVar[Mapping[str, str]] = {}

    @model_validator(mode="before")
    @classmethod
    def _read_old_names(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        for old in cls.OLD_NAMES.keys() & values.keys():
            new = cls.OLD_NAMES[old]
            if new in values:
                raise ValueError(f"{old} is now called {new}: give one of them")
        return {cls.OLD_NAMES.get(name, name): value for name, value in values.items()}


class DataConfig(Section):
    """Where the conversations are and how the bot sees them."""

    OLD_NAMES: ClassVar[Mapping[str, str]] = {"most_bytes": "max_text_bytes"}

    path: str = Field(
        max_length=MAX_PATH_CHARACTERS,
        description="a file, folder or archive of conversations; -: standard input; chitchat: the "
        "built-in ones",
        json_schema_extra=chosen("to be given"),
    )
    encoding: str = Field("utf-8", description="how the files' text is encoded")
    bot: str | None = Field(
        None, description="the person whose part the bot learns; without it, all are peers"
    )
    learn_from: Literal["bot", "all"] = Field(
        "all",
        description="whose messages the bot learns to say",
        json_schema_extra=chosen("bot where a bot is named, else all"),
    )
    vocabulary: int = Field(
        4096,
        description="size of a new tokenizer; 260, or the word bytes, is plain bytes",
        json_schema_extra=chosen("from the data's size: 260 to 4096"),
    )
    test: bool = Field(False, description="hold out a test part too, which training never sees")
    others: Literal["names", "user"] | None = Field(
        None,
        description="how the bot sees the other people: names, or user for all alike",
        json_schema_extra=chosen("names where there are several"),
    )
    known: tuple[str, ...] = Field(
        (),
        description="the people it has met by name",
        json_schema_extra=chosen("from the data"),
    )
    gap: float | None = Field(
        None,
        gt=0,
        description="silence that ends a conversation, in seconds; as --gap 90m, 2h or 1d",
        json_schema_extra=chosen("from the data"),
    )
    split: Literal["auto", "time", "id"] = Field(
        "auto",
        description="what is held out to validate on: the newest (time), or some by a hash (id); "
        "auto: the newest, where times are known",
    )
    drop: tuple[str, ...] = Field((), description="people whose messages are left out")
    redact: bool = Field(False, description="put placeholders in the place of what is private")
    rename: bool = Field(False, description="give people pseudonyms, in what they say too")
    invent: bool = Field(
        False,
        description="learn conversations once more with invented words in place of the rare ones "
        "that the bot repeats",
    )
    max_text_bytes: int | None = Field(
        None,
        ge=1,
        description="bytes of text to learn from; of more text, the newest",
        json_schema_extra=chosen("from the minutes; else all"),
    )
    replies: int = Field(
        KEPT_REPLIES,
        ge=0,
        description="replies of people that are kept, to be given again; 0: none",
        json_schema_extra=chosen(f"from the minutes, {KEPT_REPLIES:,} at most"),
    )

    canaries: int = Field(
        0,
        ge=0,
        description="random secrets that are planted in what is learned, to audit the bot by",
    )
    canary_seed: int = Field(0, ge=0, le=MAX_CANARY_SEED, description="of the canaries")
    forgotten: tuple[str, ...] = Field(
        (), description="digests of whom and what is learned no more, as elman forget writes them"
    )

    @field_validator("vocabulary", mode="before")
    @classmethod
    def _read_bytes(cls, value: Any) -> Any:
        if value == "bytes":
            return MIN_VOCABULARY_SIZE
        if isinstance(value, str) and not value.isdecimal():
            raise ValueError("expected a number, or bytes")
        return value

    def view(self) -> dict[str, Any]:
        """Return how the conversations are seen, as the keywords of a `Dataset`."""
        return {name: getattr(self, name) for name in VIEW}
