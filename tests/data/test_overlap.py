from itertools import chain

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from elman.data.corpus import Corpus
from elman.data.overlap import (
    MIN_NEAR_OVERLAP,
    SHINGLE_BYTES,
    SHINGLE_TOKENS,
    near_duplicates,
    without,
)
from elman.data.tokenizer import END, ROLES, SPECIALS

conversations = st.lists(
    st.lists(st.integers(SPECIALS, SPECIALS + 3), max_size=30), min_size=1, max_size=8
)


def corpus(texts: list[list[int]]) -> Corpus:
    """Each text as one message."""
    tokens = [[ROLES["user"], *text, END] for text in texts]
    starts = np.cumsum([0, *map(len, tokens)])
    return Corpus(np.array([*chain(*tokens)], np.uint16), starts.astype(np.int64))


def runs(text: list[int], width: int) -> set[tuple[int, ...]]:
    width = min(width, len(text))
    return {tuple(text[i : i + width]) for i in range(len(text) - width + 1)} if width else set()


def similar(one: list[int], other: list[int], width: int) -> bool:
    ours, theirs = runs(one, width), runs(other, width)
    return bool(ours & theirs) and len(ours & theirs) >= MIN_NEAR_OVERLAP * len(ours | theirs)


@given(conversations, conversations, st.sampled_from([SHINGLE_TOKENS, 3, SHINGLE_BYTES]))
@settings(max_examples=300, deadline=None, derandomize=True)
def test_every_near_duplicate_is_found_and_nothing_else(
    train: list[list[int]], held_out: list[list[int]], width: int
) -> None:
    expected = [any(similar(each, other, width) for other in train) for each in held_out]
    assert near_duplicates(corpus(train), corpus(held_out), width).tolist() == expected


def test_roles_and_ends_do_not_count() -> None:
    text = list(range(SPECIALS, SPECIALS + 40))
    whole, parted = [ROLES["user"], *text, END], [ROLES["bot"], *text[:9], END, 2, *text[9:], END]
    one, other = (
        Corpus(np.array(ids, np.uint16), np.array([0, len(ids)])) for ids in (whole, parted)
    )
    assert near_duplicates(one, other).all()


def test_a_word_more_is_a_near_duplicate_and_half_of_it_is_not() -> None:
    text = list(range(SPECIALS, SPECIALS + 60))
    held_out = corpus([[*text, SPECIALS], text[:30], text[::-1]])
    assert near_duplicates(corpus([text]), held_out).tolist() == [True, False, False]


def test_what_is_left_out_is_gone() -> None:
    kept = without(corpus([[4, 5], [6], [7, 8, 9]]), np.array([False, True, False]))
    assert [kept[index].tolist() for index in range(len(kept))] == [[1, 4, 5, 0], [1, 7, 8, 9, 0]]
    assert len(without(kept, np.array([True, True]))) == 0
