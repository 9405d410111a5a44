"""How much one request may ask for; /v1/models tells it, and errors name it."""

from pydantic import BaseModel, Field

MAX_REPLY_TOKENS = 4096
"""Of a reply, whatever is asked for."""

MAX_CHOICES = 16
"""Replies to one prompt."""

MAX_PROMPTS = 128
"""Prompts of one request to /v1/completions, and replies to all of them."""

MAX_PROMPT_TOKENS = 8192
"""Of a prompt of /v1/completions: they are said one by one."""

MAX_TOTAL_PROMPT_TOKENS = 65_536
"""Of all prompts of one request, each counted as often as it is replied to."""

MAX_AT_ONCE = 16
"""Replies to one request to /v1/completions that are made at the same time."""

MAX_STOP_TEXTS = 16
MAX_STOP_CHARACTERS = 1000
"""Of each stop text."""

MAX_BIASES = 300
"""Tokens with a bias."""

MAX_TOP_LOGPROBS = 20

MAX_MESSAGES = 8192
"""Of one request."""

MAX_WHOLE_TOKENS = 16_384
"""Of a message that a bot reads in one piece: nobody else is answered meanwhile."""


class RequestLimits(BaseModel):
    """How much one request may ask for."""

    max_reply_tokens: int = Field(MAX_REPLY_TOKENS, description="Longer replies are cut.")
    max_choices: int = Field(MAX_CHOICES, description="`n` at most.")
    max_prompts: int = Field(
        MAX_PROMPTS, description="Prompts of one request to /v1/completions, times `n`."
    )
    max_prompt_tokens: int = Field(
        MAX_PROMPT_TOKENS, description="Of each prompt of /v1/completions."
    )
    max_total_prompt_tokens: int = Field(
        MAX_TOTAL_PROMPT_TOKENS, description="Of all prompts of one request, times `n`."
    )
    max_stop_texts: int = MAX_STOP_TEXTS
    max_stop_characters: int = Field(MAX_STOP_CHARACTERS, description="Of each stop text.")
    max_logit_biases: int = MAX_BIASES
    max_top_logprobs: int = MAX_TOP_LOGPROBS
    max_messages: int = Field(MAX_MESSAGES, description="Of one request.")
