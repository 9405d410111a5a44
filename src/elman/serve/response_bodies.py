"""What /v1/responses is asked, and what it answers."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from elman.serve.answering import TokenLogprob
from elman.serve.limits import MAX_MESSAGES, MAX_TOP_LOGPROBS
from elman.serve.wire import Content, Metadata, Request, expected


class InputItem(BaseModel):
    model_config = ConfigDict(extra="ignore")

    type: str | None = None
    role: str | None = None
    content: Content | None = None


class ElmanWishes(BaseModel):
    """What only this server can be asked for."""

    model_config = ConfigDict(extra="ignore")

    beside: str | None = Field(
        None,
        max_length=200,
        description="Of a response that goes on from none: another one, whose chat it belongs to, "
        "as another reply to the first message does.",
    )


class ResponsesRequest(Request):
    input: Annotated[
        str
        | Annotated[list[InputItem], Field(min_length=1, max_length=MAX_MESSAGES, fail_fast=True)],
        expected(f"text, or a list of 1 to {MAX_MESSAGES:,} messages"),
    ]
    instructions: str | None = None
    previous_response_id: str | None = Field(None, max_length=200)
    max_output_tokens: int | None = Field(None, ge=1)
    top_logprobs: int | None = Field(None, ge=0, le=MAX_TOP_LOGPROBS)
    include: list[str] | None = None
    store: bool | None = None
    metadata: Metadata | None = None
    tools: Any = None
    background: bool | None = None
    conversation: Any = None
    prompt: Any = None
    text: Any = None
    elman: ElmanWishes | None = None


class State(BaseModel):
    """The memory after a response."""

    bytes: int = Field(description="Size of the state: the same, however long the conversation.")
    messages: int = Field(description="How many messages it has read and said.")


class MessageAttribution(BaseModel):
    """What one earlier message did for a reply."""

    message: int = Field(description="Its number in the conversation, from 0.")
    nats: float = Field(
        description="By how much it made the reply likelier: log p of it, less log p with this "
        "message left out."
    )
    gradient: float = Field(description="The same to first order: gradient times input.")
    copied: float = Field(
        description="By how much it made the reply likelier because its words could be copied."
    )


class ElmanFacts(BaseModel):
    """What only this server tells."""

    state: State
    attribution: list[MessageAttribution] | None = Field(
        None, description="Where it was asked for, and the bot is still the one that replied."
    )
    attribution_cut: str | None = Field(
        None, description="Which messages were not looked at, where there are too many."
    )
    influence: list[MessageAttribution] | None = Field(
        None, description="The old name of attribution, for one release."
    )
    influence_cut: str | None = Field(
        None, description="The old name of attribution_cut, for one release."
    )


class OutputText(BaseModel):
    type: Literal["output_text"] = "output_text"
    text: str
    annotations: list[Any] = []
    logprobs: list[TokenLogprob] = []


class OutputMessage(BaseModel):
    type: Literal["message"] = "message"
    id: str
    status: Literal["in_progress", "completed", "incomplete"]
    role: Literal["assistant"] = "assistant"
    content: list[OutputText]


class ResponsesUsage(BaseModel):
    class Input(BaseModel):
        cached_tokens: int = 0
        cache_write_tokens: int = 0

    class Output(BaseModel):
        reasoning_tokens: int = 0

    input_tokens: int
    input_tokens_details: Input
    output_tokens: int
    output_tokens_details: Output
    total_tokens: int


class ResponseError(BaseModel):
    code: Literal["server_error"]
    message: str


class Incomplete(BaseModel):
    reason: Literal["max_output_tokens"]


class TextFormat(BaseModel):
    class Format(BaseModel):
        type: Literal["text"] = "text"

    format: Format = Format()


class ResponseObject(BaseModel):
    """A response, as OpenAI's API has it, and `elman`, the size and age of the memory after it."""

    id: str
    object: Literal["response"] = "response"
    created_at: int
    completed_at: int | None
    status: Literal["in_progress", "completed", "incomplete", "cancelled", "failed"]
    error: ResponseError | None = None
    incomplete_details: Incomplete | None = None
    instructions: str | None
    max_output_tokens: int | None
    max_tool_calls: None = None
    model: str
    output: list[OutputMessage]
    parallel_tool_calls: bool = False
    previous_response_id: str | None
    reasoning: None = None
    background: bool = False
    store: bool
    temperature: float
    top_p: float
    presence_penalty: float
    frequency_penalty: float
    top_logprobs: int
    text: TextFormat = TextFormat()
    tool_choice: Literal["none"] = "none"
    tools: list[Any] = []
    truncation: Literal["disabled"] = "disabled"
    service_tier: Literal["default"] = "default"
    usage: ResponsesUsage | None
    user: str | None
    metadata: dict[str, str]
    safety_identifier: None = None
    prompt_cache_key: None = None
    elman: ElmanFacts


class Deleted(BaseModel):
    id: str
    object: str
    deleted: Literal[True] = True
