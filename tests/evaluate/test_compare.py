"""Two bots on the same conversations."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from elman.data.corpus import Corpus
from elman.data.readers import read
from elman.data.source import documents
from elman.errors import ElmanError
from elman.evaluate import Measured, evaluate
from elman.evaluate.card import bars, card
from elman.evaluate.compare import compare
from elman.evaluate.texts import Pair
from elman.generate.network import NetworkBot, load_network_bot


@pytest.fixture(scope="module")
def bot(trained: Path) -> NetworkBot:
    return load_network_bot(trained)


@pytest.fixture(scope="module")
def corpus(bot: NetworkBot, chats: Path) -> Corpus:
    return Corpus.encode(read(documents(chats)), bot.tokenizer, "Ann")


@pytest.fixture(scope="module")
def measured(bot: NetworkBot, corpus: Corpus) -> Measured:
    return evaluate(bot, corpus, "bot")


@pytest.mark.slow
def test_a_bot_is_no_better_than_itself(measured: Measured) -> None:
    for each in compare(measured, measured):
        assert each.one == each.other
        assert each.interval == (0, 0)
        assert each.better is None


@pytest.mark.slow
def test_what_is_better_everywhere_is_told(measured: Measured) -> None:
    perfect = [Pair(pair.person, pair.person) for pair in measured.pairs]
    other = replace(measured, nats=measured.nats * 0.5, pairs=perfect)
    found = {each.name: each for each in compare(measured, other)}
    assert found["bits_per_byte"].better == "other"
    assert found["bits_per_byte"].other == pytest.approx(found["bits_per_byte"].one / 2)
    assert found["exact_match"].better == "other"
    assert found["exact_match"].other == 1
    assert found["mean_reply_words"].better is None, "longer is not better"
    back = {each.name: each for each in compare(other, measured)}
    assert back["bits_per_byte"].better == "one"


@pytest.mark.slow
def test_what_is_better_here_and_worse_there_is_left_open(measured: Measured) -> None:
    signs = np.where(np.arange(len(measured.nats)) % 2, 1.05, 0.95)
    other = replace(measured, nats=measured.nats * signs)
    assert compare(measured, other)[0].better is None


def test_other_positions_cannot_be_compared(measured: Measured) -> None:
    with pytest.raises(ElmanError, match="see these conversations differently"):
        compare(measured, replace(measured, positions=measured.positions[1:]))


def test_a_card_shows_text_as_text(measured: Measured, corpus: Corpus, bot: NetworkBot) -> None:
    nasty = "<script>alert(1)</script> ![x](http://a) | [y](z) `q`\n# h"
    shown = replace(measured, pairs=[Pair(nasty, pair.person) for pair in measured.pairs])
    text, pictures = card("a|b", "ann", shown, corpus, bot.tokenizer, {"data": "x<y"})
    assert "<script" not in text
    assert "![x]" not in text
    assert text.count("**the bot:**") == 10
    assert "x&lt;y" in text
    assert pictures.keys() <= {"ann-gain.svg", "ann-recall.svg"}
    assert text == card("a|b", "ann", shown, corpus, bot.tokenizer, {"data": "x<y"})[0]


def test_bars_are_drawn_to_scale() -> None:
    drawn = bars("a <title>", ["1", "2", "3"], [0.2, -0.1, 0.0], "back")
    assert "a &lt;title&gt;" in drawn
    heights = [float(part.split('"')[0]) for part in drawn.split('height="')[1:]]
    assert heights[0] == pytest.approx(2 * heights[1], abs=0.2)  # both are rounded to 0.1
    assert heights[2] == 0.5, "nothing is still to be seen"
