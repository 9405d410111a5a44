"""Whatever a request wants, what it is told is whole characters."""

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

from elman.data.tokenizer import END, MIN_VOCABULARY_SIZE, Tokenizer
from elman.generate.bot import Bot
from elman.generate.network import NetworkBot
from elman.generate.sampling import SamplingParams
from elman.model import ModelConfig, build
from elman.serve.batching import Batcher
from elman.serve.jobs import Ended, Event, Job, Said
from tests.serve.test_batching import Fixed, Listener

SHARP = SamplingParams(temperature=2, top_p=1, min_p=0, max_tokens=25)


@pytest.fixture(params=["bytes", "pieces"])
def bot(request: pytest.FixtureRequest) -> Bot:
    """Of random weights, to which bytes of long characters look likely."""
    texts = ["zażółć gęślą jaźń", "😀😁😂", "مرحبا", "你好吗"] * 3
    more = 60 if request.param == "pieces" else 0
    tokenizer = Tokenizer.train(texts, MIN_VOCABULARY_SIZE + more)
    torch.manual_seed(0)
    chatbot = build(ModelConfig(hidden_size=8, layers=1), tokenizer.vocabulary_size).eval()
    with torch.no_grad():
        for token in range(END, tokenizer.vocabulary_size):
            chatbot.output_layer[1][token] = 2.0 * (tokenizer.spelled(token)[:1] >= b"\xc2")
    return NetworkBot.of(chatbot, tokenizer, {"data": {}}, Path("nowhere"))


class Leaving(Listener):
    """Gives its job up after some events."""

    job: Job

    def __init__(self, patience: int) -> None:
        super().__init__()
        self._patience = patience

    def __call__(self, event: Event) -> None:
        super().__call__(event)
        if len(self.events) > self._patience:
            self.job.cancelled = True


def told(
    batcher: Batcher, bot: Bot, wishes: Sequence[SamplingParams], **given: object
) -> list[Listener]:
    listeners = [Listener() for _ in wishes]
    for wish, listener in zip(wishes, listeners, strict=True):
        job = Job(bot.decoder.initial_state(1), [], wish, listener, **given)  # type: ignore[arg-type]
        batcher.submit(job)
    for listener in listeners:
        listener.wait()
    return listeners


def text(listener: Listener) -> str:
    return "".join(each.text for each in listener.events if isinstance(each, Said | Ended))


def seeded(count: int = 24, **changes: object) -> list[SamplingParams]:
    return [SHARP.model_copy(update={"seed": seed} | changes) for seed in range(count)]


def test_drawn_greedy_biased_and_stopped_replies_are_whole(bot: Bot) -> None:
    broken = {bot.tokenizer._id_of_byte[byte]: 100.0 for byte in (0x80, 0xC0, 0xE2, 0xF0, 0xFF)}
    wishes = [
        *(sampling for sampling in seeded()),
        *(
            sampling.model_copy(update={"max_tokens": 1 + n % 4})
            for n, sampling in enumerate(seeded())
        ),
        *(sampling.model_copy(update={"logit_bias": broken}) for sampling in seeded(8)),
        *(sampling.model_copy(update={"logit_bias": {END: 100.0}}) for sampling in seeded(8)),
        *(
            sampling.model_copy(
                update={"presence_penalty": 2.0, "frequency_penalty": 2.0, "logprobs": 3}
            )
            for sampling in seeded(8)
        ),
        *(s.model_copy(update={"stop": ("😀", "é", "a", "b", "\u4f60")}) for s in seeded(8)),
        *(s for s in seeded(2, temperature=0)),
    ]
    batcher = Batcher(bot, batch_size=16, max_waiting=200)
    for wish, listener in zip(wishes, told(batcher, bot, wishes), strict=True):
        assert "\ufffd" not in text(listener)
        end = listener.end
        bot.tokenizer.decode_bytes(end.said).decode()  # strictly
        assert 1 <= len(end.said) <= wish.max_tokens
        assert len(end.said) < wish.max_tokens - 3 or end.reason in ("length", "stop")
        if not wish.stop:
            assert text(listener) == bot.tokenizer.decode(end.said)
    batcher.close()


def test_what_ends_before_a_character_that_does_not_fit_ended_by_its_length(bot: Bot) -> None:
    """A second character of three bytes in four tokens."""
    wide = {bot.tokenizer._id_of_byte[byte]: 100.0 for byte in (0xE3, 0xE4)}
    batcher = Batcher(bot)
    wishes = [
        s.model_copy(update={"logit_bias": {END: -100.0} | wide, "max_tokens": 4})
        for s in seeded(8)
    ]
    for listener in told(batcher, bot, wishes):
        assert listener.end.reason == "length"
        assert len(text(listener)) == 1 or not text(listener).isascii()
    batcher.close()


@pytest.mark.parametrize("at_most", [0, 1, 2, 9])
def test_a_prompt_that_ends_inside_a_character_is_gone_on_with(bot: Bot, at_most: int) -> None:
    begins = [bot.tokenizer._id_of_byte[byte] for byte in b"x\xf0\x9f"]
    batcher = Batcher(bot)
    wishes = [sampling.model_copy(update={"max_tokens": at_most}) for sampling in seeded(12)]
    for listener in told(batcher, bot, wishes, begins=begins):
        assert "\ufffd" not in text(listener)
        assert tuple(listener.end.said[:3]) == tuple(begins)
        if at_most >= 2:
            assert 0x1F000 <= ord(text(listener)[1]) < 0x20000
            bot.tokenizer.decode_bytes(listener.end.said).decode()
    batcher.close()


def test_a_reply_that_is_given_up_ends_between_characters(bot: Bot) -> None:
    endless = [
        sampling.model_copy(update={"max_tokens": 10**6, "logit_bias": {END: -1000.0}})
        for sampling in seeded(6)
    ]
    batcher = Batcher(bot)
    for number, wish in enumerate(endless):
        listener = Leaving(5 + number)
        listener.job = Job(bot.decoder.initial_state(1), [], wish, listener)
        batcher.submit(listener.job)
        assert listener.end.reason == "cancelled"
        assert text(listener) == bot.tokenizer.decode_bytes(listener.end.said).decode()
    batcher.close()


@pytest.mark.parametrize("at_most", range(12))
def test_what_people_said_is_cut_between_characters(bot: Bot, at_most: int) -> None:
    script = tuple(bot.tokenizer.encode("😀 你好"))
    batcher = Batcher(bot, replier=Fixed(bot, script, "data"))
    [listener] = told(batcher, bot, [SamplingParams(max_tokens=at_most)])
    batcher.close()
    assert "😀 你好".startswith(text(listener))
    assert text(listener) == bot.tokenizer.decode_bytes(listener.end.said).decode()
    assert listener.end.reason == ("length" if len(script) >= at_most else "stop")
