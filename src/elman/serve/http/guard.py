"""What is done around every request, before and after the application sees it."""

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from elman.serve.http.access import AccessPolicy
from elman.serve.http.errors import ApiError
from elman.serve.metrics import Metrics

MAX_BODY_BYTES = 1 << 20
"""Of a request."""

MAX_DISCARDED_BYTES = 1 << 26
"""Of a refused request, read and forgotten before the answer."""

SECURITY_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
}

CLOSE = {"Connection": "close"}
"""Of an answer to a request of which some may be unread."""

PREFLIGHT_SECONDS = 600
"""After which a browser asks again whether a page may ask."""


class Guard:
    """Checks every request, adds headers to every answer, and counts it."""

    def __init__(self, app: ASGIApp, metrics: Metrics, policy: AccessPolicy) -> None:
        self._app, self._metrics, self._policy = app, metrics, policy

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if scope["method"] == "HEAD":  # the server leaves the body out
            scope = {**scope, "method": "GET"}
        headers = Headers(scope=scope)

        async def send_dressed(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._dress(message, scope)
            await send(message)

        try:
            self._check(scope, headers)
        except ApiError as refused:
            if headers.get("expect", "").lower() != "100-continue":  # who waits has sent nothing
                await _hear_out(receive)
            await refused.response(CLOSE)(scope, receive, send_dressed)
            return
        if (preflight := self._preflight(scope, headers)) is not None:
            await preflight(scope, receive, send_dressed)
            return
        size, more, begun, dropped = 0, True, False, False

        async def bounded() -> Message:
            nonlocal size, more
            message = await receive()
            size, more = size + len(message.get("body", b"")), message.get("more_body", False)
            if size > MAX_BODY_BYTES:
                raise _too_large()
            return message

        async def send_guarded(message: Message) -> None:
            nonlocal begun, dropped
            if not begun and size > MAX_BODY_BYTES:
                dropped = True
                if more:
                    await _hear_out(receive)
                await _too_large().response(CLOSE)(scope, receive, send_dressed)
            begun = True
            if not dropped:
                await send_dressed(message)

        await self._app(scope, bounded, send_guarded)

    def _check(self, scope: Scope, headers: Headers) -> None:
        """Refuse what nobody needs to look at.

        Raises:
            ApiError: where a request is too large, malformed, or made by another site.
        """
        length = headers.get("content-length", "")
        if length.isdigit() and int(length) > MAX_BODY_BYTES:
            raise _too_large()
        if scope["http_version"] not in ("1.0", "1.1"):
            raise ApiError(400, "this server speaks HTTP/1.1")
        if not scope["path"].startswith("/") or "\0" in scope["path"]:
            raise ApiError(400, "the request's target must be a path that begins with /")
        self._policy.check(headers, scope["http_version"])

    def _preflight(self, scope: Scope, headers: Headers) -> Response | None:
        """Answer a browser that asks whether a page of another site may ask.

        Source: https://fetch.spec.whatwg.org/#cors-preflight-request
        """
        asked = "access-control-request-method" in headers
        if scope["method"] != "OPTIONS" or not asked or "origin" not in headers:
            return None
        answer = {
            "Access-Control-Allow-Methods": "GET, HEAD, POST, DELETE",
            "Access-Control-Max-Age": str(PREFLIGHT_SECONDS),
        }
        if "access-control-request-headers" in headers:
            answer["Access-Control-Allow-Headers"] = headers["access-control-request-headers"]
        if headers.get("access-control-request-private-network") == "true":
            answer["Access-Control-Allow-Private-Network"] = "true"
        return Response(status_code=204, headers=answer)

    def _dress(self, start: Message, scope: Scope) -> None:
        """Add the headers that every answer has to its beginning, and count it."""
        headers = MutableHeaders(scope=start)
        headers.update(SECURITY_HEADERS)
        origin = Headers(scope=scope).get("origin", "")
        if self._policy.allow_origins:
            headers.add_vary_header("Origin")
        if origin and self._policy.allows(origin):
            headers["Access-Control-Allow-Origin"] = origin
            headers["Access-Control-Expose-Headers"] = "Retry-After"
        path = getattr(scope.get("route"), "path", "other")
        self._metrics.answers.labels(path, start["status"]).inc()


async def _hear_out(receive: Receive) -> None:
    """Read the rest of a request, so that the connection is not reset (RFC 9112, 9.6)."""
    size, more = 0, True
    while more and size <= MAX_DISCARDED_BYTES:
        message = await receive()
        size, more = size + len(message.get("body", b"")), message.get("more_body", False)


def _too_large() -> ApiError:
    return ApiError(
        413, f"the request is too large: {MAX_BODY_BYTES:,} bytes at most", None, "too_large"
    )
