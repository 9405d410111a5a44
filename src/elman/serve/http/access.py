"""Who asks, from where, and how often they may."""

import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Annotated
from urllib.parse import urlsplit

from fastapi import Depends, Request
from fastapi.security import APIKeyHeader, HTTPAuthorizationCredentials, HTTPBearer
from starlette.datastructures import Headers

from elman.chat import LOCAL
from elman.serve.http.errors import ApiError
from elman.serve.store.keys import Key, Keys, take_one

bearer = HTTPBearer(auto_error=False, description="A key of `elman keys add`.")
x_api_key = APIKeyHeader(name="x-api-key", scheme_name="x-api-key", auto_error=False)
api_key = APIKeyHeader(name="api-key", scheme_name="api-key", auto_error=False)

PROXY_HEADERS = re.compile(r"forwarded|via|x-(forwarded|original).*|.*-ip")
"""Headers that proxies add to a request: X-Real-IP, CF-Connecting-IP, X-Client-IP ..."""

MAX_HOST_BYTES = 260
"""A name of 253 characters, a colon, and a port."""

_HOST = re.compile(r"(?P<name>[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::(?P<port>[0-9]{0,5}))?")
_ORIGIN = re.compile(r"null|[A-Za-z][A-Za-z0-9+.-]*://[!-~]*")


def is_loopback(host: str) -> bool:
    """Return whether only this computer reaches an address."""
    if host == "localhost":
        return True
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def host_name(header: str) -> str:
    """Return the name in a Host header, in lower case and without its port.

    Raises:
        ApiError: where the header is malformed.
    """
    found = _HOST.fullmatch(header) if len(header) <= MAX_HOST_BYTES else None
    if found is None or int(found["port"] or 0) > 65535:
        raise ApiError(400, "the Host header is malformed: expected NAME or NAME:PORT")
    return found["name"].lower()


@dataclass(frozen=True)
class AccessPolicy:
    """From where a server may be asked, and who needs a key.

    Args:
        host: the address that the server listens at; "localhost" for a Unix socket.
        require_key: True: everybody needs one. False: nobody at this computer does, even once there
            are keys. None: everybody does as soon as there is one.
        allow_hosts: names that others reach the server by; "*": any.
        allow_origins: sites whose pages may ask, as browsers write them; "*": any.
        shares_rates: whether other processes serve the same store, so that how often a key asks is
            counted there.
    """

    host: str = "127.0.0.1"
    require_key: bool | None = None
    allow_hosts: Sequence[str] = ()
    allow_origins: Sequence[str] = ()
    shares_rates: bool = False

    @property
    def is_local(self) -> bool:
        """Whether only this computer reaches the address that the server listens at."""
        return is_loopback(self.host)

    @property
    def is_published(self) -> bool:
        """Whether requests are expected from other computers."""
        return not self.is_local or bool(self.allow_hosts)

    def check(self, headers: Headers, http_version: str) -> None:
        """Refuse a request to a name, or from a site's page, that is not allowed.

        Raises:
            ApiError: where a request is refused, or its Host or Origin is malformed.
        """
        host = headers.get("host")
        if host is None and http_version != "1.0":
            raise ApiError(400, "there is no Host header in the request")
        name = _name(headers)
        allowed = {each.lower() for each in self.allow_hosts}
        is_own = is_loopback(name) or name in allowed or "*" in allowed
        if (self.is_local or self.allow_hosts) and not is_own:
            # A name that another site points at this computer (DNS rebinding).
            raise ApiError(
                403, "this server answers to localhost and 127.0.0.1 alone: start it with "
                "--allow-host NAME to have it answer to another name",
            )  # fmt: skip
        origins = headers.getlist("origin")
        if len(origins) > 1 or any(_ORIGIN.fullmatch(each) is None for each in origins):
            raise ApiError(400, "the Origin header is malformed: expected SCHEME://HOST")
        if origins and not _is_own_origin(origins[0], host) and not self.allows(origins[0]):
            raise ApiError(
                403, "this server answers no other site's pages: start it with "
                "--allow-origin ORIGIN to have it answer those of one",
            )  # fmt: skip

    def allows(self, origin: str) -> bool:
        """Return whether a page of another site may ask."""
        return "*" in self.allow_origins or origin in self.allow_origins

    def is_at_this_computer(self, request: Request) -> bool:
        """Return whether a request comes straight from this computer, not through a proxy.

        HTTP/1.0 counts as a proxy's: nginx speaks it to what stands behind it unless it is told
        otherwise (https://nginx.org/en/docs/http/ngx_http_proxy_module.html), and no browser or
        client library does.
        """
        proxied = request.scope["http_version"] == "1.0" or any(
            PROXY_HEADERS.fullmatch(name) is not None for name in request.headers
        )
        return self.is_local and not proxied and is_loopback(_name(request.headers))


def _name(headers: Headers) -> str:
    host = headers.get("host")
    return "localhost" if host is None else host_name(host)


def _is_own_origin(origin: str, host: str | None) -> bool:
    try:
        return host is not None and urlsplit(origin).netloc.lower() == host.lower()
    except ValueError:
        return False


class KeyRates:
    """Limits how often each key may ask. A key's bucket fills evenly, and a request takes one.

    Args:
        clock: seconds since 1970.
        shared: where all processes count together; None: only this one counts. What is refused
            here is not written there, so that a flood of requests is none of writes.
    """

    def __init__(self, clock: Callable[[], float] = time.time, shared: Keys | None = None) -> None:
        self._clock, self._shared = clock, shared
        self._buckets: dict[str, tuple[float, float]] = {}

    def take(self, key: Key) -> None:
        """Count one request.

        Raises:
            ApiError: where the key has had its share.
        """
        if key.per_minute is None:
            return
        now = self._clock()
        left, wait = take_one(key.per_minute, self._buckets.get(key.id), now)
        if not wait:
            self._buckets[key.id] = (left, now)
            if self._shared is not None:
                wait = self._shared.take(key, now)
        if wait:
            raise ApiError(
                429, f"this key may ask {key.per_minute} times a minute", None,
                "rate_limit_exceeded", max(1, round(wait + 0.5)),
            )  # fmt: skip


class Access:
    """Decides whose conversations a request may reach."""

    def __init__(self, keys: Keys, policy: AccessPolicy) -> None:
        self._keys, self._policy = keys, policy
        self._rates = KeyRates(shared=keys if policy.shares_rates else None)

    def owner(self, request: Request, secrets: Sequence[str]) -> str:
        """Return the owner of what a request asks for.

        Args:
            secrets: the keys that were sent with it.

        Raises:
            ApiError: where a key is needed and none that is in use was sent, or it asks too often.
        """
        found = [key for key in map(self._keys.find, secrets) if key is not None]
        for key in found:
            if key.revoked is None:
                self._rates.take(key)
                return key.id
        if self._is_open(any_found=bool(found), any_given=bool(secrets)):
            if self._policy.is_at_this_computer(request):
                return LOCAL
            why = (
                "this request came through a proxy without a key: make one with elman keys add "
                "NAME, and send Authorization: Bearer KEY"
            )
        elif secrets:
            why = "this key is not in use"
        else:
            why = "there is no key in the request: send Authorization: Bearer KEY"
        raise ApiError(401, why, None, "invalid_api_key")

    def _is_open(self, any_found: bool, any_given: bool) -> bool:
        """Return whether somebody at this computer may ask without a key of their own."""
        policy = self._policy
        if policy.require_key or not policy.is_local or any_found:
            return False
        if policy.require_key is False and not any_given:
            return True
        # Clients that must have a key send anything; and a revoked key does not open the door.
        return not self._keys.list()


def owner(
    request: Request,
    given: Annotated[HTTPAuthorizationCredentials | None, Depends(bearer)],
    x_key: Annotated[str | None, Depends(x_api_key)],
    azure_key: Annotated[str | None, Depends(api_key)],
) -> str:
    """Return the owner of what a request asks for, as FastAPI hands it to a route."""
    access: Access = request.app.state.access
    secrets = [None if given is None else given.credentials, x_key, azure_key]
    return access.owner(request, [each for each in secrets if each])


Owner = Annotated[str, Depends(owner)]
