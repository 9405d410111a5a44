"""/v1/completions: beginnings of messages of the bot's. Nothing of them is kept."""

import secrets
import time
from collections.abc import AsyncIterator
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from elman.data.tokenizer import SPECIALS
from elman.serve.answering import (
    CHOICES,
    finish_reason,
    head,
    token_logprob,
    told,
    wants_usage,
)
from elman.serve.errors import ApiError
from elman.serve.jobs import Ended, Said
from elman.serve.prompts import Model, Prompt
from elman.serve.service import Reply, Service
from elman.serve.wire import Bias, Request, Stop, StreamOptions, Usage, biases, refuse, sse, stops

PROMPT = 8192
"""Tokens of a prompt, at most: they are said one by one."""


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


class Completing:
    """One request to /v1/completions: beginnings of messages of the bot's."""

    def __init__(self, service: Service, owner: str, body: CompletionRequest) -> None:
        refuse({"suffix": body.suffix}, ["suffix"])
        if body.best_of is not None and body.best_of != (body.n or 1):
            raise ApiError(400, "best_of must be n", "best_of", "unsupported")
        self._with_usage = wants_usage(body.stream_options, body.stream)
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
        memory = self.model.memory(service.store, owner)
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
        found = [_tokens(self.model, each) for each in (given if several else [given])]
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
        begin = self._head() | ({"usage": None} if self._with_usage else {})
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
                yield sse(begin | {"choices": [choice]})
        if self._with_usage:
            yield sse(begin | {"choices": [], "usage": self._usage(ends).model_dump()})
        yield sse("[DONE]")

    def _head(self) -> dict[str, Any]:
        return head(self.model, self.id, "text_completion", self.created)

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


def _tokens(model: Model, prompt: str | list[int]) -> list[int]:
    """Of a prompt that is text, or tokens already.

    Raises:
        ApiError: where one of the tokens is not of text.
    """
    tokenizer = model.bot.tokenizer
    if isinstance(prompt, str):
        return tokenizer.encode(prompt.encode(errors="replace"))
    for token in prompt:
        if not SPECIALS <= token < tokenizer.vocabulary_size:
            last = tokenizer.vocabulary_size - 1
            raise ApiError(400, f"token {token}: must be from {SPECIALS} to {last}", "prompt")
    return list(prompt)
