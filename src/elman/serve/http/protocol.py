"""Bounds on HTTP connections: how many there are, and how long each may take."""

import asyncio
import sys
from dataclasses import dataclass, field
from typing import Any, Literal

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from elman.serve.http.errors import ApiError
from elman.serve.metrics import Metrics

ACCEPT_BACKLOG = 128
"""Connections that asyncio accepts at a time; they are counted only after that."""

RESERVED_DESCRIPTORS = ACCEPT_BACKLOG + 128
"""File descriptors that are left for connections not yet counted, for SQLite and for files."""


def default_max_connections() -> int:
    """Return how many connections the limit of file descriptors allows, 1,024 at most."""
    if sys.platform == "win32":
        return 256
    import resource

    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return 1024
    return max(8, min(1024, max(soft - RESERVED_DESCRIPTORS, soft // 4)))


@dataclass(frozen=True)
class ConnectionLimits:
    """How many connections there may be, and how long each may take.

    Args:
        max_connections: open at the same time.
        head_seconds: for the head of a request, from its first byte. For the first request, from
            when the connection was made.
        body_seconds: for the body, from the end of the head.
        idle_seconds: between two requests.
        write_seconds: for which a client may leave an answer unread.
    """

    max_connections: int = field(default_factory=default_max_connections)
    head_seconds: float = 20
    body_seconds: float = 60
    idle_seconds: float = 30
    write_seconds: float = 30


class Connections:
    """The connections of one server: their limits, and which of them wait."""

    def __init__(self, limits: ConnectionLimits, metrics: Metrics) -> None:
        self.limits, self._metrics = limits, metrics
        self.waiting: dict[BoundedProtocol, None] = {}
        """Connections without a whole request. The first one has waited longest."""

    def count(self, reason: str) -> None:
        """Count a connection that the server closed."""
        self._metrics.closed_connections.labels(reason).inc()


class BoundedProtocol(H11Protocol):
    """Add deadlines, a cap on connections, and errors as JSON to uvicorn's protocol.

    uvicorn makes one for each connection, and itself closes those that are idle.
    """

    def __init__(self, shared: Connections, **given: Any) -> None:
        super().__init__(**given)
        self._shared, self._limits = shared, shared.limits
        self._awaited: Literal["head", "body", "end"] | None = None
        """What `_deadline` is for. After "end", nothing that the client sends is looked at."""
        self._deadline: asyncio.TimerHandle | None = None
        self._write_deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > self._limits.max_connections:
            self._shared.count("full")
            longest = next(iter(self._shared.waiting), None)
            if longest is None:
                self.refuse(ApiError(503, "too many connections are open: try again soon"))
                return
            longest.abort()
        self._await("head")

    def connection_lost(self, exc: Exception | None) -> None:
        self._await(None)
        self._shared.waiting.pop(self, None)
        self._unset_keepalive_if_required()
        self._stop_write_deadline()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._awaited == "end":
            return
        super().data_received(data)
        self._follow(fresh=True)

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._follow(fresh=False)

    def _follow(self, fresh: bool) -> None:
        """Set the deadline for the next part of a request.

        Args:
            fresh: whether some of it came just now.
        """
        if self._awaited == "end":
            return
        if self.transport.is_closing():
            self._await(None)
            self._start_write_deadline()
        elif self.conn.their_state is h11.SEND_BODY:
            self._await("body")
        elif self.conn.their_state is h11.IDLE:
            self._await("head" if fresh or self._awaited == "head" else None)
            self._shared.waiting.setdefault(self)
        else:
            self._await(None)

    def _await(self, what: Literal["head", "body", "end"] | None) -> None:
        """Set a new deadline where something else is awaited than before; None: set none."""
        if what is None:
            self._shared.waiting.pop(self, None)
        else:
            self._shared.waiting.setdefault(self)
        if what == self._awaited:
            return
        self._awaited = what
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
        if what is not None:
            limits = self._limits
            seconds = limits.body_seconds if what == "body" else limits.head_seconds
            self._deadline = self.loop.call_later(seconds, self._too_late)

    def _too_late(self) -> None:
        what = self._awaited
        if what == "end":
            self.abort()
            return
        self._shared.count(f"slow_{what}")
        if what == "head" and not self.conn.trailing_data[0]:
            self._close()  # nothing was asked, so there is nothing to answer
        else:
            self.refuse(ApiError(408, f"the {what} of the request took too long"))

    def pause_writing(self) -> None:
        super().pause_writing()
        self._start_write_deadline()

    def resume_writing(self) -> None:
        self._stop_write_deadline()
        super().resume_writing()

    def _start_write_deadline(self) -> None:
        if self._write_deadline is None:
            self._write_deadline = self.loop.call_later(self._limits.write_seconds, self._unread)

    def _stop_write_deadline(self) -> None:
        if self._write_deadline is not None:
            self._write_deadline.cancel()
            self._write_deadline = None

    def _unread(self) -> None:
        self._shared.count("unread")
        self.abort()

    def abort(self) -> None:
        """Close at once; what was not sent yet is lost."""
        self.connections.discard(self)
        self._shared.waiting.pop(self, None)
        self.transport.abort()

    def _close(self) -> None:
        """Close after everything was sent, or when the client does not read for too long."""
        self._await(None)
        self.transport.close()
        self._start_write_deadline()

    def send_400_response(self, msg: str) -> None:
        """Answer a request that is not HTTP, and read the rest of it without looking.

        If the connection were closed with something unread, it would be reset, and the answer could
        be lost (RFC 9112, 9.6).
        """
        self._shared.count("malformed")
        self._answer(ApiError(400, "this is not HTTP, or its head is too long"))
        if self.transport.can_write_eof():
            self.transport.write_eof()
            self._await("end")
        else:
            self._close()

    def refuse(self, error: ApiError) -> None:
        """Answer with an error, and close."""
        self._answer(error)
        self._close()

    def _answer(self, error: ApiError) -> None:
        """Answer with an error, if the application has not begun to answer; stop it in any case."""
        cycle = self.cycle
        if cycle is not None and not cycle.response_complete:
            cycle.disconnected = True
            cycle.message_event.set()
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            body = error.body.model_dump_json().encode()
            headers = [
                (b"content-type", b"application/json"),
                (b"content-length", str(len(body)).encode()),
                (b"connection", b"close"),
            ]
            events = [
                h11.Response(status_code=error.status, headers=headers, reason=b""),
                h11.Data(data=body),
                h11.EndOfMessage(),
            ]
            self.transport.write(b"".join(self.conn.send(event) or b"" for event in events))

    def timeout_keep_alive_handler(self) -> None:
        if not self.transport.is_closing():
            self._close()

    def shutdown(self) -> None:
        """Close: after the answer where there is a whole request, else at once."""
        if self._shared.waiting.get(self, 0) is None or self.cycle is None:
            self.abort()
        elif self.cycle.response_complete:
            self._close()
        else:
            self.cycle.keep_alive = False

    def _unsupported_upgrade_warning(self) -> None:
        """Write no warning: a request for WebSocket is answered as one of HTTP."""
