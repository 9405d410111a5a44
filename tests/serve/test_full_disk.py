"""Deleting and revoking work where there is no room; a clock that goes back reorders nothing."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from elman.chat import LOCAL, MemoryStore, Recall
from elman.chat.sqlite import RESERVE_BYTES
from elman.errors import ElmanError
from elman.generate.bot import Bot

from .conftest import Served
from .test_server import ask

Serving = Callable[..., Served]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk with room for the reserve and little else."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={RESERVE_BYTES + (3 << 20)}", "tmpfs"]
    mounted = sys.platform == "linux" and os.geteuid() == 0
    if not mounted or subprocess.run([*mount, folder], capture_output=True).returncode:
        pytest.skip("only root can mount a small disk here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


def fill(folder: Path) -> None:
    """Leave no room at all."""
    with (folder / "junk").open("ab", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(1000))


def test_deleting_works_on_a_full_disk(
    serving: Serving, small_disk: Path, elman: Callable[..., Any]
) -> None:
    database = small_disk / "memory.db"
    served = serving(database)
    secret = served.key("phone")
    with served.client(secret) as http:
        chats = [ask(http, f"{n} " + "tea and cake " * 100)["id"] for n in range(8)]
        rated = {"response_id": chats[0], "rating": "down", "consent": True}
        assert http.post("/v1/feedback", json=rated).status_code == 201
        with suppress(AssertionError):
            while True:
                chats.append(ask(http, "coffee " * 5000, max_output_tokens=1)["id"])
        fill(small_disk)
        body = {"model": "ann", "input": "milk " * 20_000, "max_output_tokens": 1}
        assert http.post("/v1/responses", json=body).status_code == 507
        taken_back = {"response_id": chats[0], "rating": None, "consent": True}
        assert http.post("/v1/feedback", json=taken_back).status_code == 201
        for chat in chats:
            fill(small_disk)
            assert http.delete(f"/v1/chats/{chat}").status_code == 200
            assert http.get(f"/v1/chats/{chat}").status_code == 404
        fill(small_disk)
        assert elman("keys", "revoke", "phone", "--db", database).code == 0
        assert http.get("/v1/models").status_code == 401
        fill(small_disk)
        assert elman("keys", "delete", "phone", "--db", database).code == 0


def test_a_session_is_deleted_on_a_full_disk(
    bot: Bot, small_disk: Path, elman: Callable[..., Any]
) -> None:
    """The database is opened there anew, which needs room, too."""
    database = small_disk / "memory.db"
    with MemoryStore(database) as store:
        recall = Recall(store, bot, LOCAL)
        with store.writing() as connection:
            node = recall.after(None, "user", "tea " * 1000)
            store.put(connection, LOCAL, node)
            store.move(connection, LOCAL, ("tea", "ann", b"x"), node.key)
    fill(small_disk)
    ran = elman("sessions", "delete", "tea", "--db", database)
    assert ran.code == 0, ran.err
    assert "no sessions" in elman("sessions", "list", "--db", database).out
    Path(f"{database}-reserve").unlink(missing_ok=True)
    fill(small_disk)
    with pytest.raises(ElmanError):
        MemoryStore(database)


def test_a_clock_that_goes_back_reorders_no_chat(
    serving: Serving, monkeypatch: pytest.MonkeyPatch
) -> None:
    served = serving()
    now = [2_000_000_000.0]

    def clock() -> float:
        now[0] -= 3600
        return now[0]

    monkeypatch.setattr(time, "time", clock)
    with served.client() as http:
        first = ask(http, "first")
        ids = [first["id"]]
        for text in ("second", "third"):
            ids.append(ask(http, text, previous_response_id=ids[-1])["id"])
        ids += [ask(http, f"or {n}", previous_response_id=ids[0])["id"] for n in range(3)]
        other = ask(http, "another chat")["id"]
        tree = http.get(f"/v1/chats/{first['id']}").json()["responses"]
        assert [each["id"] for each in tree] == ids
        listed = http.get("/v1/chats").json()["data"]
        assert [(each["id"], each["title"]) for each in listed] == [
            (other, "another chat"), (first["id"], "first"),
        ]  # fmt: skip
        rest = http.get("/v1/chats", params={"after": other}).json()["data"]
        assert [each["id"] for each in rest] == [first["id"]]


def test_branches_stay_in_order_where_the_clock_goes_back(bot: Bot) -> None:
    with MemoryStore() as store, store.writing() as connection:
        recall = Recall(store, bot, LOCAL)
        asked = recall.after(None, "user", "tea?")._replace(time=100.0)
        store.put(connection, LOCAL, asked)
        for number in range(4):
            answer = recall.after(asked, "bot", f"answer {number}")._replace(time=50.0 - number)
            store.put(connection, LOCAL, answer)
            store.hold(connection, LOCAL, "session tea", answer.key)
        tree = store.tree(connection, LOCAL, "session tea")
    assert [node.text for node in tree] == ["tea?", *(f"answer {n}" for n in range(4))]
