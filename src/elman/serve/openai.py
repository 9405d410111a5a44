"""/v1/chat/completions and /v1/completions: the client tells the whole conversation each time.

Nothing of it is kept on disk. The states of the last conversations stay at hand, so that only
what is new is read.
"""

import secrets
import time
from collections.abc import AsyncIterator
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from elman.serve.batching import Ended, Read, Said
from elman.serve.errors import ApiError
from elman.serve.service import Model, Prompt, Reply, Service, Turn, encoded, text_tokens
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

CHOICES = 16
"""Replies to one request, at most."""
PROMPT = 8192
"""Tokens of a prompt of /v1/completions, at most: they are said one by one."""


class ChatMessage(BaseModel):
    model_config = ConfigDict(extra="ignore")

    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: Content | None = None
    name: str | None = None
    tool_calls: Any = None
    function_call: Any = None


class ChatRequest(Request):
    messages: list[ChatMessage] = Field(min_length=1)
    max_tokens: int | None = Field(None, ge=1)
    max_completion_tokens: int | None = Field(None, ge=1)
    stop: Stop | None = None
    n: int | None = Field(None, ge=1, le=CHOICES)
    logprobs: bool | None = None
    top_logprobs: int | None = Field(None, ge=0, le=20)
    logit_bias: Bias | None = None
    stream_options: StreamOptions | None = None
    metadata: Metadata | None = None
    tools: Any = None
    functions: Any = None
    audio: Any = None
    response_format: Any = None
    modalities: Any = None


class CompletionRequest(Request):
    prompt: (
        str
        | list[Annotated[int, Field(ge=0)]]
        | Annotated[list[str], Field(max_length=CHOICES)]
        | Annotated[list[list[Annotated[int, Field(ge=0)]]], Field(max_length=CHOICES)]
    )
    max_tokens: int | None = Field(None, ge=0)
    stop: Stop | None = None
    n: int | None = Field(None, ge=1, le=CHOICES)
    best_of: int | None = Field(None, ge=1, le=CHOICES)
    echo: bool | None = None
    logprobs: int | None = Field(None, ge=0, le=20)
    logit_bias: Bias | None = None
    stream_options: StreamOptions | None = None
    suffix: str | None = None


class TokenLogprob(BaseModel):
    class Top(BaseModel):
        token: str
        bytes: list[int] | None
        logprob: float

    token: str
    bytes: list[int] | None
    logprob: float
    top_logprobs: list[Top]


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


class CompletionLogprobs(BaseModel):
    tokens: list[str]
    token_logprobs: list[float | None]
    top_logprobs: list[dict[str, float] | None] | None
    text_offset: list[int]


class CompletionChoice(BaseModel):
    index: int
    text: str
    logprobs: CompletionLogprobs | None
    finish_reason: Literal["stop", "length"]


class Completion(BaseModel):
    id: str
    object: Literal["text_completion"] = "text_completion"
    created: int
    model: str
    choices: list[CompletionChoice]
    usage: Usage
    system_fingerprint: str


def fingerprint(model: Model) -> str:
    return f"fp_{model.made_by.hex()[:12]}"


def finish_reason(event: Ended) -> Literal["stop", "length"]:
    return "length" if event.reason == "length" else "stop"


def token_logprob(model: Model, event: Said) -> TokenLogprob:
    def piece(token: int) -> tuple[str, list[int]]:
        tokenizer = model.bot.tokenizer
        raw = tokenizer.decode_bytes([token]) if event.first else tokenizer.spelled(token)
        return raw.decode("utf-8", "replace"), list(raw)

    text, raw = piece(event.token)
    tops = []
    for token, logprob in event.likeliest:
        top, top_bytes = piece(token)
        tops.append(TokenLogprob.Top(token=top, bytes=top_bytes, logprob=max(logprob, -9999.0)))
    return TokenLogprob(
        token=text, bytes=raw, logprob=max(event.logprob or 0.0, -9999.0), top_logprobs=tops
    )


class Chat:
    """One request to /v1/chat/completions."""

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
        if body.stream_options is not None and not body.stream:
            raise ApiError(400, "stream_options only goes with stream", "stream_options")
        if body.top_logprobs is not None and not body.logprobs:
            raise ApiError(400, "top_logprobs only goes with logprobs", "top_logprobs")
        self._service, self._body = service, body
        self.model = service.model(body.model)
        prompt = service.from_history(self.model, owner, self._turns())
        self.id, self.created = f"chatcmpl-{secrets.token_hex(12)}", int(time.time())
        wishes = body.wishes(
            body.max_completion_tokens or body.max_tokens,
            stops(body.stop),
            biases(body.logit_bias, self.model),
            (body.top_logprobs or 0) if body.logprobs else None,
        )
        self.reply = service.reply(prompt, wishes, body.n or 1)

    def _turns(self) -> list[Turn]:
        turns = []
        for number, message in enumerate(self._body.messages):
            param = f"messages[{number}]"
            if message.role not in ROLES or message.tool_calls or message.function_call:
                raise ApiError(400, "this bot has no tools: leave them out", param, "unsupported")
            turns.append(Turn(ROLES[message.role], text_of(message.content, f"{param}.content")))
        return joined(turns)

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
        options = self._body.stream_options
        if options is not None and options.include_usage:
            told_usage = usage(self.reply.prompt, said).model_dump()
            yield sse(self._head() | {"choices": [], "usage": told_usage})
        yield sse("[DONE]")

    def _head(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "object": "chat.completion.chunk",
            "created": self.created,
            "model": self.model.name,
            "system_fingerprint": fingerprint(self.model),
        }

    def _chunk(
        self,
        index: int,
        delta: dict[str, Any],
        reason: str | None = None,
        logprobs: dict[str, Any] | None = None,
    ) -> bytes:
        choice = {"index": index, "delta": delta, "logprobs": logprobs, "finish_reason": reason}
        options = self._body.stream_options
        empty = {"usage": None} if options is not None and options.include_usage else {}
        return sse(self._head() | {"choices": [choice]} | empty)


async def told(service: Service, reply: Reply) -> AsyncIterator[Said | Ended]:
    """The events of a reply that its client is told; the first token is timed."""
    first = True
    async for event in reply.events():
        if isinstance(event, Read):
            service.remember(reply.prompt, event)
            continue
        if first:
            service.metrics.first_token(reply)
            first = False
        assert isinstance(event, Said | Ended)
        yield event


def usage(prompt: Prompt, said: int) -> Usage:
    return Usage.of(prompt.tokens, prompt.known, said)


class Completing:
    """One request to /v1/completions: beginnings of messages of the bot's."""

    def __init__(self, service: Service, owner: str, body: CompletionRequest) -> None:
        refuse({"suffix": body.suffix}, ["suffix"])
        if body.best_of is not None and body.best_of != (body.n or 1):
            raise ApiError(400, "best_of must be n", "best_of", "unsupported")
        if body.stream_options is not None and not body.stream:
            raise ApiError(400, "stream_options only goes with stream", "stream_options")
        self._service, self._body = service, body
        self.model = service.model(body.model)
        self._begins = self._prompts()
        self.id, self.created = f"cmpl-{secrets.token_hex(12)}", int(time.time())
        wishes = body.wishes(
            16 if body.max_tokens is None else body.max_tokens,
            stops(body.stop),
            biases(body.logit_bias, self.model),
            body.logprobs,
        )
        memory = service.memory(self.model, owner)
        state = self.model.bot.chatbot.initial_state(1)
        nothing = Prompt(self.model, memory, memory.after(None, "user", ""), [], state, [], 0, ())
        self._replies: list[Reply] = []
        try:
            for begins in self._begins:
                self._replies.append(service.reply(nothing, wishes, self._count, begins))
        except ApiError:
            self.cancel()
            raise

    @property
    def _count(self) -> int:
        return self._body.n or 1

    def _prompts(self) -> list[list[int]]:
        """Every prompt as tokens."""
        given: Any = self._body.prompt
        several = isinstance(given, list) and bool(given) and not isinstance(given[0], int)
        found = [
            encoded(self.model, each) if isinstance(each, str) else text_tokens(self.model, each)
            for each in (given if several else [given])
        ]
        for tokens in found:
            if len(tokens) > PROMPT:
                raise ApiError(
                    400, f"the prompt has {len(tokens):,} tokens: {PROMPT:,} at most", "prompt"
                )
        return found

    def cancel(self) -> None:
        for reply in self._replies:
            reply.cancel()

    async def _told(self) -> AsyncIterator[tuple[int, Said | Ended]]:
        """What is told of every choice, by its index in the answer."""
        for number, reply in enumerate(self._replies):
            passed = [0 if self._body.echo else len(self._begins[number])] * self._count
            async for event in told(self._service, reply):
                if isinstance(event, Said) and passed[event.choice]:
                    passed[event.choice] -= 1
                    continue
                yield number * self._count + event.choice, event

    async def whole(self) -> dict[str, Any]:
        said: dict[int, list[Said]] = {}
        ends: dict[int, Ended] = {}
        async for index, event in self._told():
            if isinstance(event, Said):
                said.setdefault(index, []).append(event)
            else:
                ends[index] = event
        choices = [
            CompletionChoice(
                index=index,
                text="".join(each.text for each in said.get(index, ())) + end.text,
                logprobs=self._logprobs(said.get(index, [])),
                finish_reason=finish_reason(end),
            )
            for index, end in sorted(ends.items())
        ]
        return (
            self._head()
            | {"choices": [each.model_dump() for each in choices]}
            | {"usage": self._usage(ends).model_dump()}
        )

    async def pieces(self) -> AsyncIterator[bytes]:
        ends: dict[int, Ended] = {}
        options = self._body.stream_options
        with_usage = options is not None and bool(options.include_usage)
        head = self._head() | ({"usage": None} if with_usage else {})
        async for index, event in self._told():
            logprobs = None
            if isinstance(event, Said) and self._body.logprobs is not None:
                own = self._logprobs([event])
                logprobs = None if own is None else own.model_dump()
            reason = finish_reason(event) if isinstance(event, Ended) else None
            if isinstance(event, Ended):
                ends[index] = event
            if event.text or logprobs or reason:
                choice = {
                    "index": index, "text": event.text, "logprobs": logprobs,
                    "finish_reason": reason,
                }  # fmt: skip
                yield sse(head | {"choices": [choice]})
        if with_usage:
            yield sse(head | {"choices": [], "usage": self._usage(ends).model_dump()})
        yield sse("[DONE]")

    def _head(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "object": "text_completion",
            "created": self.created,
            "model": self.model.name,
            "system_fingerprint": fingerprint(self.model),
        }

    def _usage(self, ends: dict[int, Ended]) -> Usage:
        begun = sum(map(len, self._begins))
        said = sum(len(end.said) for end in ends.values()) - begun * self._count
        return Usage.of(begun, 0, max(0, said))

    def _logprobs(self, told: list[Said]) -> CompletionLogprobs | None:
        if self._body.logprobs is None:
            return None
        tokens = [token_logprob(self.model, each) for each in told]
        offsets, at = [], 0
        for each in told:
            offsets.append(at)
            at += len(each.text)
        tops = [{top.token: top.logprob for top in each.top_logprobs} for each in tokens]
        return CompletionLogprobs(
            tokens=[each.token for each in tokens],
            token_logprobs=[each.logprob for each in tokens],
            top_logprobs=list(tops) if self._body.logprobs else None,
            text_offset=offsets,
        )
