"""Answers that come in pieces, and clients that go away."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from typing import TypeVar

from starlette.requests import Request
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
        leave: is called if the client goes away before the end.
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
        sending = asyncio.ensure_future(self._send(send))
        leaving = asyncio.ensure_future(gone(receive))
        try:
            await asyncio.wait({sending, leaving}, return_when=asyncio.FIRST_COMPLETED)
            if sending.done():
                with suppress(OSError):  # the client left just now
                    sending.result()
                    return
        finally:
            for task in (sending, leaving):
                task.cancel()
        self._leave()

    async def _send(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        try:
            async for piece in self._events:
                await send({"type": "http.response.body", "body": piece, "more_body": True})
        except ApiError as error:
            await send(
                {"type": "http.response.body", "body": self._fails(error), "more_body": True}
            )
        except OSError:
            raise
        except Exception:
            logging.getLogger("elman").exception("a stream failed")
            late = ApiError(500, "something failed in the server")
            await send({"type": "http.response.body", "body": self._fails(late), "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def unless_gone(
    request: Request, answer: Awaitable[T], leave: Callable[[], None]
) -> T | None:
    """An answer; where the client goes away before it, `leave` is called, and there is none."""
    answering = asyncio.ensure_future(answer)
    leaving = asyncio.ensure_future(gone(request.receive))
    try:
        await asyncio.wait({answering, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if answering.done():
            return answering.result()
    except BaseException:
        answering.cancel()
        raise
    finally:
        leaving.cancel()
    leave()
    # What was said so far is kept all the same.
    await asyncio.wait({answering})
    return None
