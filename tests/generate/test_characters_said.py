"""Bots that know nothing draw bytes at random, and say whole characters all the same."""

from pathlib import Path

import pytest
import torch

from elman.chat import Session
from elman.data.tokenizer import END, MIN_VOCABULARY_SIZE, Tokenizer
from elman.generate.drawing import reply, reply_batch
from elman.generate.network import NetworkBot
from elman.generate.replier import Replier
from elman.generate.rerank import Ranking, best_drawn, draw
from elman.generate.sampling import SamplingParams
from elman.model import ModelConfig, build

TEXTS = ["zażółć gęślą jaźń", "😀😁😂", "مرحبا", "你好吗", "Привет"] * 3


@pytest.fixture(params=["bytes", "pieces"])
def bot(request: pytest.FixtureRequest) -> NetworkBot:
    """Of random weights, to which bytes that begin long characters look likely."""
    more = 60 if request.param == "pieces" else 0
    tokenizer = Tokenizer.train(TEXTS, MIN_VOCABULARY_SIZE + more)
    torch.manual_seed(0)
    chatbot = build(ModelConfig(hidden_size=8, layers=1), tokenizer.vocabulary_size).eval()
    chatbot.characters = tokenizer.characters
    with torch.no_grad():
        _, bias = chatbot.output_layer
        for token in range(END, tokenizer.vocabulary_size):
            bias[token] = 2.0 * (tokenizer.spelled(token)[:1] >= b"\xc2")
    return NetworkBot.of(chatbot, tokenizer, {"data": {}}, Path("nowhere"))


@pytest.mark.slow
@pytest.mark.parametrize("temperature", [0, 1, 5])
@pytest.mark.parametrize("longest", [1, 2, 3, 4, 30])
def test_replies_are_whole(bot: NetworkBot, temperature: float, longest: int) -> None:
    params = SamplingParams(temperature=temperature, top_p=1, min_p=0, max_tokens=longest, seed=0)
    state = tuple(torch.randn(20, spec.size) for spec in bot.chatbot.state_spec)
    said = [each.tokens for each in reply_batch(bot.decoder, state, params)]
    generator = params.generator()
    for row in range(20):
        own = tuple(tensor[row : row + 1] for tensor in state)
        *tokens, end = (token for token, _ in reply(bot.decoder, own, params, generator))
        assert end == END
        said.append(tuple(tokens))
    for drawn in draw(bot.decoder, state, params, 4, generator):
        said += [own.tokens for own in drawn]
    found = best_drawn(bot.decoder, state, params, Ranking(samples=4), generator)
    said += [each.tokens for each in found]
    for each in said:
        assert 1 <= len(each) <= longest
        assert "\ufffd" not in bot.tokenizer.decode_bytes(each).decode()  # strictly


def test_without_characters_the_same_bot_breaks_them(bot: NetworkBot) -> None:
    """So that the tests here can fail."""
    bot.chatbot.characters = None
    state = tuple(torch.randn(20, spec.size) for spec in bot.chatbot.state_spec)
    said = reply_batch(bot.decoder, state, SamplingParams(max_tokens=30, seed=0))
    assert any("\ufffd" in bot.tokenizer.decode(each.tokens) for each in said)


def test_a_greedy_reply_of_whole_characters_stays_as_it_was(bot: NetworkBot) -> None:
    with torch.no_grad():
        bot.chatbot.output_layer[1].zero_()
        for token in range(END + 1, bot.tokenizer.vocabulary_size):
            bot.chatbot.output_layer[1][token] = 3.0 * bot.tokenizer.spelled(token).isalpha()
    params = SamplingParams(temperature=0, max_tokens=30)
    state = tuple(torch.randn(20, spec.size) for spec in bot.chatbot.state_spec)
    held = [each.tokens for each in reply_batch(bot.decoder, state, params)]
    bot.chatbot.characters = None
    assert [each.tokens for each in reply_batch(bot.decoder, state, params)] == held


@pytest.mark.slow
def test_a_reply_that_is_left_ends_between_characters(bot: NetworkBot) -> None:
    params = SamplingParams(temperature=2, top_p=1, min_p=0, max_tokens=30, seed=1)
    here = Session(bot, None, replier=Replier(bot, params, Ranking(samples=1)))
    kept = 0
    for _ in range(20):
        here.reset()
        pieces = here.say("hello")
        told = next(pieces) + next(pieces, "")
        pieces.close()  # type: ignore[attr-defined]
        node = here.path[-1]
        if node.role == "user":  # each token ended one character and began another: none is whole
            continue
        kept += 1
        assert "\ufffd" not in node.text
        # A piece may end one character and begin another: it counts only as a whole.
        assert node.text.startswith(told) or told.startswith(node.text)
        assert bot.tokenizer.decode(here._recall.tokens(node)) == node.text
        # What was left between characters and begun anew is what the state has read.
        state = bot.chatbot.initial_state(1)
        for turn in here.turns:
            state = bot.chatbot.read(turn, state)
        for ours, theirs in zip(here.state, state, strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)
    assert kept > 10
