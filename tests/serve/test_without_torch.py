"""A server in a process where torch cannot be imported answers everything but attribution."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

QUESTION = "what is 1 plus 2?"


@pytest.fixture(scope="module")
def server(
    trained: Path,
    environment_without_torch: dict[str, str],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[list[str]]:
    """`elman serve` in such a process: its address, and what it tells of the bot."""
    database = str(tmp_path_factory.mktemp("bare") / "memory.db")
    command = [sys.executable, "-m", "elman", "serve", str(trained), "--port", "0"]
    with subprocess.Popen(
        [*command, "--db", database],
        env=environment_without_torch,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        told = [process.stderr.readline() for _ in range(2)]
        address = re.search(r"at (http://\S+)", told[0])
        assert address, told
        yield [address[1], told[1].strip()]
        process.terminate()
        process.stderr.read()


@pytest.fixture
def http(server: list[str]) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server[0], timeout=60) as client:
        yield client


@pytest.fixture
def client(server: list[str]) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(
        base_url=f"{server[0]}/v1", api_key="unused", _strict_response_validation=True
    ) as client:
        yield client


def test_it_says_which_implementation_and_precision(server: list[str]) -> None:
    said = r"ann: (\w+ kernels, (float32|int8) weights( \(.+\))?|numpy: .+)"
    assert re.fullmatch(said, server[1])


def test_chat_completions_whole_and_streamed_are_the_same(client: openai.OpenAI) -> None:
    asked: dict[str, Any] = {
        "model": "ann", "messages": [{"role": "user", "content": QUESTION}], "seed": 3,
    }  # fmt: skip
    whole = client.chat.completions.create(**asked).choices[0].message.content
    chunks = client.chat.completions.create(**asked, stream=True)
    assert whole
    assert "".join(each.choices[0].delta.content or "" for each in chunks) == whole


def test_responses_go_on(client: openai.OpenAI) -> None:
    first = client.responses.create(model="ann", input=QUESTION)
    second = client.responses.create(model="ann", input="and?", previous_response_id=first.id)
    assert second.output_text
    assert client.responses.retrieve(second.id).output_text == second.output_text
    with client.responses.stream(model="ann", input=QUESTION) as stream:
        assert stream.get_final_response().output_text


def test_completions_tell_likelihoods(client: openai.OpenAI) -> None:
    found = client.completions.create(
        model="ann", prompt="it is", echo=True, logprobs=2, max_tokens=4
    )
    assert found.choices[0].text.startswith("it is")
    assert found.choices[0].logprobs is not None


def test_tokens_models_and_chats(http: httpx.Client) -> None:
    tokens = http.post("/tokenize", json={"model": "ann", "prompt": QUESTION}).json()["tokens"]
    told = http.post("/detokenize", json={"model": "ann", "tokens": tokens}).json()["prompt"]
    assert told.strip() == QUESTION
    [model] = http.get("/v1/models").json()["data"]
    assert model["elman"]["state_bytes"] > 0
    response = http.post("/v1/responses", json={"model": "ann", "input": QUESTION}).json()
    assert response["id"] in json.dumps(http.get("/v1/chats").json())


def test_attribution_says_what_it_needs_and_the_server_lives_on(http: httpx.Client) -> None:
    response = http.post("/v1/responses", json={"model": "ann", "input": QUESTION}).json()
    asked = http.get(f"/v1/responses/{response['id']}", params={"why": True})
    assert asked.status_code == 501
    assert asked.json()["error"] == {
        "message": "attribution needs torch: pip install 'elman[train]'",
        "type": "server_error",
        "param": "why",
        "code": "not_installed",
    }
    assert http.get(f"/v1/responses/{response['id']}").status_code == 200
    assert http.post("/v1/responses", json={"model": "ann", "input": "and?"}).status_code == 200
