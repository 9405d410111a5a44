"""Nearest lines are those of a plain comparison of all, and a copy is found wherever it stands."""

import random
from collections import Counter
from math import log
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from elman.errors import ElmanError
from elman.generate.network import load_network_bot
from elman.lens.nearest import GRAM_CHARS, MIN_COPIED_WORDS, Lines, training_lines, words_of

words = st.sampled_from(["hello", "there", "it", "is", "what", "plus", "Zoë", "you", "1", "2"])
lines = st.lists(words, max_size=14).map(" ".join)


def grams(text: str) -> set[str]:
    padded = f" {' '.join(words_of(text)) or text} "
    return {padded[n : n + GRAM_CHARS] for n in range(len(padded) - GRAM_CHARS + 1)}


def plainly(texts: list[str], query: str) -> list[float]:
    """The likeness of every line, as its definition says."""
    texts = list(dict.fromkeys(texts))
    counts = Counter(gram for text in texts for gram in grams(text))

    def weight(found: set[str]) -> float:
        return sum(log(1 + len(texts) / max(1, counts[gram])) for gram in found)

    mine = grams(query)
    return [
        weight(mine & theirs) / weight(mine | theirs) if mine | theirs else 0.0
        for theirs in map(grams, texts)
    ]


@settings(max_examples=100, deadline=None)
@given(st.lists(lines, min_size=1, max_size=8), lines)
def test_nearest_is_a_plain_comparison_of_all(texts: list[str], query: str) -> None:
    expected = sorted((value for value in plainly(texts, query) if value > 0), reverse=True)
    found = Lines(texts).nearest(query, len(texts))
    assert [near.likeness for near in found] == pytest.approx(expected, rel=1e-9)


def test_the_same_line_is_nearest_whatever_its_case_and_punctuation() -> None:
    index = Lines(["good morning", "it is 4, Bob.", "it is 5, Bob.", "😀"])
    best = index.nearest("IT IS   4 bob!")[0]
    assert best.text == "it is 4, Bob."
    assert best.likeness == pytest.approx(1)
    assert index.nearest("😀") == []
    assert index.nearest("zzzz qqqq") == []
    assert index.nearest("") == []
    assert Lines([]).nearest("hello") == []


@settings(max_examples=60, deadline=None)
@given(st.lists(lines, max_size=6), lines)
def test_a_copy_is_the_longest_run_of_words_in_common(texts: list[str], query: str) -> None:
    asked = words_of(query)
    longest = 0
    for text in texts:
        line = words_of(text)
        for begin in range(len(asked)):
            for end in range(begin + MIN_COPIED_WORDS, len(asked) + 1):
                run = asked[begin:end]
                if any(line[n : n + len(run)] == run for n in range(len(line))):
                    longest = max(longest, len(run))
    found = Lines(texts).copied(query)
    assert (found.words if found else 0) == longest


def test_copies_are_found_in_the_middle_and_in_other_scripts() -> None:
    line = "Well, I told her that the train leaves at nine from the old station."
    index = Lines(["hello", line, "今天天气很好我们去公园吧"])
    found = index.copied("Oh! i told her that THE train leaves at ten")
    assert found is not None
    assert (found.words, found.line) == (8, line)
    assert index.copied("told her that the train leaves at") is None
    assert index.copied("今天天气很好我们去山上") is not None


def test_what_is_too_much_is_not_searched_and_that_is_said() -> None:
    draw = random.Random(0)
    texts = [" ".join(draw.choices("abcdefgh", k=5)) for _ in range(100)]
    index = Lines(texts, largest=300)
    assert not index.complete
    assert 0 < len(index) < 100
    assert Lines(texts).complete


def test_training_lines_are_what_the_bot_learned_to_say(trained: Path) -> None:
    index = training_lines(load_network_bot(trained))
    assert index.complete
    assert "it is 4, Bob." in index.texts
    assert not any("plus" in text for text in index.texts)  # Bob's, whom it does not play
    assert index.nearest("it is 4, Bob.")[0].likeness == pytest.approx(1)


def test_where_the_data_is_gone_it_says_so(trained: Path, tmp_path: Path) -> None:
    bot = load_network_bot(trained)
    for path, said in ((str(tmp_path / "gone.txt"), "not there any more"), ("-", "standard input")):
        bot.config["data"]["path"] = path
        with pytest.raises(ElmanError, match=said):
            training_lines(bot)
    with pytest.raises(ElmanError, match="what base learned from does not come"):
        training_lines(load_network_bot("base"))
