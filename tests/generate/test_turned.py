"""What somebody told is said back with the person turned, and nothing else is changed."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from elman.generate.turned import MAX_TOLD_WORDS, introduced, statements, turned


@pytest.mark.parametrize(
    ("said", "back"),
    [
        ("I live in Lisbon.", "You live in Lisbon."),
        ("i'm 34 years old", "You are 34 years old."),
        ("I\u2019m not a nurse!", "You are not a nurse."),
        ("My dog is called Max.", "Your dog is called Max."),
        ("I was late, and my boss told me so.", "You were late, and your boss told you so."),
        ("we've lost our keys", "You have lost your keys."),
        ("The red one is mine", "The red one is yours."),
        ("I hurt myself", "You hurt yourself."),
        ("My brother broke the lamp", "Your brother broke the lamp."),
        ("Lisbon is my home", "Lisbon is your home."),
        ("It rained in Miami", "It rained in Miami."),
        # What is no sentence about somebody is quoted.
        ("in Lisbon", 'You said: "In Lisbon."'),
        ("Call me Pete", 'You said: "Call me Pete."'),
        ("I like you", 'You said: "I like you."'),
        ("Blue.", 'You said: "Blue."'),
        ("I live in the US", 'You said: "I live in the US."'),
        ("I'd already left", 'You said: "I\'d already left."'),
        ("I work in a mine", 'You said: "I work in a mine."'),
    ],
)
def test_the_person_is_turned(said: str, back: str) -> None:
    assert turned(said) == back


@pytest.mark.parametrize(
    ("message", "told"),
    [
        ("By the way, I'm Peter. How are you?", ["I'm Peter."]),
        ("Well, yes, I have a cat!\nIt is grey", ["I have a cat!", "It is grey"]),
        ("Remember this: I live in Lisbon.", ["I live in Lisbon."]),
        ("What is my name?", []),
        ("So what?", []),
        ("hello", []),
        ("...", []),
        ("", []),
        ("Nothing new. Nobody called.", ["Nothing new.", "Nobody called."]),
        ("No dogs live with me.", ["No dogs live with me."]),
        ("No, dogs live with me.", ["dogs live with me."]),
        ("So far I have two.", ["So far I have two."]),
        ("When I was ten I broke my arm.", ["When I was ten I broke my arm."]),
        ("What I want is a boat.", ["What I want is a boat."]),
        ("Will is my brother.", ["Will is my brother."]),
        ("Really?!", []),
    ],
)
def test_statements_are_taken_without_what_leads_to_them(message: str, told: list[str]) -> None:
    assert list(statements(message)) == told


@pytest.mark.parametrize(
    ("sentence", "name"),
    [
        ("I'm Nina and I work as a nurse in Graz", "Nina"),
        ("i am Nina", "Nina"),
        ("I\u2019m called Nina, by the way", "Nina"),
        ("Call me Nina!", "Nina"),
        ("you can call me Nina", "Nina"),
        ("Nina here", "Nina"),
        ("I am José", "José"),
        ("I'm Nina Brown.", "Nina"),
        ("Same here!", None),
        ("People here are rude", None),
        ("Living here is great", None),
        ("I'm You", None),
        ("I'm Sick", None),
        ("I'm German", None),
        ("I'm tired", None),
        ("I'm Nina's sister", None),
        ("My sister is called Nina", None),
        ("I'm reading Ulysses", None),
        ("They call me Nina", None),
        ("", None),
    ],
)
def test_who_introduces_themself_has_a_name(sentence: str, name: str | None) -> None:
    assert introduced(sentence) == name


def test_the_parts_of_a_long_sentence_stand_alone_too() -> None:
    long = "I went to the market with my sister, and we bought plums, but then " + "very " * 20
    whole, *parts = statements(long.strip() + " late it rained")
    assert len(whole.split()) > MAX_TOLD_WORDS
    assert parts[:2] == ["I went to the market with my sister", "we bought plums"]


@given(st.text(max_size=200))
@settings(max_examples=300, deadline=None, derandomize=True)
def test_any_text_can_be_said_back(text: str) -> None:
    for sentence in statements(text):
        assert sentence.strip(" .!")
        assert not sentence.endswith("?")
        assert turned(sentence)[:1] == turned(sentence)[:1].upper()


@pytest.mark.parametrize(
    "asked",
    ["how do you learn lines fast", "Tell me a joke.", "so what is it", "do you know", "any idea"],
)
def test_what_asks_tells_nothing(asked: str) -> None:
    assert list(statements(asked)) == []
