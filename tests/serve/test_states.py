"""A state is kept under exactly the text that made it, and found by no other."""

import json
from typing import Any

import numpy as np
import pytest

from elman.chat import LOCAL, MemoryStore, Node, Recall
from elman.data.conversation import Turn
from elman.data.tokenizer import END, ROLES
from elman.generate.bot import Bot
from elman.serve.models import Model

from .conftest import Served, forget_recent

HELLO = [Turn("user", "what is 1 plus 2?")]


@pytest.fixture
def model(served: Served) -> Model:
    found = served.service.models["ann"]
    forget_recent(found)
    return found


def assert_all_states_are_those_of_their_text(served: Served, turns: list[Turn]) -> None:
    """Every state at hand for a beginning of a conversation is what reading it gives."""
    model = served.service.models["ann"]
    recall = model.recall(served.service.store, LOCAL)
    state, node = model.bot.decoder.initial_state(1), None
    for turn in turns:
        node = recall.after(node, turn.role, turn.text)
        state = model.bot.decoder.read([[recall.ids(node)]], state)
        found = model.recent.get(node.key)
        if found is not None:
            for ours, theirs in zip(found.state, state, strict=True):
                np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-3)


def ask(served: Served, **options: Any) -> dict[str, Any]:
    messages = [{"role": "user", "content": HELLO[0].text}]
    body = {"model": "ann", "messages": messages, "seed": 3, "temperature": 1.3, **options}
    with served.client() as http:
        answer = http.post("/v1/chat/completions", json=body)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()["choices"][0]
    return found


def test_a_completion_leaves_no_state_behind(served: Served, model: Model) -> None:
    with served.client() as http:
        body = {"model": "ann", "prompt": "it is", "echo": True, "max_tokens": 3}
        assert http.post("/v1/completions", json=body).status_code == 200
    recall = model.recall(served.service.store, LOCAL)
    assert model.recent.get(recall.start) is None
    for role in ("user", "system", "bot"):
        assert model.recent.get(recall.after(None, role, "").key) is None
    assert_all_states_are_those_of_their_text(served, [Turn("user", "")])


def test_a_reply_cut_by_stop_is_not_kept_as_if_uncut(served: Served, model: Model) -> None:
    whole = ask(served)["message"]["content"]
    forget_recent(model)
    cut = ask(served, stop=whole[3:5])["message"]["content"]
    assert cut == whole[: whole.index(whole[3:5])]
    turns = [*HELLO, Turn("bot", cut)]
    assert_all_states_are_those_of_their_text(served, turns)
    prompt = served.service.prompts.from_history(model, LOCAL, [*turns, Turn("user", "and?")])
    assert [message[0] for message in prompt.unread] == [ROLES["bot"], ROLES["user"]]


@pytest.mark.parametrize("stream", [False, True])
def test_a_reply_that_is_told_whole_is_found_again(
    served: Served, model: Model, stream: bool
) -> None:
    for options in ({}, {"max_tokens": 4}):
        forget_recent(model)
        if stream:
            messages = [{"role": "user", "content": HELLO[0].text}]
            body = {"model": "ann", "messages": messages, "stream": True, "seed": 3, **options}
            with served.client() as http:
                lines = http.post("/v1/chat/completions", json=body).text.split("\n\n")
            chunks = [json.loads(line[6:]) for line in lines if line.startswith("data: {")]
            text = "".join(each["choices"][0]["delta"].get("content", "") for each in chunks)
        else:
            text = ask(served, **options)["message"]["content"]
        if "\ufffd" in text:
            continue
        turns = [*HELLO, Turn("bot", text), Turn("user", "and?")]
        prompt = served.service.prompts.from_history(model, LOCAL, turns)
        assert [message[0] for message in prompt.unread] == [ROLES["user"]]


def test_bytes_that_are_no_text_have_a_key_of_their_own(bot: Bot) -> None:
    recall = Recall(MemoryStore(), bot)
    tokenizer = bot.tokenizer
    half, other = (tokenizer.encode(raw) for raw in (b"caf\xc3", b"caf\xe2"))
    assert tokenizer.decode(half) == tokenizer.decode(other) == "caf\ufffd"
    asked = recall.after(None, "user", "hello")
    told = recall.after(asked, "bot", "caf\ufffd")
    keys = {recall.after(asked, "bot", "caf\ufffd", tokens).key for tokens in (half, other)}
    assert len(keys | {told.key}) == 3
    # What was cut another way, and reads the same, is found by its text.
    single = [token for byte in b"caf\xc3\xa9" for token in tokenizer.encode(bytes([byte]))[-1:]]
    spelled = tokenizer.decode(single)
    assert recall.after(asked, "bot", spelled, single).key == next_to(recall, asked, spelled).key


def next_to(recall: Recall, asked: Node, text: str) -> Node:
    return recall.after(asked, "bot", text)


def test_a_reply_that_never_began_leaves_the_state_of_the_question(served: Served) -> None:
    """A response whose client left while it waited: what was read half way is nobody's state."""
    model = served.service.models["ann"]
    prompt = served.service.prompts.from_history(model, LOCAL, [Turn("user", "left")])
    half = model.bot.decoder.read([[np.array([ROLES["user"], END])]], prompt.state)
    node = prompt.remember_reply("", (), half)
    assert node is prompt.asked
    messages = prompt.kept_messages(prompt.new[-1], None, half)
    assert [(each.key, state) for each, state in messages] == [(prompt.new[-1].key, None)]


def test_sessions_of_the_terminal_and_the_server_share_states(served: Served, bot: Bot) -> None:
    from elman.chat import Session

    session = Session(bot, store=served.service.store, name="shared")
    said = "".join(session.say("what is 2 plus 2?"))
    model = served.service.models["ann"]
    forget_recent(model)
    turns = [Turn("user", "what is 2 plus 2?"), Turn("bot", said), Turn("user", "and?")]
    prompt = served.service.prompts.from_history(model, LOCAL, turns)
    expected = model.bot.decoder.initial_state(1)
    for ids in session.turns:  # as they were said: another spelling in tokens is another state
        expected = model.bot.decoder.read([[ids]], expected)
    assert len(prompt.unread) == 1
    for ours, theirs in zip(prompt.state, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-3)
