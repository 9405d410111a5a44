"""The application: routes, the page, and what is done for every request."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

import elman
from elman.errors import ElmanError
from elman.serve import chats, routes, tokenizing
from elman.serve.access import Access, Owner, is_loopback
from elman.serve.errors import ApiError
from elman.serve.service import Service

PAGE = Path(__file__).with_name("page")
BODY = 1 << 20
"""Bytes of a request, at most."""

HEARD_OUT = 1 << 26
"""Bytes of a refused request that are read, and forgotten, before the answer."""

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


class Health(BaseModel):
    status: Literal["ok"] = "ok"
    version: str


def create_app(service: Service, host: str = "127.0.0.1") -> FastAPI:
    """The server as an ASGI application.

    Args:
        service: what it serves; closed with it.
        host: the address that it will be reached at. Where others than this computer reach it,
            every request needs a key.
    """
    background: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def life(_: FastAPI) -> AsyncIterator[None]:
        yield
        await asyncio.gather(*background, return_exceptions=True)
        await asyncio.to_thread(service.close)

    app = FastAPI(
        title="Elman",
        version=elman.__version__,
        description="Small recurrent chatbots, behind OpenAI's API and a little more.",
        lifespan=life,
        docs_url=None,
        redoc_url=None,
        openapi_url="/openapi.json",
    )

    def later(work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.ensure_future(work)
        background.add(task)
        task.add_done_callback(background.discard)

    app.state.service = service
    app.state.access = Access(service.keys, is_loopback(host))
    app.state.later = later
    app.include_router(routes.router)
    app.include_router(chats.router)
    app.include_router(tokenizing.router)
    _add_own_routes(app)
    _add_errors(app)
    if is_loopback(host):
        _keys_are_optional(app)
    app.add_middleware(Guard, service=service, near=is_loopback(host))
    return app


def _add_own_routes(app: FastAPI) -> None:
    @app.get("/health")
    async def health() -> Health:
        """Whether the server answers."""
        return Health(version=elman.__version__)

    @app.get(
        "/metrics",
        response_class=Response,
        responses=routes.ERRORS
        | {200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
    )
    async def metrics(request: Request, owner: Owner) -> Response:
        """Numbers for Prometheus."""
        text = routes.service_of(request).metrics.text()
        return Response(text, media_type="text/plain; version=0.0.4")

    @app.get("/", include_in_schema=False)
    async def page() -> Response:
        return FileResponse(PAGE / "index.html")

    app.mount("/page", StaticFiles(directory=PAGE))


def _keys_are_optional(app: FastAPI) -> None:
    """Have the schema say so."""
    whole = app.openapi()
    for methods in whole["paths"].values():
        for operation in methods.values():
            if "security" in operation:
                operation["security"] = [*operation["security"], {}]


def _add_errors(app: FastAPI) -> None:
    def answer(error: ApiError) -> Response:
        return JSONResponse(error.body.model_dump(), error.status, error.headers)

    @app.exception_handler(ApiError)
    async def api(_: Request, error: ApiError) -> Response:
        return answer(error)

    @app.exception_handler(ElmanError)
    async def known(_: Request, error: ElmanError) -> Response:
        return answer(ApiError(507, str(error), None, "not_stored"))

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        place = [str(part) for part in first["loc"] if part != "body"]
        where = ".".join(place)
        return answer(ApiError(400, f"{where}: {first['msg']}" if where else first["msg"], where))

    @app.exception_handler(HTTPException)
    async def http(_: Request, error: HTTPException) -> Response:
        found = answer(ApiError(error.status_code, str(error.detail)))
        found.headers.update(error.headers or {})
        return found

    @app.exception_handler(Exception)
    async def unknown(_: Request, error: Exception) -> Response:
        return answer(ApiError(500, "something failed in the server; its log says what"))


class Guard:
    """Around every request: its size, where it comes from, the answer's headers, the count."""

    def __init__(self, app: ASGIApp, service: Service, near: bool) -> None:
        self._app, self._service, self._near = app, service, near

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        refused = self._refused(headers)
        if refused is not None:
            if headers.get("expect", "").lower() != "100-continue":  # who waits has sent nothing
                await _hear_out(receive)
            await self._refuse(refused, scope, receive, send)
            return
        size, more, begun, dropped = 0, True, False, False

        async def bounded() -> Message:
            nonlocal size, more
            message = await receive()
            size, more = size + len(message.get("body", b"")), message.get("more_body", False)
            if size > BODY:
                raise _too_large()
            return message

        async def told(message: Message) -> None:
            nonlocal begun, dropped
            if not begun and size > BODY:
                dropped = True
                if more:
                    await _hear_out(receive)
                await self._refuse(_too_large(), scope, receive, send)
            begun = True
            if not dropped:
                await send(self._dressed(message, scope))

        await self._app(scope, bounded, told)

    def _refused(self, headers: Headers) -> ApiError | None:
        """Why nobody looks at a request: its size, or that another site made a browser ask."""
        length = headers.get("content-length", "")
        if length.isdigit() and int(length) > BODY:
            return _too_large()
        host = headers.get("host", "")
        if self._near and not is_loopback(urlsplit(f"//{host}").hostname or "localhost"):
            # A name that another site points at this computer (DNS rebinding).
            return ApiError(403, "this server answers to localhost and 127.0.0.1 alone")
        origin = headers.get("origin")
        if origin is not None and urlsplit(origin).netloc != host:
            return ApiError(403, "this server answers no other site's pages")
        return None

    async def _refuse(self, error: ApiError, scope: Scope, receive: Receive, send: Send) -> None:
        async def told(message: Message) -> None:
            await send(self._dressed(message, scope))

        headers = error.headers | {"Connection": "close"}
        await JSONResponse(error.body.model_dump(), error.status, headers)(scope, receive, told)

    def _dressed(self, message: Message, scope: Scope) -> Message:
        """An answer's beginning with the headers that every answer has; counted."""
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            headers["X-Content-Type-Options"] = "nosniff"
            headers["Content-Security-Policy"] = POLICY
            headers["Referrer-Policy"] = "no-referrer"
            path = getattr(scope.get("route"), "path", "other")
            self._service.metrics.answers.labels(path, message["status"]).inc()
        return message


async def _hear_out(receive: Receive) -> None:
    """Read the rest of a request: a connection that is closed with something unread is reset, and
    the answer may be lost with it (RFC 9112, 9.6).
    """
    size, more = 0, True
    while more and size <= HEARD_OUT:
        message = await receive()
        size, more = size + len(message.get("body", b"")), message.get("more_body", False)


def _too_large() -> ApiError:
    return ApiError(413, f"the request is too large: {BODY:,} bytes at most", None, "too_large")
