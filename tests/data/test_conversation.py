import hashlib

from hypothesis import given, settings
from hypothesis import strategies as st

from elman.data.conversation import SYSTEM, Conversation, Message, Turn

TALK = Conversation(
    (
        Message(SYSTEM, "Be kind."),
        Message("Mira", "Hi"),
        Message("Mira", "Anyone?"),
        Message("Tobin", "Me."),
        Message("Ada", "Me too."),
        Message("Mira", "Good."),
    )
)


def test_a_run_of_one_authors_messages_is_one_turn() -> None:
    assert list(TALK.runs()) == [
        (SYSTEM, "Be kind."),
        ("Mira", "Hi\nAnyone?"),
        ("Tobin", "Me."),
        ("Ada", "Me too."),
        ("Mira", "Good."),
    ]


def test_authors_are_the_people_in_order_of_appearance() -> None:
    assert TALK.authors == ("Mira", "Tobin", "Ada")


def test_the_bot_plays_the_named_author() -> None:
    assert TALK.turns("Ada") == [
        Turn("system", "Be kind."),
        Turn("user", "Hi\nAnyone?"),
        Turn("user", "Me."),
        Turn("bot", "Me too."),
        Turn("user", "Good."),
    ]


def test_among_peers_the_bot_plays_whoever_answered() -> None:
    assert TALK.turns() == TALK.turns("Tobin")


def test_the_bot_is_absent_where_it_never_spoke() -> None:
    alone = Conversation((Message(SYSTEM, "Be kind."), Message("Mira", "Hi")))
    assert [turn.role for turn in alone.turns()] == ["system", "user"]
    assert [turn.role for turn in TALK.turns("Nobody")] == ["system"] + 4 * ["user"]


def test_an_id_depends_on_what_was_said_and_by_whom() -> None:
    said = [
        (Message("Mira", "ab"), Message("Tobin", "c")),
        (Message("Mira", "a"), Message("Tobin", "bc")),
        (Message("Mirab", "a"), Message("Tobin", "c")),
        (Message("Tobin", "c"), Message("Mira", "ab")),
    ]
    assert len({Conversation(messages).id for messages in said}) == len(said)
    assert Conversation(said[0]).id == Conversation(said[0]).id


def test_an_id_is_the_same_in_every_version() -> None:
    conversation = Conversation((Message("Mira", "Hi"), Message("Tobin", "Grüße")))
    expected = hashlib.sha1("Mira\0Hi\0Tobin\0Grüße\0".encode()).hexdigest()
    assert conversation.id == expected


def test_an_id_that_the_source_gives_is_kept() -> None:
    assert Conversation(TALK.messages, "kettle").id == "kettle"


@given(st.text(min_size=1))
@settings(max_examples=50, deadline=None, derandomize=True)
def test_the_bucket_is_a_hash_of_the_id(name: str) -> None:
    digest = hashlib.sha1(name.encode()).hexdigest()
    assert Conversation(TALK.messages, name).bucket == int(digest, 16) % 20
