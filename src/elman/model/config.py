"""What a chatbot is made of: the part of a run's configuration that its weights depend on."""

from typing import Self

from pydantic import Field, field_validator, model_validator

from elman.data.config import Section

LONGEST_NGRAM = 4
"""Tokens of a sequence that can be counted: 16 bits of each make one key."""


class ModelConfig(Section):
    """Sizes and kinds; saved with the weights."""

    memory: str = Field("tokens", description="tokens, or messages: one step for each")
    cell: str = Field("lstm", description="rnn, gru, lstm, or my.module:Name of a Cell")
    encoder_cell: str | None = Field(None, description="of the messages memory; None: cell")
    conversation_cell: str | None = Field(None, description="of the messages memory; None: cell")
    decoder_cell: str | None = Field(None, description="of the messages memory; None: cell")
    layers: int = Field(2, ge=1, le=64, description="messages memory: one reads, the others speak")
    longest_message: int = Field(
        256, ge=2, description="tokens that the messages memory's encoder reads of a message"
    )
    hidden_size: int = Field(384, ge=1, le=65536)
    mlp: float = Field(
        0.0, ge=0, le=64, description="width of each layer's gated MLP, in hidden sizes; 0: none"
    )
    pointer: int = Field(
        0, ge=0, le=65536, description="tokens back that a reply can repeat; 0: none"
    )
    ngrams: int = Field(
        0, ge=0, le=LONGEST_NGRAM, description="longest sequence of tokens that is counted; 0: none"
    )
    dropout: float = Field(0.0, ge=0, lt=1)

    @field_validator("memory")
    @classmethod
    def _listed(cls, memory: str) -> str:
        from elman.model import MEMORIES  # which are made of this

        if memory not in MEMORIES:
            raise ValueError(f"expected {' or '.join(sorted(MEMORIES))}")
        return memory

    @model_validator(mode="after")
    def _recorded(self) -> Self:
        # Where it was not given it is yet to be chosen.
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

    mutual: float | None = Field(
        None,
        ge=0,
        le=1,
        description="how much less a reply is worth for fitting everywhere; None: as replies to "
        "held-out conversations say when training ends",
    )
    fitted: bool = Field(False, description="whether that was found so; filled in")

    @property
    def fits(self) -> bool:
        """Whether it is to be found when training ends: nobody has given it."""
        return self.mutual is None or self.fitted
