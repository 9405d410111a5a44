"""Programs that others wrote to measure and to use models, against a real server, offline."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import openai
import pytest

from elman.data.tokenizer import END, ROLES

from .conftest import Served

HERE = Path(__file__).parent

OFFLINE = {
    "HF_HUB_OFFLINE": "1",
    "HF_DATASETS_OFFLINE": "1",
    "LANGSMITH_TRACING": "false",
    "LANGCHAIN_TRACING_V2": "false",
    "OPENAI_API_KEY": "unused",
    "no_proxy": "127.0.0.1",
}
"""Nothing is asked of anybody but the server."""

PAIRS = [
    (f"it is {number},{rest}", continuation)
    for number in (2, 3, 7)
    for rest, continuation in [
        ("", " Bob."), (" Bob", "."), (" Bob.", " it"), (" Ann", "!"), (" Bob", " and 4."),
        (" Caf\u00e9", " \U0001f642"),
    ]
]  # fmt: skip
"""Contexts and what goes on with them; after "Bob." the bot would end its message."""

LM_EVAL = """
import json, sys
from lm_eval.api.instance import Instance
from lm_eval.models.openai_completions import LocalCompletionsAPI

url, batch, pairs = sys.argv[1], int(sys.argv[2]), json.loads(sys.argv[3])
lm = LocalCompletionsAPI(base_url=url, model="ann", batch_size=batch, max_retries=1)
assert lm.tokenizer_backend == "remote", lm.tokenizer_backend
asked = [Instance("loglikelihood", {}, tuple(pair), 0) for pair in pairs]
rolling = [Instance("loglikelihood_rolling", {}, (pairs[0][0],), 0)]
until = {"until": ["\\n"], "max_gen_toks": 8}
made = [Instance("generate_until", {}, (pairs[0][0], until), 0)]
print(json.dumps([
    lm.loglikelihood(asked), lm.loglikelihood_rolling(rolling), lm.generate_until(made)
]))
"""


@pytest.mark.parametrize("batch", [1, 18])
def test_lm_eval_scores_are_those_of_the_bot(served: Served, batch: int) -> None:
    url = f"{served.url}/v1/completions"
    ran = subprocess.run(
        [sys.executable, "-c", LM_EVAL, url, str(batch), json.dumps(PAIRS)],
        env=os.environ | OFFLINE, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    scores, rolling, made = json.loads(ran.stdout.splitlines()[-1])
    bot, ended = served.service.models["ann"].bot, 0
    for (context, continuation), (score, is_greedy) in zip(PAIRS, scores, strict=True):
        begin, whole = bot.tokenizer.encode(context), bot.tokenizer.encode(context + continuation)
        nats = nats_of(served, whole)
        # Roles stand before the tokens; END is nobody's to score.
        expected = -float(nats[1 + len(begin) : 1 + len(whole)].sum())
        assert score == pytest.approx(expected, abs=1e-4)
        likeliest = [greedy_after(served, whole[:size]) for size in range(len(begin), len(whole))]
        assert is_greedy == (likeliest == whole[len(begin) :])
        ended += greedy_after(served, whole) == END
    assert ended
    assert len(rolling) == len(made) == 1


def nats_of(served: Served, ids: list[int]) -> np.ndarray:
    """-log p of a message's tokens, from its role to its END."""
    decoder = served.service.models["ann"].bot.decoder
    message = np.array([ROLES["bot"], *ids, END], np.uint16)
    costs = []
    for size in range(1, len(message) + 1):
        [nats], _ = decoder.score([[message[:size]]], decoder.initial_state(1))
        costs.append(float(nats.sum()))
    return np.diff([0.0, *costs])


def greedy_after(served: Served, ids: list[int]) -> int:
    """The likeliest token after the beginning of a message."""
    decoder = served.service.models["ann"].bot.decoder
    logits, state = decoder.begin_reply(decoder.initial_state(1))
    for token in ids:
        logits, state = decoder.step(np.array([token]), state)
    return int(logits[0].argmax())


def test_langchain_tests(served: Served, tmp_path: Path) -> None:
    """The standard tests of langchain over ChatOpenAI, in a process whose plugins are its own."""
    (tmp_path / "pytest.ini").write_text(
        "[pytest]\n"
        "asyncio_mode = auto\n"
        "asyncio_default_fixture_loop_scope = session\n"
        # ChatOpenAI keeps its connections, which belong to one loop.
        "asyncio_default_test_loop_scope = session\n"
    )
    file = tmp_path / "test_standard.py"
    file.write_text((HERE / "langchain_standard.py").read_text("utf-8"), "utf-8")
    ran = subprocess.run(
        [
            sys.executable, "-m", "pytest", "-q", "-c", str(tmp_path / "pytest.ini"),
            "-p", "no:cacheprovider", "-p", "no:codspeed", str(file),
        ],
        env=os.environ | OFFLINE | {"ELMAN_URL": f"{served.url}/v1"},
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stdout
    assert " passed" in ran.stdout


def strict(served: Served) -> openai.OpenAI:
    return openai.OpenAI(
        base_url=f"{served.url}/v1", api_key="unused", max_retries=0,
        _strict_response_validation=True,
    )  # fmt: skip


@pytest.mark.parametrize("echo", [False, True])
def test_streamed_completions_are_valid_under_the_strict_client(served: Served, echo: bool) -> None:
    options = {
        "model": "ann", "prompt": ["it is 3", "it is 4, Bob."], "max_tokens": 5, "temperature": 0,
        "echo": echo, "logprobs": 3, "n": 2,
    }  # fmt: skip
    whole = strict(served).completions.create(**options)  # type: ignore[call-overload]
    chunks = list(
        strict(served).completions.create(  # type: ignore[call-overload]
            **options, stream=True, stream_options={"include_usage": True}
        )
    )
    *parts, last = chunks
    told = sorted(
        (choice for part in parts for choice in part.choices), key=lambda each: each.index
    )
    assert told == whole.choices
    assert last.usage == whole.usage


def test_as_many_prompts_as_langchain_sends(served: Served) -> None:
    prompts = [f"it is {number}" for number in range(128)]
    found = strict(served).completions.create(
        model="ann", prompt=prompts, max_tokens=2, temperature=0, echo=True
    )
    assert [choice.index for choice in found.choices] == list(range(128))
    for prompt, choice in zip(prompts, found.choices, strict=True):
        assert choice.text.startswith(prompt)
    assert served.service.models["ann"].batcher.open == 0


def test_a_stop_text_in_the_prompt_ends_nothing(served: Served) -> None:
    for echo in (False, True):
        found = strict(served).completions.create(
            model="ann", prompt="it is 3, Bob", stop="is", max_tokens=4, temperature=0, echo=echo,
        )  # fmt: skip
        plain = strict(served).completions.create(
            model="ann", prompt="it is 3, Bob", max_tokens=4, temperature=0, echo=echo
        )
        assert found.choices[0].text == plain.choices[0].text


def test_tokenize_and_detokenize(served: Served) -> None:
    tokenizer = served.service.models["ann"].bot.tokenizer
    with served.client() as http:
        for text in ("what is 1 plus 2?", "", "  Caf\u00e9 \U0001f642\n"):
            body = {"model": "ann", "prompt": text, "add_special_tokens": True}
            found = http.post("/tokenize", json=body).json()
            assert found["tokens"] == tokenizer.encode(text)
            assert found["count"] == len(found["tokens"])
            assert found["max_model_len"] == 8192
            back = http.post("/detokenize", json={"tokens": found["tokens"]}).json()
            assert back == {"prompt": text}
        messages = [
            {"role": "user", "content": "hello"},
            {"role": "assistant", "content": [{"type": "text", "text": "hi"}]},
            {"role": "user", "content": "and?"},
        ]
        found = http.post("/tokenize", json={"messages": messages, "return_token_strs": True})
        chat = {"model": "ann", "messages": messages, "max_tokens": 1}
        usage = http.post("/v1/chat/completions", json=chat).json()["usage"]
        assert found.json()["count"] == usage["prompt_tokens"] == len(found.json()["token_strs"])
        for path, wrong in (
            ("/tokenize", {}),
            ("/tokenize", {"prompt": "a", "messages": messages}),
            ("/tokenize", {"prompt": ["a"]}),
            ("/tokenize", {"prompt": "a", "model": "bob"}),
            ("/detokenize", {"tokens": [10**9]}),
            ("/detokenize", {"tokens": [-1]}),
        ):
            answer = http.post(path, json=wrong)
            assert answer.status_code in (400, 404)
            assert answer.json()["error"]["message"]


@pytest.mark.parametrize(
    ("path", "change", "limit"),
    [
        ("chat/completions", {"stop": "a" * 100_000}, "1,000 characters"),
        ("chat/completions", {"stop": ["a"] * 17}, "16"),
        ("chat/completions", {"stop": [""]}, "1 to 1,000"),
        ("chat/completions", {"logit_bias": {str(n): 1 for n in range(4, 3000)}}, "300 tokens"),
        ("chat/completions", {"logit_bias": {"5": 101}}, "-100 to 100"),
        ("chat/completions", {"n": 17}, "16"),
        ("chat/completions", {"messages": [{"role": "user", "content": 5}]}, "must be text"),
        ("chat/completions", {"messages": [{"role": "user"}] * 9000}, "8192"),
        ("completions", {"prompt": ["a"] * 129}, "128"),
        ("completions", {"prompt": [[5]] * 129}, "128"),
        ("completions", {"prompt": [[]] * 300_000}, "128"),
        ("completions", {"prompt": ["a"] * 100, "n": 2}, "128"),
        ("completions", {"prompt": ["a ", 5]}, "128"),
        ("completions", {"prompt": [[5] * 8000] * 10}, "65,536"),
        ("completions", {"prompt": [5] * 8193}, "8,192"),
        ("completions", {"prompt": "a", "logprobs": 21}, "20"),
        ("responses", {"input": 5}, "must be text"),
        ("responses", {"input": [5] * 100_000}, "must be text"),
    ],
)
def test_errors_name_the_limit(
    served: Served, path: str, change: dict[str, object], limit: str
) -> None:
    chat = {"messages": [{"role": "user", "content": "hello"}]}
    body = {"model": "ann"} | (chat if path.startswith("chat") else {}) | change
    with served.client() as http:
        answer = http.post(f"/v1/{path}", json=body)
    assert answer.status_code == 400
    message = answer.json()["error"]["message"]
    assert limit in message
    assert len(message) < 300
    assert "constrained" not in message
    assert "list[" not in message


def test_limits_are_told(served: Served) -> None:
    with served.client() as http:
        limits = http.get("/v1/models/ann").json()["elman"]["limits"]
        schema = json.dumps(http.get("/openapi.json").json()["components"]["schemas"])
    assert limits["max_prompts"] == 128
    assert limits["max_stop_characters"] == 1000
    assert '"maxItems": 128' in schema
    assert '"maxLength": 1000' in schema
    assert '"maxProperties": 300' in schema
