"""What people do not do is ranked behind what they do."""

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from elman.data.conversation import Conversation, Message
from elman.data.corpus import Corpus
from elman.data.tokenizer import Tokenizer
from elman.generate import rerank
from elman.generate.decoder import Decoder, StatePart
from elman.generate.drawing import Drawn
from elman.generate.penalties import (
    PEOPLE,
    Habits,
    History,
    Tokens,
    beyond,
    habits,
    history_before,
    people_habits,
    words_of,
)
from elman.generate.rerank import Candidate, Ranking, best, best_drawn
from elman.generate.sampling import SamplingParams

TALK = [
    "hello, how are you today?",
    "I am fine, thank you. And you?",
    "I went to the sea with my sister last week.",
    "that sounds good! did you swim in the sea?",
]


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer.train(TALK, 300)


def tokens(tokenizer: Tokenizer, text: str) -> Tokens:
    return tuple(tokenizer.encode(text))


def test_four_habits_are_counted_in_words() -> None:
    heard = ["I went to the sea with my sister last week."]
    said = ["I like to play video games."]
    found = habits("You went to the sea with my dog? I like to play games.", heard, said)
    assert found == Habits(words=13, repeats=0, echo=6, again=4)
    again = habits("I like to play and I like to sing, I like to play.")
    assert again == Habits(words=13, repeats=3, echo=0, again=0)
    assert habits("", [""], [""]) == Habits(0, 0, 0, 0)


def test_a_word_is_no_part_of_another() -> None:
    assert habits("cat in the hall", ["concat in the hallway"]).echo == 2


def test_scripts_without_spaces_have_words_too() -> None:
    assert words_of("今日は元気?") == list("今日は元気")
    assert habits("今日は元気です", ["今日は元気?"]).echo == 5
    assert words_of("Don\u2019t, l'été") == ["don\u2019t", "l'été"]


@given(st.lists(st.sampled_from("abc"), max_size=12), st.lists(st.sampled_from("abc"), max_size=12))
def test_the_shared_run_is_the_longest(own: list[str], other: list[str]) -> None:
    runs = {tuple(other[i:j]) for i in range(len(other)) for j in range(i, len(other) + 1)} | {()}
    inner = [tuple(own[i:j]) for i in range(len(own)) for j in range(i, len(own) + 1)]
    expected = max((len(run) for run in inner if run in runs), default=0)
    assert habits(" ".join(own), [" ".join(other)]).echo == expected


def test_only_what_goes_beyond_people_counts() -> None:
    limits = Habits(words=30, repeats=1, echo=4, again=4)
    assert Habits(30, 1, 4, 4).beyond(limits) == 0
    assert Habits(33, 3, 0, 9).beyond(limits) == 3 + 2 + 5


def test_people_set_the_limits(tokenizer: Tokenizer) -> None:
    """Who repeats an order word for word sets other limits than who never does."""

    def corpus(answer: str) -> Corpus:
        turns = ["a table for two at seven please", answer] * 4
        people = [Message("ab"[n % 2], text, None) for n, text in enumerate(turns)]
        talk = [Conversation(tuple(people), str(n)) for n in range(40)]
        return Corpus.encode(talk, tokenizer, "b")

    waiter = people_habits(corpus("so a table for two at seven please"), tokenizer, "bot")
    friend = people_habits(corpus("sure"), tokenizer, "bot")
    assert waiter == Habits(words=8, repeats=0, echo=7, again=8)
    assert friend == Habits(words=1, repeats=0, echo=0, again=1)
    nobody = Corpus.encode((), tokenizer)
    assert people_habits(nobody, tokenizer, "bot") is None


def test_a_history_has_two_sides(tokenizer: Tokenizer) -> None:
    people = [Message("ab"[n % 2], text, None) for n, text in enumerate(TALK)]
    corpus = Corpus.encode([Conversation(tuple(people), "1")], tokenizer, "b")
    found = history_before(corpus.messages(0), tokenizer)
    assert found.heard == [TALK[2], TALK[0]]
    assert [tokenizer.decode(each) for each in found.said] == [TALK[1]]
    assert history_before(corpus.messages(0)[:1], tokenizer) == History([], [])


def test_what_goes_beyond_people_comes_last_but_for_what_is_certain() -> None:
    echo, fine = Candidate((5,), 9.0, beyond=2), Candidate((6,), -9.0)
    assert best([echo, fine], ()) == fine
    less = Candidate((7,), -20.0, beyond=1)
    assert best([echo, less], ()) == less
    certain = Candidate((8,), -30.0, certain=True, beyond=3)
    assert best([echo, fine, certain], ()) == certain


def test_each_time_that_it_was_said_counts() -> None:
    once, twice = Candidate((5,), 0.0), Candidate((6,), 1.0)
    assert best([once, twice], [(5,), (6,)]) == twice
    assert best([once, twice], [(5,), (6,), (6,)]) == once


class Parrot(Decoder):
    """Has one row and knows no words: what it draws is given."""

    vocabulary_size, characters = 300, None
    state_spec, weights_digest = [StatePart("h", 1)], ""

    def initial_state(self, rows: int) -> tuple[np.ndarray, ...]:
        return (np.zeros((rows, 1)),)

    def select(self, state, rows: Sequence[int]):  # type: ignore[no-untyped-def]
        return tuple(part[list(rows)] for part in state)

    def costs(self, messages: Sequence[np.ndarray], state: object) -> np.ndarray:
        return np.ones(len(messages))

    join = vectors = parts = read = score = begin_reply = step = end_message = None  # type: ignore[assignment]


def test_more_is_drawn_where_all_of_it_goes_beyond_people(
    tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard = "I went to the sea with my sister last week."
    draws = [[heard, "went to the sea with my dog"], ["how was it?"], ["never asked for"]]
    asked: list[list[str]] = []

    def draw(*_: object) -> list[list[Drawn]]:
        asked.append(draws[len(asked)])
        return [[Drawn(tokens(tokenizer, text), 1.0) for text in asked[-1]]]

    monkeypatch.setattr(rerank, "draw", draw)
    decoder = Parrot()
    [found] = best_drawn(
        decoder,
        decoder.initial_state(1),
        SamplingParams(),
        Ranking(),
        np.random.default_rng(0),
        histories=[History([heard])],
        tokenizer=tokenizer,
    )
    assert tokenizer.decode(found.tokens) == "how was it?"
    assert len(asked) == 2
    assert beyond(tokens(tokenizer, heard), History([heard]), PEOPLE, tokenizer) == 6
