"""/v1/completions: beginnings of messages of the bot's. Nothing of them is kept."""

import secrets
import time
from collections.abc import AsyncIterator, Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from elman.data.tokenizer import END, SPECIALS
from elman.serve.answering import MIN_LOGPROB, finish_reason, head, told, wants_usage
from elman.serve.errors import ApiError
from elman.serve.jobs import Ended, Said
from elman.serve.limits import (
    MAX_AT_ONCE,
    MAX_CHOICES,
    MAX_PROMPT_TOKENS,
    MAX_PROMPTS,
    MAX_TOP_LOGPROBS,
    MAX_TOTAL_PROMPT_TOKENS,
)
from elman.serve.prompts import Model, Prompt
from elman.serve.service import Service
from elman.serve.wire import (
    Bias,
    Request,
    Stop,
    StreamOptions,
    Usage,
    biases,
    expected,
    refuse,
    sse,
    stops,
)

TokenIds = Annotated[list[Annotated[int, Field(ge=0)]], Field(fail_fast=True)]
Prompts = Annotated[
    str
    | TokenIds
    | Annotated[list[str], Field(max_length=MAX_PROMPTS, fail_fast=True)]
    | Annotated[list[TokenIds], Field(max_length=MAX_PROMPTS, fail_fast=True)],
    expected(f"text, token ids, or a list of at most {MAX_PROMPTS} of either"),
]


class CompletionRequest(Request):
    prompt: Prompts
    max_tokens: int | None = Field(None, ge=0)
    stop: Stop | None = None
    n: int | None = Field(None, ge=1, le=MAX_CHOICES)
    best_of: int | None = Field(None, ge=1, le=MAX_CHOICES)
    echo: bool | None = None
    logprobs: int | None = Field(None, ge=0, le=MAX_TOP_LOGPROBS)
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
    """One request to /v1/completions; made beside the event loop, started in it.

    Of many prompts only some are asked for at once, and the next one when one has ended.
    """

    def __init__(self, service: Service, owner: str, body: CompletionRequest) -> None:
        refuse({"suffix": body.suffix}, ["suffix"])
        if body.best_of is not None and body.best_of != (body.n or 1):
            raise ApiError(400, "best_of must be n", "best_of", "unsupported")
        self._with_usage = wants_usage(body.stream_options, body.stream)
        self._service, self._body = service, body
        self.model = service.model(body.model)
        self._at_once = max(1, MAX_AT_ONCE // self._count)
        service.check_room(self.model, owner, self._count)
        self._begins = self._prompts()
        self.id, self.created = f"cmpl-{secrets.token_hex(12)}", int(time.time())
        params = body.sampling_params(
            16 if body.max_tokens is None else body.max_tokens,
            stops(body.stop),
            biases(body.logit_bias, self.model),
            body.logprobs,
        )
        memory = self.model.memory(service.store, owner)
        state = self.model.bot.chatbot.initial_state(1)
        nothing = Prompt(self.model, memory, None, [], state, [], 0, ())
        self._replies = [
            service.reply(nothing, params, self._count, begins, is_continuation=number > 0)
            for number, begins in enumerate(self._begins)
        ]

    def start(self) -> None:
        """Ask for the first replies.

        Raises:
            ApiError: where too many wait.
        """
        try:
            for reply in self._replies[: self._at_once]:
                self._service.submit(reply)
        except ApiError:
            self.cancel()
            raise

    @property
    def _count(self) -> int:
        return self._body.n or 1

    def _prompts(self) -> list[list[int]]:
        """Every prompt as tokens.

        Raises:
            ApiError: where there are too many.
        """
        given: Any = self._body.prompt
        several = isinstance(given, list) and bool(given) and not isinstance(given[0], int)
        texts = given if several else [given]
        if len(texts) * self._count > MAX_PROMPTS:
            raise ApiError(
                400, f"{len(texts)} prompts with {self._count} replies each: at most "
                f"{MAX_PROMPTS} replies to one request", "prompt",
            )  # fmt: skip
        found = []
        for text in texts:
            found.append(_tokens(self.model, text))
            if (size := len(found[-1])) > MAX_PROMPT_TOKENS:
                raise ApiError(
                    400, f"the prompt has {size:,} tokens: {MAX_PROMPT_TOKENS:,} at most", "prompt"
                )
        if (size := sum(map(len, found)) * self._count) > MAX_TOTAL_PROMPT_TOKENS:
            raise ApiError(
                400, f"the prompts have {size:,} tokens, each counted n times: "
                f"{MAX_TOTAL_PROMPT_TOKENS:,} at most; ask for some of them at a time", "prompt",
            )  # fmt: skip
        return found

    def cancel(self) -> None:
        for reply in self._replies:
            reply.cancel()

    async def _choices(self) -> AsyncIterator[tuple[CompletionChoice, Ended]]:
        """Every choice when it is finished."""
        for number, reply in enumerate(self._replies):
            said: list[list[Said]] = [[] for _ in range(self._count)]
            skipped = 0 if self._body.echo else len(self._begins[number])
            async for event in told(self._service, reply):
                own = said[event.choice]
                if isinstance(event, Said):
                    own.append(event)
                    continue
                index = number * self._count + event.choice
                yield self._choice(index, own[skipped:], event), event
            if number + self._at_once < len(self._replies):
                self._service.submit(self._replies[number + self._at_once])

    def _choice(self, index: int, said: list[Said], end: Ended) -> CompletionChoice:
        return CompletionChoice(
            index=index,
            text="".join(each.text for each in said) + end.text,
            logprobs=None if self._body.logprobs is None else self._logprobs(said, end),
            finish_reason=finish_reason(end),
        )

    async def whole(self) -> dict[str, Any]:
        choices, said = [], 0
        async for choice, end in self._choices():
            choices.append(choice)
            said += len(end.said)
        choices.sort(key=lambda each: each.index)
        return (
            self._head()
            | {"choices": [each.model_dump() for each in choices]}
            | {"usage": self._usage(said).model_dump()}
        )

    async def pieces(self) -> AsyncIterator[bytes]:
        """Each choice as one event when it is finished.

        Every event must say why its choice has ended, so none can be told in parts: OpenAI's own
        client refuses a `finish_reason` of null here, and others stop reading at any other.
        """
        begin = self._head() | ({"usage": None} if self._with_usage else {})
        said = 0
        async for choice, end in self._choices():
            said += len(end.said)
            yield sse(begin | {"choices": [choice.model_dump()]})
        if self._with_usage:
            yield sse(begin | {"choices": [], "usage": self._usage(said).model_dump()})
        yield sse("[DONE]")

    def _head(self) -> dict[str, Any]:
        return head(self.model, self.id, "text_completion", self.created)

    def _usage(self, said: int) -> Usage:
        begun = sum(map(len, self._begins))
        return Usage.of(begun, 0, max(0, said - begun * self._count))

    def _logprobs(self, said: list[Said], end: Ended) -> CompletionLogprobs:
        """The likelihoods of a reply's tokens, and of its END where the bot chose it."""
        found = CompletionLogprobs(tokens=[], token_logprobs=[], top_logprobs=[], text_offset=[])
        at = 0
        for each in said:
            self._add(found, each.token, each.logprob, each.likeliest, each.first, at)
            at += len(each.text)
        if end.logprob is not None:
            self._add(found, END, end.logprob, end.likeliest, False, at)
        if not self._body.logprobs:
            found.top_logprobs = None
        return found

    def _add(
        self,
        found: CompletionLogprobs,
        token: int,
        logprob: float | None,
        likeliest: Sequence[tuple[int, float]],
        is_first: bool,
        at: int,
    ) -> None:
        top: dict[str, float] = {}
        for each, value in [*likeliest, (token, logprob or 0.0)]:
            # Of tokens that are written alike the likeliest comes first.
            top.setdefault(self._written(each, is_first), max(value, MIN_LOGPROB))
        found.tokens.append(self._written(token, is_first))
        found.token_logprobs.append(max(logprob or 0.0, MIN_LOGPROB))
        assert found.top_logprobs is not None
        found.top_logprobs.append(top)
        found.text_offset.append(at)

    def _written(self, token: int, is_first: bool) -> str:
        """A token as text; bytes that are no whole characters are escaped, as OpenAI does."""
        tokenizer = self.model.bot.tokenizer
        raw = tokenizer.decode_bytes([token]) if is_first else tokenizer.spelled(token)
        try:
            return raw.decode()
        except UnicodeDecodeError:
            return "bytes:" + "".join(f"\\x{byte:02x}" for byte in raw)


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
