"""What the ways to ask have in common in how they are answered."""

from collections.abc import AsyncIterator, Callable
from typing import Any, Literal

from pydantic import BaseModel

from elman.serve.errors import ApiError
from elman.serve.jobs import Ended, Read, Said
from elman.serve.prompts import Model, Prompt
from elman.serve.service import Reply, Service
from elman.serve.wire import StreamOptions, Usage

MIN_LOGPROB = -9999.0
"""JSON has no infinity."""


class TokenLogprob(BaseModel):
    class Top(BaseModel):
        token: str
        bytes: list[int] | None
        logprob: float

    token: str
    bytes: list[int] | None
    logprob: float
    top_logprobs: list[Top]


def fingerprint(model: Model) -> str:
    return f"fp_{model.made_by.hex()[:12]}"


def finish_reason(event: Ended) -> Literal["stop", "length"]:
    """Only a reply that ended by itself, or at a stop text, has stopped: others were cut."""
    return "stop" if event.reason == "stop" else "length"


def token_logprob(model: Model, event: Said) -> TokenLogprob:
    """A token of a reply as chat completions and responses tell it."""

    def piece(token: int) -> tuple[str, list[int]]:
        tokenizer = model.bot.tokenizer
        raw = tokenizer.decode_bytes([token]) if event.first else tokenizer.spelled(token)
        return raw.decode("utf-8", "replace"), list(raw)

    text, raw = piece(event.token)
    tops = []
    for token, logprob in event.likeliest:
        top, top_bytes = piece(token)
        tops.append(TokenLogprob.Top(token=top, bytes=top_bytes, logprob=max(logprob, MIN_LOGPROB)))
    return TokenLogprob(
        token=text, bytes=raw, logprob=max(event.logprob or 0.0, MIN_LOGPROB), top_logprobs=tops
    )


async def told(
    service: Service, reply: Reply, on_read: Callable[[Read], None] | None = None
) -> AsyncIterator[Said | Ended]:
    """The events of a reply that its client is told; the first token is timed.

    Args:
        on_read: called when the request has been read.
    """
    first = True
    async for event in reply.events():
        if isinstance(event, Read):
            service.remember(reply.prompt, event)
            if on_read is not None:
                on_read(event)
            continue
        if first:
            service.metrics.first_token(reply.prompt.model.name, reply.started)
            first = False
        assert isinstance(event, Said | Ended)
        yield event


def usage(prompt: Prompt, said: int) -> Usage:
    return Usage.of(prompt.tokens, prompt.known, said)


def head(model: Model, completion: str, kind: str, created: int) -> dict[str, Any]:
    """What every completion, and every piece of one, begins with."""
    return {
        "id": completion,
        "object": kind,
        "created": created,
        "model": model.name,
        "system_fingerprint": fingerprint(model),
    }


def wants_usage(options: StreamOptions | None, stream: bool | None) -> bool:
    """Whether a stream is to end with what it took.

    Raises:
        ApiError: where there is none.
    """
    if options is not None and not stream:
        raise ApiError(400, "stream_options only goes with stream", "stream_options")
    return options is not None and bool(options.include_usage)
