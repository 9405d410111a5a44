"""Clients that connect and do not ask, ask and do not end, or end and do not listen."""

import logging
import socket
import sys
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path

import httpx
import pytest

from elman.serve.http.logs import SECONDS_BETWEEN_ALIKE, RateLimit
from elman.serve.http.protocol import ConnectionLimits, default_max_connections

from .conftest import Served
from .test_ending import Process

Serving = Callable[..., Served]
FOREVER_SECONDS = 1e6


def limits(**given: float) -> ConnectionLimits:
    """Limits that nobody reaches, but for those given."""
    whole = {
        "head_seconds": FOREVER_SECONDS, "body_seconds": FOREVER_SECONDS,
        "idle_seconds": FOREVER_SECONDS, "write_seconds": FOREVER_SECONDS,
    }  # fmt: skip
    return ConnectionLimits(**(whole | given))  # type: ignore[arg-type]


def connect(served: Served, sent: bytes = b"") -> socket.socket:
    address = httpx.URL(served.url)
    connection = socket.create_connection((address.host, address.port or 80))
    connection.sendall(sent)
    return connection


def rest(connection: socket.socket) -> bytes:
    """All that comes until the server closes."""
    found = b""
    with connection, suppress(ConnectionResetError):
        while piece := connection.recv(65536):
            found += piece
    return found


POST = b"POST /v1/responses HTTP/1.1\r\nHost: localhost\r\n"
ALIVE = b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"


def test_who_connects_and_asks_nothing_is_cut_off(serving: Serving) -> None:
    served = serving(limits=limits(head_seconds=0.01))
    assert rest(connect(served)) == b""


@pytest.mark.parametrize("sent", [b"G", b"GET / HTTP/1.1\r\nX: ", ALIVE + b"GET /health"])
def test_half_a_head_is_cut_off(serving: Serving, sent: bytes) -> None:
    served = serving(limits=limits(head_seconds=0.01, idle_seconds=0.01))
    found = rest(connect(served, sent))
    assert b" 408 " in found or (sent.startswith(ALIVE) and b" 200 " in found)


@pytest.mark.parametrize(
    "head", [b"Content-Length: 1000\r\n\r\n{", b"Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n"]
)
def test_half_a_body_is_cut_off(serving: Serving, head: bytes) -> None:
    served = serving(limits=limits(body_seconds=0.01))
    found = rest(connect(served, POST + b"Content-Type: application/json\r\n" + head))
    assert b" 408 " in found
    assert b"took too long" in found


def test_who_asks_nothing_more_is_cut_off(serving: Serving) -> None:
    served = serving(limits=limits(idle_seconds=0.01))
    assert rest(connect(served, ALIVE)).startswith(b"HTTP/1.1 200")


def test_who_does_not_listen_is_cut_off(serving: Serving) -> None:
    served = serving(limits=limits(write_seconds=0.01))
    ask = b"GET /openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n"
    unread = served.service.metrics.closed_connections.labels("unread")
    with connect(served, ask * 1000), served.client() as http:  # more than any buffer holds
        while not unread._value.get():
            assert http.get("/health").status_code == 200


def test_the_one_that_waits_longest_makes_room(serving: Serving) -> None:
    served = serving(limits=limits(max_connections=4))
    with ExitStack() as stack:
        waiting = [stack.enter_context(connect(served, b"GET")) for _ in range(12)]
        with served.client() as http:
            assert http.get("/health").status_code == 200
        # Of thirteen, four fit: the first nine had to go.
        for each in waiting[:9]:
            assert rest(each) == b""
        waiting[-1].sendall(ALIVE[3:])
        assert waiting[-1].recv(12) == b"HTTP/1.1 200"


def test_where_all_are_busy_one_more_is_told(serving: Serving) -> None:
    served = serving(limits=limits(max_connections=1), batch_size=1)
    body = {"model": "ann", "prompt": [100] * 8000, "max_tokens": 4000, "stream": True}
    with served.client() as http, http.stream("POST", "/v1/completions", json=body):
        refused = rest(connect(served))
    assert b" 503 " in refused
    assert b"too many connections" in refused


@pytest.mark.skipif(sys.platform == "win32", reason="counts file descriptors")
def test_the_cap_is_below_the_limit_of_descriptors() -> None:
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        for limit in (64, 256, 1024, 4096):
            resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
            assert 0 < default_max_connections() < limit
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="sets a limit of file descriptors")
@pytest.mark.parametrize("sent", [b"", b"GET / HTTP/1.1\r\nHost: loc", b"nonsense\r\n\r\n"])
def test_more_connections_than_descriptors(trained: Path, tmp_path: Path, sent: bytes) -> None:
    """A real server answers among more idle connections than it may open; it logs little."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 1024), hard))
    try:
        process = Process(trained, tmp_path / "memory.db")
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 4096), hard))
        with process, ExitStack() as stack:
            for _ in range(1100):
                connection = stack.enter_context(process.connect())
                with suppress(OSError):  # it may be closed already
                    connection.sendall(sent)
            assert httpx.get(f"{process.url}/health", timeout=60).status_code == 200
            assert process.stop() == 0
            assert len(process.said().splitlines()) < 20
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_log_lines_alike_are_counted(caplog: pytest.LogCaptureFixture) -> None:
    now = [0.0]
    logger = logging.getLogger("elman.test_connections")
    logger.addFilter(RateLimit(lambda: now[0]))
    for number in range(1000):
        logger.warning("client %d", number)
        logger.warning("another")
    assert [record.getMessage() for record in caplog.records] == ["client 0", "another"]
    now[0] = SECONDS_BETWEEN_ALIKE
    logger.warning("client %d", 7)
    assert caplog.records[-1].getMessage() == "client 7 (999 more like this were not written)"
