"""/v1/chat/completions: the client tells the whole conversation each time.

Nothing of it is kept on disk. The states of the last conversations stay at hand, so that only
what is new is read.
"""

import secrets
import time
from collections.abc import AsyncIterator, Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from elman.serve.answering import (
    TokenLogprob,
    fingerprint,
    finish_reason,
    head,
    token_logprob,
    told,
    usage,
    wants_usage,
)
from elman.serve.errors import ApiError
from elman.serve.jobs import Ended, Said
from elman.serve.limits import MAX_CHOICES, MAX_MESSAGES, MAX_TOP_LOGPROBS
from elman.serve.prompts import Turn
from elman.serve.service import Service
from elman.serve.wire import (
    ROLES,
    Bias,
    Content,
    Metadata,
    Request,
    Stop,
    StreamOptions,
    Usage,
    biases,
    joined,
    refuse,
    sse,
    stops,
    text_of,
)


class ChatMessage(BaseModel):
    model_config = ConfigDict(extra="ignore")

    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: Content | None = None
    name: str | None = None
    tool_calls: Any = None
    function_call: Any = None


class ChatRequest(Request):
    messages: Annotated[list[ChatMessage], Field(fail_fast=True)] = Field(
        min_length=1, max_length=MAX_MESSAGES
    )
    max_tokens: int | None = Field(None, ge=1)
    max_completion_tokens: int | None = Field(None, ge=1)
    stop: Stop | None = None
    n: int | None = Field(None, ge=1, le=MAX_CHOICES)
    logprobs: bool | None = None
    top_logprobs: int | None = Field(None, ge=0, le=MAX_TOP_LOGPROBS)
    logit_bias: Bias | None = None
    stream_options: StreamOptions | None = None
    metadata: Metadata | None = None
    tools: Any = None
    functions: Any = None
    audio: Any = None
    response_format: Any = None
    modalities: Any = None


def turns_of(messages: Sequence[ChatMessage]) -> list[Turn]:
    """The messages of a conversation as the bot reads them.

    Raises:
        ApiError: where there is anything but text.
    """
    turns = []
    for number, message in enumerate(messages):
        param = f"messages[{number}]"
        if message.role not in ROLES or message.tool_calls or message.function_call:
            raise ApiError(400, "this bot has no tools: leave them out", param, "unsupported")
        turns.append(Turn(ROLES[message.role], text_of(message.content, f"{param}.content")))
    return joined(turns)


class ChatLogprobs(BaseModel):
    content: list[TokenLogprob] | None
    refusal: None = None


class ChatChoice(BaseModel):
    class Message(BaseModel):
        role: Literal["assistant"] = "assistant"
        content: str
        refusal: None = None
        annotations: list[Any] = []

    index: int
    message: Message
    logprobs: ChatLogprobs | None
    finish_reason: Literal["stop", "length"]


class ChatCompletion(BaseModel):
    id: str
    object: Literal["chat.completion"] = "chat.completion"
    created: int
    model: str
    choices: list[ChatChoice]
    usage: Usage
    system_fingerprint: str
    service_tier: Literal["default"] = "default"


class Chat:
    """One request to /v1/chat/completions; made beside the event loop, started in it."""

    def __init__(self, service: Service, owner: str, body: ChatRequest) -> None:
        refuse(
            body.model_dump(include={"tools", "functions", "audio"}),
            ["tools", "functions", "audio"],
        )
        kind = body.response_format
        if kind is not None and (not isinstance(kind, dict) or kind.get("type") != "text"):
            raise ApiError(
                400, "this bot says what it says: of response_format only text", "response_format",
                "unsupported",
            )  # fmt: skip
        if body.modalities not in (None, ["text"]):
            raise ApiError(400, "of modalities only text", "modalities", "unsupported")
        self._with_usage = wants_usage(body.stream_options, body.stream)
        if body.top_logprobs is not None and not body.logprobs:
            raise ApiError(400, "top_logprobs only goes with logprobs", "top_logprobs")
        self._service, self._body = service, body
        self.model = service.model(body.model)
        service.check_room(self.model, owner, body.n or 1)
        prompt = service.prompts.from_history(self.model, owner, turns_of(body.messages))
        self.id, self.created = f"chatcmpl-{secrets.token_hex(12)}", int(time.time())
        params = body.sampling_params(
            body.max_completion_tokens or body.max_tokens,
            stops(body.stop),
            biases(body.logit_bias, self.model),
            (body.top_logprobs or 0) if body.logprobs else None,
        )
        self.reply = service.reply(prompt, params, body.n or 1)

    def start(self) -> None:
        """Ask for the replies.

        Raises:
            ApiError: where too many wait.
        """
        self._service.submit(self.reply)

    async def whole(self) -> dict[str, Any]:
        count = self._body.n or 1
        texts, said = [""] * count, 0
        logprobs: list[list[TokenLogprob]] = [[] for _ in range(count)]
        reasons: list[Literal["stop", "length"]] = ["stop"] * count
        async for event in told(self._service, self.reply):
            if isinstance(event, Said):
                texts[event.choice] += event.text
                if event.logprob is not None:
                    logprobs[event.choice].append(token_logprob(self.model, event))
            elif isinstance(event, Ended):
                texts[event.choice] += event.text
                reasons[event.choice] = finish_reason(event)
                said += len(event.said)
                self._service.remember(self.reply.prompt, event, texts[event.choice])
        choices = [
            ChatChoice(
                index=number,
                message=ChatChoice.Message(content=texts[number]),
                logprobs=ChatLogprobs(content=logprobs[number]) if self._body.logprobs else None,
                finish_reason=reasons[number],
            )
            for number in range(count)
        ]
        return ChatCompletion(
            id=self.id,
            created=self.created,
            model=self.model.name,
            choices=choices,
            usage=usage(self.reply.prompt, said),
            system_fingerprint=fingerprint(self.model),
        ).model_dump()

    async def pieces(self) -> AsyncIterator[bytes]:
        texts: dict[int, str] = {}
        said = 0
        for choice in range(self._body.n or 1):
            yield self._chunk(choice, {"role": "assistant", "content": ""})
        async for event in told(self._service, self.reply):
            if isinstance(event, Said):
                texts[event.choice] = texts.get(event.choice, "") + event.text
                logprobs = None
                if event.logprob is not None:
                    content = token_logprob(self.model, event)
                    logprobs = ChatLogprobs(content=[content]).model_dump()
                if event.text or logprobs:
                    yield self._chunk(event.choice, {"content": event.text}, None, logprobs)
            elif isinstance(event, Ended):
                texts[event.choice] = texts.get(event.choice, "") + event.text
                said += len(event.said)
                self._service.remember(self.reply.prompt, event, texts[event.choice])
                if event.text:
                    yield self._chunk(event.choice, {"content": event.text})
                yield self._chunk(event.choice, {}, finish_reason(event))
        if self._with_usage:
            told_usage = usage(self.reply.prompt, said).model_dump()
            yield sse(self._head() | {"choices": [], "usage": told_usage})
        yield sse("[DONE]")

    def _head(self) -> dict[str, Any]:
        return head(self.model, self.id, "chat.completion.chunk", self.created)

    def _chunk(
        self,
        index: int,
        delta: dict[str, Any],
        reason: str | None = None,
        logprobs: dict[str, Any] | None = None,
    ) -> bytes:
        choice = {"index": index, "delta": delta, "logprobs": logprobs, "finish_reason": reason}
        empty = {"usage": None} if self._with_usage else {}
        return sse(self._head() | {"choices": [choice]} | empty)
