"""How a chat completion is told, whole or as it comes."""

from collections.abc import AsyncIterator, Mapping
from types import MappingProxyType
from typing import Any, Literal

from pydantic import BaseModel, Field

from elman.generate.replier import Origin
from elman.serve.jobs import Ended
from elman.serve.prompts import Prompt
from elman.serve.render.answers import (
    CompletionAnswer,
    TokenLogprob,
    ToldReplies,
    Usage,
    finish_reason,
)
from elman.serve.service import Service
from elman.serve.submission import Submission


class ChatLogprobs(BaseModel):
    content: list[TokenLogprob] | None
    refusal: None = None


class AssistantMessage(BaseModel):
    role: Literal["assistant"] = "assistant"
    content: str
    refusal: None = None
    annotations: list[Any] = []


class ChatChoice(BaseModel):
    index: int
    message: AssistantMessage
    logprobs: ChatLogprobs | None
    finish_reason: Literal["stop", "length"]
    origin: Origin
    state: str | None = Field(
        None, description="Where the client carries it: what the next request brings back."
    )


class ChatCompletion(BaseModel):
    id: str
    object: Literal["chat.completion"] = "chat.completion"
    created: int
    model: str
    choices: list[ChatChoice]
    usage: Usage
    system_fingerprint: str
    service_tier: Literal["default"] = "default"


class ChatAnswer(CompletionAnswer):
    """Replies to a chat, as they are told."""

    def __init__(
        self, service: Service, prompt: Prompt, submission: Submission, with_usage: bool
    ) -> None:
        super().__init__(prompt.model, submission, "chatcmpl", "chat.completion.chunk", with_usage)
        self._replies = ToldReplies(service, prompt, submission)
        self._with_logprobs = submission.job.params.logprobs is not None

    async def whole(self) -> ChatCompletion:
        """Tell all replies when the last one has ended."""
        replies = self._replies
        async for _ in replies.events():
            pass
        choices = [
            ChatChoice(
                index=number,
                message=AssistantMessage(content=replies.texts[number]),
                logprobs=ChatLogprobs(content=logprobs) if self._with_logprobs else None,
                finish_reason=replies.reasons[number],
                origin=replies.origins[number],
                state=replies.states[number],
            )
            for number, logprobs in enumerate(replies.logprobs)
        ]
        return ChatCompletion(**self.head, choices=choices, usage=replies.usage)

    async def stream(self) -> AsyncIterator[bytes]:
        """Tell every token when it is said."""
        replies = self._replies
        for choice in range(len(replies.texts)):
            yield self._delta(choice, {"role": "assistant", "content": ""})
        async for event in replies.events():
            likely = None
            if not isinstance(event, Ended) and event.logprob is not None:
                likely = ChatLogprobs(content=replies.logprobs[event.choice][-1:]).model_dump()
            if event.text or likely:
                yield self._delta(event.choice, {"content": event.text}, likely)
            if isinstance(event, Ended):
                ends: dict[str, Any] = {"origin": event.origin}
                if (state := replies.states[event.choice]) is not None:
                    ends["state"] = state
                yield self._delta(event.choice, {}, None, finish_reason(event), ends)
        yield self.end(replies.usage)

    def _delta(
        self,
        index: int,
        delta: dict[str, Any],
        logprobs: dict[str, Any] | None = None,
        reason: str | None = None,
        more: Mapping[str, Any] = MappingProxyType({}),
    ) -> bytes:
        choice = {"index": index, "delta": delta, "logprobs": logprobs, "finish_reason": reason}
        return self.event({**choice, **more})
