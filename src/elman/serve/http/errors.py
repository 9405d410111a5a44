"""Errors as OpenAI's clients know them: {"error": {message, type, param, code}}."""

import logging
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel
from starlette.responses import JSONResponse, Response

from elman.chat.database import UnavailableError
from elman.errors import ElmanError


class ErrorBody(BaseModel):
    message: str
    type: str
    param: str | None
    code: str | None


class ErrorResponse(BaseModel):
    """What is wrong, in one sentence."""

    error: ErrorBody


ERRORS: dict[int | str, dict[str, Any]] = {
    status: {"model": ErrorResponse} for status in (400, 401, 403, 404, 413, 429, 500, 503, 507)
}
"""What the schema says of every route."""

RETRY_SECONDS = 2
"""After which to ask again, where the database does not answer."""

ERROR_TYPES = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    429: "rate_limit_error",
}
"""By status; any other is "server_error" from 500 on, and "invalid_request_error" below."""


class ApiError(ElmanError):
    """An answer that is an error.

    Args:
        status: of HTTP.
        message: one sentence for people.
        param: the part of the request that it is about.
        code: one word for programs.
        retry_after: seconds after which to try again.
    """

    def __init__(
        self,
        status: int,
        message: str,
        param: str | None = None,
        code: str | None = None,
        retry_after: int | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.message, self.param, self.code = status, message, param, code
        self.retry_after = retry_after

    @property
    def body(self) -> ErrorResponse:
        other = "server_error" if self.status >= 500 else "invalid_request_error"
        kind = ERROR_TYPES.get(self.status, other)
        return ErrorResponse(
            error=ErrorBody(message=self.message, type=kind, param=self.param, code=self.code)
        )

    def response(self, headers: Mapping[str, str] | None = None) -> Response:
        """Return it as an answer, with some more headers."""
        own = {} if self.retry_after is None else {"Retry-After": str(self.retry_after)}
        if self.status == 401:
            own["WWW-Authenticate"] = "Bearer"
        return JSONResponse(self.body.model_dump(), self.status, own | dict(headers or {}))


def api_error(error: ElmanError) -> ApiError:
    """Return an error as it is told: what the store says to a client that waits for it."""
    if isinstance(error, ApiError):
        return error
    if isinstance(error, UnavailableError):
        logging.getLogger("elman").error("%s", error)  # who asks is not told where it is
        why = "the database of conversations does not answer: try again soon"
        return ApiError(503, why, None, "unavailable", RETRY_SECONDS)
    return ApiError(507, str(error), None, "not_stored")


def invalid(error: Mapping[str, Any]) -> ApiError:
    """Say in one sentence what is wrong with a request.

    Args:
        error: one of those that FastAPI found (https://docs.pydantic.dev/latest/errors/errors/).
    """
    kind, context = error["type"], error.get("ctx", {})
    place = ".".join(str(part) for part in error["loc"] if part != "body")
    if kind == "json_invalid":
        why = f"{context.get('error', '')} at character {place}"
        return ApiError(400, f"the body of the request is not JSON: {why}")
    what = {
        "value_error": str(context.get("error")),
        "model_attributes_type": "must be a JSON object",
        "model_type": "must be a JSON object",
        "dict_type": "must be a JSON object",
        "too_long": f"must have at most {context.get('max_length')} items",
        "too_short": f"must have at least {context.get('min_length')} items",
    }.get(kind, error["msg"])
    if not place and kind != "value_error":
        what = "the request has no body" if kind == "missing" else f"the body {what}"
    return ApiError(400, f"{place}: {what}" if place else what, place or None)


def unreadable_body() -> ApiError:
    """Return the error of a body of which FastAPI and Python's reader of JSON say no more."""
    return ApiError(
        400, "the body of the request cannot be read as JSON: it is nested too deep, has a number "
        "of too many digits, or is not UTF-8",
    )  # fmt: skip


def no_such_model(name: str) -> ApiError:
    return ApiError(404, f"there is no model {name!r} here", "model", "model_not_found")


def no_such(what: str, name: str) -> ApiError:
    return ApiError(404, f"there is no {what} {name!r}", None, "not_found")


def full() -> ApiError:
    return ApiError(
        429, "too many replies are said or wait already: try again soon", None, "overloaded", 1
    )
