"""What was said with a key outlives it: listed, exported, handed on, deleted."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from elman.serve.store.ownership import OWNED

from .conftest import Served
from .test_server import ask, said

Elman = Callable[..., Any]


@pytest.fixture
def database(tmp_path: Path) -> tuple[str, Path]:
    return "--db", tmp_path / "memory.db"


@pytest.fixture
def talk(serving: Callable[..., Served]) -> tuple[Served, list[dict[str, Any]]]:
    """A server, and what was said with a key that is called phone: two branches and a rating."""
    served = serving()
    with served.client(served.key("phone")) as http:
        first = ask(http, "one lump or two?")
        left = ask(http, "two, please", previous_response_id=first["id"])
        right = ask(http, "one, please", previous_response_id=first["id"])
        rated = {"response_id": left["id"], "rating": "up", "consent": True}
        assert http.post("/v1/feedback", json=rated).status_code == 201
    return served, [first, left, right]


def test_a_key_in_use_keeps_what_it_owns(
    talk: tuple[Served, list[dict[str, Any]]], elman: Elman, database: tuple[str, Path]
) -> None:
    for verb in (["delete", "phone"], ["transfer", "phone", "phone"]):
        ran = elman("keys", *verb, *database)
        assert ran.code == 2
        assert "elman keys revoke it first" in ran.err
    assert elman("keys", "delete", "nobody", *database).code == 2
    assert "1 conversations" in elman("keys", "list", *database).out


def test_what_a_revoked_key_owns_is_listed_and_exported(
    talk: tuple[Served, list[dict[str, Any]]], elman: Elman, database: tuple[str, Path]
) -> None:
    _, [first, left, right] = talk
    assert elman("keys", "revoke", "phone", *database).code == 0
    listed = elman("keys", "chats", "phone", *database).out
    assert first["id"] in listed
    assert "one lump or two?" in listed
    lines = elman("keys", "export", "phone", *database).out.splitlines()
    found = {line["id"]: line["turns"] for line in map(json.loads, lines)}
    assert set(found) == {left["id"], right["id"]}
    assert [turn["text"] for turn in found[left["id"]]] == [
        "one lump or two?", said(first), "two, please", said(left),
    ]  # fmt: skip
    rated = elman("keys", "export", "phone", "--feedback", *database).out
    assert json.loads(rated)["response_id"] == left["id"]


def test_what_a_revoked_key_owns_is_handed_on(
    talk: tuple[Served, list[dict[str, Any]]], elman: Elman, database: tuple[str, Path]
) -> None:
    served, [first, left, _] = talk
    assert elman("keys", "revoke", "phone", *database).code == 0
    secret = elman("keys", "add", "phone", *database).out.strip()
    ran = elman("keys", "chats", "phone", *database)
    assert ran.code == 2, "two keys have the name"
    assert elman("keys", "transfer", "phone", "phone", *database).code == 0
    with served.client(secret) as http:
        tree = http.get(f"/v1/chats/{first['id']}").json()
        assert len(tree["responses"]) == 3
        on = ask(http, "thanks", previous_response_id=left["id"])
        assert on["elman"]["state"]["messages"] == 6
        assert http.get("/v1/feedback").text
        assert http.delete(f"/v1/chats/{first['id']}").status_code == 200
    _nothing_is_left(served)


def test_what_a_revoked_key_owns_is_deleted(
    talk: tuple[Served, list[dict[str, Any]]], elman: Elman, database: tuple[str, Path]
) -> None:
    served, _ = talk
    assert elman("keys", "revoke", "phone", *database).code == 0
    with served.client() as http:
        assert http.get("/v1/models").status_code == 401, "a revoked key opens nothing"
    ran = elman("keys", "delete", "phone", *database)
    assert ran.code == 0
    assert "1 conversations" in ran.out
    assert "no key any more" in ran.out
    _nothing_is_left(served)
    assert "no keys" in elman("keys", "list", *database).out
    with httpx.Client(base_url=served.url) as http:
        assert http.get("/v1/models").status_code == 200


def _nothing_is_left(served: Served) -> None:
    with served.service.store.reading() as connection:
        for table in (*OWNED, "states"):
            count = connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
            assert count == 0, table
