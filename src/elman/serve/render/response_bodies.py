"""What /v1/responses answers, and how it is made of what is kept."""

from typing import Any, Literal

from pydantic import BaseModel, Field

from elman.generate.replier import Origin
from elman.serve.render.answers import TokenLogprob
from elman.serve.store.responses import StoredResponse


class StateSummary(BaseModel):
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

    state: StateSummary
    origin: Origin | None = Field(
        None, description="Where the reply came from; it is told once and not kept."
    )
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


class InputDetails(BaseModel):
    cached_tokens: int = 0
    cache_write_tokens: int = 0


class OutputDetails(BaseModel):
    reasoning_tokens: int = 0


class ResponseUsage(BaseModel):
    input_tokens: int
    input_tokens_details: InputDetails
    output_tokens: int
    output_tokens_details: OutputDetails = OutputDetails()
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
    usage: ResponseUsage | None
    user: str | None
    metadata: dict[str, str]
    safety_identifier: None = None
    prompt_cache_key: None = None
    elman: ElmanFacts
    state: str | None = Field(
        None, description="Where the client carries it: what the next request brings back."
    )


class Deleted(BaseModel):
    id: str
    object: str
    deleted: Literal[True] = True


def response_of(
    response: StoredResponse, known: int = 0, logprobs: list[TokenLogprob] | None = None
) -> ResponseObject:
    """Return a response that has ended.

    Args:
        response: what is kept of it.
        known: tokens that did not have to be read.
        logprobs: of its tokens, where they were asked for.
    """
    is_whole = response.status == "completed"
    message = OutputMessage(
        id=message_id(response.id),
        status="completed" if is_whole else "incomplete",
        content=[OutputText(text=response.output, logprobs=logprobs or [])],
    )
    is_cut = response.status == "incomplete"
    return ResponseObject(
        id=response.id,
        created_at=int(response.created_at),
        completed_at=int(response.completed_at) if is_whole else None,
        status=response.status,
        incomplete_details=Incomplete(reason="max_output_tokens") if is_cut else None,
        model=response.model,
        output=[message],
        previous_response_id=response.previous,
        usage=ResponseUsage(
            input_tokens=response.read,
            input_tokens_details=InputDetails(cached_tokens=known),
            output_tokens=response.said,
            total_tokens=response.read + response.said,
        ),
        elman=ElmanFacts(state=StateSummary(bytes=response.bytes, messages=response.messages)),
        **response.asked_for,
    )


def message_id(response_id: str) -> str:
    """Return the id of the message that a response is."""
    return f"msg_{response_id.removeprefix('resp_')}"
