"""What the user told is found again by the question for it, and said back."""

from collections.abc import Sequence

import numpy as np
import pytest

from elman.data.tokenizer import END, ROLES
from elman.generate.exchanges import Exchanges, Near
from elman.generate.network import NetworkBot, load_network_bot
from elman.generate.penalties import History
from elman.generate.replier import Chosen, Replier
from elman.generate.told import (
    ASKING_BUCKETS,
    ASKING_TRAITS,
    ASKS_FOR_TOLD,
    LINE_TRAITS,
    MAX_ASKING_LOGIT,
    MAX_CANDIDATES,
    MAX_TOLD_LINES,
    AskingWords,
    ToldFinder,
    ToldRanking,
    asking_buckets,
    told_lines,
)
from elman.generate.written_arrays import WrittenArrays, WrittenExchange

TOLD = ["My sister plays the violin.", "I live in Lisbon.", "It rained on Monday."]


def ranking() -> ToldRanking:
    """Return a ranking in which what is worded so asks, for the sentence that has most of it."""
    lines = [20.0, *[0.0] * (len(LINE_TRAITS) - 1)]
    told = [9.0 if name == "worded" else 0.0 for name in ASKING_TRAITS]
    told[0] = -5.0
    return ToldRanking(lines=lines, told=told, untold=[told[0] + 4.0, *told[1:]], bias=0.0)


NO_WORDS = AskingWords(np.zeros(ASKING_BUCKETS, np.float16), 0.0)


@pytest.fixture(scope="module")
def exchanges() -> Exchanges:
    some = [WrittenExchange(text, "Yes.") for text in (*TOLD, "What is your name?", "I am here.")]
    return Exchanges(WrittenArrays.of(some, 100, NO_WORDS.weights, {}))


@pytest.fixture(scope="module")
def base() -> NetworkBot:
    return load_network_bot("base")


def talk(bot: NetworkBot, told: Sequence[str], asked: str, whole: bool = True) -> Chosen:
    """Return the bot's answer to a question, where it said "I see." to what was told."""
    tokenizer = bot.tokenizer
    seen = tokenizer.encode("I see.")
    messages = [
        message
        for text in told
        for message in (
            np.array([ROLES["user"], *tokenizer.encode(text), END]),
            np.array([ROLES["bot"], *seen, END]),
        )
    ]
    messages.append(np.array([ROLES["user"], *tokenizer.encode(asked), END]))
    state = bot.decoder.read([messages], bot.decoder.initial_state(1))
    heard = [asked, *reversed(told)]
    history = History(heard[:6], [tuple(seen)] * min(5, len(told)), asked, whole, heard[6:])
    [chosen] = Replier(bot).choose(state, np.random.default_rng(0), (), [history])
    return chosen


def test_the_sentence_that_answers_is_found(exchanges: Exchanges) -> None:
    finder = ToldFinder(exchanges, NO_WORDS, ranking())

    def told(asked: str) -> str | None:
        heard = [asked, *reversed(TOLD)]
        found = finder(History(heard[:2], (), asked, True, heard[2:]), Near())
        if found is None or not found.asks:
            return None
        assert found.sense.sum() == pytest.approx(1)
        return found.found.reply if found.found else ""

    assert told("What does my sister play?") == "Your sister plays the violin."
    assert told("Where do I live?") == "You live in Lisbon."
    assert told("What is my shoe size?") == "", "that was not told"
    assert told("I am tired.") is None, "nothing is asked"
    assert told("") is None
    assert told("What is my " + "very " * 40 + "name?") is None
    assert told("what'" * 40_000 + "i'" * 40_000 + "b") is None, "one word, and long"


def test_nothing_is_denied_where_not_all_was_looked_at(exchanges: Exchanges) -> None:
    finder = ToldFinder(exchanges, NO_WORDS, ranking())
    asked = "What is my shoe size?"
    for before, whole in (
        (["It rained."], True),
        (["It rained."] * (MAX_TOLD_LINES + 1), False),
        (["It rained. " * 100 + "My shoe size is 40."], False),
        ([" ".join(f"I saw bird {n}{k}." for k in range(9)) for n in range(30)], False),
    ):
        found = finder(History([asked], (), asked, True, before), Near())
        assert found is not None
        assert found.found is None
        assert found.whole == whole
    half = finder(History([asked], (), asked, False, ["It rained."]), Near())
    assert half is not None
    assert not half.whole


def test_words_tell_what_asks() -> None:
    weights = np.zeros(ASKING_BUCKETS, np.float16)
    weights[asking_buckets("remind me")] = 2.0
    words = AskingWords(weights, -1.0)
    assert words("Remind me!") > 0 > words("I am tired.")
    huge = AskingWords(np.full(ASKING_BUCKETS, 9.0, np.float16), 0.0)
    assert huge("remind me of it") == MAX_ASKING_LOGIT
    assert len(asking_buckets("")) == 2, "what is empty has a length and two ends"
    assert set(asking_buckets("my name")) < set(asking_buckets("my name?"))


def test_the_last_of_two_that_are_alike_counts_as_later(exchanges: Exchanges) -> None:
    heard = ["I live in Rome.", "Oh.", "I live in Lisbon."]
    lines = told_lines(heard)
    assert [each.line for each in lines] == [0, 2], "an oh tells nothing"
    finder = ToldFinder(exchanges, NO_WORDS, ranking())
    traits, asking = finder.traits("Where do I live?", Near((), 0.25), lines)
    assert traits.shape == (len(lines), len(LINE_TRAITS))
    ago = traits[:, LINE_TRAITS.index("ago")]
    assert list(ago) == sorted(ago)
    assert traits[0, LINE_TRAITS.index("kind")] == 1, "a place is asked for, and told"
    assert asking[ASKING_TRAITS.index("answered")] == 0.25


def test_a_long_conversation_is_bounded() -> None:
    assert len(told_lines([f"I saw bird {n}." for n in range(500)])) == MAX_TOLD_LINES
    assert len(told_lines(["I saw it. " * 500])) == 1, "what was said twice is there once"
    many = " ".join(f"I saw bird {n}." for n in range(40))
    assert len(told_lines([many.replace("bird", f"cat {n} and") for n in range(9)])) == (
        MAX_CANDIDATES
    )


def test_a_ranking_of_other_traits_does_not_fit() -> None:
    assert ranking().fits
    assert not ranking().model_copy(update={"untold": [0.0]}).fits


@pytest.mark.parametrize(
    ("told", "asked", "answer"),
    [
        (["My name is Peter.", "It is warm today."], "What is my name?", "Peter"),
        (["I live in Lisbon.", "I slept well."], "Where do I live?", "Lisbon"),
        (["My brother broke the lamp.", "My sister laughed."], "Who broke the lamp?", "brother"),
        (["My cat is called Luna."] + ["It rained a little."] * 9, "My cat's name?", "Luna"),
    ],
)
def test_the_base_says_back_what_was_told(
    base: NetworkBot, told: list[str], asked: str, answer: str
) -> None:
    chosen = talk(base, told, asked)
    assert answer in base.tokenizer.decode(chosen.tokens)
    assert chosen.origin == "told"


def test_the_base_says_that_it_was_not_told(base: NetworkBot) -> None:
    chosen = talk(base, ["I have a dog.", "It is warm today."], "What is my aunt's name?")
    assert chosen.origin == "told"
    assert "told" in base.tokenizer.decode(chosen.tokens)
    chosen = talk(base, ["I have a dog."], "What is my aunt's name?", whole=False)
    assert chosen.origin == "generate", "it may have been told before what is known"


@pytest.mark.parametrize(
    ("message", "asks"),
    [
        ("What is my hobby?", True),
        ("Which instrument do I play?", True),
        ("I forgot what my cat is called, help me out.", True),
        ("Quick, my favorite color?", True),
        ("Quick, the language I am learning?", True),
        ("Say my name.", True),
        ("Would you happen to recall where I live?", True),
        ("What should I say to my boss?", False),
        ("What do you think of my idea?", False),
        ("I lost my job.", False),
        ("Where do you live?", False),
        ("My cat is ill.", False),
    ],
)
def test_how_a_question_for_what_was_told_is_worded(message: str, asks: bool) -> None:
    assert (ASKS_FOR_TOLD.search(message) is not None) == asks
