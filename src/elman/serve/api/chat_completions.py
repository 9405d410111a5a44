"""/v1/chat/completions: the client tells the whole conversation each time.

Nothing of it is kept on disk. The states of the last conversations stay at hand, so that only
what is new is read. Of one whose client carries the state, only what is new is told.
"""

from collections.abc import Sequence
from functools import partial
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Request
from pydantic import BaseModel, Field
from starlette.responses import Response

from elman.data.conversation import Turn
from elman.serve.api.requests import (
    ROLE_OF,
    CarriedText,
    ChoicesRequest,
    Content,
    Metadata,
    joined,
    refuse,
    refuse_formats,
    text_of,
)
from elman.serve.http.access import Owner
from elman.serve.http.errors import ERRORS, ApiError
from elman.serve.http.stream import STREAMS, respond
from elman.serve.limits import LIMITS
from elman.serve.prompts import Prompt
from elman.serve.render.chat_completion import ChatAnswer, ChatCompletion
from elman.serve.service import Served, Service
from elman.serve.submission import Submission

router = APIRouter(prefix="/v1", responses=ERRORS)


class ChatMessage(BaseModel):
    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: Content | None = None
    name: str | None = None
    tool_calls: Any = None
    function_call: Any = None


class ChatRequest(ChoicesRequest):
    messages: Annotated[list[ChatMessage], Field(fail_fast=True)] = Field(
        min_length=1, max_length=LIMITS.max_messages
    )
    max_tokens: int | None = Field(None, ge=1)
    max_completion_tokens: int | None = Field(None, ge=1)
    logprobs: bool | None = None
    top_logprobs: int | None = Field(None, ge=0, le=LIMITS.max_top_logprobs)
    metadata: Metadata | None = None
    tools: Any = None
    functions: Any = None
    audio: Any = None
    response_format: Any = None
    modalities: Any = None
    state: CarriedText = None


@router.post("/chat/completions", response_model=ChatCompletion, responses=STREAMS)
async def chat_completions(
    request: Request, service: Served, owner: Owner, body: ChatRequest
) -> Response:
    """A reply to a conversation that is told from its beginning."""
    parse(body)
    prompt, replies = await service.workers.do(owner, partial(resolve, service, owner, body))
    replies.submit()
    return await respond(
        request, ChatAnswer(service, prompt, replies, body.with_usage), body.stream
    )


def parse(body: ChatRequest) -> None:
    """Raise ApiError where this bot cannot do what is asked for."""
    refuse(body, "tools", "functions", "audio")
    refuse_formats(body.response_format, "response_format")
    if body.modalities not in (None, ["text"]):
        raise ApiError(400, "of modalities only text", "modalities", "unsupported")
    body.check_stream()
    if body.top_logprobs is not None and not body.logprobs:
        raise ApiError(400, "top_logprobs only goes with logprobs", "top_logprobs")


def resolve(service: Service, owner: str, body: ChatRequest) -> tuple[Prompt, Submission]:
    """Find the state that the conversation begins with; prepare the replies.

    Raises:
        ApiError: where there is no such bot, or it cannot read the conversation.
    """
    model = service.model_with_room(body.model, owner, body.choices)
    turns = turns_of(body.messages)
    carried = service.carried(model, owner, body.state)
    if carried is None:
        prompt = service.prompts.from_history(model, owner, turns)
    else:
        prompt = service.prompts.from_carried(model, owner, carried, turns)
    prompt.carries = body.state is not None
    params = body.params_of(
        model,
        body.max_completion_tokens or body.max_tokens,
        (body.top_logprobs or 0) if body.logprobs else None,
    )
    return prompt, service.prepare(model, partial(prompt.job, params, body.choices), prompt.known)


def turns_of(messages: Sequence[ChatMessage]) -> list[Turn]:
    """Return the messages of a conversation as the bot reads them.

    Raises:
        ApiError: where there is anything but text.
    """
    turns = []
    for number, message in enumerate(messages):
        param = f"messages[{number}]"
        if message.role not in ROLE_OF or message.tool_calls or message.function_call:
            raise ApiError(400, "this bot has no tools: leave them out", param, "unsupported")
        turns.append(Turn(ROLE_OF[message.role], text_of(message.content, f"{param}.content")))
    return joined(turns)
