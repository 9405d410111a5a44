from collections.abc import Sequence
from itertools import chain

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from elman.data.conversation import SYSTEM, Conversation, Message
from elman.data.corpus import Corpus, encode_parts, scored
from elman.data.tokenizer import END, ROLES, Tokenizer

TOKENIZER = Tokenizer.train(["the kettle sings", "the kitten sings"], 280)

some = settings(max_examples=40, deadline=None, derandomize=True)
messages = st.builds(Message, st.sampled_from([SYSTEM, "Mira", "Tobin", "Ada"]), st.text())
conversations = st.lists(messages, min_size=1, max_size=8).map(
    lambda each: Conversation(tuple(each))
)
corpora = st.lists(conversations, max_size=6)
bots = st.sampled_from([None, "Mira", "Tobin"])


def numbered(count: int) -> list[Conversation]:
    return [
        Conversation((Message("Mira", f"{n}?"), Message("Tobin", f"{n}!"))) for n in range(count)
    ]


def same(one: Corpus, other: Corpus) -> bool:
    return np.array_equal(one.ids, other.ids) and np.array_equal(one.starts, other.starts)


@given(corpora, bots)
@some
def test_messages_hold_role_text_and_end(talks: Sequence[Conversation], bot: str | None) -> None:
    corpus = Corpus.encode(talks, TOKENIZER, bot)
    assert len(corpus) == len(talks)
    assert corpus.ids.dtype == np.uint16
    for index, talk in enumerate(talks):
        found = corpus.messages(index)
        assert np.array_equal(np.concatenate(found), corpus[index])
        assert [(m[0], TOKENIZER.decode(m[1:-1]), m[-1]) for m in found] == [
            (ROLES[turn.role], turn.text, END) for turn in talk.turns(bot)
        ]


@given(conversations, bots, st.sampled_from(["bot", "all"]))
@some
def test_text_and_end_of_the_learned_messages_count(
    talk: Conversation, bot: str | None, learn_from: str
) -> None:
    learned = {"bot": {"bot"}, "all": {"bot", "user"}}[learn_from]
    turns = talk.turns(bot)
    expected = [
        [False] + [turn.role in learned] * (len(TOKENIZER.encode(turn.text)) + 1) for turn in turns
    ]
    tokens = Corpus.encode([talk], TOKENIZER, bot)[0]
    counts = scored(tokens, learn_from)
    assert counts.tolist() == list(chain.from_iterable(expected))

    text_bytes = sum(len(turn.text.encode()) for turn in turns if turn.role in learned)
    assert TOKENIZER.piece_bytes[tokens[counts]].sum() == text_bytes


def test_nothing_counts_in_nothing() -> None:
    assert scored(np.zeros(0, np.uint16), "all").shape == (0,)


def test_parts_are_encoded_as_if_each_were_alone() -> None:
    # More than one batch, so that no message may land in the part of another.
    talks = numbered(600)
    labels = ["train", "dev", "test"]
    parts = encode_parts(((labels[n % 3], talk) for n, talk in enumerate(talks)), TOKENIZER)
    assert set(parts) == set(labels)
    for n, label in enumerate(labels):
        assert same(parts[label], Corpus.encode(talks[n::3], TOKENIZER))


def test_no_conversations_make_an_empty_corpus() -> None:
    corpus = Corpus.encode([], TOKENIZER)
    assert len(corpus) == len(corpus.ids) == 0


@pytest.mark.parametrize("index", [-1, 3])
def test_an_index_outside_is_an_error(index: int) -> None:
    with pytest.raises(IndexError):
        Corpus.encode(numbered(3), TOKENIZER)[index]


def test_the_digest_names_the_content() -> None:
    one, two = numbered(2)
    joined = Conversation(one.messages + two.messages)
    contents = [[one, two], [two, one], [one], [joined], []]
    digests = [Corpus.encode(content, TOKENIZER).digest for content in contents]
    assert len(set(digests)) == len(contents)
    assert Corpus.encode([one, two], TOKENIZER).digest == digests[0]
