"""`elman serve --workers 2`: one store, no stickiness, and a worker that dies loses nothing."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import sleep
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from .test_ending import PROCESS_SECONDS, Process
from .test_server import ask, said

if TYPE_CHECKING:
    from postgres_server import Postgres

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="finds workers in /proc"),
]


@pytest.fixture(params=["sqlite", "postgres"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return str(tmp_path / "memory.db")
    url: str = request.getfixturevalue("postgres").database()
    return url


@contextmanager
def workers(bot: Path, database: str) -> Iterator[Process]:
    """Two workers, both of which answer."""
    with Process(bot, database, "--workers", "2") as process:  # type: ignore[arg-type]
        both(process)
        yield process


def children(pid: int) -> set[int]:
    """The processes that one started, but for those that only track its resources."""
    found = set()
    for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        try:
            if b"spawn_main" in Path(f"/proc/{each}/cmdline").read_bytes():
                found.add(int(each))
        except FileNotFoundError:  # it ended just now
            continue
    return found


def both(process: Process, but: int = 0) -> list[int]:
    """Wait until there are two workers other than one, and each of them answers; return them."""
    while len(found := children(process.process.pid) - {but}) < 2:
        assert process.process.poll() is None
        sleep(0.05)
    for each in found:
        with only(process, each), client(process) as http:
            assert http.get("/health").status_code == 200
    return sorted(found)


@contextmanager
def only(process: Process, worker: int) -> Iterator[None]:
    """Have all workers but one stand still."""
    others = children(process.process.pid) - {worker}
    for each in others:
        os.kill(each, signal.SIGSTOP)
    try:
        yield
    finally:
        for each in others:
            os.kill(each, signal.SIGCONT)


def client(process: Process, **headers: str) -> httpx.Client:
    """A client of new connections."""
    return httpx.Client(base_url=process.url, timeout=PROCESS_SECONDS, headers=headers)


def test_any_worker_resumes_any_chat(trained: Path, database: str, tmp_path: Path) -> None:
    with workers(trained, database) as process:
        one, other = both(process)
        before: dict[str, Any] = {}
        for turn in range(6):
            with only(process, (one, other)[turn % 2]), client(process) as http:
                found = ask(
                    http, f"turn {turn}", model=trained.name, temperature=0,
                    previous_response_id=before.get("id"),
                )  # fmt: skip
            assert found["elman"]["state"]["messages"] == 2 * turn + 2
            assert turn == 0 or found["usage"]["input_tokens_details"]["cached_tokens"] > 0
            before = found
        with only(process, one), client(process) as http:
            assert http.delete(f"/v1/responses/{before['id']}").status_code == 200
        with only(process, other), client(process) as http:
            assert http.get(f"/v1/responses/{before['id']}").status_code == 404
        assert process.stop() == 0


def test_kill_9_of_a_worker_loses_no_acknowledged_turn(trained: Path, database: str) -> None:
    """Three times here; benchmarks/workers.py does it a hundred times."""
    acknowledged: dict[str, str] = {}
    ending = threading.Event()

    def talk(number: int) -> None:
        before: str | None = None
        while not ending.is_set():
            try:
                with client(process) as http:
                    found = ask(
                        http, f"{number}: hello", model=trained.name, previous_response_id=before
                    )
            except httpx.TransportError:  # its worker was killed: what was said before is there
                continue
            before = found["id"]
            acknowledged[before] = said(found)

    with workers(trained, database) as process:
        threads = [threading.Thread(target=talk, args=(number,)) for number in range(6)]
        for thread in threads:
            thread.start()
        try:
            for _ in range(3):
                enough = len(acknowledged) + 12
                while len(acknowledged) < enough:
                    sleep(0.01)
                worker = min(children(process.process.pid))
                os.kill(worker, signal.SIGKILL)
                while len(children(process.process.pid) - {worker}) < 2:
                    sleep(0.05)
        finally:
            ending.set()
            for thread in threads:
                thread.join()
        with client(process) as http:
            for id_, text in acknowledged.items():
                assert said(http.get(f"/v1/responses/{id_}").json()) == text
        assert process.stop() == 0
        assert "ended with -9; another one starts" in process.said()


def test_a_key_asks_no_more_often_of_two_workers(
    trained: Path, database: str, elman: Callable[..., Any]
) -> None:
    secret = elman("keys", "add", "phone", "--per-minute", 1, "--db", database).out.strip()
    with workers(trained, database) as process:
        for worker, status in zip(both(process), (200, 429), strict=True):
            key = f"Bearer {secret}"
            with only(process, worker), client(process, Authorization=key) as http:
                assert http.get("/v1/models").status_code == status


def test_all_end_together(trained: Path, tmp_path: Path) -> None:
    """Ctrl-C reaches the supervisor alone; where that is killed, its workers end by themselves."""
    for end in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
        with workers(trained, str(tmp_path / "memory.db")) as process:
            pids = children(process.process.pid)
            assert all(os.getpgid(pid) == pid for pid in pids)
            assert process.stop(end) == (-end if end == signal.SIGKILL else 0)
            while any(Path(f"/proc/{pid}").exists() for pid in pids):
                sleep(0.05)
            with pytest.raises(httpx.ConnectError), client(process) as http:
                http.get("/health")


@pytest.mark.parametrize("wrong", ["bot", "memory", "policy"])
def test_what_is_wrong_is_said_once(trained: Path, tmp_path: Path, wrong: str) -> None:
    options: dict[str, tuple[object, ...]] = {
        "bot": (tmp_path / "none", "--db", tmp_path / "memory.db"),
        "memory": (trained, "--db", "sqlite://"),
        "policy": (trained, "--db", tmp_path / "memory.db", "--host", "0.0.0.0"),
    }
    command = [sys.executable, "-m", "elman", "serve", "--workers", "2", "--port", "0"]
    ran = subprocess.run(
        [*command, *map(str, options[wrong])], capture_output=True, text=True, check=False,
        timeout=PROCESS_SECONDS,
    )  # fmt: skip
    assert ran.returncode == 2
    [line] = ran.stderr.splitlines()
    assert line.startswith("elman: ")


def test_a_database_that_goes_away_and_comes_back(
    trained: Path, postgres: "Postgres", elman: Callable[..., Any]
) -> None:
    """Meanwhile who asks is told when to ask again, also where a worker dies; then all is well."""
    url = postgres.database()
    secret = elman("keys", "add", "phone", "--db", url).out.strip()
    with workers(trained, url) as process:
        with client(process, Authorization=f"Bearer {secret}") as http:
            first = ask(http, "hello", model=trained.name)
        postgres.kill()
        try:
            for method, path, body in (
                ("GET", "/v1/models", None),
                ("GET", f"/v1/responses/{first['id']}", None),
                ("POST", "/v1/responses", {"model": trained.name, "input": "hello"}),
            ):
                with client(process, Authorization=f"Bearer {secret}") as http:
                    answer = http.request(method, path, json=body)
                assert answer.status_code == 503, answer.text
                assert answer.headers["Retry-After"] == "2"
                assert answer.json()["error"]["code"] == "unavailable"
                assert "postgresql" not in answer.text
            victim, _ = both(process)
            os.kill(victim, signal.SIGKILL)
            while victim in children(process.process.pid):
                sleep(0.05)
        finally:
            postgres.start()
        both(process, victim)
        with client(process, Authorization=f"Bearer {secret}") as http:
            again = ask(http, "hi", model=trained.name, previous_response_id=first["id"])
            assert again["elman"]["state"]["messages"] == 4
        assert process.stop() == 0
