"""Whoever shares the batch, everybody gets the reply that they would get alone."""

import logging
import random
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from elman.data.tokenizer import END, ROLES
from elman.generate.bot import Bot
from elman.generate.care import rules
from elman.generate.decoder import Decoder, State
from elman.generate.drawing import reply
from elman.generate.likelihood import Tokens, as_message
from elman.generate.network import load_network_bot
from elman.generate.penalties import History
from elman.generate.replier import Chosen, Replier, ReplyFrom
from elman.generate.sampling import SamplingParams
from elman.runtime.choose import load_bot
from elman.runtime.reference import ReferenceDecoder
from elman.runtime.weights import load_weights
from elman.serve.batching import MAX_RANKED_TOKENS, Batcher
from elman.serve.jobs import Ended, Event, Failed, Job, Said
from elman.serve.queueing import FullError
from elman.train import Config, train


class Listener:
    """Collects a job's events; `wait` returns them when its replies have ended."""

    def __init__(self, replies: int = 1) -> None:
        self.events: list[Event] = []
        self._left, self._done = replies, threading.Event()

    def __call__(self, event: Event) -> None:
        self.events.append(event)
        self._left -= isinstance(event, Ended)
        if not self._left or isinstance(event, Failed):
            self._done.set()

    def wait(self) -> list[Event]:
        assert self._done.wait(60)
        return self.events

    @property
    def end(self) -> Ended:
        last = self.wait()[-1]
        assert isinstance(last, Ended)
        return last


@pytest.fixture(scope="module", params=["tokens", "messages"])
def bot(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    make_config: Callable[..., Config],
) -> Bot:
    config = make_config(model__memory=request.param)
    folder = tmp_path_factory.mktemp("bots") / request.param
    train(config, folder)
    return load_bot(folder, "float32")


def message(bot: Bot, text: str) -> np.ndarray:
    return np.array([ROLES["user"], *bot.tokenizer.encode(text), END], np.uint16)


def alone(
    bot: Bot, unread: Sequence[np.ndarray], params: SamplingParams
) -> tuple[list[int], State]:
    state = bot.decoder.initial_state(1)
    for each in unread:
        state = bot.decoder.read([[each]], state)
    said = list(reply(bot.decoder, state, params, params.generator()))
    return [token for token, _ in said[:-1]], said[-1][1]


def test_batched_replies_are_solo_replies(bot: Bot) -> None:
    draw = random.Random(0)
    jobs = []
    for _ in range(40):
        unread = [
            message(bot, f"what is {draw.randint(0, 9)} plus {n}? " * draw.randint(1, 30))
            for n in range(draw.randint(1, 4))
        ]
        jobs.append((unread, SamplingParams(temperature=0, max_tokens=draw.randint(1, 30))))
    batcher = Batcher(bot, batch_size=7)
    listeners = []
    try:
        for unread, params in jobs:
            listener = Listener()
            start = bot.decoder.initial_state(1)
            batcher.submit(Job(start, unread, params, listener))
            listeners.append(listener)
        for (unread, params), listener in zip(jobs, listeners, strict=True):
            said, state = alone(bot, unread, params)
            end = listener.end
            assert list(end.said) == said
            assert end.reason == ("length" if len(said) == params.max_tokens else "stop")
            for ours, theirs in zip(end.state, state, strict=True):
                np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-4)
            text = "".join(e.text for e in listener.events if isinstance(e, Said | Ended))
            assert text == bot.tokenizer.decode(said)
    finally:
        batcher.close()
    assert batcher.open == batcher.speaking == 0


def test_sampled_replies_do_not_depend_on_the_batch(bot: Bot) -> None:
    wishes = [SamplingParams(seed=n, temperature=1.2, max_tokens=20) for n in range(20)]
    unread = [message(bot, "what is 1 plus 2?")]

    def replies(batch_size: int) -> list[tuple[int, ...]]:
        batcher = Batcher(bot, batch_size=batch_size)
        listeners = [Listener() for _ in wishes]
        for wish, listener in zip(wishes, listeners, strict=True):
            batcher.submit(Job(bot.decoder.initial_state(1), unread, wish, listener))
        batcher.close()
        return [listener.end.said for listener in listeners]

    one = replies(1)
    assert one == replies(20)
    assert len(set(one)) > 1


def test_a_seed_gives_the_same_words_whoever_computes_them(bot: Bot) -> None:
    """In float32: the library, numpy and torch, whatever the batch and the order of its rows."""
    weights = load_weights(bot.path)
    decoders = [bot.decoder, ReferenceDecoder(weights), load_network_bot(bot.path).decoder]
    jobs = [
        (message(bot, f"what is {n} plus 2?"), SamplingParams(seed=n, max_tokens=12 + n))
        for n in range(9)
    ]

    def replies(decoder: Decoder, order: Sequence[int], batch_size: int) -> list[tuple[int, ...]]:
        batcher = Batcher(replace(bot, decoder=decoder), batch_size)
        listeners = [Listener() for _ in jobs]
        for n in order:
            unread, params = jobs[n]
            batcher.submit(Job(decoder.initial_state(1), [unread], params, listeners[n]))
        batcher.close()
        return [listener.end.said for listener in listeners]

    forth = range(len(jobs))
    expected = replies(decoders[0], forth, 1)
    assert len(set(expected)) > 1
    for decoder in decoders:
        for order in (forth, forth[::-1]):
            assert replies(decoder, order, 4) == replies(decoder, order, 9) == expected


class Fixed(Replier):
    """Chooses one reply, and counts how often."""

    def __init__(self, bot: Bot, tokens: Tokens, reply_from: ReplyFrom = "generate") -> None:
        super().__init__(bot)
        self.reply_from, self.asked, self._tokens = reply_from, [0], tokens

    def choose(
        self,
        state: State,
        generator: np.random.Generator,
        recent: Sequence[int] = (),
        histories: Sequence[History] = (),
        keep_states: bool = False,
    ) -> list[Chosen]:
        self.asked[0] += 1
        return [Chosen(self._tokens, "generate", 0.0)] * len(state[0])


def test_whoever_is_alone_gets_the_chosen_reply(bot: Bot) -> None:
    chosen = tuple(bot.tokenizer.encode("1 plus 2 is 3."))
    replier = Fixed(bot, chosen)
    batcher = Batcher(bot, replier=replier)
    unread = [message(bot, "what is 1 plus 2?")]

    def said(wishes: SamplingParams, choices: int = 1) -> Ended:
        listener = Listener(choices)
        start = bot.decoder.initial_state(1)
        batcher.submit(Job(start, unread, wishes, listener, choices=choices))
        return listener.end

    end = said(SamplingParams())
    assert (end.said, end.reason) == (chosen, "stop")
    state = bot.decoder.read([unread], bot.decoder.initial_state(1))
    after = bot.decoder.read([[as_message(chosen)]], state)
    for ours, theirs in zip(end.state, after, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-4)
    cut = said(SamplingParams(max_tokens=3))
    assert (cut.said, cut.reason) == (chosen[:3], "length")
    assert replier.asked == [2]
    for drawn in (
        SamplingParams(seed=1),
        SamplingParams(temperature=0),
        SamplingParams(logprobs=0),
        SamplingParams(presence_penalty=0.5),
        SamplingParams(logit_bias={9: 1.0}),
    ):
        said(drawn)
    said(SamplingParams(), choices=2)
    assert replier.asked == [2]
    batcher.close()


def test_of_a_long_reply_only_the_beginning_is_chosen_as_a_whole(bot: Bot) -> None:
    """What one request asks for does not say for how long everybody else waits."""
    longest = []

    class Drawing(Fixed):
        def choose(self, *args: Any, **options: Any) -> list[Chosen]:
            longest.append(self.params.max_tokens)
            return super().choose(*args, **options)

    chosen = tuple(bot.tokenizer.encode("1 plus 2 is 3. " * 40))[:MAX_RANKED_TOKENS]
    assert len(chosen) == MAX_RANKED_TOKENS
    batcher, listener = Batcher(bot, replier=Drawing(bot, chosen)), Listener()
    wishes = SamplingParams(max_tokens=MAX_RANKED_TOKENS + 5)
    batcher.submit(Job(bot.decoder.initial_state(1), [], wishes, listener))
    said = listener.end.said
    batcher.close()
    assert longest == [MAX_RANKED_TOKENS]
    assert said[:MAX_RANKED_TOKENS] == chosen


def test_in_a_crowd_replies_are_drawn(bot: Bot) -> None:
    replier = Fixed(bot, tuple(bot.tokenizer.encode("1 plus 2 is 3.")))
    batcher = Batcher(bot, replier=replier)
    speaks = threading.Event()

    def deliver(event: Event) -> None:
        speaks.set()

    endless = SamplingParams(temperature=0, max_tokens=10**6, logit_bias={END: -1000.0})
    first = Job(bot.decoder.initial_state(1), [message(bot, "hello")], endless, deliver)
    batcher.submit(first)
    assert speaks.wait(60)
    listeners = [Listener() for _ in range(5)]
    for listener in listeners:
        batcher.submit(Job(bot.decoder.initial_state(1), [], SamplingParams(), listener))
    assert all(listener.end.said for listener in listeners)
    first.cancelled = True
    batcher.close()
    assert replier.asked == [0]


def test_a_choice_that_fails_is_told(bot: Bot, monkeypatch: pytest.MonkeyPatch) -> None:
    replier = Fixed(bot, (5,))

    def broken(*_: object) -> None:
        raise RuntimeError

    batcher = Batcher(bot, replier=replier)
    with monkeypatch.context() as patch:
        patch.setattr(Fixed, "choose", broken)
        listener = Listener()
        batcher.submit(Job(bot.decoder.initial_state(1), [], SamplingParams(), listener))
        assert isinstance(listener.wait()[-1], Failed)
    after = Listener()
    batcher.submit(Job(bot.decoder.initial_state(1), [], SamplingParams(), after))
    assert after.end.said == (5,)
    batcher.close()


def test_what_people_said_is_said_to_everybody(bot: Bot) -> None:
    chosen = tuple(bot.tokenizer.encode("1 plus 2 is 3."))
    replier = Fixed(bot, chosen, "data")
    batcher = Batcher(bot, replier=replier)
    wishes = [
        SamplingParams(),
        SamplingParams(seed=1),
        SamplingParams(temperature=0),
        SamplingParams(),
    ]
    listeners = [Listener(2) for _ in wishes]
    for wish, listener in zip(wishes, listeners, strict=True):
        batcher.submit(Job(bot.decoder.initial_state(1), [], wish, listener, choices=2))
    ends = [event for each in listeners for event in each.wait() if isinstance(event, Ended)]
    batcher.close()
    assert [end.said for end in ends] == [chosen] * 8
    assert replier.asked == [4]


def test_several_replies_to_one_request(bot: Bot) -> None:
    batcher = Batcher(bot, batch_size=4)
    listener = Listener(3)
    wishes = SamplingParams(temperature=0, max_tokens=10)
    unread = [message(bot, "hello")]
    batcher.submit(Job(bot.decoder.initial_state(1), unread, wishes, listener, choices=3))
    ends = [event for event in listener.wait() if isinstance(event, Ended)]
    batcher.close()
    assert sorted(end.choice for end in ends) == [0, 1, 2]
    assert len({end.said for end in ends}) == 1


def test_a_full_queue_refuses_and_goes_on(bot: Bot) -> None:
    batcher = Batcher(bot, batch_size=1, max_waiting=2)
    wishes = SamplingParams(temperature=0, max_tokens=4000, logit_bias={END: -1000.0})
    listeners = [Listener() for _ in range(3)]
    jobs = [
        Job(bot.decoder.initial_state(1), [message(bot, "hello")], wishes, each)
        for each in listeners
    ]
    for job in jobs:
        batcher.submit(job)
    with pytest.raises(FullError):
        batcher.submit(Job(bot.decoder.initial_state(1), [], wishes, Listener()))
    for job in jobs:
        job.cancelled = True
    assert {listener.end.reason for listener in listeners} == {"cancelled"}
    last = Listener()
    batcher.submit(Job(bot.decoder.initial_state(1), [], SamplingParams(max_tokens=3), last))
    assert last.end.said
    batcher.close()


def test_a_round_that_fails_is_told_and_the_next_one_goes_on(
    bot: Bot, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    batcher = Batcher(bot)
    listener = Listener()

    def broken(*_: object) -> None:
        raise RuntimeError

    # A server that another test ran has limited how many lines alike are written.
    monkeypatch.setattr(logging.getLogger("elman"), "filters", [])
    with monkeypatch.context() as patch:
        patch.setattr(bot.decoder, "begin_reply", broken)
        batcher.submit(Job(bot.decoder.initial_state(1), [], SamplingParams(), listener))
        assert isinstance(listener.wait()[-1], Failed)
    after = Listener()
    batcher.submit(Job(bot.decoder.initial_state(1), [], SamplingParams(max_tokens=3), after))
    assert after.end.said
    batcher.close()
    assert "a round of the batcher failed" in caplog.text


def test_a_rule_answers_everybody_and_says_so(bot: Bot) -> None:
    own = replace(bot, config=bot.config | {"reply": {"care": True}})
    batcher = Batcher(own, replier=Replier(own))
    asked = "you are stupid"
    listener = Listener(2)
    start = bot.decoder.initial_state(1)
    history = History([asked], (), asked)
    wishes = SamplingParams(seed=1)
    batcher.submit(Job(start, [message(bot, asked)], wishes, listener, choices=2, history=history))
    ends = [event for event in listener.wait() if isinstance(event, Ended)]
    assert {bot.tokenizer.decode(end.said) for end in ends} == {rules()["insult"]["en"].answers[0]}
    assert [end.origin for end in ends] == ["rule", "rule"]
    listener = Listener()
    batcher.submit(Job(start, [message(bot, "hi")], wishes, listener))
    assert listener.end.origin == "generate"
    batcher.close()
