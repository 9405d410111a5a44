"""Who asks, and how often they may."""

import time
from collections.abc import Callable
from ipaddress import ip_address
from typing import Annotated

from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from elman.chat import LOCAL
from elman.serve.errors import ApiError
from elman.serve.keys import Key, Keys

bearer = HTTPBearer(auto_error=False, description="A key of `elman keys add`.")


def is_loopback(host: str) -> bool:
    """Whether only this computer reaches an address."""
    if host == "localhost":
        return True
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


class Limits:
    """So many requests a minute for each key, as a bucket that fills evenly."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._buckets: dict[str, tuple[float, float]] = {}

    def take(self, key: Key) -> None:
        """Count one request.

        Raises:
            ApiError: where the key has had its share.
        """
        if key.per_minute is None:
            return
        now = self._clock()
        left, then = self._buckets.get(key.id, (float(key.per_minute), now))
        left = min(key.per_minute, left + (now - then) * key.per_minute / 60)
        if left < 1:
            wait = (1 - left) * 60 / key.per_minute
            raise ApiError(
                429, f"this key may ask {key.per_minute} times a minute", None,
                "rate_limit_exceeded", max(1, round(wait + 0.5)),
            )  # fmt: skip
        self._buckets[key.id] = (left - 1, now)


class Access:
    """Decides who owns what a request asks for.

    Args:
        keys: of the store.
        open_: whether the server is reached by this computer alone.
    """

    def __init__(self, keys: Keys, open_: bool) -> None:
        self._keys, self._open, self._limits = keys, open_, Limits()

    def owner(self, request: Request, secret: str | None) -> str:
        """The owner.

        Raises:
            ApiError: where somebody must have a key and has none, or one that is not in use.
        """
        key = None if secret is None else self._keys.find(secret)
        if key is not None and key.revoked is None:
            self._limits.take(key)
            return key.id
        # What a proxy passes on may come from anywhere, though it arrives from this computer.
        near = self._open and not {"forwarded", "x-forwarded-for"} & set(request.headers)
        if near and (secret is None or (key is None and not self._keys.any())):
            return LOCAL
        why = "there is no key in the request: send Authorization: Bearer KEY"
        if secret is not None:
            why = "this key is not in use"
        raise ApiError(401, why, None, "invalid_api_key")


def owner(
    request: Request,
    given: Annotated[HTTPAuthorizationCredentials | None, Depends(bearer)],
) -> str:
    """The owner of what a request asks for, as FastAPI hands it to a route."""
    access: Access = request.app.state.access
    return access.owner(request, None if given is None else given.credentials)


Owner = Annotated[str, Depends(owner)]
