"""What a chatbot is made of: the part of a run's configuration that its weights depend on."""

from collections.abc import Mapping
from typing import ClassVar, Self

from pydantic import Field, field_validator, model_validator

from elman.data.config import Section, chosen

LONGEST_NGRAM = 4
"""Tokens of a sequence that can be counted: 16 bits of each make one key."""

TOKEN_BITS = 16
"""Bits that a token takes in the key of a counted sequence."""

KEY_SIZE = 16
"""Size of the key of each token that a pointer records, whatever the hidden size."""

BUILT_IN_MEMORIES = ("messages", "tokens")


class ModelConfig(Section):
    """Sizes and kinds; saved with the weights."""

    OLD_NAMES: ClassVar[Mapping[str, str]] = {"longest_message": "max_message_tokens"}

    memory: str = Field(
        "tokens", description="what takes one recurrent step each: tokens, or messages"
    )
    cell: str = Field(
        "lstm", description="kind of recurrent cell: rnn, gru, lstm, or my.module:Name"
    )
    encoder_cell: str | None = Field(
        None, description="cell that reads, in the messages memory; without it, cell"
    )
    conversation_cell: str | None = Field(
        None, description="cell that remembers, in the messages memory; without it, cell"
    )
    decoder_cell: str | None = Field(
        None, description="cell that speaks, in the messages memory; without it, cell"
    )
    layers: int = Field(
        2,
        ge=1,
        le=64,
        description="recurrent layers; in the messages memory one reads and the others speak",
    )
    max_message_tokens: int = Field(
        256, ge=2, description="tokens of a message that the messages memory's encoder reads"
    )
    hidden_size: int = Field(
        384,
        ge=1,
        le=65536,
        description="size of each layer's state",
        json_schema_extra=chosen("from the data's size and the minutes: 256, 384 or 512"),
    )
    mlp: float = Field(
        0.0,
        ge=0,
        le=64,
        description="width of each layer's gated MLP, in hidden sizes; 0: none",
        json_schema_extra=chosen("1; of plain bytes 0"),
    )
    pointer: int = Field(
        0,
        ge=0,
        le=65536,
        description="tokens back from which a reply can copy; 0: none",
        json_schema_extra=chosen("256; from a base, the base's"),
    )
    ngrams: int = Field(
        0,
        ge=0,
        le=LONGEST_NGRAM,
        description="longest sequence of tokens that is counted; 0: none",
        json_schema_extra=chosen(f"{LONGEST_NGRAM}, and no more than pointer"),
    )
    dropout: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="share of each layer's output that is dropped while it learns",
        json_schema_extra=chosen("from the data's size and the passes over it"),
    )

    @field_validator("memory")
    @classmethod
    def _listed(cls, memory: str) -> str:
        if memory in BUILT_IN_MEMORIES:
            return memory
        try:
            from elman.model.memories import MEMORIES  # which are made of this
        except ImportError:  # without torch there are no others
            known = list(BUILT_IN_MEMORIES)
        else:
            known = sorted(MEMORIES)
        if memory not in known:
            raise ValueError(f"expected {' or '.join(known)}")
        return memory

    @model_validator(mode="after")
    def _check_ngrams(self) -> Self:
        # Where the pointer was not given it is yet to be chosen.
        if "pointer" in self.model_fields_set and self.ngrams > self.pointer:
            raise ValueError(f"ngrams needs a pointer of at least as many tokens, {self.ngrams}")
        return self

    @property
    def outside_cells(self) -> list[str]:
        """The cells that it names by `my.module:Name`: building them imports and runs that code."""
        names = (self.cell, self.encoder_cell, self.conversation_cell, self.decoder_cell)
        return sorted({name for name in names if name is not None and ":" in name})


class ReplyConfig(Section):
    """How the bot replies where nobody says."""

    OLD_NAMES: ClassVar[Mapping[str, str]] = {"mutual": "mmi_weight"}

    mmi_weight: float | None = Field(
        None,
        ge=0,
        le=1,
        description="how much less a reply is worth for fitting everywhere",
        json_schema_extra=chosen("when training ends, by replies to held-out conversations"),
    )
    temperature: float | None = Field(
        None,
        ge=0,
        le=100,
        description="divides the logits of what is drawn",
        json_schema_extra=chosen("when training ends, by replies to held-out conversations"),
    )
    min_p: float | None = Field(
        None,
        ge=0,
        le=1,
        description="leaves out tokens less likely than this share of the likeliest",
        json_schema_extra=chosen("when training ends, by replies to held-out conversations"),
    )
    samples: int | None = Field(
        None,
        ge=1,
        le=256,
        description="replies that are drawn, of which the best is said",
        json_schema_extra=chosen("when training ends, by replies to held-out conversations"),
    )
    people_words: int | None = Field(
        None,
        ge=0,
        description="words of a reply, of which 99 in 100 of people's have no more",
        json_schema_extra=chosen("when training ends, by people's replies"),
    )
    people_repeats: int | None = Field(
        None,
        ge=0,
        description="sequences of three words that stand in a reply before, likewise",
        json_schema_extra=chosen("when training ends, by people's replies"),
    )
    people_echo: int | None = Field(
        None,
        ge=0,
        description="words in a row that the other side has said, likewise",
        json_schema_extra=chosen("when training ends, by people's replies"),
    )
    people_again: int | None = Field(
        None,
        ge=0,
        description="words in a row that whoever replies has said before, likewise",
        json_schema_extra=chosen("when training ends, by people's replies"),
    )
    care: bool | None = Field(
        None,
        description="whether insults, despair and danger get a kind, fixed answer by rule",
        json_schema_extra=chosen("yes for the base and the built-in conversations"),
    )
    fitted: list[str] | bool = Field(
        False,
        description="which of these were found when training ended",
        json_schema_extra=chosen("when training ends"),
    )

    @property
    def open(self) -> set[str]:
        """The settings that are to be found when training ends: nobody has given them."""
        # Until 0.1 it was a bool, and of mmi_weight alone.
        found = {"mmi_weight"} if self.fitted is True else set(self.fitted or ())
        every = set(type(self).model_fields) - {"care", "fitted"}
        return {name for name in every if getattr(self, name) is None or name in found}
