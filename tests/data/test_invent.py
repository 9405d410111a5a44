"""Conversations once more with invented words: which are replaced, and by what."""

import re

from elman.data.conversation import Conversation, Message
from elman.data.invent import Inventor

TOWNS = ("Rome", "paris", "OSLO", "lima", "cairo", "delhi")


def booking(number: int) -> Conversation:
    town, other = TOWNS[number % 6], TOWNS[(number + 1) % 6]
    lines = [
        ("ann", f"a table in {town} please"),
        ("bot", "for whom please"),
        ("ann", f"four people, not in {other}"),
        ("bot", f"booked_{town}_7 for four, with Madame"),
        ("ann", f"thanks, {town}!"),
    ]
    return Conversation(tuple(Message(*line) for line in lines), str(number))


BOOKINGS = [booking(number) for number in range(24)]


def test_names_are_what_the_bot_repeats_and_few_conversations_have() -> None:
    inventor = Inventor.of(BOOKINGS, "bot")
    # Each town is in two of six; too many for a quarter.
    assert not any(map(inventor.names_in, BOOKINGS))
    more = [*BOOKINGS, *(Conversation((Message("ann", "hi"),), f"more {n}") for n in range(24))]
    inventor = Inventor.of(more, "bot")
    # "other" towns are not repeated, nor is "Madame"; "four" and "please" are everywhere.
    assert [inventor.names_in(each) for each in BOOKINGS[:6]] == [[town] for town in TOWNS]
    assert inventor.names == sorted(TOWNS)
    assert Inventor.of(more, "nobody").names_in(BOOKINGS[0]) == []
    assert Inventor.of(more, None).names_in(BOOKINGS[0]) == ["Rome"]


def test_a_name_is_the_same_word_throughout_and_another_in_the_next() -> None:
    more = [*BOOKINGS, *(Conversation((Message("ann", "hi"),), f"more {n}") for n in range(24))]
    inventor = Inventor.of(more, "bot")
    found = {each.id: each for each in inventor.invented(more)}
    assert 0 < len(found) < len(BOOKINGS), "some names stay, and what has none is not said again"
    assert list(inventor.invented(more)) == list(found.values()), "drawn by the ids alone"
    invented = set()
    for number, each in found.items():
        before = BOOKINGS[int(number)]
        told = re.fullmatch("a table in (.*) please", each.messages[0].text)
        assert told
        town = TOWNS[int(number) % 6]
        invented.add(told[1])
        assert told[1] != town
        assert (told[1].istitle(), told[1].isupper()) == (town.istitle(), town.isupper())
        expected = [message.text.replace(town, told[1]) for message in before.messages]
        assert [message.text for message in each.messages] == expected
        assert set(told[1].lower()) <= set("".join(TOWNS).lower())
    assert len(invented) == len(found)
