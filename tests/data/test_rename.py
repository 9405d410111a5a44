from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from elman.data.conversation import SYSTEM, Message
from elman.data.rename import NAMES, Pseudonyms

PEOPLE = {"Mira Okafor": 9, "Tobin Schmidt": 7, "Anna Schmidt": 3, "Will": 2, "+49 170 1234567": 1}
CHAT = Pseudonyms(PEOPLE)
MIRA, TOBIN, ANNA, WILL, NUMBER = (CHAT.names[name] for name in PEOPLE)


def test_who_wrote_most_is_named_first() -> None:
    assert list(NAMES[:5]) == [MIRA, TOBIN, ANNA, WILL, NUMBER]
    assert Pseudonyms(dict(reversed(PEOPLE.items()))).names == CHAT.names


def test_a_message_keeps_everything_but_names() -> None:
    time = datetime(2024, 5, 1, tzinfo=UTC)
    renamed = CHAT.message(Message("Anna Schmidt", "Mira, are you there?", time))
    assert renamed == Message(ANNA, f"{MIRA}, are you there?", time)


def test_an_author_who_was_not_counted_is_an_error() -> None:
    with pytest.raises(KeyError):
        CHAT.message(Message("Zelda", "hi"))


def test_nobody_is_renamed_who_is_nobody() -> None:
    assert CHAT.message(Message(SYSTEM, "Be kind to Mira.")).author == SYSTEM


@pytest.mark.parametrize(
    ("text", "renamed"),
    [
        ("Mira Okafor said so", f"{MIRA} said so"),
        ("mira and MIRA", f"{MIRA} and {MIRA}"),
        ("@mira, @Tobin Schmidt", f"@{MIRA}, @{TOBIN}"),
        ("Mira's cat", f"{MIRA}'s cat"),
        ("Tobin!Anna?", f"{TOBIN}!{ANNA}?"),
        ("the admirals of Miranda", "the admirals of Miranda"),
        ("Mr Schmidt", f"Mr {TOBIN}"),
        ("Anna Schmidt", ANNA),
        ("ask Will", f"ask {WILL}"),
        ("will you ask @will", f"will you ask @{WILL}"),
        ("Will you? Yes. Will he?", "Will you? Yes. Will he?"),
        ("call +49 170 1234567 or @491701234567", f"call {NUMBER} or @{NUMBER}"),
    ],
)
def test_mentions(text: str, renamed: str) -> None:
    assert CHAT.text(text) == renamed


def test_names_without_spaces_around_them() -> None:
    chat = Pseudonyms({"佐藤 太郎": 2, "민수": 1})
    taro, minsu = chat.names.values()
    assert chat.text("太郎さんと민수는") == f"{taro}さんと{minsu}는"


def test_spellings_of_the_same_name() -> None:
    chat = Pseudonyms({"Jörg Weiß": 2, "Jean-Luc": 1})
    jorg, luc = chat.names.values()
    assert chat.text("weiß, Weiß, WEISS, JÖRG") == ", ".join([jorg] * 4)
    assert chat.text("Jean-Luc and Luc") == f"{luc} and {luc}"


def test_very_short_names_need_an_at_sign() -> None:
    chat = Pseudonyms({"Al": 1})
    assert chat.text("al dente, Al! @al") == f"al dente, Al! @{chat.names['Al']}"


def test_an_invented_name_is_nobodys_real_name() -> None:
    chat = Pseudonyms({"kim": 5, "Robin Alex": 4, "Noa": 3}, keep=frozenset({"Sasha"}))
    assert list(chat.names.values()) == ["Luca", "Ari", "Jules"]


def test_more_people_than_names() -> None:
    invented = list(Pseudonyms({f"Person{number:03}": 1 for number in range(150)}).names.values())
    assert len(set(invented)) == 150
    assert invented[len(NAMES)] == f"{NAMES[0]} 2"


def test_those_who_keep_their_names() -> None:
    chat = Pseudonyms({"Mira Okafor": 2, "Tobin": 1, "Mira Lund": 1}, frozenset({"Mira Okafor"}))
    assert chat.message(Message("Mira Okafor", "Mira Okafor, Tobin")) == Message(
        "Mira Okafor", f"Mira Okafor, {chat.names['Tobin']}"
    )
    assert "Mira Okafor" not in chat.names


def test_a_chat_of_nobody() -> None:
    assert Pseudonyms({}).text("Mira") == "Mira"


name = st.one_of(
    st.text(min_size=1, max_size=12),
    st.sampled_from(
        ["Mira", "mira", "Will May", "太郎", "İnci Iş\u0131k", "O'Neil", "Jean-Luc", "(", "\\d"]
    ),
)


@settings(derandomize=True, deadline=None, max_examples=100)
@given(st.dictionaries(name, st.integers(0, 9), max_size=8), st.text(max_size=40))
def test_any_people(people: dict[str, int], text: str) -> None:
    chat = Pseudonyms(people)
    assert chat.names.keys() == people.keys() - {SYSTEM}
    assert len(set(chat.names.values())) == len(chat.names)
    assert not chat.names.keys() & set(chat.names.values())
    chat.text(text)
    for real, invented in chat.names.items():
        renamed = chat.message(Message(real, f"hello @{real}, {text}"))
        assert renamed.author == invented


def test_people_who_are_addresses_leave_domains_alone() -> None:
    names = Pseudonyms({"ann.smith@acme.com": 2, "bob@example.org": 1})
    text = "write to carl@foo.com or http://acme.com, my email"
    assert names.text(text) == text
    assert names.text("hi Smith") == f"hi {names.names['ann.smith@acme.com']}"
