"""The openai client, strict, against a real server."""

import contextlib
import json
import socket
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import httpx
import openai
import pytest

from elman.serve.http.guard import MAX_DISCARDED_BYTES

from .conftest import Served

HELLO: Any = [{"role": "user", "content": "what is 1 plus 2?"}]


@pytest.fixture(scope="module")
def client(served: Served) -> openai.OpenAI:
    return openai.OpenAI(
        base_url=f"{served.url}/v1",
        api_key="unused",
        max_retries=0,
        _strict_response_validation=True,
    )


def test_models(client: openai.OpenAI) -> None:
    assert [model.id for model in client.models.list()] == ["ann"]
    assert client.models.retrieve("ann").owned_by == "elman"
    with pytest.raises(openai.NotFoundError, match="no model 'bob'"):
        client.models.retrieve("bob")


def test_a_chat_completion(client: openai.OpenAI) -> None:
    found = client.chat.completions.create(model="ann", messages=HELLO, temperature=0)
    [choice] = found.choices
    assert choice.message.role == "assistant"
    assert choice.message.content
    assert choice.finish_reason in ("stop", "length")
    assert found.usage is not None
    assert found.usage.total_tokens == found.usage.prompt_tokens + found.usage.completion_tokens


def test_a_stream_says_the_same(client: openai.OpenAI) -> None:
    whole = client.chat.completions.create(model="ann", messages=HELLO, temperature=0)
    chunks = list(
        client.chat.completions.create(
            model="ann",
            messages=HELLO,
            temperature=0,
            stream=True,
            stream_options={"include_usage": True},
        )
    )
    *parts, last = chunks
    assert len({chunk.id for chunk in chunks}) == 1
    assert parts[0].choices[0].delta.role == "assistant"
    assert all(part.choices[0].delta.role is None for part in parts[1:])
    text = "".join(part.choices[0].delta.content or "" for part in parts)
    assert text == whole.choices[0].message.content
    reasons = [part.choices[0].finish_reason for part in parts if part.choices[0].finish_reason]
    assert reasons == [whole.choices[0].finish_reason]
    assert all(part.usage is None for part in parts)
    assert last.choices == []
    assert last.usage is not None
    assert whole.usage is not None
    assert last.usage.completion_tokens == whole.usage.completion_tokens


def test_streams_end_as_the_wire_format_says(served: Served) -> None:
    body = {"model": "ann", "messages": HELLO, "stream": True}
    with served.client() as http:
        text = http.post("/v1/chat/completions", json=body).text
        assert text.endswith("data: [DONE]\n\n")
        assert "\r" not in text
        assert "usage" not in text
        answer = http.post("/v1/responses", json={"model": "ann", "input": "hi", "stream": True})
        assert "[DONE]" not in answer.text
        assert answer.headers["content-type"].startswith("text/event-stream")


def test_what_is_resent_is_not_read_again(client: openai.OpenAI) -> None:
    messages = list(HELLO)
    for _ in range(3):
        found = client.chat.completions.create(model="ann", messages=messages, max_tokens=20)
        messages += [
            {"role": "assistant", "content": found.choices[0].message.content},
            {"role": "user", "content": "and 2 plus 2?"},
        ]
    assert found.usage is not None
    assert found.usage.prompt_tokens_details is not None
    known = found.usage.prompt_tokens_details.cached_tokens
    assert known is not None
    # All but the last question.
    assert 0 < found.usage.prompt_tokens - known < 20


def test_choices_seeds_and_likelihoods(client: openai.OpenAI) -> None:
    def ask() -> Any:
        return client.chat.completions.create(
            model="ann", messages=HELLO, n=3, seed=7, temperature=1.5, logprobs=True,
            top_logprobs=2, max_tokens=12,
        )  # fmt: skip

    one, other = ask(), ask()
    texts = [choice.message.content for choice in one.choices]
    assert texts == [choice.message.content for choice in other.choices]
    assert len(set(texts)) > 1
    for choice in one.choices:
        content = choice.logprobs.content
        # A character may take several tokens: their bytes are joined, and then are text.
        assert b"".join(bytes(t.bytes) for t in content).decode() == choice.message.content
        for token in content:
            assert token.logprob <= 0
            assert len(token.top_logprobs) == 2
            assert token.top_logprobs[0].logprob >= token.top_logprobs[1].logprob


def test_stop_is_never_told(client: openai.OpenAI) -> None:
    whole = client.chat.completions.create(model="ann", messages=HELLO, seed=1)
    text = whole.choices[0].message.content or ""
    assert len(text) > 1
    stop = text[-1]
    cut = client.chat.completions.create(model="ann", messages=HELLO, seed=1, stop=stop)
    assert cut.choices[0].message.content == text[: text.index(stop)]
    assert cut.choices[0].finish_reason == "stop"


def test_bias_and_length(client: openai.OpenAI, served: Served) -> None:
    *_, token = served.service.models["ann"].bot.tokenizer.encode("z")  # after the space
    found = client.chat.completions.create(
        model="ann", messages=HELLO, temperature=0, max_completion_tokens=5,
        logit_bias={str(token): 100}, frequency_penalty=0,
        extra_body={"repetition_penalty": 1},
    )  # fmt: skip
    assert found.choices[0].message.content == "zzzzz"
    assert found.choices[0].finish_reason == "length"


def test_completions(client: openai.OpenAI, served: Served) -> None:
    tokenizer = served.service.models["ann"].bot.tokenizer
    ids = tokenizer.encode("it is 3")
    for prompt in ("it is 3", ids, ["it is 3", "it is 4"], [ids, ids]):
        found = client.completions.create(model="ann", prompt=prompt, max_tokens=4, temperature=0)
        many = isinstance(prompt, list) and not isinstance(prompt[0], int)
        assert len(found.choices) == (2 if many else 1)
    # Until the end finish_reason is null, as OpenAI sends it; the strict client forgets that.
    lenient = openai.OpenAI(base_url=f"{served.url}/v1", api_key="unused")
    streamed = lenient.completions.create(
        model="ann", prompt="it is 3", max_tokens=4, temperature=0, stream=True
    )
    text = "".join(chunk.choices[0].text for chunk in streamed)
    alone = client.completions.create(model="ann", prompt="it is 3", max_tokens=4, temperature=0)
    assert text == alone.choices[0].text


def test_echoed_likelihoods_are_those_of_the_bot(client: openai.OpenAI, served: Served) -> None:
    """As a harness asks for them; equal to what reading the same message costs."""
    import numpy as np

    from elman.data.tokenizer import END, ROLES

    bot = served.service.models["ann"].bot
    ids = bot.tokenizer.encode("it is 3, Bob.")
    found = client.completions.create(
        model="ann", prompt=ids, max_tokens=0, echo=True, logprobs=1, temperature=0
    )
    [choice] = found.choices
    assert choice.text == "it is 3, Bob."
    assert choice.logprobs is not None
    assert choice.logprobs.token_logprobs is not None
    message = np.array([ROLES["bot"], *ids, END], np.uint16)
    [nats], state = bot.decoder.score([[message]], bot.decoder.initial_state(1))
    end = bot.decoder.score([[message[:-1]]], bot.decoder.initial_state(1))[0][0]
    # Float32, and a step at a time rather than all at once.
    assert sum(choice.logprobs.token_logprobs) == pytest.approx(-float(end.sum()), abs=1e-4)
    assert float(nats.sum()) > float(end.sum())
    assert len(state) == len(bot.decoder.state_spec)


def test_responses_go_on_and_fork(client: openai.OpenAI) -> None:
    first = client.responses.create(model="ann", input="what is 1 plus 2?", temperature=0)
    assert first.output_text
    assert first.status in ("completed", "incomplete")
    left = client.responses.create(
        model="ann", input="and 3 plus 3?", previous_response_id=first.id, temperature=0
    )
    right = client.responses.create(
        model="ann", input="and 4 plus 4?", previous_response_id=first.id, temperature=0
    )
    again = client.responses.create(
        model="ann", input="and 3 plus 3?", previous_response_id=first.id, temperature=0
    )
    assert again.output_text == left.output_text
    assert left.previous_response_id == right.previous_response_id == first.id
    assert client.responses.retrieve(left.id).output_text == left.output_text
    client.responses.delete(first.id)
    with pytest.raises(openai.NotFoundError):
        client.responses.retrieve(first.id)
    after = client.responses.create(model="ann", input="go on", previous_response_id=left.id)
    assert after.model_extra is not None
    assert after.model_extra["elman"]["state"]["messages"] == 6
    with pytest.raises(openai.NotFoundError):
        client.responses.create(model="ann", input="go on", previous_response_id=first.id)


def test_a_response_and_a_resent_history_are_one_conversation(client: openai.OpenAI) -> None:
    first = client.responses.create(model="ann", input="what is 1 plus 2?", temperature=0)
    found = client.chat.completions.create(
        model="ann",
        messages=[*HELLO, {"role": "assistant", "content": first.output_text}, *HELLO],
    )
    assert found.usage is not None
    assert found.usage.prompt_tokens_details is not None
    assert found.usage.prompt_tokens_details.cached_tokens


def test_what_is_not_stored_is_not_there(client: openai.OpenAI) -> None:
    found = client.responses.create(model="ann", input="a secret", store=False)
    with pytest.raises(openai.NotFoundError):
        client.responses.retrieve(found.id)


def test_the_events_of_a_response(client: openai.OpenAI) -> None:
    events = list(
        client.responses.create(
            model="ann", input=[{"role": "user", "content": "hello"}], instructions="Be kind.",
            metadata={"a": "b"}, stream=True,
        )
    )  # fmt: skip
    kinds = [event.type for event in events]
    assert [kind for kind in dict.fromkeys(kinds) if "delta" not in kind] == [
        "response.created", "response.in_progress", "response.output_item.added",
        "response.content_part.added", "response.output_text.done", "response.content_part.done",
        "response.output_item.done", "response.completed",
    ]  # fmt: skip
    assert [event.sequence_number for event in events] == list(range(len(events)))
    last = events[-1]
    assert last.type == "response.completed"
    text = "".join(e.delta for e in events if e.type == "response.output_text.delta")
    assert last.response.output_text == text
    assert last.response.metadata == {"a": "b"}


def test_unknown_fields_are_ignored(served: Served) -> None:
    body = {"model": "ann", "messages": HELLO, "frobnicate": [1], "store": True, "tools": []}
    with served.client() as http:
        assert http.post("/v1/chat/completions", json=body).status_code == 200


PARTS = [{"type": "text", "text": "what is "}, {"type": "text", "text": "1 plus 2?"}]


def test_text_parts_are_read(client: openai.OpenAI) -> None:
    messages: Any = [{"role": "developer", "content": PARTS}, {"role": "user", "content": PARTS}]
    assert client.chat.completions.create(model="ann", messages=messages).choices


@pytest.mark.parametrize(
    ("path", "change", "param"),
    [
        ("chat/completions", {"tools": [{"type": "function"}]}, "tools"),
        ("chat/completions", {"response_format": {"type": "json_schema"}}, "response_format"),
        (
            "chat/completions",
            {"messages": [{"role": "user", "content": [{"type": "image_url"}]}]},
            "messages[0].content",
        ),
        ("chat/completions", {"messages": [{"role": "tool", "content": "x"}]}, "messages[0]"),
        ("chat/completions", {"messages": []}, "messages"),
        ("chat/completions", {"messages": "hello"}, "messages"),
        ("chat/completions", {"temperature": -1}, "temperature"),
        ("chat/completions", {"temperature": "hot"}, "temperature"),
        ("chat/completions", {"max_tokens": 0}, "max_tokens"),
        ("chat/completions", {"n": 1000}, "n"),
        ("chat/completions", {"seed": 10**40}, "seed"),
        ("chat/completions", {"stream_options": {}}, "stream_options"),
        ("chat/completions", {"logit_bias": {"x": 1}}, "logit_bias"),
        ("chat/completions", {"logit_bias": {"1": 1}}, "logit_bias"),
        ("chat/completions", {"top_logprobs": 3}, "top_logprobs"),
        ("completions", {"prompt": [1, 2]}, "prompt"),
        ("completions", {"prompt": [10**9]}, "prompt"),
        ("completions", {"prompt": "x", "suffix": "y"}, "suffix"),
        ("completions", {"prompt": "hello there " * 8192}, "prompt"),
        ("responses", {"input": "x", "tools": [{"type": "web_search"}]}, "tools"),
        ("responses", {"input": "x", "background": True}, "background"),
        ("responses", {"input": "x", "text": {"format": {"type": "json_schema"}}}, "text.format"),
        ("responses", {"input": [{"type": "function_call_output"}]}, "input[0]"),
        (
            "responses",
            {"input": [{"role": "user", "content": [{"type": "input_image"}]}]},
            "input[0].content",
        ),
        ("responses", {"input": "x", "metadata": {"a": 1}}, "metadata.a"),
        ("responses", {}, "input"),
    ],
)  # fmt: skip
def test_what_cannot_be_done_is_refused(
    served: Served, path: str, change: dict[str, Any], param: str
) -> None:
    body = {"model": "ann"} | ({"messages": HELLO} if path.startswith("chat") else {}) | change
    with served.client() as http:
        answer = http.post(f"/v1/{path}", json=body)
    error = answer.json()["error"]
    assert answer.status_code == 400
    assert error["param"] is not None
    assert error["param"].startswith(param)
    assert error["type"] == "invalid_request_error"
    assert error["message"]


@pytest.mark.parametrize(
    "body",
    [
        b'{"model": "ann", "input": "\xff\xfe"}',
        b'{"model": "ann", "input": "\\ud800"}',
        b"{",
        b"",
        b"[1, 2]",
        b'{"model": "ann", "input": "x", "temperature": NaN}',
        b"[" * 100_000,
        b"null",
    ],
)
def test_bodies_that_are_no_request(served: Served, body: bytes) -> None:
    with served.client() as http:
        answer = http.post(
            "/v1/responses", content=body, headers={"content-type": "application/json"}
        )
        assert answer.status_code == 400, answer.text
        assert set(answer.json()["error"]) == {"message", "type", "param", "code"}
        assert http.get("/health").status_code == 200


def test_a_message_of_ten_megabytes(served: Served) -> None:
    text = "a" * 10_000_000
    with served.client() as http:
        answer = http.post("/v1/responses", json={"model": "ann", "input": text})
        assert answer.status_code == 413
        assert "too large" in answer.json()["error"]["message"]

        def pieces() -> Any:
            yield b'{"model": "ann", "input": "'
            for _ in range(200):
                yield b"a" * 50_000

        answer = http.post("/v1/responses", content=pieces())
        assert answer.status_code == 413
        assert http.get("/health").status_code == 200


def test_who_asks_before_sending_too_much_is_answered_at_once(served: Served) -> None:
    url = urlsplit(served.url)
    with socket.create_connection((url.hostname, url.port), timeout=60) as connection:
        connection.sendall(
            b"POST /v1/responses HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 10000000\r\n"
            b"Expect: 100-continue\r\n\r\n"
        )
        assert connection.recv(1 << 16).startswith(b"HTTP/1.1 413")


def test_nobody_is_heard_out_forever(served: Served) -> None:
    def pieces() -> Iterator[bytes]:
        for _ in range(2 * MAX_DISCARDED_BYTES >> 20):
            yield b"a" * (1 << 20)
        raise AssertionError("the server still reads")

    with served.client() as http, contextlib.suppress(httpx.TransportError):
        http.post("/v1/responses", content=pieces())


def test_a_long_message_is_read(served: Served) -> None:
    with served.client() as http:
        body = {"model": "ann", "input": "what is 1 plus 2? " * 5000, "max_output_tokens": 3}
        assert http.post("/v1/responses", json=body).status_code == 200


def test_unknown_routes_and_methods_answer_alike(served: Served) -> None:
    with served.client() as http:
        for answer in (
            http.get("/v1/nothing"),
            http.get("/v1/completions"),
            http.put("/v1/models"),
        ):
            assert answer.status_code in (404, 405)
            assert set(json.loads(answer.text)["error"]) == {"message", "type", "param", "code"}
