"""A server among people: keys, other people's conversations, crashes, full disks, bad states."""

import json
import os
import random
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from elman.bptt import State
from elman.chat.sqlite import SqliteDatabase
from elman.cli import main
from elman.errors import ElmanError
from elman.generate import index_files
from elman.generate.bot import Bot
from elman.generate.penalties import History
from elman.generate.replier import Chosen, Replier
from elman.generate.rerank import Ranking
from elman.serve.http.access import KeyRates, is_loopback
from elman.serve.run import listen
from elman.serve.store.keys import Key

from .conftest import Served, forget_recent

Serving = Callable[..., Served]


def ask(http: httpx.Client, text: str, **more: Any) -> dict[str, Any]:
    answer = http.post(
        "/v1/responses", json={"model": "ann", "input": text, "max_output_tokens": 12} | more
    )
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def said(response: dict[str, Any]) -> str:
    text: str = response["output"][0]["content"][0]["text"]
    return text


def test_nobody_reaches_what_is_anothers(serving: Serving) -> None:
    """64 tenants talk at once, in whatever slots; each recalls its own and none of the others'."""
    served = serving()
    keys = [served.key(f"tenant {n}") for n in range(64)]

    def talk(number: int) -> list[str]:
        with served.client(keys[number]) as http:
            ids: list[str] = []
            for turn in range(3):
                more = {"previous_response_id": ids[-1]} if ids else {}
                text = f"I am {number}, turn {turn}"
                ids.append(ask(http, text, temperature=0, **more)["id"])
            return ids

    order = list(range(64))
    random.Random(0).shuffle(order)
    with ThreadPoolExecutor(16) as pool:
        ids = dict(zip(order, pool.map(talk, order), strict=True))
    for number in (40, 17, 63):
        with served.client(keys[number]) as mine, served.client(keys[number - 1]) as other:
            own, [first, _, last] = ids[number], ids[number]
            assert [chat["id"] for chat in mine.get("/v1/chats").json()["data"]] == [first]
            tree = mine.get(f"/v1/chats/{first}").json()
            assert [each["id"] for each in tree["responses"]] == own
            assert all(each["input"].startswith(f"I am {number},") for each in tree["responses"])
            rated = {"response_id": last, "rating": "up", "consent": True}
            assert mine.post("/v1/feedback", json=rated).status_code == 201
            answers = [
                other.get(f"/v1/responses/{last}"),
                other.delete(f"/v1/responses/{last}"),
                other.get(f"/v1/chats/{first}"),
                other.delete(f"/v1/chats/{first}"),
                other.get("/v1/chats", params={"after": first}),
                other.post("/v1/feedback", json=rated),
                other.post(
                    "/v1/responses",
                    json={"model": "ann", "input": "hi", "previous_response_id": last},
                ),
            ]
            assert {answer.status_code for answer in answers} == {404}
            assert len({answer.json()["error"]["type"] for answer in answers}) == 1
            assert other.get("/v1/feedback").text == ""
            assert json.loads(mine.get("/v1/feedback").text)["response_id"] == last
            # What another says in the very same words is read anew, and replied to alike.
            again = ask(other, f"I am {number}, turn 0", temperature=0)
            assert again["usage"]["input_tokens_details"]["cached_tokens"] == 0
            assert said(again) == said(mine.get(f"/v1/responses/{first}").json())
            assert mine.get(f"/v1/responses/{last}").status_code == 200


def test_keys(serving: Serving, elman: Callable[..., Any], tmp_path: Path) -> None:
    served = serving(host="0.0.0.0")
    with served.client() as http:
        for path in ("/v1/models", "/v1/chats", "/metrics"):
            answer = http.get(path)
            assert answer.status_code == 401
            assert answer.headers["www-authenticate"] == "Bearer"
        assert http.get("/health").status_code == 200
    database = ("--db", tmp_path / "memory.db")
    secret = elman("keys", "add", "phone", *database).out.strip()
    assert elman("keys", "add", "phone", *database).code == 2
    assert secret.encode() not in (tmp_path / "memory.db").read_bytes()
    with served.client(secret) as http, served.client("elman-guess") as guess:
        assert http.get("/v1/models").status_code == 200
        assert guess.get("/v1/models").status_code == 401
        assert "phone" in elman("keys", "list", *database).out
        assert elman("keys", "revoke", "phone", *database).code == 0
        assert elman("keys", "revoke", "phone", *database).code == 2
        assert http.get("/v1/models").status_code == 401


def test_at_this_computer_no_key_is_needed(serving: Serving) -> None:
    served = serving()
    with served.client() as http, served.client("unused") as dummy:
        assert http.get("/v1/models").status_code == dummy.get("/v1/models").status_code == 200
        proxied = http.get("/v1/models", headers={"X-Forwarded-For": "203.0.113.9"})
        assert proxied.status_code == 401
        secret = served.key("somebody")
        # Now a key means something: none, and one that is not in use, are no longer waved through.
        assert http.get("/v1/models").status_code == dummy.get("/v1/models").status_code == 401
        proxied = http.get("/v1/models", headers={"X-Forwarded-For": "203.0.113.9"})
        assert proxied.status_code == 401
        for headers in ({"x-api-key": secret}, {"api-key": secret}):
            assert http.get("/v1/models", headers=headers).status_code == 200


def test_other_sites_are_refused(serving: Serving) -> None:
    served = serving()
    with served.client() as http:
        body = {"model": "ann", "input": "hello"}
        evil = http.post("/v1/responses", json=body, headers={"Origin": "https://evil.example"})
        rebound = http.get("/v1/chats", headers={"Host": "evil.example"})
        own = http.post("/v1/responses", json=body, headers={"Origin": served.url})
        assert (evil.status_code, rebound.status_code, own.status_code) == (403, 403, 200)


def test_a_limit_of_requests(serving: Serving) -> None:
    served = serving()
    with served.client(served.key("slow", per_minute=2)) as http:
        codes = [http.get("/v1/models").status_code for _ in range(3)]
        assert codes == [200, 200, 429]
        assert int(http.get("/v1/models").headers["retry-after"]) >= 1


def test_a_limit_fills_up_again() -> None:
    now = [0.0]
    limits, key = KeyRates(lambda: now[0]), Key("k", "k", 60, 0.0, None)
    for _ in range(60):
        limits.take(key)
    with pytest.raises(ElmanError, match="60 times a minute"):
        limits.take(key)
    now[0] = 1.1
    limits.take(key)


def test_addresses() -> None:
    assert all(map(is_loopback, ("localhost", "127.0.0.1", "127.8.8.8", "::1", "[::1]")))
    assert not any(map(is_loopback, ("0.0.0.0", "::", "192.168.0.1", "example.org", "")))


def test_overload_is_answered_by_429(serving: Serving) -> None:
    served = serving(batch_size=1, max_waiting=1)
    body = {"model": "ann", "prompt": [100] * 8000, "max_tokens": 4000, "stream": True}
    with served.client() as http:
        streams = [http.stream("POST", "/v1/completions", json=body) for _ in range(2)]
        for stream in streams:
            stream.__enter__()
        answer = http.post("/v1/responses", json={"model": "ann", "input": "hello"})
        assert answer.status_code == 429
        assert answer.headers["retry-after"] == "1"
        assert http.get("/health").status_code == 200
        for stream in streams:
            stream.__exit__(None, None, None)


def test_a_client_that_leaves_frees_its_lane(serving: Serving) -> None:
    served = serving(batch_size=1, max_waiting=0)
    # Endless, but for the most that a reply may have.
    body = {"model": "ann", "input": "hello", "max_output_tokens": 4096, "temperature": 2}
    with served.client() as http:
        with http.stream("POST", "/v1/responses", json=body | {"stream": True}) as stream:
            lines = stream.iter_lines()
            created = next(line for line in lines if line.startswith("data:"))
            chat = json.loads(created[6:])["response"]["id"]
        batcher = served.service.models["ann"].batcher
        while batcher.open:
            time.sleep(0.001)
        while (answer := http.get(f"/v1/responses/{chat}")).status_code == 404:
            time.sleep(0.001)
        # As far as it came, it was said; and it can be gone on from.
        assert answer.json()["status"] in ("cancelled", "completed", "incomplete")
        assert ask(http, "go on", previous_response_id=chat)["previous_response_id"] == chat


def test_chats_and_feedback(serving: Serving) -> None:
    served = serving()
    with served.client() as http:
        first = ask(http, "  what\n is 1 plus 2? " + "x " * 100)
        left = ask(http, "left", previous_response_id=first["id"])
        right = ask(http, "right", previous_response_id=first["id"])
        other = ask(http, "another")
        listed = http.get("/v1/chats", params={"limit": 1}).json()
        assert [each["id"] for each in listed["data"]] == [other["id"]]
        assert listed["has_more"]
        rest = http.get("/v1/chats", params={"after": other["id"]}).json()
        [chat] = rest["data"]
        assert (chat["id"], chat["messages"]) == (first["id"], 4)
        assert chat["title"].startswith("what is 1 plus 2? x x")
        assert len(chat["title"]) <= 80
        tree = http.get(f"/v1/chats/{first['id']}").json()
        assert [(each["id"], each["previous_response_id"]) for each in tree["responses"]] == [
            (first["id"], None), (left["id"], first["id"]), (right["id"], first["id"]),
        ]  # fmt: skip
        assert tree["responses"][2]["state"] == right["elman"]["state"]
        given = {"response_id": left["id"], "rating": "down", "instead": "3, Bob."}
        assert http.post("/v1/feedback", json=given).status_code == 400
        assert http.post("/v1/feedback", json=given | {"consent": True}).status_code == 201
        [line] = http.get("/v1/feedback").text.splitlines()
        kept = json.loads(line)
        assert (kept["rating"], kept["instead"], kept["output"]) == ("down", "3, Bob.", said(left))
        assert [message["role"] for message in kept["messages"]] == ["user", "assistant", "user"]
        taken_back = {"response_id": left["id"], "rating": None, "instead": None, "consent": True}
        assert http.post("/v1/feedback", json=taken_back).status_code == 201
        assert http.get("/v1/feedback").text == ""
        http.post("/v1/feedback", json=given | {"consent": True})
        assert http.delete(f"/v1/chats/{first['id']}").json()["deleted"]
        assert http.get(f"/v1/chats/{first['id']}").status_code == 404
        assert http.get("/v1/feedback").text == ""
        http.delete(f"/v1/chats/{other['id']}")
        with served.service.store.reading() as connection:
            for table in ("nodes", "states", "holds", "responses", "feedback"):
                rows = connection.execute(f"SELECT count(*) FROM {table}")
                assert rows.fetchone() == (0,), table


def test_the_page_is_served_under_a_strict_policy(serving: Serving) -> None:
    served = serving()
    with served.client() as http:
        answer = http.get("/")
        assert answer.headers["content-type"].startswith("text/html")
        assert "script-src 'self'" in answer.headers["content-security-policy"]
        assert "unsafe" not in answer.headers["content-security-policy"]
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert http.get("/page/main.js").status_code == 200
        assert http.get("/page/..%2fapp.py").status_code == 404


def test_metrics(serving: Serving) -> None:
    served = serving()
    with served.client() as http:
        ask(http, "hello")
        http.get("/v1/chats/nothing")
        text = http.get("/metrics").text
    assert 'elman_answers_total{route="/v1/responses",status="200"} 1.0' in text
    assert 'elman_answers_total{route="/v1/chats/{chat_id}",status="404"} 1.0' in text
    assert 'elman_first_token_seconds_count{model="ann"} 1.0' in text


@pytest.mark.parametrize("harm", ["damaged", "truncated", "foreign", "older", "gone"])
def test_a_state_that_cannot_be_trusted_is_read_anew(serving: Serving, harm: str) -> None:
    served = serving()
    with served.client() as http:
        first = ask(http, "what is 1 plus 2?", temperature=0)
        ask(http, "something else", temperature=0)
        right = ask(http, "and 2?", previous_response_id=first["id"], temperature=0, store=False)
        with served.service.store.writing() as connection:
            rows = connection.execute("SELECT key, state FROM states").fetchall()
            for number, (key, state) in enumerate(rows):
                bad = {
                    "damaged": state[:-20] + bytes([state[-20] ^ 255]) + state[-19:],
                    "truncated": state[: len(state) // 2],
                    "foreign": rows[number - 1][1],
                    "older": state[:4] + b"\0" + state[5:],
                    "gone": b"",
                }[harm]
                connection.execute(
                    "UPDATE states SET state = :bad WHERE key = :key", {"bad": bad, "key": key}
                )
        forget_recent(served.service.models["ann"])
        again = ask(http, "and 2?", previous_response_id=first["id"], temperature=0)
        assert said(again) == said(right)
        assert again["elman"]["state"]["messages"] == 4


def test_a_full_disk_is_said_and_the_server_goes_on(
    serving: Serving, monkeypatch: pytest.MonkeyPatch
) -> None:
    served = serving()
    store = served.service.store.database
    assert isinstance(store, SqliteDatabase)
    with served.client() as http:
        first = ask(http, "hello")
        with store.reading() as connection:
            [pages] = connection.execute("PRAGMA page_count").fetchone()
        connect = store._connect

        def small() -> sqlite3.Connection:
            raw = connect()
            raw.execute(f"PRAGMA max_page_count = {pages}")
            return raw

        # The next connections find no room.
        store._close_idle()
        monkeypatch.setattr(store, "_connect", small)
        body = {"model": "ann", "input": "a" * 100_000, "max_output_tokens": 3}
        answer = http.post("/v1/responses", json=body)
        assert answer.status_code == 507
        assert "could not be kept" in answer.json()["error"]["message"]
        streamed = http.post("/v1/responses", json=body | {"stream": True}).text
        assert "response.failed" in streamed
        assert "response.completed" not in streamed
        assert http.get(f"/v1/responses/{first['id']}").status_code == 200
        assert ask(http, "hello", store=False)["status"]
        monkeypatch.undo()
        store._close_idle()
        assert ask(http, "hello")["status"]


def test_a_port_in_use(elman: Callable[..., Any], trained: Path, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ran = elman("serve", trained, "--port", port, "--db", tmp_path / "memory.db")
    assert ran.code == 2
    assert f"port {port}" in ran.err
    assert "--port" in ran.err
    with pytest.raises(ElmanError):
        listen("203.0.113.1", 0)


def test_what_cannot_be_served(elman: Callable[..., Any], trained: Path, tmp_path: Path) -> None:
    database = ("--db", tmp_path / "memory.db")
    ran = elman("serve", trained, "--host", "0.0.0.0", *database)
    assert ran.code == 2
    assert "elman keys add" in ran.err
    assert elman("serve", tmp_path, *database).code == 2
    ran = elman("serve", trained, trained, *database)
    assert ran.code == 2
    assert "two bots" in ran.err
    ran = elman("serve", trained, "--samples", 0, *database)
    assert ran.code == 2
    assert "--samples 0" in ran.err
    for flag in ("--weights", "--precision"):
        ran = elman("serve", trained, flag, "int4", *database)
        assert ran.code == 2
        assert "--weights int4: float32, bfloat16, int8" in ran.err
    assert "--precision is called --weights now" in ran.err
    ran = elman("serve", trained, "--unsure", "Please write to us.", *database)
    assert ran.code == 2
    assert "--reply-from data" in ran.err


def test_a_bot_that_must_not_invent(serving: Serving, bot: Bot) -> None:
    index = index_files.known(bot, print)
    people = {bot.tokenizer.decode(tokens) for tokens in index.replies}
    served = serving(repliers={"ann": Replier(bot, reply_from="data", index=index)})
    with served.client() as http:
        for text in ("What is 1 plus 2?", "Something else entirely."):
            assert said(ask(http, text, max_output_tokens=200)) in people


class Noting(Replier):
    """Notes what is to be avoided."""

    def __init__(self, bot: Bot) -> None:
        super().__init__(bot, ranking=Ranking(samples=2))
        self.avoided: list[set[str]] = []
        self._tokenizer = bot.tokenizer

    def choose(
        self,
        state: State,
        generator: np.random.Generator,
        recent: Sequence[int] = (),
        histories: Sequence[History] = (),
        keep_states: bool = False,
    ) -> list[Chosen]:
        self.avoided.append({self._tokenizer.decode(tokens) for tokens in histories[0].said})
        return super().choose(state, generator, recent, histories, keep_states)


def test_another_reply_avoids_those_that_were_given(serving: Serving, bot: Bot) -> None:
    replier = Noting(bot)
    with serving(repliers={"ann": replier}).client() as http:
        first = ask(http, "What is 1 plus 2?")
        asked = {"previous_response_id": first["id"]}
        second, third, _ = [said(ask(http, "What is 2 plus 2?", **asked)) for _ in range(3)]
    before = said(first)
    assert replier.avoided == [set(), {before}, {before, second}, {before, second, third}]


def test_somebody_alone_gets_the_best_of_several(serving: Serving, bot: Bot) -> None:
    served = serving(repliers={"ann": Replier(bot, ranking=Ranking(samples=4))})
    with served.client() as http:
        reply = ask(http, "What is 1 plus 2?")
        assert reply["status"] in ("completed", "incomplete")
        again = ask(http, "And 2 plus 2?", previous_response_id=reply["id"])
        assert said(again)


def start(trained: Path, place: Path, port: int) -> subprocess.Popen[bytes]:
    """`elman serve` in a process of its own, once it answers."""
    command = [sys.executable, "-m", "elman", "serve", str(trained), "--port", str(port)]
    command += ["--db", str(place)]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    while True:
        try:
            httpx.get(f"http://127.0.0.1:{port}/health")
            return process
        except httpx.TransportError:
            assert process.poll() is None
            time.sleep(0.02)


def test_kill_9_loses_nothing_that_was_acknowledged(trained: Path, tmp_path: Path) -> None:
    """Three times here; benchmarks/kill.py does it a hundred times."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    acknowledged: dict[str, str] = {}
    name = trained.name

    def talk(number: int) -> None:
        before = None
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as http:
            for turn in range(10_000):
                body = {
                    "model": name, "input": f"{number} {turn}", "max_output_tokens": 8,
                    "previous_response_id": before,
                }  # fmt: skip
                try:
                    found = http.post("/v1/responses", json=body).json()
                except (httpx.TransportError, json.JSONDecodeError):
                    return
                before = found["id"]
                acknowledged[before] = said(found)

    for round_ in range(3):
        process = start(trained, tmp_path / "memory.db", port)
        threads = [threading.Thread(target=talk, args=(n,)) for n in range(6)]
        count = len(acknowledged)
        for thread in threads:
            thread.start()
        while len(acknowledged) < count + 20 + 10 * round_:
            time.sleep(0.001)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        for thread in threads:
            thread.join()
    process = start(trained, tmp_path / "memory.db", port)
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as http:
        for id_, text in acknowledged.items():
            assert said(http.get(f"/v1/responses/{id_}").json()) == text
        last = list(acknowledged)[-1]
        body = {"model": name, "input": "go on", "previous_response_id": last}
        assert http.post("/v1/responses", json=body).status_code == 200
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 0


def test_the_command_is_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    """A missing extra is named, not a traceback."""
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    monkeypatch.setattr("sys.argv", ["elman", "serve"])
    with pytest.raises(SystemExit):
        main()


def test_what_each_message_did_for_a_reply_is_told_to_its_owner(serving: Serving) -> None:
    served = serving()
    mine, other = served.key("mine"), served.key("other")
    with served.client(mine) as http, served.client(other) as stranger:
        first = ask(http, "what is 1 plus 2?", instructions="Be brief.")
        second = ask(http, "and 2 plus 2?", previous_response_id=first["id"])
        assert second["elman"]["attribution"] is None, "it is computed when it is asked for"
        answer = http.get(f"/v1/responses/{second['id']}", params={"why": True}).json()
        found = answer["elman"]["attribution"]
        assert [each["message"] for each in found] == [0, 1, 2]
        assert any(each["nats"] for each in found)
        unasked = http.get(f"/v1/responses/{second['id']}").json()
        assert answer == unasked | {
            "elman": unasked["elman"] | {"attribution": found, "influence": found}
        }
        refused = stranger.get(f"/v1/responses/{second['id']}", params={"why": True})
        assert refused.status_code == 404
