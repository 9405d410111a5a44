"""Windows of whole messages: each loss once, and the state handed on at the right place."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from elman.data.corpus import Corpus
from elman.data.layout import Layout
from elman.data.message_stream import MessageStream, RowWindow, token_loss_mask
from elman.data.tokenizer import END, ROLES


def corpus(lengths: list[int]) -> Corpus:
    """Conversations of so many messages; each message has one token of its own, from 10 on."""
    token = iter(range(10, 10_000))
    whole = [
        np.array(
            [t for n in range(count) for t in (list(ROLES.values())[n % 2], next(token), END)],
            np.uint16,
        )
        for count in lengths
    ]
    return Corpus(np.concatenate(whole), np.cumsum([0, *map(len, whole)]))


def names(window: RowWindow) -> list[int]:
    return [int(message[1]) for message in window.messages]


def learned(window: RowWindow) -> list[int]:
    return [n for n, counts in zip(names(window), window.loss_mask, strict=True) if counts]


def epoch(stream: MessageStream, lengths: list[int]) -> list[RowWindow]:
    """The windows of one row over exactly one epoch."""
    windows, messages = [], 0
    while messages < sum(lengths):
        (row,) = stream.next().rows
        windows.append(row)
        messages += len(learned(row))
    return windows


lengths_strategy = st.lists(st.integers(1, 9), min_size=1, max_size=5)


@given(lengths_strategy, st.integers(1, 10), st.booleans())
@settings(deadline=None, max_examples=80)
def test_each_loss_counts_once_an_epoch(lengths: list[int], unfold: int, slide: bool) -> None:
    data = corpus(lengths)
    stream = MessageStream(data, Layout(1, unfold, "messages", slide, seed=1))
    said = [name for window in epoch(stream, lengths) for name in learned(window)]
    assert sorted(said) == list(range(10, 10 + sum(lengths)))


@given(lengths_strategy, st.integers(1, 10), st.booleans())
@settings(deadline=None, max_examples=80)
def test_a_window_begins_with_the_state_that_was_carried(
    lengths: list[int], unfold: int, slide: bool
) -> None:
    data = corpus(lengths)
    stream = MessageStream(data, Layout(1, unfold, "messages", slide, seed=1))
    read: list[int] = []  # the messages that the carried state has read
    for window in epoch(stream, lengths):
        if window.fresh:
            read = []
        own = names(window)
        conversation = next(
            [int(m[1]) for m in data.messages(i)]
            for i in range(len(data))
            if own[0] in {int(m[1]) for m in data.messages(i)}
        )
        assert conversation[: len(read) + len(own)] == read + own
        read += own[: window.carry]


@pytest.mark.parametrize("unfold", [1, 2, 5, 20])
def test_how_far_back_a_reply_is_learned(unfold: int) -> None:
    stream = MessageStream(corpus([12]), Layout(1, unfold, "messages"))
    for window in epoch(stream, [12]):
        reach = [position for position, counts in enumerate(window.loss_mask) if counts]
        first = 0 if window.fresh else 1
        assert reach == list(range(first, len(window.messages)))
        assert max(reach) <= unfold

    stream = MessageStream(corpus([12]), Layout(1, unfold, "messages", slide=True))
    for number, window in enumerate(epoch(stream, [12])):
        assert window.loss_mask == [False] * min(number, unfold) + [True]


def test_only_what_the_bot_says_counts() -> None:
    data = corpus([6])
    for slide in (False, True):
        stream = MessageStream(data, Layout(1, 2, "messages", slide, "bot"))
        said = [name for _ in range(6) for name in learned(stream.next().rows[0])]
        assert set(said) == {11, 13, 15}


def test_tokens_that_count() -> None:
    messages = [np.array([1, 20, 21, END]), np.array([2, 22, END])]
    row = RowWindow(messages, [False, True], 1, fresh=True)
    assert token_loss_mask(row).tolist() == [False] * 4 + [False, True, True]


@given(lengths_strategy, st.integers(1, 4), st.integers(1, 4), st.booleans(), st.integers(0, 12))
@settings(deadline=None, max_examples=50)
def test_resumes_exactly(
    lengths: list[int], batch_size: int, unfold: int, slide: bool, steps: int
) -> None:
    data = corpus(lengths)

    def make() -> MessageStream:
        return MessageStream(data, Layout(batch_size, unfold, "messages", slide, seed=7))

    one, other = make(), make()
    for _ in range(steps):
        one.next()
    other.load_state_dict(json.loads(json.dumps(one.state_dict())))
    for _ in range(4):
        left, right = one.next(), other.next()
        assert [names(row) for row in left.rows] == [names(row) for row in right.rows]
        assert [(a.loss_mask, a.carry, a.fresh) for a in left.rows] == [
            (b.loss_mask, b.carry, b.fresh) for b in right.rows
        ]
    assert one.epochs == other.epochs


@given(lengths_strategy, st.integers(1, 4), st.integers(1, 4), st.booleans())
@settings(deadline=None, max_examples=50)
def test_two_then_three_then_one_process_learn_each_message_once_a_pass(
    lengths: list[int], batch_size: int, unfold: int, slide: bool
) -> None:
    data = corpus(lengths)
    state = MessageStream(data, Layout(batch_size, unfold, "messages", slide, seed=3)).state_dict()
    finished = 0
    now: dict[int, list[int]] = {}  # what was learned of the conversation that a row reads
    begun: list[int] = []
    for size in (2, 3, 1, 2, 3, 1):
        rows = [range(n * batch_size // size, (n + 1) * batch_size // size) for n in range(size)]
        parts = []
        for own in rows:
            layout = Layout(batch_size, unfold, "messages", slide, seed=3, own_rows=own)
            parts.append(MessageStream(data, layout))
            parts[-1].load_state_dict(state)
        for _ in range(7):
            windows = [window for part in parts for window in part.next().rows]
            assert len(windows) == batch_size
            for row, window in enumerate(windows):
                if row not in now:
                    now[row] = []
                    begun.append(window.conversation)
                now[row] += learned(window)
                if len(now[row]) == lengths[window.conversation]:
                    every = [int(each[1]) for each in data.messages(window.conversation)]
                    assert now.pop(row) == every
                    finished += 1
        state = parts[0].state_dict()
        assert all(part.state_dict() == state for part in parts)
    # Conversations are handed out in whole passes, and none in the next before its turn.
    for first in range(0, len(begun) - len(lengths) + 1, len(lengths)):
        assert sorted(begun[first : first + len(lengths)]) == list(range(len(lengths)))
    assert finished == len(begun) - len(now)


def test_unfolding_over_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 1, got 1 and 0"):
        MessageStream(corpus([2]), Layout(1, 0, "messages"))
