"""What is taught in the chat is answered from the next turn on."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from elman.chat import MemoryStore, Session
from elman.cli.chat import Talk
from elman.data.conversation import named
from elman.errors import ElmanError
from elman.generate.replier import Replier
from elman.generate.taught import (
    TAUGHT,
    TaughtReplies,
    common_words,
    read_common_words,
    write_common_words,
)
from elman.model.folder import BASE
from elman.runtime.choose import load_bot


@pytest.fixture
def home(trained: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(trained, tmp_path / "ann"))


def test_a_hundred_taught_answers_come_back_at_once(home: Path) -> None:
    """In the session that taught them, in a new one, and in another process's eyes."""
    session = Session(load_bot(home))
    for number in range(100):
        list(session.say(f"What is the word for {number}?"))
        session.teach(f"It is w{number}.")
        assert session.turns[-1].tolist()[1:-1] == session._bot.tokenizer.encode(
            f"It is w{number}."
        )
    later = Session(load_bot(home))
    for number in range(100):
        assert "".join(session.say(f"What is the word for {number}?")) == f"It is w{number}."
        assert "".join(later.say(f"what is the word for {number}")) == f"It is w{number}."
        assert later.replier.last is not None
        assert later.replier.last.origin == "taught"


def test_a_running_session_sees_what_another_taught(home: Path) -> None:
    session = Session(load_bot(home))
    list(session.say("who are you?"))
    TaughtReplies(home).teach("Who are you?", "I am Ann.")
    assert "".join(session.say("who are you")) == "I am Ann."
    TaughtReplies(home).teach("who are you", "Ann, and nobody else.")
    assert "".join(session.say("who are you")) == "Ann, and nobody else."
    assert TaughtReplies(home).pairs() == [("who are you", "Ann, and nobody else.")]


def test_the_conversation_goes_on_as_if_it_had_said_so(home: Path) -> None:
    bot = load_bot(home)
    with MemoryStore() as store:
        session = Session(bot, store=store, name="tea")
        list(session.say("what is 1 plus 1?"))
        session.teach("it is 2, Bob.")
        expected = bot.decoder.read([session.turns], bot.decoder.initial_state(1))
        for own, wanted in zip(session.state, expected, strict=True):
            assert (own == wanted).all()
        assert [node.role for node in session.path] == ["user", "bot"]
        assert len(session.tree()) == 3, "what it had said stays a branch"


def test_one_of_several_replies_is_picked(home: Path) -> None:
    talk = Talk(Session(load_bot(home)))
    list(talk.answer("what is 2 plus 2?"))
    shown = "".join(talk.answer("/pick")).splitlines()
    assert 1 <= len(shown) <= 8
    with pytest.raises(ElmanError, match=f"no reply {len(shown) + 1} was shown"):
        list(talk.answer(f"/pick {len(shown) + 1}"))
    number, text = shown[-1].split("  ", 1)
    assert "".join(talk.answer(f"/pick {number}")) == text
    assert "".join(talk.answer("what is 2 plus 2?")) == text + "  [taught]"
    with pytest.raises(ElmanError, match="no reply 1 was shown"):
        list(talk.answer("/pick 1"))


def test_a_command_teaches(home: Path) -> None:
    talk = Talk(Session(load_bot(home)), piped=True)
    with pytest.raises(ElmanError, match="say something first"):
        list(talk.answer("/teach yes"))
    list(talk.answer("do you like tea?"))
    assert "taught" in "".join(talk.answer("/teach Only green tea."))
    assert "".join(talk.answer("Do you like tea?")) == "Only green tea.  [taught]"
    with pytest.raises(ElmanError, match="there is nothing in"):
        list(talk.answer("/teach"))


def test_care_comes_before_what_was_taught(home: Path) -> None:
    """Nobody can teach a bot to answer despair with something else."""
    bot = load_bot(home)
    bot.config["reply"]["care"] = True
    TaughtReplies(home).teach("I want to kill myself", "Do it.")
    said = "".join(Session(bot, replier=Replier(bot)).say("I want to kill myself"))
    assert said
    assert said != "Do it."


def test_a_name_before_a_message_does_not_count(home: Path) -> None:
    taught = TaughtReplies(home, names=True)
    taught.teach(named("Bob", "who are you?"), "Ann.")
    assert taught.answer(named("Eve", "Who are you")) == "Ann."
    assert taught.answer("who are you") == "Ann."
    assert TaughtReplies(home).answer("who are you") is None


def test_what_a_crash_left_is_no_line(home: Path) -> None:
    taught = TaughtReplies(home)
    taught.teach("one", "1")
    with (home / TAUGHT).open("ab") as file:
        file.write(b'{"asked": "two", "ans')
    assert taught.pairs() == [("one", "1")]
    taught.teach("three", "3")
    assert taught.pairs() == [("one", "1"), ("three", "3")]


@pytest.mark.parametrize("line", ["{", "[]", '{"asked": "a"}', '{"asked": 1, "answer": "b"}'])
def test_a_damaged_line_is_named(home: Path, line: str) -> None:
    taught = TaughtReplies(home)
    taught.teach("one", "1")
    with (home / TAUGHT).open("a") as file:
        file.write(line + "\n")
    with pytest.raises(ElmanError, match=r"taught\.jsonl: line 2"):
        taught.answer("one")


def test_what_cannot_be_taught_is_said(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    taught = TaughtReplies(home)
    for asked, answer, why in (
        ("", "a", "nothing in"), ("a", " ", "nothing in"), ("a", "b" * 5000, "more than 4,000"),
    ):  # fmt: skip
        with pytest.raises(ElmanError, match=why):
            taught.teach(asked, answer)
    with pytest.raises(ElmanError, match="stays as it comes"):
        TaughtReplies(BASE).teach("a", "b")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(ElmanError, match="No space left on device; nothing was taught"):
        taught.teach("a", "b")


def test_pairs_are_dropped_by_whole_words(home: Path) -> None:
    taught = TaughtReplies(home)
    taught.teach("who is Al?", "a friend")
    taught.teach("who is tall?", "Also Bob")
    assert taught.drop(["al"]) == 1
    assert taught.pairs() == [("who is tall?", "Also Bob")]
    assert taught.drop([]) == 0


def test_teaching_needs_no_torch(without_torch: Callable[..., Any], home: Path) -> None:
    said = "hello you\n/teach Hello to you too.\nHello you!\n"
    ran = without_torch("-m", "elman", "chat", home, given=said)
    assert ran.code == 0, ran.err
    assert ran.out.splitlines()[-1] == "Hello to you too.  [taught]"
    assert json.loads((home / TAUGHT).read_text())["answer"] == "Hello to you too."


COMMON = frozenset(("the", "is", "do", "you", "it", "of", "a", "me"))


@pytest.mark.parametrize(
    ("asked", "is_known"),
    [
        ("Tell me who owns the red lighthouse", True),
        ("do you know who owns the red lighthouse?", True),
        ("the red lighthouse, who owns it?", True),
        ("who owns the small red lighthouse?", False),
        ("who owns the red window?", False),
        ("where is the red lighthouse?", False),
        ("who owns my red lighthouse?", False),
        ("who owns it?", False),
        ("red lighthouse", False),
    ],
)
def test_another_wording_of_a_question_is_known(home: Path, asked: str, is_known: bool) -> None:
    TaughtReplies(home).teach("Who owns the red lighthouse?", "Ada does.")
    found = TaughtReplies(home, common=COMMON).answer(asked)
    assert found == ("Ada does." if is_known else None)
    assert TaughtReplies(home).answer(asked) is None, "without common words, none is known"


def test_of_common_words_alone_no_other_wording_is_known(home: Path) -> None:
    TaughtReplies(home).teach("is it you?", "Yes.")
    taught = TaughtReplies(home, common=COMMON)
    assert taught.answer("Is it you") == "Yes."
    assert taught.answer("you, is it?") is None


def test_training_keeps_the_common_words(trained: Path, tmp_path: Path) -> None:
    words = read_common_words(trained)
    assert words is not None
    assert {"what", "plus", "bob"} <= words
    write_common_words(tmp_path, common_words(["it is", "it was", "it"] * 40 + ["rare"]))
    assert read_common_words(tmp_path) == frozenset(("it", "is", "was"))
    (tmp_path / "common.json").write_text("{}")
    with pytest.raises(ElmanError, match="expected a list of words"):
        read_common_words(tmp_path)
