"""The application: routes, the page, and what is done for every request."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import cache
from pathlib import Path
from typing import Any, Literal

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.responses import FileResponse, Response
from starlette.staticfiles import StaticFiles

import elman
from elman.errors import ElmanError
from elman.serve.api import chat_completions, chats, completions, models, responses, tokenizing
from elman.serve.http.access import Access, AccessPolicy, Owner
from elman.serve.http.errors import ERRORS, ApiError, api_error, invalid, unreadable_body
from elman.serve.http.guard import Guard
from elman.serve.service import Served, Service

CHAT_PAGE = Path(__file__).parents[1] / "page"


class Health(BaseModel):
    status: Literal["ok"] = "ok"
    version: str


def create_app(service: Service, policy: AccessPolicy) -> FastAPI:
    """Make the server as an ASGI application, which closes the service when it ends."""

    @asynccontextmanager
    async def life(_: FastAPI) -> AsyncIterator[None]:
        yield
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

    app.state.service = service
    app.state.access = Access(service.keys, policy)
    app.state.ending = asyncio.Event()
    for module in (models, chat_completions, completions, responses, chats, tokenizing):
        app.include_router(module.router)
    _add_own_routes(app)
    _add_errors(app)
    if policy.is_local and not policy.require_key:
        _make_keys_optional(app)
    app.add_middleware(Guard, metrics=service.metrics, policy=policy)
    return app


def _add_own_routes(app: FastAPI) -> None:
    @app.get("/health")
    async def health() -> Health:
        """Whether the server answers."""
        return Health(version=elman.__version__)

    @app.get(
        "/metrics",
        response_class=Response,
        responses=ERRORS | {200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
    )
    async def metrics(service: Served, owner: Owner) -> Response:
        """Numbers for Prometheus."""
        return Response(service.metrics.text(), media_type="text/plain; version=0.0.4")

    @app.get("/", include_in_schema=False)
    async def page() -> Response:
        return FileResponse(CHAT_PAGE / "index.html")

    app.mount("/page", StaticFiles(directory=CHAT_PAGE))


def _make_keys_optional(app: FastAPI) -> None:
    """Have the schema, made when it is asked for, say that a request may come without a key."""
    schema = app.openapi

    @cache
    def with_optional_keys() -> dict[str, Any]:
        found = schema()
        for methods in found["paths"].values():
            for operation in methods.values():
                if "security" in operation:
                    operation["security"] = [*operation["security"], {}]
        return found

    app.openapi = with_optional_keys  # type: ignore[method-assign]


def _add_errors(app: FastAPI) -> None:
    @app.exception_handler(ElmanError)
    async def known(_: Request, error: ElmanError) -> Response:
        return api_error(error).response()

    @app.exception_handler(RequestValidationError)
    async def malformed(_: Request, error: RequestValidationError) -> Response:
        return invalid(error.errors()[0]).response()

    @app.exception_handler(HTTPException)
    async def http(_: Request, error: HTTPException) -> Response:
        if error.status_code == 400 and error.__cause__ is not None:
            return unreadable_body().response()
        return ApiError(error.status_code, str(error.detail)).response(error.headers)

    @app.exception_handler(Exception)
    async def unknown(_: Request, error: Exception) -> Response:
        return ApiError(500, "something failed in the server; its log says what").response()
