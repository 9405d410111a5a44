from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from elman.data.conversation import SYSTEM, Conversation, Message
from elman.data.split import Part, Survey
from elman.errors import ElmanError

TALK = (Message("Mira", "Hi"), Message("Tobin", "Hello"))


def survey_of(conversations: Sequence[Conversation]) -> Survey:
    survey = Survey()
    # The counts are made while the texts pass.
    list(survey.texts(conversations))
    return survey


def divided(
    conversations: Sequence[Conversation], test: bool = False
) -> list[tuple[Part, Conversation]]:
    return list(survey_of(conversations).divide(conversations, test))


def parts(conversations: Sequence[Conversation], test: bool = False) -> list[Part]:
    return [part for part, _ in divided(conversations, test)]


def in_buckets(*buckets: int) -> list[Conversation]:
    """One conversation for each of the buckets, in that order."""
    found: list[Conversation] = []
    for bucket in buckets:
        names = (f"{len(found)}-{n}" for n in range(10_000))
        candidates = (Conversation(TALK, name) for name in names)
        found.append(next(each for each in candidates if each.bucket == bucket))
    return found


def spoken(authors: str) -> Conversation:
    """A conversation in which each letter is the author of one message."""
    return Conversation(tuple(Message(author, str(n)) for n, author in enumerate(authors)))


def test_a_survey_counts_turns_rather_than_messages() -> None:
    survey = survey_of([spoken("MMTM"), Conversation((*TALK, Message("Ada", "Grüße")))])
    assert survey.conversations == 2
    assert survey.turns == 6
    assert survey.authors == {"M": 2, "T": 1, "Mira": 1, "Tobin": 1, "Ada": 1}
    assert survey.text_bytes == len("0\n1" + "2" + "3") + len("HiHelloGrüße".encode())


def test_the_first_bucket_is_dev_and_the_second_test_where_wanted() -> None:
    conversations = in_buckets(0, 1, 2, 19, 0, 1)
    assert parts(conversations) == ["dev", "train", "train", "train", "dev", "train"]
    assert parts(conversations, test=True) == ["dev", "test", "train", "train", "dev", "test"]


@pytest.mark.parametrize("test", [False, True])
@pytest.mark.parametrize("buckets", [(5, 7, 9), (0, 0, 0), (0, 0), (12, 3)])
def test_one_conversation_is_dev_where_the_hash_leaves_a_part_empty(
    buckets: tuple[int, ...], test: bool
) -> None:
    found = parts(in_buckets(*buckets), test)
    assert sorted(found) == ["dev"] + ["train"] * (len(buckets) - 1)


def test_a_test_part_that_leaves_nothing_to_learn_from_is_given_up() -> None:
    assert sorted(parts(in_buckets(0, 1, 1), test=True)) == ["dev", "train", "train"]


def test_two_conversations_that_say_the_same_are_still_divided() -> None:
    assert sorted(parts([Conversation(TALK), Conversation(TALK)])) == ["dev", "train"]


@pytest.mark.parametrize(("count", "tail"), [(5, 2), (20, 2), (29, 2), (30, 3), (100, 10)])
def test_the_last_tenth_of_a_single_conversation_is_dev(count: int, tail: int) -> None:
    conversation = spoken("MT" * (count // 2) + "M" * (count % 2))
    (_, train), (_, dev) = found = divided([conversation])
    assert [part for part, _ in found] == ["train", "dev"]
    assert train.messages + dev.messages == conversation.messages
    assert len(dev.messages) == tail


def test_the_tail_of_a_single_conversation_is_whole_turns() -> None:
    (_, train), (_, dev) = divided([spoken("MTMTMTMTTTTTTMMMMMM")])
    assert train.messages[-1].author != dev.messages[0].author
    assert dev.authors == ("T", "M")


def test_a_single_conversation_may_be_too_short_for_dev() -> None:
    assert divided([spoken("MTMT")]) == [("train", spoken("MTMT"))]


@given(
    st.lists(st.text(min_size=1), min_size=2, max_size=40, unique=True),
    st.booleans(),
)
@settings(max_examples=40, deadline=None, derandomize=True)
def test_no_conversation_is_lost_or_doubled(names: list[str], test: bool) -> None:
    conversations = [Conversation(TALK, name) for name in names]
    found = divided(conversations, test)
    assert [conversation for _, conversation in found] == conversations
    assert {"train", "dev"} <= {part for part, _ in found}
    # The order in which files are found must not decide what is held out.
    backwards = divided(conversations[::-1], test)
    assert backwards[::-1] == found


def test_an_author_may_be_the_bot() -> None:
    survey_of([Conversation(TALK)]).check_bot("Tobin")


def test_an_unknown_bot_is_answered_with_the_names_there_are() -> None:
    survey = survey_of([spoken("MTM")])
    expected = (
        r"--bot 'Nobody': nobody has that name; there are M \(2 messages\), T \(1 messages\)$"
    )
    with pytest.raises(ElmanError, match=expected):
        survey.check_bot("Nobody")


def test_of_many_names_the_most_frequent_are_listed() -> None:
    survey = survey_of([spoken("ABCDEFGHIJKLMNOPQRSTUVWXYZ" + "Z")] + [spoken("ZA")] * 3)
    with pytest.raises(ElmanError, match=r"there are A \(4 messages\).* and 6 more$"):
        survey.check_bot("Nobody")


def test_instructions_are_nobody_whom_a_bot_could_play() -> None:
    survey = survey_of([Conversation((Message(SYSTEM, "Be kind."), *TALK))])
    with pytest.raises(ElmanError, match=r"there are Mira \(1 messages\), Tobin \(1 messages\)$"):
        survey.check_bot(SYSTEM)
