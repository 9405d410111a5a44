"""What the answers of all routes share: usage, likelihoods, and following a reply as it is made."""

import secrets
import time
from collections.abc import AsyncIterator
from typing import Any, Literal

from pydantic import BaseModel

from elman.chat import Node
from elman.generate.decoder import State
from elman.generate.replier import Origin
from elman.serve.carried import write_carried
from elman.serve.http.errors import ApiError
from elman.serve.http.stream import sse
from elman.serve.jobs import Ended, Read, Said
from elman.serve.models import Model
from elman.serve.prompts import Prompt
from elman.serve.service import Service
from elman.serve.submission import Submission, Submissions

MIN_LOGPROB = -9999.0
"""JSON has no infinity."""


class PromptDetails(BaseModel):
    cached_tokens: int
    audio_tokens: int = 0


class CompletionDetails(BaseModel):
    reasoning_tokens: int = 0
    audio_tokens: int = 0
    accepted_prediction_tokens: int = 0
    rejected_prediction_tokens: int = 0


class Usage(BaseModel):
    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: PromptDetails
    completion_tokens_details: CompletionDetails = CompletionDetails()


class LikelyToken(BaseModel):
    token: str
    bytes: list[int] | None
    logprob: float


class TokenLogprob(LikelyToken):
    top_logprobs: list[LikelyToken]


def usage(prompt: int, known: int, said: int) -> Usage:
    """Count tokens: of the prompt, those of it that were known, and those said."""
    return Usage(
        prompt_tokens=prompt,
        completion_tokens=said,
        total_tokens=prompt + said,
        prompt_tokens_details=PromptDetails(cached_tokens=known),
    )


def finish_reason(event: Ended) -> Literal["stop", "length"]:
    """Only a reply that ended by itself, or at a stop text, has stopped: others were cut."""
    return "stop" if event.reason == "stop" else "length"


def token_bytes(model: Model, token: int, is_first: bool) -> bytes:
    """Return how a token is written; the first of a reply has no space before it."""
    tokenizer = model.bot.tokenizer
    return tokenizer.decode_bytes([token]) if is_first else tokenizer.spelled(token)


def token_logprob(model: Model, event: Said) -> TokenLogprob:
    """Return the likelihood of a token, as chat completions and responses tell it."""

    def likely(token: int, logprob: float) -> dict[str, Any]:
        raw = token_bytes(model, token, event.first)
        text = raw.decode("utf-8", "replace")
        return {"token": text, "bytes": list(raw), "logprob": max(logprob, MIN_LOGPROB)}

    tops = [LikelyToken(**likely(*each)) for each in event.likeliest]
    return TokenLogprob(**likely(event.token, event.logprob or 0.0), top_logprobs=tops)


class CompletionAnswer:
    """Renders what completions of chats and of texts have in common.

    Args:
        prefix: of the completion's id.
        chunk: the kind of a stream's events.
        with_usage: whether a stream ends with what it took.
    """

    def __init__(
        self,
        model: Model,
        submission: Submission | Submissions,
        prefix: str,
        chunk: str,
        with_usage: bool,
    ) -> None:
        self.model, self.cancel = model, submission.cancel
        self._chunk, self._with_usage = chunk, with_usage
        self.head: dict[str, Any] = {
            "id": f"{prefix}-{secrets.token_hex(12)}",
            "created": int(time.time()),
            "model": model.name,
            "system_fingerprint": f"fp_{model.fingerprint.hex()[:12]}",
        }

    def event(self, choice: dict[str, Any]) -> bytes:
        """Return the event of a stream that tells something of one choice."""
        empty = {"usage": None} if self._with_usage else {}
        return sse(self.head | {"object": self._chunk, "choices": [choice]} | empty)

    def end(self, used: Usage) -> bytes:
        """Return the end of the stream."""
        if not self._with_usage:
            return sse("[DONE]")
        last = self.head | {"object": self._chunk, "choices": [], "usage": used.model_dump()}
        return sse(last) + sse("[DONE]")

    def failed(self, error: ApiError) -> bytes:
        """Return the last event, where a reply could not be made."""
        return sse(error.body.model_dump())


class ToldReplies:
    """Follows the replies of a conversation, and remembers what each leaves behind."""

    def __init__(self, service: Service, prompt: Prompt, submission: Submission) -> None:
        self._service, self._prompt, self._submission = service, prompt, submission
        choices = submission.job.choices
        self.texts = [""] * choices
        self.logprobs: list[list[TokenLogprob]] = [[] for _ in range(choices)]
        """Of each reply's tokens, where they were asked for."""
        self.reasons: list[Literal["stop", "length"]] = ["length"] * choices
        """Why each reply has ended."""
        self.origins: list[Origin] = ["generate"] * choices
        """Where each reply came from."""
        self.states: list[str | None] = [None] * choices
        """What the client is to carry after each reply, where it does."""
        self.said = 0
        """Tokens of the replies that have ended."""
        self.asked: State | None = None
        """The state after what was asked, once it was read."""
        self.node = prompt.asked
        """The reply that ended last."""

    async def events(self) -> AsyncIterator[Said | Ended]:
        """Yield what is told; the end of a reply when its state is at hand."""
        async for event in self._submission.events():
            if isinstance(event, Read):
                self.asked = event.state
                prompt = self._prompt
                if not prompt.carries:
                    prompt.model.recent.put(prompt.asked.key, event.state, prompt.tokens)
                continue
            self.texts[event.choice] += event.text
            if isinstance(event, Ended):
                await self._remember(event)
            elif event.logprob is not None:
                self.logprobs[event.choice].append(token_logprob(self._prompt.model, event))
            yield event

    async def _remember(self, event: Ended) -> None:
        self.said += len(event.said)
        self.reasons[event.choice] = finish_reason(event)
        self.origins[event.choice] = event.origin
        text = self.texts[event.choice]
        prompt, owner = self._prompt, self._prompt.recall.owner
        # Of a reply that never began, what was asked may have been read in part.
        state = event.state if event.said else self.asked

        def remember() -> tuple[Node, str | None]:
            node = prompt.remember_reply(text, event.said, event.state)
            if not prompt.carries or state is None:
                return node, None
            carried = prompt.carried(node, event.said, state)
            fingerprint = prompt.model.fingerprint
            return node, write_carried(carried, self._service.state_keys, owner, fingerprint)

        found = await self._service.workers.do(owner, remember, is_continuation=True)
        self.node, self.states[event.choice] = found

    @property
    def usage(self) -> Usage:
        """What the replies took."""
        return usage(self._prompt.tokens, self._prompt.known, self.said)
