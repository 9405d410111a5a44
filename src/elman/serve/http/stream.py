"""Answers that come as events, and clients that go away."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from typing import Any, Literal, Protocol, TypeVar

from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from elman.errors import ElmanError
from elman.serve.http.errors import ApiError, api_error

T = TypeVar("T")

STREAMS: dict[int | str, dict[str, Any]] = {
    200: {"content": {"text/event-stream": {"schema": {"type": "string"}}}}
}
"""What the schema says of a route that may stream."""


async def gone(receive: Receive) -> None:
    """Wait until the client is not there any more."""
    while (await receive())["type"] != "http.disconnect":
        pass


def sse(data: Mapping[str, Any] | Literal["[DONE]"], event: str | None = None) -> bytes:
    """Write one server-sent event; its lines end in \\n."""
    text = data if isinstance(data, str) else json.dumps(data, ensure_ascii=False)
    name = "" if event is None else f"event: {event}\n"
    return f"{name}data: {text}\n\n".encode()


class Answer(Protocol):
    """A reply that was asked for, as it is told."""

    async def whole(self) -> BaseModel:
        """Tell it when it is finished."""

    def stream(self) -> AsyncIterator[bytes]:
        """Tell it as it comes, as server-sent events."""

    def failed(self, error: ApiError) -> bytes:
        """Return the last event of a stream, for an error that came too late for a status."""

    def cancel(self) -> None:
        """Make the end of the reply come soon."""


async def respond(request: Request, answer: Answer, stream: bool | None) -> Response:
    """Render an answer: as a stream of events, or whole as JSON."""
    if stream:
        return EventStream(answer)
    ending = request.app.state.ending
    whole = await unless_gone(answer.whole(), request.receive, ending, answer.cancel)
    return JSONResponse(whole.model_dump())


class EventStream(Response):
    """Sends an answer as server-sent events; where the client goes away, the reply ends soon."""

    media_type = "text/event-stream"

    def __init__(self, answer: Answer) -> None:
        super().__init__(headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"})
        del self.headers["content-length"]
        self._answer = answer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        ending: asyncio.Event = scope["app"].state.ending
        await unless_gone(self._send(send), receive, ending, self._answer.cancel)

    async def _send(self, send: Send) -> None:
        async def put(piece: bytes, more: bool = True) -> None:
            try:
                await send({"type": "http.response.body", "body": piece, "more_body": more})
            except OSError:  # the client left just now: the reply still has to end
                self._answer.cancel()

        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        try:
            async for piece in self._answer.stream():
                await put(piece)
        except ElmanError as error:
            await put(self._answer.failed(api_error(error)))
        except Exception:
            logging.getLogger("elman").exception("a stream failed")
            await put(self._answer.failed(ApiError(500, "something failed in the server")))
        await put(b"", more=False)


async def unless_gone(
    answer: Coroutine[Any, Any, T],
    receive: Receive,
    ending: asyncio.Event,
    leave: Callable[[], None],
) -> T:
    """Make an answer to its end, which comes soon once nobody waits for it.

    The answer is one task that alone takes the reply's events, and that goes on where the client
    is gone: what is sent then goes nowhere, and what was said so far is kept.

    Args:
        answer: makes it.
        receive: tells that the client is gone.
        ending: is set when the server is to end.
        leave: is called when either happens before the answer is there; makes its end come soon.
    """
    answering = asyncio.ensure_future(answer)
    reasons = [asyncio.ensure_future(each) for each in (gone(receive), ending.wait())]
    try:
        await asyncio.wait([answering, *reasons], return_when=asyncio.FIRST_COMPLETED)
        if not answering.done():
            leave()
        return await answering
    finally:
        for task in (answering, *reasons):
            task.cancel()
