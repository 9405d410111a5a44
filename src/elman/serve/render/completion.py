"""How a completion is told: each choice when it is finished."""

from collections.abc import AsyncIterator, Sequence
from typing import Literal

from pydantic import BaseModel

from elman.data.tokenizer import END
from elman.serve.jobs import Ended, Said
from elman.serve.models import Model
from elman.serve.render.answers import (
    MIN_LOGPROB,
    CompletionAnswer,
    Usage,
    finish_reason,
    token_bytes,
    usage,
)
from elman.serve.submission import Submissions


class CompletionLogprobs(BaseModel):
    tokens: list[str] = []
    token_logprobs: list[float | None] = []
    top_logprobs: list[dict[str, float] | None] | None = None
    text_offset: list[int] = []


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


class TextAnswer(CompletionAnswer):
    """Texts that go on from prompts, as they are told.

    Args:
        submissions: one for each prompt, of `choices` replies.
        prompts: the tokens of each.
        echo: whether the prompts are told, too.
        logprobs: how many of the likeliest tokens to tell with each; None: no likelihoods.
        with_usage: whether a stream ends with what it took.
    """

    def __init__(
        self,
        model: Model,
        submissions: Submissions,
        prompts: Sequence[Sequence[int]],
        choices: int,
        echo: bool,
        logprobs: int | None,
        with_usage: bool,
    ) -> None:
        super().__init__(model, submissions, "cmpl", "text_completion", with_usage)
        self._submissions, self._prompts, self._count = submissions, prompts, choices
        self._echo, self._logprob_count = echo, logprobs
        self._said = 0

    async def whole(self) -> Completion:
        """Tell all choices when the last one has ended."""
        choices = [choice async for choice in self._choices()]
        choices.sort(key=lambda each: each.index)
        return Completion(**self.head, choices=choices, usage=self._usage())

    async def stream(self) -> AsyncIterator[bytes]:
        """Tell each choice as one event when it is finished.

        Every event must say why its choice has ended, so none can be told in parts: OpenAI's own
        client refuses a `finish_reason` of null here, and others stop reading at any other.
        """
        async for choice in self._choices():
            yield self.event(choice.model_dump())
        yield self.end(self._usage())

    async def _choices(self) -> AsyncIterator[CompletionChoice]:
        """Yield every choice when it is finished."""
        said: dict[int, list[Said]] = {}
        async for number, event in self._submissions.events():
            index = number * self._count + event.choice
            if isinstance(event, Said):
                said.setdefault(index, []).append(event)
                continue
            self._said += len(event.said)
            skipped = 0 if self._echo else len(self._prompts[number])
            yield self._choice(index, said.pop(index, [])[skipped:], event)

    def _choice(self, index: int, said: list[Said], end: Ended) -> CompletionChoice:
        return CompletionChoice(
            index=index,
            text="".join(each.text for each in said) + end.text,
            logprobs=None if self._logprob_count is None else self._logprobs(said, end),
            finish_reason=finish_reason(end),
        )

    def _usage(self) -> Usage:
        begun = sum(map(len, self._prompts))
        return usage(begun, 0, max(0, self._said - begun * self._count))

    def _logprobs(self, said: list[Said], end: Ended) -> CompletionLogprobs:
        """Return the likelihoods of a reply's tokens, and of its END where the bot chose it."""
        if end.logprob is not None:
            said = [*said, Said(end.choice, END, "", False, end.logprob, end.likeliest)]
        found, at = CompletionLogprobs(), 0
        tops: list[dict[str, float] | None] = []
        for each in said:
            own = (each.token, each.logprob or 0.0)
            top: dict[str, float] = {}
            for token, value in [*each.likeliest, own]:
                # Of tokens that are written alike the likeliest comes first.
                top.setdefault(self._written(token, each.first), max(value, MIN_LOGPROB))
            tops.append(top)
            found.tokens.append(self._written(each.token, each.first))
            found.token_logprobs.append(max(own[1], MIN_LOGPROB))
            found.text_offset.append(at)
            at += len(each.text)
        if self._logprob_count:
            found.top_logprobs = tops
        return found

    def _written(self, token: int, is_first: bool) -> str:
        """Write a token as text; bytes that are no whole characters are escaped, as OpenAI does."""
        raw = token_bytes(self.model, token, is_first)
        try:
            return raw.decode()
        except UnicodeDecodeError:
            return "bytes:" + "".join(f"\\x{byte:02x}" for byte in raw)
