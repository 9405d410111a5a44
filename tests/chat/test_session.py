"""A conversation whose memory is a value."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from elman.bptt import State
from elman.chat import MemoryStore, Session
from elman.data.tokenizer import END, ROLES
from elman.errors import ElmanError
from elman.generate.network import NetworkBot, load_network_bot
from elman.generate.replier import Replier
from elman.generate.sampling import SamplingParams
from elman.model.reading import MAX_READ_TOKENS
from elman.train import Config, train


@pytest.fixture(scope="module")
def bot(trained: Path) -> NetworkBot:
    return load_network_bot(trained)


def session(bot: NetworkBot, **changes: float) -> Session:
    return Session(bot, SamplingParams.model_validate({"seed": 0, "max_tokens": 20} | changes))


def say(session: Session, text: str) -> str:
    return "".join(session.say(text))


def equal(one: State, other: State) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def test_the_same_seed_says_the_same(bot: NetworkBot) -> None:
    lines = ["what is 1 plus 2?", "what is 3 plus 3?"]
    one, other = session(bot), session(bot)
    assert [say(one, line) for line in lines] == [say(other, line) for line in lines]
    assert equal(one.state, other.state)


def test_undo_goes_back_exactly(bot: NetworkBot) -> None:
    here = session(bot)
    states = [here.state]
    for line in ("one", "two", "three"):
        say(here, line)
        states.append(here.state)
    for state in reversed(states[:-1]):
        here.undo()
        assert equal(here.state, state)
    with pytest.raises(ElmanError, match="nothing to undo"):
        here.undo()


def test_again_replies_from_the_same_state(bot: NetworkBot) -> None:
    here = session(bot, temperature=0)
    first = say(here, "what is 1 plus 2?")
    after = here.state
    assert "".join(here.again()) == first
    assert equal(here.state, after)
    assert here.facts.messages == 2
    fresh = session(bot)
    with pytest.raises(ElmanError, match="nothing to answer again"):
        fresh.again()


def test_state_is_what_reading_the_conversation_gives(bot: NetworkBot) -> None:
    here = session(bot)
    say(here, "what is 1 plus 2?")
    asked = [ROLES["user"], *bot.tokenizer.encode("what is 1 plus 2?"), END]
    replied = [ROLES["bot"], *here._recall.tokens(here.path[-1]), END]
    state = bot.chatbot.initial_state(1)
    for message in (asked, replied):
        state = bot.chatbot.read(message, state)
    for ours, theirs in zip(here.state, state, strict=True):
        # One token at a time and all at once sum in another order, in float32.
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


def test_the_size_of_the_memory_never_changes(bot: NetworkBot) -> None:
    here = session(bot)
    sizes = set()
    for number in range(5):
        say(here, "hello " * (number + 1))
        sizes.add(here.facts.bytes)
        assert here.facts.messages == 2 * (number + 1)
    assert len(sizes) == 1


def test_a_reply_that_is_left_counts_as_far_as_it_came(bot: NetworkBot) -> None:
    here = session(bot, temperature=2.0)
    pieces = here.say("what is 1 plus 2?")
    next(pieces)
    pieces.close()  # type: ignore[attr-defined]
    assert here.facts.messages == 2
    assert here.path[-1].text
    say(here, "and then?")


def test_save_and_load_go_on_alike(bot: NetworkBot, tmp_path: Path) -> None:
    here = session(bot, temperature=0)
    say(here, "what is 1 plus 2?")
    here.save(tmp_path / "kept")
    there = session(bot, temperature=0)
    there.load(tmp_path / "kept")
    assert there.facts == here.facts
    with pytest.raises(ElmanError, match="nothing to undo"):
        there.undo()
    # The repetition penalty looks at the last reply, which a state does not hold.
    without = SamplingParams(temperature=0, max_tokens=20, repetition_penalty=1)
    here.replier = there.replier = Replier(bot, without)
    assert say(here, "what is 2 plus 2?") == say(there, "what is 2 plus 2?")


def test_a_refused_state_changes_nothing(bot: NetworkBot, tmp_path: Path) -> None:
    here = session(bot)
    say(here, "hello")
    before = here.state
    (tmp_path / "bad").write_bytes(b"nonsense")
    with pytest.raises(ElmanError, match="damaged"):
        here.load(tmp_path / "bad")
    assert equal(here.state, before)
    assert here.facts.messages == 2


def test_nothing_to_say_is_refused(bot: NetworkBot) -> None:
    with pytest.raises(ElmanError, match="nothing in the message"):
        session(bot).say("  \n")


def test_any_text_can_be_said(bot: NetworkBot) -> None:
    here = session(bot)
    for text in ("\0\x1b[31m", "\ud800 half", "مرحبا 😀", "<|end|>", "a" * 3000):
        say(here, text)
    assert here.facts.messages == 10


def test_reset_forgets(bot: NetworkBot) -> None:
    here = session(bot)
    say(here, "hello")
    here.reset()
    assert here.facts.messages == 0
    assert here.facts.norm == 0


def test_going_back_and_forth(bot: NetworkBot) -> None:
    here = session(bot)
    states = [here.state]
    for line in ("one", "two", "three"):
        say(here, line)
        states.append(here.state)
    here.undo(2)
    assert equal(here.state, states[1])
    with pytest.raises(ElmanError, match="2 cannot be undone"):
        here.undo(2)
    "".join(here.edit(1, "uno"))
    assert here.path[0].text == "uno"
    assert here.facts.messages == 2
    assert list(here.edit(2, "I say this")) == []
    assert [node.role for node in here.path] == ["user", "bot"]
    assert here.path[1].text == "I say this"
    for bad in (0, 3, -1):
        with pytest.raises(ElmanError, match="no message"):
            here.edit(bad, "x")
    # Everything is still in the tree: three messages of the first line, and two of the other.
    texts = [node.text for node in here.tree()]
    assert {"one", "two", "three", "uno", "I say this"} <= set(texts)


def test_a_fork_goes_its_own_way(bot: NetworkBot) -> None:
    here = session(bot)
    say(here, "hello")
    there = here.fork("there")
    assert equal(here.state, there.state)
    say(there, "and then?")
    assert (here.facts.messages, there.facts.messages) == (2, 4)
    with pytest.raises(ElmanError, match="already"):
        here.fork("there")


def test_a_session_goes_on_where_it_was(bot: NetworkBot, tmp_path: Path) -> None:
    sampling = SamplingParams(seed=0, max_tokens=20)
    with MemoryStore(tmp_path / "memory.db") as store:
        here = Session(bot, sampling, store=store, name="tea")
        states = [here.state]
        for number in range(12):
            say(here, f"hello {number}")
            states.append(here.state)
        path = here.path
    with MemoryStore(tmp_path / "memory.db") as store:
        there = Session(bot, sampling, store=store, name="tea")
        assert there.path == path
        assert equal(there.state, here.state)
        there.undo(11)
        for ours, theirs in zip(there.state, states[1], strict=True):
            # This old state was thinned, and is read anew: sums come in another order.
            torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)
        assert Session(bot, sampling, store=store, name="coffee").facts.messages == 0


def test_a_reply_that_never_began_is_made_later(bot: NetworkBot, tmp_path: Path) -> None:
    sampling = SamplingParams(seed=0, max_tokens=20)
    with MemoryStore(tmp_path / "memory.db") as store:
        Session(bot, sampling, store=store, name="tea").say("hello")  # and nobody listens
        there = Session(bot, sampling, store=store, name="tea")
        assert there.unanswered
        assert "".join(there.again())
        assert [node.role for node in there.path] == ["user", "bot"]


def test_other_weights_read_the_transcript(
    bot: NetworkBot, tmp_path: Path, make_config: Callable[..., Config]
) -> None:
    train(make_config(train__seed=5), tmp_path / "other")
    other = load_network_bot(tmp_path / "other")
    with MemoryStore(tmp_path / "memory.db") as store:
        here = Session(bot, SamplingParams(seed=0, max_tokens=20), store=store, name="tea")
        say(here, "hello")
        there = Session(other, store=store, name="tea")
        assert there.read_anew
        assert [node.text for node in there.path] == [node.text for node in here.path]
        state = other.chatbot.initial_state(1)
        for node in there.path:
            state = other.chatbot.read(there._recall.ids(node), state)
        for ours, theirs in zip(there.state, state, strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


def test_a_state_from_a_file_is_where_a_session_begins(bot: NetworkBot, tmp_path: Path) -> None:
    here = session(bot)
    say(here, "hello")
    here.save(tmp_path / "kept")
    with MemoryStore(tmp_path / "memory.db") as store:
        there = Session(bot, SamplingParams(seed=0, max_tokens=9), store=store, name="tea")
        there.load(tmp_path / "kept")
        for _ in range(10):
            say(there, "go on")
        there.undo(10)
        assert equal(there.state, here.state)
        again = Session(bot, store=store, name="tea")
        assert again.facts == there.facts == here.facts


def test_of_a_very_long_message_the_end_is_read(
    bot: NetworkBot, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that reading takes seconds, however long it is: what is read is counted here."""
    here, there = session(bot), session(bot)
    text = "x1" + "lamp " * 39_999
    ids = [ROLES["user"], *bot.tokenizer.encode(text), END]
    lengths: list[int] = []
    absorb = bot.chatbot.absorb

    def counted(lanes: list[list[np.ndarray]], state: State) -> State:
        lengths.extend(len(piece) for lane in lanes for piece in lane)
        return absorb(lanes, state)

    monkeypatch.setattr(bot.chatbot, "absorb", counted)
    say(here, text)
    assert sum(lengths) == MAX_READ_TOKENS
    assert here.unread_tokens == len(ids) - MAX_READ_TOKENS
    say(there, text[-200:])
    assert there.unread_tokens == 0
    assert here.path[0].text == text
    expected = absorb(
        [[np.array([ids[0], *ids[1 - MAX_READ_TOKENS :]])]], bot.chatbot.initial_state(1)
    )
    here.undo()
    read = here._recall.read([here._recall.after(None, "user", text)], here.state)
    for ours, theirs in zip(read, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


def test_a_message_too_long_to_be_read_at_once_changes_nothing(bot: NetworkBot) -> None:
    here = session(bot)
    say(here, "hello")
    before = here.state
    with pytest.raises(ElmanError, match=r"10,000,000 bytes, and at most 200,000"):
        here.say("x" * 10_000_000)
    assert equal(here.state, before)
    assert here.facts.messages == 2
