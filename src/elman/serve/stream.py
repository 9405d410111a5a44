"""Answers that come in pieces, and clients that go away."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any, TypeVar

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from elman.serve.errors import ApiError

T = TypeVar("T")


async def gone(receive: Receive) -> None:
    """Returns when the client is not there any more."""
    while (await receive())["type"] != "http.disconnect":
        pass


class EventStream(Response):
    """Server-sent events.

    Args:
        events: what is sent.
        fails: makes the last event of an error that came too late for a status.
        leave: is called if the client goes away before the end; makes that come soon.
    """

    media_type = "text/event-stream"

    def __init__(
        self,
        events: AsyncIterator[bytes],
        fails: Callable[[ApiError], bytes],
        leave: Callable[[], None],
    ) -> None:
        super().__init__(headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"})
        del self.headers["content-length"]
        self._events, self._fails, self._leave = events, fails, leave

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        ending: asyncio.Event = scope["app"].state.ending
        await unless_gone(self._send(send), receive, ending, self._leave)

    async def _send(self, send: Send) -> None:
        lost = False

        async def put(piece: bytes, more: bool = True) -> None:
            nonlocal lost
            if lost:
                return
            try:
                await send({"type": "http.response.body", "body": piece, "more_body": more})
            except OSError:  # the client left just now: the reply still has to end
                lost = True
                self._leave()

        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        try:
            async for piece in self._events:
                await put(piece)
        except ApiError as error:
            await put(self._fails(error))
        except Exception:
            logging.getLogger("elman").exception("a stream failed")
            await put(self._fails(ApiError(500, "something failed in the server")))
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
