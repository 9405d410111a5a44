"""What a chatbot is made of: the part of a run's configuration that its weights depend on."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class ModelConfig(BaseModel):
    """Sizes and kinds; saved with the weights."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    memory: Literal["tokens"] = "tokens"
    cell: str = Field("lstm", description="rnn, gru, lstm, or my.module:Name of a Cell")
    layers: int = Field(2, ge=1, le=64)
    hidden_size: int = Field(384, ge=1, le=65536)
    dropout: float = Field(0.0, ge=0, lt=1)
