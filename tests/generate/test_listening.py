"""What makes sense nearly everywhere is said in ever different ways."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from elman.generate.listening import STRIDE, TRIED, Listening, ways

LISTENING = Listening(
    whole=["Go on.", "Please go on."],
    openings=["I see.", "I am listening.", "Okay."],
    invitations=["Tell me more.", "I am listening to all of it."],
    unknowing=["I don't know.", "That beats me. I give up."],
    returns=["What do you think?"],
)


def every(asked: str) -> list[str]:
    return [" ".join(each) for each in LISTENING.to_statement(asked)]


@given(st.text(max_size=20))
def test_each_way_comes_once_whatever_was_said(asked: str) -> None:
    found = every(asked)
    assert sorted(found) == [
        "Go on.",
        "I am listening. Tell me more.",
        "I see. I am listening to all of it.",
        "I see. Tell me more.",
        "Okay. I am listening to all of it.",
        "Okay. Tell me more.",
        "Please go on.",
    ], "nobody is listening and listening"
    assert all(map(LISTENING.has, found))
    unknowing = [" ".join(each) for each in LISTENING.to_question(asked)]
    assert sorted(unknowing) == [
        "I don't know.",
        "I don't know. What do you think?",
        "That beats me. I give up.",
        "That beats me. I give up. What do you think?",
    ]
    assert all(map(LISTENING.has, unknowing))


def test_another_message_gets_another_one() -> None:
    texts = [f"I have {n} cats." for n in range(100)]
    assert len({every(text)[0] for text in texts}) == 7
    assert every(texts[0]) == every(texts[0])


@pytest.mark.parametrize("text", ["", "I see.", "Tell me more. Okay.", "I see. Go on.", "I see"])
def test_what_is_made_of_other_parts_is_none_of_them(text: str) -> None:
    assert not LISTENING.has(text)


@pytest.mark.parametrize("number", [0, 1, 200, TRIED + 1, STRIDE, 3 * STRIDE])
def test_every_way_is_another_one(number: int) -> None:
    found = list(ways(number, "hi"))
    assert len({*found}) == len(found) == min(TRIED, number)
    assert all(0 <= each < number for each in found)


def test_a_whole_reply_comes_in_its_sentences() -> None:
    listening = Listening(whole=["Yes? I see. Go on."])
    assert [*listening.to_statement("hi")] == [["Yes?", "I see.", "Go on."]]


@pytest.mark.parametrize(
    ("asked", "first"),
    [
        ("hi, just installed you", "Hello!"),
        ("hey there, new here", "Hello!"),
        ("Good day at work today.", "Go on."),
        ("Good evening Elman.", "Hello!"),
        ("*hey!*", "Hello!"),
        ("His dog is here.", "Go on."),
        ("I said hello to her.", "Go on."),
        ("Good mornings are rare.", "Go on."),
        ("Hi, I just lost my job and I cry all day.", "Hi. Tell me more."),
        ("hello, my name is Peter and I live in Lisbon", "Hi. Tell me more."),
        ("Hi-fi is my hobby.", "Go on."),
        ("Good day " * 5000, "Go on."),
    ],
)
def test_who_greets_is_greeted(asked: str, first: str) -> None:
    listening = Listening(
        whole=["Go on."], greetings=["Hello!"], hellos=["Hi."], invitations=["Tell me more."]
    )
    assert " ".join(next(listening.to_statement(asked))) == first
    assert listening.has(first)
    assert [*Listening(whole=["Go on."]).to_statement(asked)] == [["Go on."]]
