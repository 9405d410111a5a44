import random
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from math import exp, log

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from elman.data.conversation import SYSTEM, Chat, Conversation, Message
from elman.data.segmentation import (
    DEFAULT_GAP_SECONDS,
    MAX_CONVERSATION_MESSAGES,
    MAX_GAP_SECONDS,
    MIN_GAP_SECONDS,
    Gaps,
    cut,
)

START = datetime(2024, 1, 31, 23, 50, tzinfo=UTC)


def said(*spoken: tuple[str, float]) -> list[Message]:
    """Messages of authors, each some minutes after the one before."""
    time, messages = START, list[Message]()
    for author, minutes in spoken:
        time += timedelta(minutes=minutes)
        messages.append(Message(author, f"{len(messages)}", time))
    return messages


def pieces(messages: list[Message], gap: float = 3600) -> list[str]:
    """The authors of each conversation."""
    found = cut(Chat("chat", iter(messages)), gap)
    return ["".join(m.author for m in each.messages) for each in found]


def chosen(gaps: Iterator[float]) -> float:
    time, messages = START, []
    for gap in gaps:
        time += timedelta(seconds=gap)
        messages.append(Message("A", "x", time))
    watched = Gaps()
    assert list(watched.watch(messages)) == messages
    return watched.choose()


def test_a_chat_is_cut_where_nobody_spoke_for_longer_than_the_gap() -> None:
    messages = said(("A", 0), ("B", 60), ("A", 61), ("B", 1), ("B", 600), ("A", 2))
    assert pieces(messages) == ["AB", "AB", "BA"]


def test_a_late_answer_is_an_answer() -> None:
    messages = said(("A", 0), ("A", 600), ("B", 600), ("A", 600), ("B", 1), ("B", 600))
    assert pieces(messages) == ["AAB", "ABB"]


def test_a_chat_in_which_one_person_speaks_is_one_conversation() -> None:
    assert pieces(said(("A", 0), ("A", 600), ("A", 600))) == ["AAA"]


def test_without_times_a_chat_is_cut_by_length_alone_where_the_speaker_changes() -> None:
    names = ["A", "A", "B"] * MAX_CONVERSATION_MESSAGES
    messages = [Message(name, "x") for name in names]
    found = pieces(messages)
    assert "".join(found) == "".join(names)
    assert len(found) == 3
    lengths = [len(piece) for piece in found[:-1]]
    assert all(0 <= length - MAX_CONVERSATION_MESSAGES < 3 for length in lengths)
    assert all(one[-1] != other[0] for one, other in pairwise(found))


def test_ids_say_when_a_conversation_began_so_that_a_longer_export_has_the_same_ones() -> None:
    spoken = [("A", 0.0), ("B", 1.0), ("A", 600.0), ("B", 1.0)]
    short = [each.id for each in cut(Chat("chat", iter(said(*spoken))), 3600)]
    long = [each.id for each in cut(Chat("chat", iter(said(*spoken, *spoken[2:]))), 3600)]
    assert short == ["chat 2024-01-31 23:50:00+00:00", "chat 2024-02-01 09:51:00+00:00"]
    assert long[:2] == short
    assert len(set(long)) == 3


def test_clocks_that_go_back_end_nothing() -> None:
    assert pieces(said(("A", 0), ("B", 1), ("A", -60), ("B", 1))) == ["ABAB"]


@given(
    st.lists(st.tuples(st.sampled_from("ABC"), st.floats(-100, 1000)), max_size=60),
    st.floats(1, 1e5),
)
@settings(max_examples=100, deadline=None, derandomize=True)
def test_no_message_is_lost_and_every_conversation_has_an_answer(
    spoken: list[tuple[str, float]], gap: float
) -> None:
    messages = said(*spoken)
    found = list(cut(Chat("chat", iter(messages)), gap))
    assert [message for each in found for message in each.messages] == messages
    if len({author for author, _ in spoken}) > 1:
        assert all(len(each.authors) > 1 for each in found)
    for one, other in pairwise(found):
        waited = other.messages[0].seconds - one.messages[-1].seconds  # type: ignore[operator]
        assert waited > gap
    assert all(isinstance(each, Conversation) for each in found)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(
    ("within", "between", "low", "high"),
    [
        (40.0, 8 * 3600.0, 900, 3 * 3600),  # chatting, then a night
        (20 * 60.0, 4 * 86400.0, 2 * 3600, 86400),  # letters, answered within the hour
    ],
)
def test_the_gap_lies_between_waits_within_and_between(
    within: float, between: float, low: float, high: float, seed: int
) -> None:
    draw = random.Random(seed)
    gaps = (
        exp(draw.gauss(log(between), 0.8) if draw.random() < 0.08 else draw.gauss(log(within), 1.2))
        for _ in range(3000)
    )
    assert low <= chosen(gaps) <= high


def test_of_a_few_gaps_or_of_one_kind_of_gap_nothing_is_made() -> None:
    assert chosen(iter([1.0, 86400.0] * 20)) == DEFAULT_GAP_SECONDS
    draw = random.Random(0)
    assert chosen(exp(draw.gauss(log(3600), 1.0)) for _ in range(5000)) == DEFAULT_GAP_SECONDS
    assert Gaps(Counter({20: 1000})).choose() == DEFAULT_GAP_SECONDS


@given(st.lists(st.tuples(st.integers(20, 120), st.integers(1, 1000)), max_size=40))
@settings(max_examples=100, deadline=None, derandomize=True)
def test_a_gap_is_always_a_sensible_one(bins: list[tuple[int, int]]) -> None:
    gap = Gaps(Counter(dict(bins))).choose()
    assert MIN_GAP_SECONDS <= gap <= MAX_GAP_SECONDS


def test_somebody_who_speaks_alone_is_not_kept_in_memory() -> None:
    names = ["A", "B"] + ["A"] * 5 * MAX_CONVERSATION_MESSAGES + ["B"]
    found = pieces(said(*((name, 600.0) for name in names)))
    assert "".join(found) == "".join(names)
    assert max(map(len, found)) <= 3 * MAX_CONVERSATION_MESSAGES


def test_instructions_are_no_speaker() -> None:
    messages = said((SYSTEM, 0), ("A", 1), ("A", 600), ("B", 1))
    [conversation] = cut(Chat("chat", iter(messages)), 3600)
    assert len(conversation.messages) == 4
