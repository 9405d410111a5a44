"""`elman serve` ends when it is told to, whatever its clients do."""

import signal
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Self

import httpx
import pytest

# Far more than the server takes: without an end of its own it would run for ever.
PROCESS_SECONDS = 120


class Process:
    """`elman serve` in a process of its own, which says where it is before it is used."""

    def __init__(self, bot: Path, database: Path, *options: str) -> None:
        self.bot = bot.name
        command = [sys.executable, "-m", "elman", "serve", str(bot), "--port", "0"]
        self.process = subprocess.Popen(
            [*command, "--db", str(database), *options], stderr=subprocess.PIPE, text=True
        )
        assert self.process.stderr is not None
        self.url = next(word for word in self.process.stderr.readline().split() if "//" in word)

    def connect(self) -> socket.socket:
        address = httpx.URL(self.url)
        return socket.create_connection((address.host, address.port or 80))

    def stop(self, *signals: signal.Signals) -> int:
        """Return the exit code after some signals, SIGTERM unless others are named."""
        for each in signals or (signal.SIGTERM,):
            self.process.send_signal(each)
        return self.process.wait(PROCESS_SECONDS)

    def said(self) -> str:
        """What it wrote to standard error, once it has ended."""
        return self.process.communicate()[1]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
        assert self.process.stderr is not None
        self.process.stderr.close()


@pytest.fixture
def process(trained: Path, tmp_path: Path) -> Iterator[Process]:
    with Process(trained, tmp_path / "memory.db") as started:
        yield started


def streaming(process: Process, tokens: int = 4096) -> bytes:
    """A request for a reply that goes on for long."""
    body = (
        f'{{"model": "{process.bot}", "prompt": "a", "stream": true, "n": 16, "temperature": 2, '
        f'"logprobs": 5, "max_tokens": {tokens}}}'
    ).encode()
    head = "POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    return head.encode() + b"Content-Length: %d\r\n\r\n" % len(body) + body


def reading(process: Process) -> bytes:
    """A request with much to read before the reply."""
    said = "tea and cake " * 50_000
    body = f'{{"model": "{process.bot}", "input": "{said}", "stream": true}}'.encode()
    head = "POST /v1/responses HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    return head.encode() + b"Content-Length: %d\r\n\r\n" % len(body) + body


def test_after_clients_that_left_in_mid_stream(process: Process) -> None:
    body = {"model": process.bot, "input": "hello", "stream": True, "max_output_tokens": 4096}
    for count in range(12):
        url = f"{process.url}/v1/responses"
        with httpx.stream("POST", url, json=body, timeout=60) as stream:
            pieces = stream.iter_raw(1)
            for _ in range(1 + 40 * count):
                if next(pieces, None) is None:
                    break
    assert process.stop() == 0
    assert "unfinished" not in process.said()


def test_after_a_client_that_left_while_its_reply_was_kept(
    process: Process, tmp_path: Path
) -> None:
    """The reply has ended, the store is locked, and the client goes: nothing more will come."""
    body = {"model": process.bot, "input": "hello", "stream": True, "max_output_tokens": 2}
    with closing(sqlite3.connect(tmp_path / "memory.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with httpx.Client(base_url=process.url, timeout=PROCESS_SECONDS) as http:
            with http.stream("POST", "/v1/responses", json=body) as stream:
                next(stream.iter_raw(1))
                metrics = http.get("/metrics").text
                while f'elman_open{{model="{process.bot}"}} 0.0' not in metrics:
                    metrics = http.get("/metrics").text
                http.get("/health")
            http.get("/health")
        other.execute("ROLLBACK")
        assert process.stop() == 0
        assert "unfinished" not in process.said()
        assert other.execute("select count(*) from responses").fetchone() == (1,)


def begun(process: Process) -> socket.socket:
    """A connection on which a reply has begun, and of which no more is read."""
    connection = process.connect()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.sendall(streaming(process))
    assert connection.recv(12) == b"HTTP/1.1 200"
    return connection


def idle(process: Process) -> socket.socket:
    """A connection that is kept alive after an answer."""
    connection = process.connect()
    connection.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert connection.recv(12) == b"HTTP/1.1 200"
    return connection


def half_a_head(process: Process) -> socket.socket:
    connection = process.connect()
    connection.sendall(b"GET /health HTT")
    return connection


def half_a_body(process: Process) -> socket.socket:
    connection = process.connect()
    connection.sendall(streaming(process)[:-20])
    return connection


def endless_body(process: Process) -> socket.socket:
    connection = process.connect()
    head = b"POST /v1/responses HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
    connection.sendall(head + b"5\r\nhello\r\n")
    return connection


def much_to_read(process: Process) -> socket.socket:
    connection = process.connect()
    connection.sendall(reading(process))
    return connection


@pytest.mark.parametrize(
    "client", [begun, idle, half_a_head, half_a_body, endless_body, much_to_read]
)
def test_with_a_client_there(process: Process, client: Callable[[Process], socket.socket]) -> None:
    with closing(client(process)):
        assert process.stop() == 0


def test_with_many_clients_and_a_second_signal(process: Process) -> None:
    clients = [begun(process), idle(process), half_a_head(process), much_to_read(process)]
    assert process.stop(signal.SIGTERM, signal.SIGTERM) == 0
    for each in clients:
        each.close()


def test_while_a_reply_is_explained(process: Process) -> None:
    with httpx.Client(base_url=process.url, timeout=PROCESS_SECONDS) as http:
        last = None
        for _ in range(6):
            body = {
                "model": process.bot, "input": "tea " * 200, "previous_response_id": last,
                "max_output_tokens": 8,
            }  # fmt: skip
            last = http.post("/v1/responses", json=body).json()["id"]
    with closing(process.connect()) as connection:
        asked = f"GET /v1/responses/{last}?why=true HTTP/1.1\r\nHost: localhost\r\n\r\n"
        connection.sendall(asked.encode())
        assert process.stop() == 0
