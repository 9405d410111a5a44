"""Whoever asks for much, or of a slow store, holds up nobody else."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest

from elman.chat.database import Connection
from elman.data.tokenizer import END
from elman.serve.workers import WORKERS

from .conftest import Served

ENDLESS = {"max_tokens": 4000, "temperature": 0, "frequency_penalty": 2}
"""A reply that is long; the tests end it by leaving."""


def chat(text: str, **options: Any) -> dict[str, Any]:
    return {"model": "ann", "messages": [{"role": "user", "content": text}], **options}


@pytest.mark.parametrize("look_up", ["chats", "get"])
def test_a_slow_store_holds_up_nobody_else(
    serving: Callable[..., Served], monkeypatch: pytest.MonkeyPatch, look_up: str
) -> None:
    server = serving()
    slow, quick = server.key("slow"), server.key("quick")
    with server.client(slow) as http:
        first = http.post("/v1/responses", json={"model": "ann", "input": "hello"}).json()["id"]
    path = {"chats": "/v1/chats", "get": f"/v1/responses/{first}"}[look_up]
    entered, free = threading.Semaphore(0), threading.Event()
    held = server.service.keys.list()[0].id
    original = getattr(server.service.responses, look_up)

    def waits(connection: Connection, owner: str, *args: Any) -> Any:
        if owner == held:
            entered.release()
            assert free.wait(60)
        return original(connection, owner, *args)

    monkeypatch.setattr(server.service.responses, look_up, waits)

    def ask() -> int:
        with server.client(slow) as http:
            return http.get(path).status_code

    count = 8 * WORKERS
    with ThreadPoolExecutor(count) as pool:
        asked = [pool.submit(ask) for _ in range(count)]
        try:
            assert entered.acquire(timeout=60)
            with server.client(quick) as http:
                assert http.get("/health").status_code == 200
                assert http.get("/v1/chats").status_code == 200
                answer = http.post("/v1/chat/completions", json=chat("hello", max_tokens=3))
                assert answer.status_code == 200
                kept = http.post("/v1/responses", json={"model": "ann", "input": "hello"})
                assert http.delete(f"/v1/responses/{kept.json()['id']}").status_code == 200
        finally:
            free.set()
        assert {each.result() for each in asked} == {200}


def test_neither_text_nor_tokens_are_converted_in_the_event_loop(
    serving: Callable[..., Served], monkeypatch: pytest.MonkeyPatch
) -> None:
    server = serving()
    tokenizer = type(server.service.models["ann"].bot.tokenizer)
    threads: dict[str, set[str]] = {"encode": set(), "decode": set()}

    def watch(name: str) -> None:
        original = getattr(tokenizer, name)

        def watched(self: Any, given: Any) -> Any:
            threads[name].add(threading.current_thread().name)
            return original(self, given)

        monkeypatch.setattr(tokenizer, name, watched)

    watch("encode")
    watch("decode")
    with server.client() as http:
        for stream in (False, True):
            short = {"model": "ann", "stream": stream}
            for path, body in (
                ("/v1/chat/completions", chat("what is 1 plus 2?", stream=stream)),
                ("/v1/responses", short | {"input": "what is 1 plus 2?"}),
                ("/v1/completions", short | {"prompt": "it is"}),
            ):
                assert http.post(path, json=body).status_code == 200
        assert http.post("/tokenize", json={"prompt": "it is"}).status_code == 200
        assert http.post("/detokenize", json={"tokens": [5]}).status_code == 200
    for name, found in threads.items():
        assert found, name
        assert all(each.startswith("elman ") for each in found), (name, found)


def test_a_big_text_is_not_tokenized_in_the_event_loop(
    serving: Callable[..., Served], monkeypatch: pytest.MonkeyPatch
) -> None:
    server = serving()
    tokenizer = type(server.service.models["ann"].bot.tokenizer)
    original, threads = tokenizer.encode, set()
    entered, free = threading.Event(), threading.Event()

    def waits(self: Any, text: Any) -> list[int]:
        if len(text) > 100_000:
            threads.add(threading.current_thread().name)
            entered.set()
            assert free.wait(60)
            text = text[:20]
        return original(self, text)

    monkeypatch.setattr(tokenizer, "encode", waits)
    big = "what is 1 plus 2? " * 10_000
    asked = [
        ("/v1/chat/completions", chat(big, max_tokens=2)),
        ("/v1/responses", {"model": "ann", "input": big, "max_output_tokens": 2}),
        ("/v1/completions", {"model": "ann", "prompt": big, "max_tokens": 2}),
        ("/tokenize", {"prompt": big}),
    ]

    def ask(path: str, body: dict[str, Any]) -> int:
        with server.client() as http:
            return http.post(path, json=body).status_code

    with ThreadPoolExecutor(len(asked)) as pool:
        answers = [pool.submit(ask, *each) for each in asked]
        try:
            assert entered.wait(60)
            with server.client() as http:
                assert http.get("/health").status_code == 200
        finally:
            free.set()
        assert {answer.result() for answer in answers} == {200}
    assert threads
    assert all(name.startswith("elman worker") for name in threads)


@contextmanager
def flood(server: Served, key: str, count: int) -> Iterator[list[int]]:
    """Replies of one owner that do not end before this does; the statuses of their answers."""
    statuses: list[int] = []
    there, free = threading.Semaphore(0), threading.Event()

    def ask(number: int) -> None:
        body = chat(f"flood {number}", stream=True, **ENDLESS)
        with (
            server.client(key) as http,
            http.stream("POST", "/v1/chat/completions", json=body) as it,
        ):
            statuses.append(it.status_code)
            there.release()
            assert free.wait(60)

    with ThreadPoolExecutor(count) as pool:
        asked = [pool.submit(ask, number) for number in range(count)]
        try:
            for _ in asked:
                assert there.acquire(timeout=60)
            yield statuses
        finally:
            free.set()
        for each in asked:
            each.result()


def test_who_floods_gets_429_while_others_are_answered(
    serving: Callable[..., Served], monkeypatch: pytest.MonkeyPatch
) -> None:
    server = serving(batch_size=2, max_waiting=4)
    monkeypatch.setattr("elman.generate.sampling.ReplySampler.change", never_ends)
    rude, polite = server.key("rude"), server.key("polite")
    with flood(server, rude, 12) as statuses:
        assert sorted(statuses) == [200] * 6 + [429] * 6
        with server.client(rude) as http:
            refused = http.post("/v1/chat/completions", json=chat("more"))
            assert refused.status_code == 429
            assert int(refused.headers["retry-after"]) > 0
        with server.client(polite) as http:
            for _ in range(3):
                answer = http.post("/v1/chat/completions", json=chat("hello", max_tokens=2))
                assert answer.status_code == 200, answer.text
            prompts = {"model": "ann", "prompt": ["it is"] * 3, "max_tokens": 1}
            assert http.post("/v1/completions", json=prompts).status_code == 200


def never_ends(chooser: Any, logits: Any) -> None:
    logits[END] = -float("inf")


def test_many_prompts_of_one_request_leave_room_for_others(serving: Callable[..., Served]) -> None:
    server = serving(batch_size=2, max_waiting=4)
    body = {"model": "ann", "prompt": [f"it is {n}" for n in range(40)], "max_tokens": 2}
    with server.client() as http:
        answer = http.post("/v1/completions", json=body)
    assert answer.status_code == 200
    assert len(answer.json()["choices"]) == 40
    assert server.service.models["ann"].batcher.open == 0


def test_a_client_that_leaves_in_the_middle_of_many_prompts_frees_its_places(
    serving: Callable[..., Served], monkeypatch: pytest.MonkeyPatch
) -> None:
    server = serving(batch_size=2, max_waiting=40)
    monkeypatch.setattr("elman.generate.sampling.ReplySampler.change", never_ends)
    body = {"model": "ann", "prompt": ["it is"] * 40, "max_tokens": 4000, "stream": True}
    with server.client() as http:
        with http.stream("POST", "/v1/completions", json=body) as streamed:
            assert streamed.status_code == 200
        monkeypatch.undo()
        answer = http.post("/v1/chat/completions", json=chat("hello", max_tokens=2))
        assert answer.status_code == 200
    server.service.models["ann"].batcher.close()
    assert server.service.models["ann"].batcher.open == 0
