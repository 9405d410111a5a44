"""Small talk is answered where a known phrasing is near, and left to the net elsewhere."""

import json
from pathlib import Path

import numpy as np
import pytest

from elman.data.tokenizer import END, ROLES
from elman.errors import ElmanError
from elman.generate.care import rules
from elman.generate.network import NetworkBot, load_network_bot
from elman.generate.penalties import History
from elman.generate.replier import Replier
from elman.generate.smalltalk import Intent, SmallTalk, SmallTalkFile
from elman.model.folder import BASE, SMALL_TALK

HELLO = Intent(phrasings=["hello", "hi there", "good morning"], answers=["Hi!", "Hello!"])
NAME = Intent(phrasings=["what is your name?", "who are you?"], answers=["I am Elman."])
MINE = Intent(phrasings=["what is my name?"], answers=[])


@pytest.fixture(scope="module")
def talk() -> SmallTalk:
    return SmallTalk(SmallTalkFile(threshold=0.7, intents=[HELLO, NAME, MINE]))


@pytest.fixture(scope="module")
def base() -> NetworkBot:
    return load_network_bot("base")


def test_the_nearest_phrasing_answers(talk: SmallTalk) -> None:
    assert talk.answer("Hello!") == "Hi!"
    assert talk.answer("WHAT is your name") == "I am Elman."
    intent, alike = talk.nearest("what is your name?")
    assert (intent, round(alike, 6)) == (1, 1.0)
    assert talk.answer("what is my name?") is None, "it is the net's to know"
    assert talk.answer("I had a long day at work and my boss was angry") is None
    for nothing in ("", "?!", "\U0001f600", "hello " * 15):
        assert talk.answer(nothing) is None


def test_an_answer_is_not_given_again_and_again(talk: SmallTalk) -> None:
    assert talk.answer("hello", ["Hi!"]) == "Hello!"
    assert talk.answer("hello", ["Hello!", "Hi!"]) is None


def test_what_nobody_has_told_is_not_known() -> None:
    mine = Intent(phrasings=["what is my name?"], untold=["You have not told me."])
    told = [["i", "my"], ["you", "your"]]
    talk = SmallTalk(SmallTalkFile(threshold=0.7, intents=[HELLO, NAME, mine], telling=told))
    for before in ([], ["Hello!"], ["Where do I live?", "Nice day."]):
        assert talk.answer("What is my name?", (), before) == "You have not told me."
    assert talk.answer("What is my name?", (), ["I am Peter.", "Hello!"]) is None
    assert talk.answer("What is my name?") is None, "what was said before is not known"
    assert talk.answer("hello", (), []) == "Hi!"


def test_the_base_says_so_until_something_is_told(base: NetworkBot) -> None:
    replier = Replier(base)
    asked = "What is my name?"
    for heard in ([asked], [asked, "Hello!"]):
        said = replier.fixed(History(heard, asked=asked, whole=True))
        assert said is not None
        assert "not told" in base.tokenizer.decode(said.tokens)
    assert replier.fixed(History([asked, "I am Peter."], asked=asked, whole=True)) is None
    assert replier.fixed(History([asked], asked=asked)) is None


def test_a_damaged_file_is_an_error(tmp_path: Path) -> None:
    assert SmallTalk.read(tmp_path) is None
    path = tmp_path / SMALL_TALK
    for wrong in ("{", "[]", json.dumps({"threshold": 2, "intents": []}), '{"threshold": 0.5}'):
        path.write_text(wrong, "utf-8")
        with pytest.raises(ElmanError, match=SMALL_TALK):
            SmallTalk.read(tmp_path)


OWN = {
    "name": (["What is your name?", "what's your name", "Who are you?"], "Elman"),
    "home": (["Where do you live?", "where is your home?", "Where are you from?"], "computer"),
    "machine": (["Are you a robot?", "are you human", "What are you?"], "network"),
    "maker": (["Who made you?", "who created you?", "How were you made?"], "conversations"),
}


def test_the_base_keeps_its_own_facts(base: NetworkBot) -> None:
    found = SmallTalk.read(base.path)
    assert found is not None
    for questions, fact in OWN.values():
        for question in questions:
            assert fact in (found.answer(question) or ""), question
    said = " ".join(answer for each in found.content.intents for answer in each.answers)
    for somebody in ("Microsoft", "Cortana", "Siri", "Alexa", "Google", "http"):
        assert somebody not in said


@pytest.mark.parametrize(
    "asked", ["What is my name?", "what is my name, by the way", "And where do I live?"]
)
def test_what_the_user_told_is_left_to_the_net(base: NetworkBot, asked: str) -> None:
    found = SmallTalk.read(base.path)
    assert found is not None
    assert found.answer(asked) is None


def test_a_reply_says_where_it_came_from(base: NetworkBot) -> None:
    replier, decoder = Replier(base), base.decoder
    asked = ["How are you?", "you are stupid", "What is my sister called?"]
    heard = [[np.array([ROLES["user"], *base.tokenizer.encode(text), END])] for text in asked]
    state = decoder.read(heard, decoder.initial_state(len(asked)))
    histories = [History([text], (), text) for text in asked]
    found = replier.choose(state, np.random.default_rng(0), (), histories)
    assert [each.origin for each in found] == ["small talk", "rule", "generate"]
    assert base.tokenizer.decode(found[1].tokens) in rules()["insult"]["en"].answers
    alone = list(replier(decoder.select(state, [0]), np.random.default_rng(0), (), histories[0]))
    assert tuple(token for token, _ in alone[:-1]) == found[0].tokens
    assert replier.last is not None
    assert replier.last.origin == "small talk"
    # The state after it is that of having said it.
    reply = np.array([ROLES["bot"], *found[0].tokens, END])
    read = decoder.read([[*heard[0], reply]], decoder.initial_state(1))
    np.testing.assert_allclose(decoder.vectors(alone[-1][1]), decoder.vectors(read), atol=1e-5)  # type: ignore[arg-type]


def test_rules_can_be_switched(trained: Path) -> None:
    asked = History(["you are stupid"], (), "you are stupid")
    bot = load_network_bot(trained)
    assert Replier(bot).fixed(asked) is None, "friends talk as they do"
    on = NetworkBot.of(bot.chatbot, bot.tokenizer, bot.config | {"reply": {"care": True}}, bot.path)
    chosen = Replier(on).fixed(asked)
    assert chosen is not None
    assert chosen.origin == "rule"
    own = load_network_bot("base")
    off = NetworkBot.of(own.chatbot, own.tokenizer, own.config | {"reply": {"care": False}}, BASE)
    assert Replier(off).fixed(asked) is None or Replier(off).fixed(asked).origin != "rule"  # type: ignore[union-attr]


def test_nobody_asked_and_nothing_is_fixed(base: NetworkBot) -> None:
    assert Replier(base).fixed(History(["hello"])) is None


def test_it_agrees_in_who_is_meant() -> None:
    intent = Intent(phrasings=["What is your name?", "That was not funny"], answers=["Yes."])
    asked = ["What is my name?", "That was funny", "That wasn't funny"]
    telling = [["my", "me"], ["your", "you"], ["not", "wasn't"]]
    loose = SmallTalk(SmallTalkFile(threshold=0.1, intents=[intent]))
    strict = SmallTalk(SmallTalkFile(threshold=0.1, intents=[intent], telling=telling))
    assert [loose.answer(text) for text in asked] == ["Yes."] * 3
    assert [strict.answer(text) for text in asked] == [None, None, "Yes."]
    assert strict.answer("What's your name?") == "Yes."
