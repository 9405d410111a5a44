"""Measures against what they are by definition."""

from collections.abc import Callable
from math import exp, log
from pathlib import Path

import numpy as np
import pytest
import torch

from elman.data.corpus import Corpus
from elman.data.readers import read
from elman.data.source import documents
from elman.evaluate import evaluate
from elman.evaluate.context import Gain, context_gain, gain_by_lag
from elman.evaluate.texts import Copies, distinct, median_length, repeated, words
from elman.generate.network import NetworkBot, load_network_bot
from elman.generate.scoring import bits_per_byte, subset
from elman.train import Config, train


@pytest.fixture(scope="module")
def bot(tmp_path_factory: pytest.TempPathFactory, make_config: Callable[..., Config]) -> NetworkBot:
    """Trained enough to use what was asked."""
    folder = tmp_path_factory.mktemp("bot")
    settings = {"train.steps": 200, "train.lr": 0.01, "model.hidden_size": 48, "model.dropout": 0.0}
    train(make_config(**settings), folder)
    return load_network_bot(folder)


@pytest.fixture(scope="module")
def corpus(bot: NetworkBot, chats: Path) -> Corpus:
    return Corpus.encode(read(documents(chats)), bot.tokenizer, "Ann")


def test_bits_per_byte_by_its_definition(bot: NetworkBot, corpus: Corpus, chats: Path) -> None:
    nats, text_bytes = 0.0, 0
    for conversation in read(documents(chats)):
        state = bot.chatbot.initial_state(1)
        for turn in conversation.turns("Ann"):
            role = {"user": 1, "bot": 2}[turn.role]
            tokens = [role, *bot.tokenizer.encode(turn.text), 0]
            ((cost,),), state = bot.chatbot.score([[np.array(tokens)]], state)
            if turn.role == "bot":
                nats += float(cost)
                text_bytes += len(turn.text.encode())
    found = bits_per_byte(bot.decoder, corpus, bot.tokenizer, "bot")
    # Lanes side by side sum in another order, in float32.
    assert found == pytest.approx(nats / log(2) / text_bytes, rel=1e-4)


def test_history_helps_where_it_holds_the_question(bot: NetworkBot, corpus: Corpus) -> None:
    found = context_gain(bot.decoder, corpus, bot.tokenizer, "bot")
    assert found is not None
    none, other, replies = found
    assert replies == 30 * 4
    for gain in (none, other):
        low, high = gain.interval(0)
        assert 0 < low <= gain.mean <= high


def test_gain_of_conversations_of_unlike_length(bot: NetworkBot, tmp_path: Path) -> None:
    """Long messages and many messages are not the same: each keeps its own history."""
    lengths = [(1, 40), (3, 1), (5, 2), (2, 20)]  # exchanges, and words of each question
    path = tmp_path / "unlike.txt"
    path.write_text(
        "\n\n".join(
            "\n".join(f"Bob: {'what ' * size}{n}?\nAnn: it is {n}, Bob." for n in range(exchanges))
            for exchanges, size in lengths
        )
    )
    corpus = Corpus.encode(read(documents(path)), bot.tokenizer, "Ann")
    found = context_gain(bot.decoder, corpus, bot.tokenizer, "bot")
    assert found is not None
    none, _, replies = found
    # The last two messages of the longest conversation have no other history to be given.
    assert replies == 1 + 3 + 3 + 2
    nats = {"true": 0.0, "none": 0.0}
    text_bytes = 0
    for index, (exchanges, _) in enumerate(lengths):
        messages = corpus.messages(index)
        for place in range(1, 2 * min(exchanges, 3), 2):
            for name, history in (("true", messages[:place]), ("none", [])):
                heard = [[*history, messages[place]]]
                (costs,), _ = bot.chatbot.score(heard, bot.chatbot.initial_state(1))
                nats[name] += float(costs[-1])
            text_bytes += int(bot.tokenizer.piece_bytes[messages[place]].sum())
    expected = (nats["none"] - nats["true"]) / log(2) / text_bytes
    # Lanes side by side sum in another order, in float32.
    assert none.mean == pytest.approx(expected, rel=1e-3, abs=1e-5)


def test_no_history_no_gain() -> None:
    same = np.array([3.0, 5.0, 4.0])
    gain = Gain(same, same, np.array([1, 2, 3]))
    assert gain.mean == 0
    assert gain.interval(0) == (0, 0)


def test_gain_in_bits_per_byte() -> None:
    gain = Gain(np.array([log(2)]), np.array([3 * log(2)]), np.array([4]))
    assert gain.mean == pytest.approx(0.5)


@pytest.mark.slow
def test_report_is_the_same_each_time(bot: NetworkBot, corpus: Corpus) -> None:
    one = evaluate(bot, corpus, "bot", seed=1).report.to_json()
    torch.manual_seed(99)  # measures must not depend on what was drawn elsewhere
    assert evaluate(bot, corpus, "bot", seed=1).report.to_json() == one
    assert {"bits_per_byte", "context_gain", "hits_at_1", "bleu", "exact_match"} <= one.keys()
    assert one["bits_per_byte"] == pytest.approx(
        bits_per_byte(bot.decoder, corpus, bot.tokenizer, "bot"), rel=1e-9
    )
    # Every answer can be known from the question.
    assert one["exact_match"] > 0.5
    assert one["bleu"] > 60


def test_a_corpus_without_replies_has_no_gain(bot: NetworkBot, corpus: Corpus) -> None:
    alone = Corpus(corpus.ids[: corpus.starts[1]], corpus.starts[:2])
    assert context_gain(bot.decoder, alone, bot.tokenizer, "bot") is None


def test_subset_takes_whole_conversations(corpus: Corpus) -> None:
    some = subset(corpus, int(corpus.starts[3]) + 1)
    assert len(some) == 3
    assert np.array_equal(some[2], corpus[2])
    assert len(subset(corpus, 1)) == 1
    assert subset(corpus, 10**9) is corpus


def test_perplexity_per_word_by_its_definition(bot: NetworkBot, corpus: Corpus) -> None:
    nats, count = 0.0, 0
    for index in range(len(corpus)):
        messages = corpus.messages(index)
        costs, _ = bot.chatbot.score([messages], bot.chatbot.initial_state(1))
        for message, cost in list(zip(messages, costs[0], strict=True))[1::2]:
            nats += float(cost)
            count += len(words(bot.tokenizer.decode(message)))
    # Lanes side by side sum in another order, in float32.
    report = evaluate(bot, corpus, "bot").report
    assert report.perplexity_per_word == pytest.approx(exp(nats / count), rel=1e-4)


def test_what_a_bot_copies_is_counted() -> None:
    line = "one two three four five six seven eight nine"
    texts = ["well, One two three four five six seven eight!", "one two three", "nothing of it"]
    copies = Copies(texts, iter(["something else", line, "One, two three"]))
    assert copies.runs == [True, False, False]
    assert copies.whole == [False, False, False]
    assert Copies(["One two Three"], ["one two three"]).whole == [True]


@pytest.mark.slow
def test_the_report_counts_copies_where_the_training_text_is_known(
    bot: NetworkBot, corpus: Corpus
) -> None:
    every = [bot.tokenizer.decode(m) for i in range(len(corpus)) for m in corpus.messages(i)]
    report = evaluate(bot, corpus, "bot", training=iter(every)).report
    assert report.people_in_training == 1
    assert report.copied == 0, "no reply has eight words"
    assert evaluate(bot, corpus, "bot").report.copied is None


def test_words_and_variety() -> None:
    assert words("It's 5, Bob!") == ["it", "'", "s", "5", ",", "bob", "!"]
    texts = ["a b a b", "a b"]
    assert distinct(texts, 1) == 2 / 6
    assert distinct(texts, 2) == 2 / 4
    assert repeated(["Yes.", "yes .", "no", "maybe"]) == 0.5
    assert median_length(texts) == 3
    assert distinct([], 2) == repeated([]) == median_length([]) == 0


def test_gain_by_lag_sums_to_the_whole_gain(bot: NetworkBot, corpus: Corpus) -> None:
    gains = gain_by_lag(bot.decoder, corpus, bot.tokenizer, "bot", lags=3, replies=20, seed=0)
    assert gains is not None
    assert len(gains) == 3
    assert gains[0] > 0, "the question is the last message"
    assert (
        gain_by_lag(bot.decoder, corpus, bot.tokenizer, "bot", lags=8, replies=20, seed=0) is None
    ), "no conversation has eight messages before a reply"
