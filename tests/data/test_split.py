from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from elman.data.conversation import Conversation, Message
from elman.data.split import HELD_OUT_SHARE, MAX_HELD_OUT_SHARE, Part, Split, Survey
from elman.errors import ElmanError

TALK = (Message("Mira", "Hi"), Message("Tobin", "Hello"))


def survey_of(conversations: Sequence[Conversation], split: Split = "id") -> Survey:
    survey = Survey(split)
    # The counts are made while the texts pass.
    list(survey.watch(conversations))
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


@given(st.lists(st.integers(1, 9), min_size=21, max_size=60), st.floats(0.05, 0.8))
def test_of_more_text_than_can_be_read_the_newest_is_learned(days: list[int], share: float) -> None:
    start = datetime(2024, 1, 1, tzinfo=UTC)
    talks = [
        Conversation((Message("Mira", "Hi", start + timedelta(days=day)), Message("Tobin", "Ha")))
        for day in days
    ]
    survey = survey_of(talks, "time")
    if len({*days}) < 3 or survey._threshold(HELD_OUT_SHARE) is None:
        return
    learned = survey.most(int(share * survey.text_bytes))
    train = [talk for part, talk in survey.divide(talks) if part == "train"]
    kept = [talk for talk in train if learned(talk)]
    left = [talk for talk in train if not learned(talk)]
    assert kept
    if left:
        assert max(talk.start or 0 for talk in left) < min(talk.start or 0 for talk in kept)
        assert 4 * len(kept) >= int(share * survey.text_bytes), "4 bytes each"


def test_without_times_some_conversations_are_learned_by_their_ids() -> None:
    talks = [Conversation(TALK, str(n)) for n in range(2000)]
    survey = survey_of(talks)
    for share in (0.1, 0.5):
        learned = survey.most(int(share * survey.text_bytes))
        kept = [talk for talk in talks if learned(talk)]
        # Three standard deviations of a share of 2,000.
        assert abs(len(kept) / 2000 - share) < 3 * (share * (1 - share) / 2000) ** 0.5
        assert len({talk.bucket for talk in kept}) == 20
    assert all(map(survey.most(None), talks))
    assert all(map(survey.most(survey.text_bytes), talks))


def test_the_first_bucket_is_dev_and_the_second_test_where_wanted() -> None:
    conversations = in_buckets(0, 1, 2, 19, 0, 1)
    assert parts(conversations) == ["dev", "train", "train", "train", "dev", "train"]
    assert parts(conversations, test=True) == ["dev", "test", "train", "train", "dev", "test"]


@pytest.mark.parametrize("test", [False, True])
@pytest.mark.parametrize("kept", [range(2, 20), range(1, 20), range(20)])
def test_what_was_divided_by_the_same_hash_before_is_divided_by_another(
    kept: range, test: bool
) -> None:
    talks = [Conversation(TALK, str(n)) for n in range(1000)]
    talks = [talk for talk in talks if talk.bucket in kept]
    found = divided(talks, test)
    for part in ("dev", "test") if test else ("dev",):
        # Four standard deviations of a twentieth of a thousand.
        assert abs(sum(each == part for each, _ in found) - 50) < 28
    if 0 in kept:
        assert all((part == "dev") == (talk.bucket == 0) for part, talk in found)


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


START = datetime(2024, 1, 1, tzinfo=UTC)


def on_day(day: int, turns: int = 2, name: str = "") -> Conversation:
    time = START + timedelta(days=day)
    messages = [Message("MT"[n % 2], f"{n}", time + timedelta(minutes=n)) for n in range(turns)]
    return Conversation(tuple(messages), name or f"day {day}")


def by_time(conversations: Sequence[Conversation], test: bool = False) -> list[Part]:
    survey = survey_of(conversations, "auto")
    return [part for part, _ in survey.divide(conversations, test)]


def test_the_newest_tenth_is_held_out_whatever_the_order() -> None:
    days = [7, 3, 19, 0, 12, 18, *range(1, 3), *range(4, 7), *range(8, 12), *range(13, 18)]
    conversations = [on_day(day) for day in days]
    assert survey_of(conversations, "auto").by_time
    assert [d for d, p in zip(days, by_time(conversations), strict=True) if p == "dev"] == [19, 18]
    parts_with_test = dict(zip(days, by_time(conversations, test=True), strict=True))
    assert (parts_with_test[19], parts_with_test[18]) == ("test", "dev")
    assert list(parts_with_test.values()).count("train") == 18


def test_a_tenth_is_of_turns_rather_than_of_conversations() -> None:
    conversations = [on_day(day, turns=2) for day in range(30)] + [on_day(30, turns=6)]
    assert by_time(conversations).count("dev") == 2  # 6 of 66 turns is less than a tenth


def test_one_conversation_without_a_time_is_enough_for_the_hash() -> None:
    conversations = [on_day(day) for day in range(20)] + [Conversation(TALK, "no time")]
    survey = survey_of(conversations, "auto")
    assert not survey.by_time
    assert list(survey.divide(conversations)) == divided(conversations)
    with pytest.raises(ElmanError, match="needs a time for every conversation"):
        list(survey_of(conversations, "time").divide(conversations))


@pytest.mark.parametrize(
    "conversations",
    [
        pytest.param([on_day(0, name=str(n)) for n in range(40)], id="all at once"),
        pytest.param([on_day(0), on_day(1, turns=90)], id="the newest is nearly all"),
    ],
)
def test_where_time_cannot_tell_the_hash_does(conversations: list[Conversation]) -> None:
    assert {"train", "dev"} == set(by_time(conversations))
    assert not survey_of(conversations, "auto").by_time


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(1, 30)), min_size=2, max_size=40))
@settings(max_examples=100, deadline=None, derandomize=True)
def test_what_is_held_out_by_time_is_newer_than_all_that_is_learned(
    days: list[tuple[int, int]],
) -> None:
    conversations = [on_day(day, turns, str(n)) for n, (day, turns) in enumerate(days)]
    survey = survey_of(conversations, "auto")
    if not survey.by_time:
        return
    for test in (False, True):
        parts = by_time(conversations, test)
        starts: dict[str, list[float]] = {"train": [], "dev": [], "test": []}
        for part, conversation in zip(parts, conversations, strict=True):
            starts[part].append(conversation.start or 0.0)
        assert starts["train"]
        assert starts["dev"]
        assert max(starts["train"]) < min(starts["dev"])
        assert not starts["test"] or max(starts["dev"]) < min(starts["test"])
        held_out = sum(t for (_, t), part in zip(days, parts, strict=True) if part != "train")
        total = sum(turns for _, turns in days)
        assert HELD_OUT_SHARE * total <= held_out <= MAX_HELD_OUT_SHARE * total


def test_a_survey_counts_people_times_and_groups() -> None:
    first, second = on_day(3, turns=3), on_day(1, turns=4)
    survey = survey_of([first, second, spoken("ABBC")])
    assert survey.people == {"M": 4, "T": 3, "A": 1, "B": 2, "C": 1}
    assert survey.text_bytes_of == {"M": 4, "T": 3, "A": 1, "B": 3, "C": 1}
    assert survey.largest_group == 3
    assert (survey.first, survey.last) == (second.start, first.messages[-1].seconds)
