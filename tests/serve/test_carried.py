"""The state travels with the client: nothing is kept, and nothing but one's own is accepted."""

import base64
import json
import random
import stat
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from elman.chat import LOCAL
from elman.generate.bot import Bot
from elman.runtime.choose import load_bot
from elman.serve import carried as carrying
from elman.serve.carried import (
    CARRIED_HEAD,
    MAX_CARRIED_CHARACTERS,
    SIGNATURE_BYTES,
    CarriedState,
    SaidMessage,
    read_carried,
    write_carried,
)
from elman.serve.http.errors import ApiError
from elman.serve.store.ownership import OWNED
from elman.serve.store.state_keys import StateKeys

from .conftest import Served, running

FINGERPRINT = bytes(range(16))
TURNS = ["what is 1 plus 2?", "and 2 plus 2?", "thanks", "what is 3 plus 1?", "bye"] * 2


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    return tmp_path / "keys" / "state-keys.json"


@pytest.fixture
def served(bot: Bot, tmp_path: Path, key_file: Path) -> Iterator[Served]:
    with running({"ann": bot}, tmp_path / "memory.db", state_keys=StateKeys(key_file)) as server:
        yield server


def chat(http: httpx.Client, text: str, state: str | None, **more: Any) -> tuple[str, str]:
    """Say something in /v1/chat/completions; return the reply and the state."""
    body = {"model": "ann", "messages": [{"role": "user", "content": text}], "max_tokens": 12}
    answer = http.post("/v1/chat/completions", json=body | {"state": state} | more)
    assert answer.status_code == 200, answer.text
    if not more.get("stream"):
        [choice] = answer.json()["choices"]
        return choice["message"]["content"], choice["state"]
    lines = [line[6:] for line in answer.text.splitlines() if line.startswith("data: {")]
    chunks = [json.loads(line)["choices"][0] for line in lines]
    assert all("state" not in each for each in chunks[:-1])
    return "".join(each["delta"].get("content", "") for each in chunks), chunks[-1]["state"]


def respond(http: httpx.Client, text: str, **more: Any) -> dict[str, Any]:
    """Say something in /v1/responses; return the response."""
    body = {"model": "ann", "input": text, "max_output_tokens": 12} | more
    answer = http.post("/v1/responses", json=body)
    assert answer.status_code == 200, answer.text
    if not more.get("stream"):
        found: dict[str, Any] = answer.json()
        return found
    line = [line for line in answer.text.splitlines() if line.startswith("data: ")][-1]
    found = json.loads(line[6:])["response"]
    return found


def refused(http: httpx.Client, state: object) -> str:
    """Return why a state is refused, at both routes alike."""
    bodies: dict[str, dict[str, object]] = {
        "/v1/responses": {"input": "hi"},
        "/v1/chat/completions": {"messages": [{"role": "user", "content": "hi"}]},
    }
    codes = set()
    for path, body in bodies.items():
        answer = http.post(path, json={"model": "ann", "state": state} | body)
        assert answer.status_code == 400, answer.text
        codes.add(answer.json()["error"]["code"] or "malformed")
    [code] = codes
    return code


def assert_nothing_is_kept(served: Served) -> None:
    assert not served.service.models["ann"].recent._kept
    with served.service.store.reading() as connection:
        for table in (*OWNED, "states"):
            [count] = connection.execute(f"SELECT count(*) FROM {table}").fetchone()
            assert count == 0, table


@pytest.mark.parametrize("stream", [False, True])
def test_a_carried_chat_is_answered_as_a_stored_one(served: Served, stream: bool) -> None:
    """Ten turns, drawn with seeds: what is said before is heeded alike, and nothing is kept."""
    with served.client() as http:
        carried: list[str] = []
        state = "carry"
        for number, text in enumerate(TURNS):
            said, state = chat(http, text, state, seed=number, stream=stream)
            assert len(state) <= MAX_CARRIED_CHARACTERS
            carried.append(said)
        responses: list[dict[str, Any]] = [{"state": "carry"}]
        for number, text in enumerate(TURNS):
            ask = {"state": responses[-1]["state"], "seed": number, "stream": stream}
            responses.append(respond(http, text, **ask))
        assert_nothing_is_kept(served)
        assert http.get(f"/v1/responses/{responses[-1]['id']}").status_code == 404
        stored: list[dict[str, Any]] = [{}]
        for number, text in enumerate(TURNS):
            stored.append(
                respond(http, text, seed=number, previous_response_id=stored[-1].get("id"))
            )
    texts = [each["output"][0]["content"][0]["text"] for each in stored[1:]]
    assert carried == texts
    assert [each["output"][0]["content"][0]["text"] for each in responses[1:]] == texts
    for ours, theirs in zip(responses[1:], stored[1:], strict=True):
        assert ours["elman"]["state"] == theirs["elman"]["state"]
        assert ours["usage"] == theirs["usage"]
        assert ours["store"] is False
        assert theirs["state"] is None


def test_any_server_with_the_keys_goes_on(
    served: Served, bot: Bot, tmp_path: Path, key_file: Path
) -> None:
    """Another machine with another store; also from a stored chat, and back by forking."""
    with served.client() as http, ExitStack() as stack:
        first = respond(http, TURNS[0], seed=1)
        left = respond(http, TURNS[1], previous_response_id=first["id"], state="carry", seed=2)
        keys = StateKeys(key_file)
        other = stack.enter_context(running({"ann": bot}, tmp_path / "other.db", state_keys=keys))
        with other.client() as far:
            there = respond(far, TURNS[2], state=left["state"], seed=3)
            assert there["elman"]["state"]["messages"] == 6
            assert (
                respond(far, TURNS[2], state=left["state"], seed=3)["output"][0]["content"]
                == (there["output"][0]["content"])
            ), "a state may be brought again: that is a fork"
        assert_nothing_is_kept(other)
        here = respond(http, TURNS[1], previous_response_id=first["id"], seed=2)
        on = respond(http, TURNS[2], previous_response_id=here["id"], seed=3)
        assert on["output"][0]["content"] == there["output"][0]["content"]
        stranger = stack.enter_context(running({"ann": bot}, tmp_path / "strange.db"))
        with stranger.client() as far:
            assert refused(far, left["state"]) == "state_refused"


def test_each_choice_has_its_own(served: Served) -> None:
    body = {
        "model": "ann", "messages": [{"role": "user", "content": TURNS[0]}], "state": "carry",
        "n": 3, "temperature": 1.5, "max_tokens": 6, "seed": 1,
    }  # fmt: skip
    with served.client() as http:
        choices = http.post("/v1/chat/completions", json=body).json()["choices"]
        for choice in choices:
            told = [
                {"role": "user", "content": TURNS[0]},
                {"role": "assistant", "content": choice["message"]["content"]},
                {"role": "user", "content": TURNS[1]},
            ]
            ask = {"model": "ann", "messages": told, "temperature": 0}
            whole = http.post("/v1/chat/completions", json=ask).json()["choices"][0]
            said, _ = chat(http, TURNS[1], choice["state"], temperature=0)
            assert said == whole["message"]["content"]
    assert len({choice["state"] for choice in choices}) == 3


def test_another_owner_a_version_and_an_old_one_are_refused(
    served: Served, bot: Bot, trained: Path, tmp_path: Path, key_file: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    ann, bob = served.key("ann"), served.key("bob")
    with served.client(ann) as mine, served.client(bob) as others:
        _, state = chat(mine, "I am Ann, and my secret is 1234", "carry")
        assert refused(others, state) == "state_refused"
        chat(mine, "and?", state)
        rounded = load_bot(trained, "bfloat16")
        keys = StateKeys(key_file)
        with running({"ann": rounded}, tmp_path / "memory.db", state_keys=keys) as newer:
            with newer.client(ann) as http:
                assert refused(http, state) == "state_stale"
            with newer.client(bob) as http:
                assert refused(http, state) == "state_refused", "and no more is told"
        monkeypatch.setattr(carrying, "MAX_CARRIED_SECONDS", -1)
        assert refused(mine, state) == "state_stale"


def test_contradictions_and_other_kinds_are_refused(served: Served) -> None:
    with served.client() as http:
        first = respond(http, "hi")
        _, state = chat(http, "hi", "carry")
        for body in ({"state": state, "previous_response_id": first["id"]},
                     {"state": "carry", "store": True}):  # fmt: skip
            answer = http.post("/v1/responses", json={"model": "ann", "input": "hi"} | body)
            assert answer.status_code == 400
            assert answer.json()["error"]["param"] in body
        for bad in (7, [state], {"state": state}, "A" * (MAX_CARRIED_CHARACTERS + 1)):
            assert refused(http, bad) == "malformed"
        odd = ["", "carr", "CARRY", "é", "\0", "A" * MAX_CARRIED_CHARACTERS]
        for bad in (*odd, f"{state}=", f" {state}", state.replace(state[50], "+")):
            assert refused(http, bad) == "state_refused"


@pytest.fixture
def keys() -> StateKeys:
    return StateKeys()


def test_forged_and_foreign_states_are_never_accepted(bot: Bot, keys: StateKeys) -> None:
    """Thousands of changed, cut, joined and foreign texts: none is one."""
    spec = bot.decoder.state_spec
    draw = np.random.default_rng(0)
    arrays = [draw.standard_normal((1, part.size)).astype(part.dtype) for part in spec]
    said = [SaidMessage("user", "hello", None), SaidMessage("bot", "hé", [9, 10, 11])]
    whole = CarriedState(arrays, 7, 99, said)
    text = write_carried(whole, keys, "ann", FINGERPRINT)
    found = read_carried(text, keys, "ann", FINGERPRINT, spec)
    assert found[1:] == whole[1:]
    for ours, theirs in zip(found.arrays, arrays, strict=True):
        np.testing.assert_array_equal(ours, theirs)
        assert ours.dtype == theirs.dtype
    other = write_carried(whole._replace(messages=8), keys, "ann", FINGERPRINT)
    signed = base64.urlsafe_b64decode(text)
    choose = random.Random(0)
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_=+/ \n"

    def forge(number: int) -> str:
        at = choose.randrange(len(text))
        match number % 7:
            case 0:  # another character
                return text[:at] + choose.choice(alphabet) + text[at + 1 :]
            case 1:  # cut
                return text[:at]
            case 2:  # another bit
                raw = bytearray(signed)
                raw[choose.randrange(len(raw))] ^= 1 << choose.randrange(8)
                return base64.urlsafe_b64encode(raw).decode()
            case 3:  # in the head and in the signature above all
                raw = bytearray(signed)
                raw[choose.choice([*range(CARRIED_HEAD.size), *range(-SIGNATURE_BYTES, 0)])] ^= 255
                return base64.urlsafe_b64encode(raw).decode()
            case 4:  # the beginning of one and the end of another
                return text[:at] + other[at:]
            case 5:  # something more
                return text[:at] + choose.choice(alphabet) * choose.randint(1, 8) + text[at:]
            case _:  # signed with a key that is not the server's
                return write_carried(whole, StateKeys(), "ann", FINGERPRINT)

    tried = 0
    for number in range(7000):
        forged = forge(number)
        if forged in (text, other):
            continue
        tried += 1
        with pytest.raises(ApiError) as error:
            read_carried(forged, keys, "ann", FINGERPRINT, spec)
        assert error.value.code == "state_refused"
    assert tried > 6000
    for owner in ("bob", "", "ann ", "Ann", "\u0430nn", LOCAL):
        with pytest.raises(ApiError):
            read_carried(text, keys, owner, FINGERPRINT, spec)


@pytest.mark.parametrize(
    "spoil",
    [
        "nothing",
        "nan",
        "short",
        "long",
        "bomb",
        "no message",
        "not JSON",
        "something more",
        "no end",
    ],
)
def test_what_is_signed_and_no_state_is_refused(bot: Bot, keys: StateKeys, spoil: str) -> None:
    """As if a key were known to somebody else: still nothing that is no state is used."""
    spec = bot.decoder.state_spec
    arrays = [np.zeros((1, part.size), part.dtype) for part in spec]
    if spoil == "nan":
        arrays[-1][0, -1] = np.nan
        with pytest.raises(ApiError):
            write_carried(CarriedState(arrays, 1, 1, []), keys, "ann", FINGERPRINT)
    numbers = b"".join(map(carrying._shuffled, arrays))
    numbers_packed = zlib.compress(numbers)
    said_packed = zlib.compress(b'[["user","hi",null]]')
    if spoil == "short":
        numbers_packed = zlib.compress(numbers[1:])
    elif spoil == "long":
        numbers_packed = zlib.compress(numbers + b"\0")
    elif spoil == "bomb":
        numbers_packed = zlib.compress(bytes(1 << 24))
    elif spoil == "no message":
        said_packed = zlib.compress(b'[["tool","hi",null]]')
    elif spoil == "not JSON":
        said_packed = zlib.compress(b"[[")
    elif spoil == "something more":
        said_packed += b"\0"
    elif spoil == "no end":
        said_packed = said_packed[:-2]
    key = keys.current()
    head = CARRIED_HEAD.pack(b"ELMC", 1, bytes.fromhex(key.id), 2**40, FINGERPRINT, 1, 1)
    content = head + numbers_packed + said_packed
    text = base64.urlsafe_b64encode(content + carrying._sign(key, "ann", content)).decode()
    if spoil == "nothing":
        assert read_carried(text, keys, "ann", FINGERPRINT, spec).said[0].text == "hi"
        return
    with pytest.raises(ApiError) as error:
        read_carried(text, keys, "ann", FINGERPRINT, spec)
    assert error.value.code == "state_refused"


def test_as_much_as_fits_of_what_was_said_is_carried(bot: Bot, keys: StateKeys) -> None:
    spec = bot.decoder.state_spec
    arrays = bot.decoder.to_arrays(bot.decoder.initial_state(1))
    draw = random.Random(0)
    long = "".join(chr(draw.randrange(0x4E00, 0x9FFF)) for _ in range(20_000))
    said = [SaidMessage("user", long, None), SaidMessage("bot", "a", None),
            SaidMessage("user", "b", None)]  # fmt: skip
    for first, kept in ((said, 2), ([*said, SaidMessage("bot", "a" * 300_000, None)], 0)):
        text = write_carried(CarriedState(arrays, 9, 9, first), keys, "ann", FINGERPRINT)
        assert len(text) <= MAX_CARRIED_CHARACTERS
        found = read_carried(text, keys, "ann", FINGERPRINT, spec)
        assert found.said == first[len(first) - kept :]


def test_a_state_that_does_not_fit_is_said_so(
    served: Served, keys: StateKeys, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw = np.random.default_rng(0)
    arrays = [draw.standard_normal((1, 20_000)).astype(np.float32)]
    with pytest.raises(ApiError) as error:
        write_carried(CarriedState(arrays, 1, 1, []), keys, "ann", FINGERPRINT)
    assert error.value.code == "state_too_large"
    monkeypatch.setattr(carrying, "MAX_CARRIED_STATE_BYTES", 100)
    with served.client() as http:
        assert refused(http, "carry") == "state_too_large"


def test_keys_rotate_with_grace(
    served: Served, key_file: Path, elman: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    with served.client() as http:
        assert not key_file.exists()
        _, old = chat(http, "hi", "carry")
        assert stat.S_IMODE(key_file.stat().st_mode) == 0o600
        ran = elman("keys", "rotate", "--state-keys", key_file)
        assert ran.code == 0
        assert stat.S_IMODE(key_file.stat().st_mode) == 0o600
        _, new = chat(http, "hi", old)
        ids = [base64.urlsafe_b64decode(each)[5:13].hex() for each in (old, new)]
        assert [each.id for each in StateKeys(key_file)._keys] == ids[::-1]
        assert ids[1] in ran.out
        assert elman("keys", "rotate", "--state-keys", key_file, "--grace-days", 0).code == 0
        assert refused(http, new) == "state_refused"
        chat(http, "hi", old)
        for bad in ("-1", "nan", "inf"):
            ran = elman("keys", "rotate", "--state-keys", key_file, f"--grace-days={bad}")
            assert ran.code == 2
            assert "--grace-days" in ran.err
        key_file.unlink()
        assert refused(http, old) == "state_refused"


def test_a_file_of_keys_that_cannot_be_used_is_said_so(
    served: Served, key_file: Path, elman: Callable[..., Any], trained: Path
) -> None:
    key = StateKeys(key_file).current()
    good = key_file.read_text()
    bad = {
        "{": "damaged", '{"keys": []}': "the first key signs",
        json.dumps({"keys": [{"id": "x", "secret": key.secret}]}): "id",
        json.dumps({"keys": [key.model_dump(), key.model_dump()]}): "the first key signs",
        json.dumps({"keys": [key.model_dump() | {"until": 1.0}]}): "the first key signs",
    }  # fmt: skip
    with served.client() as http:
        _, state = chat(http, "hi", "carry")
        for content, why in bad.items():
            key_file.write_text(content)
            for command in (["keys", "rotate"], ["serve", trained, "--port", 0]):
                ran = elman(*command, "--state-keys", key_file)
                assert ran.code == 2
                assert why in ran.err
                assert str(key_file) in ran.err
            answer = http.post("/v1/responses", json={"model": "ann", "input": "a", "state": state})
            assert answer.status_code == 500
            assert str(key_file.parent) not in answer.text
        key_file.write_text(good)
        chat(http, "hi", state)
        key_file.chmod(0o644)
        assert "chmod 600" in elman("keys", "rotate", "--state-keys", key_file).err


def test_two_processes_make_one_first_key(tmp_path: Path) -> None:
    one, other = StateKeys(tmp_path / "k.json"), StateKeys(tmp_path / "k.json")
    key = one.current()
    other._write([StateKeys().current()], is_first=True)  # had found none a moment before
    assert other.current() == one.current() == key
    assert [path.name for path in tmp_path.iterdir()] == ["k.json"]
