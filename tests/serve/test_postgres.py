"""The server over a real PostgreSQL: what holds over SQLite holds over it."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from elman.chat import MemoryStore
from elman.generate.bot import Bot
from elman.serve.http.access import KeyRates
from elman.serve.http.errors import ApiError
from elman.serve.store.keys import Keys
from elman.serve.store.ownership import erase

from .conftest import Served, running
from .test_keys import (  # noqa: F401
    talk,
    test_a_key_in_use_keeps_what_it_owns,
    test_what_a_revoked_key_owns_is_deleted,
    test_what_a_revoked_key_owns_is_handed_on,
    test_what_a_revoked_key_owns_is_listed_and_exported,
)
from .test_server import ask, test_nobody_reaches_what_is_anothers  # noqa: F401

if TYPE_CHECKING:
    from postgres_server import Postgres


@pytest.fixture
def url(postgres: "Postgres") -> str:
    return postgres.database()


@pytest.fixture
def database(url: str) -> tuple[str, str]:
    return "--db", url


@pytest.fixture
def serving(bot: Bot, url: str) -> Iterator[Callable[..., Served]]:
    with ExitStack() as stack:

        def start(**options: object) -> Served:
            return stack.enter_context(running({"ann": bot}, url, **options))  # type: ignore[arg-type]

        yield start


def test_chats_are_listed_in_their_order_and_deleted(serving: Callable[..., Served]) -> None:
    served = serving()
    with served.client() as http:
        ids = [ask(http, f"chat {number}")["id"] for number in range(5)]
        last = ask(http, "and on", previous_response_id=ids[1], metadata={"a": "\0"})
        page = http.get("/v1/chats", params={"limit": 2}).json()
        assert [each["id"] for each in page["data"]] == [ids[1], ids[4]]
        assert page["has_more"]
        rest = http.get("/v1/chats", params={"after": ids[4]}).json()
        assert [each["id"] for each in rest["data"]] == [ids[3], ids[2], ids[0]]
        assert rest["data"][0]["title"] == "chat 3"
        tree = http.get(f"/v1/chats/{ids[1]}").json()
        assert [each["previous_response_id"] for each in tree["responses"]] == [None, ids[1]]
        kept = http.get(f"/v1/responses/{last['id']}").json()
        assert kept["metadata"] == {"a": "\0"}
        assert http.delete(f"/v1/responses/{ids[1]}").status_code == 200
        more = ask(http, "more", previous_response_id=last["id"])
        assert more["elman"]["state"]["messages"] == 6
        assert http.delete(f"/v1/chats/{ids[1]}").status_code == 200
        for unknown in (ids[1], "\0", "\U0010ffff" * 50):
            body = {"model": "ann", "input": "hi", "previous_response_id": unknown}
            assert http.post("/v1/responses", json=body).status_code == 404


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
def test_processes_count_together_how_often_a_key_asks(url: str, tmp_path: Path, kind: str) -> None:
    place = url if kind == "postgres" else tmp_path / "memory.db"
    now = [1e9]
    with MemoryStore(place) as one, MemoryStore(place) as other:
        key, _ = Keys(one).add("phone", 60)
        rates = [KeyRates(lambda: now[0], Keys(store)) for store in (one, other)]
        for number in range(60):
            rates[number % 2].take(key)
        for each in rates:
            with pytest.raises(ApiError, match="60 times a minute"):
                each.take(key)
        now[0] += 1.1
        rates[0].take(key)
        with pytest.raises(ApiError):
            rates[1].take(key)
        now[0] -= 100  # a clock that goes back gives nothing
        with pytest.raises(ApiError):
            rates[1].take(key)
        Keys(one).revoke("phone")
        with one.writing() as connection:
            erase(connection, key)
            assert connection.execute("SELECT * FROM rates").fetchall() == []


def test_what_cannot_be_kept_takes_nothing_else_with_it(serving: Callable[..., Served]) -> None:
    served = serving()
    with served.client() as http:
        assert ask(http, "a\0b")["status"]
        body = {"model": "ann", "input": "x" * 200_000, "max_output_tokens": 1}
        assert http.post("/v1/responses", json=body).status_code == 200
