"""How much one request may ask for; /v1/models tells it, and errors name it."""

from pydantic import BaseModel, Field


class RequestLimits(BaseModel):
    """How much one request may ask for."""

    max_reply_tokens: int = Field(4096, description="Longer replies are cut.")
    max_choices: int = Field(16, description="`n` at most.")
    max_prompts: int = Field(
        128, description="Prompts of one request to /v1/completions, times `n`."
    )
    max_prompt_tokens: int = Field(8192, description="Of each prompt of /v1/completions.")
    max_total_prompt_tokens: int = Field(
        65_536, description="Of all prompts of one request, times `n`."
    )
    max_stop_texts: int = 16
    max_stop_characters: int = Field(1000, description="Of each stop text.")
    max_logit_biases: int = 300
    max_top_logprobs: int = 20
    max_messages: int = Field(8192, description="Of one request.")


LIMITS = RequestLimits()

MAX_OPEN_COMPLETIONS = 16
"""Replies to one request to /v1/completions that are made at the same time."""

MAX_UNCUT_TOKENS = 16_384
"""Of a message that a bot reads in one piece: nobody else is answered meanwhile."""
