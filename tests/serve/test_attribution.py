"""Attribution on request: apart from those who talk, bounded, and given up when asked to."""

import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np
import pytest
import torch

from elman.data.tokenizer import END, ROLES
from elman.generate.bot import Bot
from elman.generate.network import NetworkBot, load_network_bot
from elman.lens.attribution import attribute, attribution_steps, inputs_of
from elman.lens.chain import apart, frozen
from elman.model import ModelConfig, build
from elman.model.checkpoint import save_weights
from elman.runtime.choose import load_bot
from elman.serve import attribution
from elman.serve.attribution import Attributor

from .conftest import Served, running
from .test_server import Serving, ask

CHATTERS = 8


def turn(bot: Bot, role: str, text: str) -> np.ndarray:
    return np.array([ROLES[role], *bot.tokenizer.encode(text), END], np.uint16)  # type: ignore[index]


def asked_why(http: Any, response: dict[str, Any]) -> dict[str, Any]:
    answer = http.get(f"/v1/responses/{response['id']}", params={"why": True})
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()["elman"]
    return found


def conversation(http: Any, turns: int) -> dict[str, Any]:
    last: dict[str, Any] = {}
    for number in range(turns):
        before = {"previous_response_id": last["id"]} if last else {}
        last = ask(http, f"what is {number % 5} plus 2?", **before)
    return last


@pytest.fixture(scope="module")
def network(trained: Path) -> NetworkBot:
    return load_network_bot(trained)


def test_modules_apart_share_tensors_and_nothing_else(network: NetworkBot) -> None:
    chatbot = network.chatbot
    own = apart(chatbot)
    for mine, theirs in zip(own.parameters(), chatbot.parameters(), strict=True):
        assert mine.data_ptr() == theirs.data_ptr()
        assert (mine.requires_grad, theirs.requires_grad) == (False, True)
    message = turn(network, "user", "what is 1 plus 2?")
    with inputs_of(own.through_time) as seen, frozen(own):
        expected = chatbot.read(message, chatbot.initial_state(1))
        assert not seen, "who talks meanwhile is not seen"
        assert all(parameter.requires_grad for parameter in chatbot.parameters())
        found = own.read(message, own.initial_state(1))
        assert len(seen) == 1
    assert all(torch.equal(mine, theirs) for mine, theirs in zip(found, expected, strict=True))


@pytest.mark.parametrize("memory", ["tokens", "messages"])
def test_attributions_apart_are_those_of_the_bot(memory: str) -> None:
    torch.manual_seed(0)
    sizes = {"hidden_size": 8, "pointer": 8, "ngrams": 2, "mlp": 1.0}
    chatbot = (
        build(ModelConfig.model_validate({"memory": memory, **sizes}), 40).eval().pack_weights()
    )
    turns = [np.array([1 + n % 2, 5 + n, 9, END], np.uint16) for n in range(6)]
    reply = np.array([2, 6, 9, END], np.uint16)
    assert attribute(apart(chatbot), turns, reply) == attribute(chatbot, turns, reply)


def test_the_answer_is_the_same_while_others_chat(serving: Serving) -> None:
    served = serving()
    stop = Event()

    def chatter() -> int:
        count = 0
        with served.client() as http:
            while not stop.is_set():
                conversation(http, 2)
                count += 1
        return count

    with served.client() as http, ThreadPoolExecutor(CHATTERS) as pool:
        last = conversation(http, 12)
        alone = asked_why(http, last)["attribution"]
        talking = [pool.submit(chatter) for _ in range(CHATTERS)]
        try:
            found = [asked_why(http, last)["attribution"] for _ in range(5)]
        finally:
            stop.set()
        assert all(each.result() for each in talking), "nobody was disturbed, and all were heard"
    assert len(alone) == attribution.MAX_REQUEST_MESSAGES
    for each in found:
        for ours, theirs in zip(each, alone, strict=True):
            assert ours == pytest.approx(theirs, abs=1e-4)


def test_a_long_conversation_is_cut_and_it_is_said(serving: Serving) -> None:
    with serving().client() as http:
        short = conversation(http, 2)
        assert asked_why(http, short)["attribution_cut"] is None
        found = asked_why(http, conversation(http, 13))
    assert found["attribution_cut"] == "looked at are the last 20 of 25 messages"
    assert [each["message"] for each in found["attribution"]] == list(range(5, 25))


def test_long_messages_are_cut_by_what_they_cost(
    serving: Serving, monkeypatch: pytest.MonkeyPatch
) -> None:
    served = serving()
    done: list[int] = []

    def counted(chatbot: Any, turns: Any, reply: Any, *rest: Any, **more: Any) -> Any:
        done.append(attribution_steps(turns[-rest[1] :], reply))
        return attribute(chatbot, turns, reply, *rest, **more)

    monkeypatch.setattr("elman.lens.attribution.attribute", counted)
    served.service.attributor = Attributor(max_work=400)
    with served.client() as http:
        first = ask(http, "what is 1 plus 2? " * 40)
        second = ask(http, "and 2 plus 2?", previous_response_id=first["id"])
        found = asked_why(http, second)
        assert found["attribution_cut"].startswith("looked at are the last 2 of 3 messages")
        assert [each["message"] for each in found["attribution"]] == [1, 2]
        found = asked_why(http, ask(http, "what is 1 plus 2? " * 200))
        assert found["attribution"] == []
        assert "too long" in found["attribution_cut"]
    assert done
    assert max(done) <= 400


def blocked(served: Served, monkeypatch: pytest.MonkeyPatch) -> tuple[Event, Event]:
    """Have the next answer wait until it is let go on, checking as it would."""
    begun, go_on = Event(), Event()

    def waiting(*given: Any, check: Callable[[], None], **more: Any) -> Any:
        begun.set()
        while not go_on.wait(0.01):
            check()
        return attribute(*given, check=check, **more)

    monkeypatch.setattr("elman.lens.attribution.attribute", waiting)
    return begun, go_on


def test_too_many_questions_are_refused_and_nobody_else_waits(
    serving: Serving, monkeypatch: pytest.MonkeyPatch
) -> None:
    served = serving()
    served.service.attributor = Attributor(max_waiting=1)
    with served.client() as http, ThreadPoolExecutor(1) as pool:
        last = conversation(http, 2)
        begun, go_on = blocked(served, monkeypatch)
        first = pool.submit(asked_why, http, last)
        begun.wait()
        with served.client() as other:
            refused = other.get(f"/v1/responses/{last['id']}", params={"why": True})
            assert refused.status_code == 429
            assert "too many ask why" in refused.json()["error"]["message"]
            assert refused.headers["Retry-After"]
            conversation(other, 2)
        go_on.set()
        assert len(first.result()["attribution"]) == 3


def test_who_leaves_is_not_answered(serving: Serving, monkeypatch: pytest.MonkeyPatch) -> None:
    served = serving()
    served.service.attributor = Attributor(max_waiting=1)
    with served.client() as http:
        last = conversation(http, 2)
        expected = asked_why(http, last)
        begun, _ = blocked(served, monkeypatch)
        with served.client() as leaving, ThreadPoolExecutor(1) as pool:
            pool.submit(leaving.get, f"/v1/responses/{last['id']}", params={"why": True})
            begun.wait()
            monkeypatch.undo()
            leaving.close()
        while True:  # until the one place is free again
            answer = http.get(f"/v1/responses/{last['id']}", params={"why": True})
            if answer.status_code != 429:
                break
        assert answer.json()["elman"] == expected


def test_a_server_that_stops_gives_up(serving: Serving, monkeypatch: pytest.MonkeyPatch) -> None:
    served = serving()
    with served.client() as http, ThreadPoolExecutor(1) as pool:
        last = conversation(http, 2)
        begun, _ = blocked(served, monkeypatch)
        asking = pool.submit(http.get, f"/v1/responses/{last['id']}", params={"why": True})
        begun.wait()
        served.service.attributor.stop()
        assert asking.result().status_code == 503
        assert http.get(f"/v1/responses/{last['id']}").status_code == 200
        assert http.get(f"/v1/responses/{last['id']}", params={"why": True}).status_code == 503


def test_what_takes_too_long_is_given_up(serving: Serving) -> None:
    served = serving()
    served.service.attributor = Attributor(max_seconds=-1)
    with served.client() as http:
        last = conversation(http, 1)
        answer = http.get(f"/v1/responses/{last['id']}", params={"why": True})
    assert answer.status_code == 503
    assert "takes more than" in answer.json()["error"]["message"]


def test_weights_that_changed_since_the_start_are_not_asked(trained: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(trained, tmp_path / "ann")
    bot, network = load_bot(folder), load_network_bot(folder)
    with torch.no_grad():
        next(network.chatbot.parameters()).add_(1)
    save_weights(folder, network.chatbot, network.tokenizer)
    with running({"ann": bot}, tmp_path / "memory.db") as served, served.client() as http:
        last = conversation(http, 1)
        answer = http.get(f"/v1/responses/{last['id']}", params={"why": True})
        assert answer.status_code == 400
        assert "has other weights by now" in answer.json()["error"]["message"]
        conversation(http, 1)


def test_checks_come_between_all_parts(network: NetworkBot) -> None:
    """Before each piece of what is only read, each message that is left out, and each pass."""
    turns = [turn(network, "user" if n % 2 else "bot", f"what is {n}?") for n in range(6)]
    reply = turn(network, "bot", "it is 3, Bob.")
    calls: list[None] = []
    attribute(
        apart(network.chatbot), turns, reply, max_messages=4, check=lambda: calls.append(None)
    )
    assert len(calls) >= 2 + 4 + 2
