"""A reply that asks what was just told is known."""

import pytest

from elman.generate.persons import denies, other_persons
from elman.generate.stems import stems_of
from elman.generate.told_already import asks_what_is_told


@pytest.mark.parametrize(
    ("message", "reply", "asks"),
    [
        ("My son is six.", "How old is he?", True),
        ("They want 120 more a month.", "By how much?", True),
        ("We had no power for two hours.", "How long did it last?", True),
        ("We argued about money.", "I am sorry. What was it about?", True),
        ("I met Anna.", "What is her name?", True),
        ("I left because I was tired.", "Why did you leave?", True),
        ("It is blue.", "What color is it?", True),
        ("I have a son.", "How old is he?", False),
        ("We argued.", "I am sorry. What was it about?", False),
        ("I got a kitten.", "What is its name?", False),
        ("Anna called.", "What did she want?", False),
        ("I wait for two hours now.", "When you are done, rest.", False),
        ("I have two cats.", "I know how much you love her.", False),
        ("No one came.", "How many came?", False),
        ("", "", False),
    ],
)
def test_what_is_told_need_not_be_asked(message: str, reply: str, asks: bool) -> None:
    assert asks_what_is_told(reply, message) == asks


@pytest.mark.parametrize(
    ("one", "other", "share"),
    [
        ("I like to swim.", "I'm tired of my job.", 0),
        ("He likes to swim.", "I like to swim.", 1),
        ("He likes to swim.", "I like him.", 0.5),
        ("It rains.", "Rain again.", 0),
        ("It rains.", "We got wet.", 1),
        ("The cat is ill.", "The dogs were well.", 0),
    ],
)
def test_persons_are_told_apart(one: str, other: str, share: float) -> None:
    assert other_persons(stems_of(one), stems_of(other)) == share
    assert other_persons(stems_of(other), stems_of(one)) == share


@pytest.mark.parametrize(
    ("text", "denied"),
    [
        ("I don't have a fever", True),
        ("Nobody came.", True),
        ("You should go.", False),
        ("", False),
    ],
)
def test_what_is_denied_is_known(text: str, denied: bool) -> None:
    assert denies(stems_of(text)) == denied
