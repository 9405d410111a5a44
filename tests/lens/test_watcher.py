"""The watcher: it changes nothing, keeps to its share of the time, and names who made a spike."""

from collections.abc import Callable
from itertools import chain, repeat
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from elman.bptt import Full
from elman.data.corpus import Corpus
from elman.data.layout import Layout
from elman.data.tokenizer import END, Tokenizer
from elman.lens import watcher as watching
from elman.lens.lags import Lags
from elman.lens.watcher import GradientWatcher, in_words, judged
from elman.model import Chatbot, ModelConfig, build
from elman.model.culprit import culprit
from elman.model.tensor_files import read_tensors
from elman.train import Config, train
from elman.train.checkpoints import checkpoints

Make = Callable[..., Config]
VOCABULARY = 260

every_layout = pytest.mark.parametrize(
    ("memory", "unit"), [("tokens", "steps"), ("tokens", "messages"), ("messages", "messages")]
)


def corpus(conversations: int = 6, messages: int = 8) -> Corpus:
    draw = np.random.default_rng(0)
    tokens: list[int] = []
    starts = [0]
    for _ in range(conversations):
        for n in range(messages):
            tokens += [1 + n % 2, *draw.integers(4, VOCABULARY, draw.integers(1, 5)), END]
        starts.append(len(tokens))
    return Corpus(np.array(tokens, np.uint16), np.array(starts))


def chatbot(memory: str, dropout: float = 0.0) -> Chatbot:
    torch.manual_seed(0)
    config = ModelConfig.model_validate(
        {"memory": memory, "cell": "gru", "hidden_size": 8, "dropout": dropout}
    )
    made = build(config, VOCABULARY).double()
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return made


@every_layout
def test_batches_know_where_their_messages_come_from(memory: str, unit: str) -> None:
    source = corpus()
    batches: Any = chatbot(memory).batches(source, Layout(3, 7, unit, learn_from="bot"))
    for _ in range(8):
        batch = batches.next()
        for row in batch.apart():
            for place, alone in row.by_message():
                message = source.messages(place.conversation)[place.message]
                assert message[0] == 2
                # A window of steps may hold a part of a message.
                assert bytes(place.tokens.astype(np.uint16)) in bytes(message)
                assert [p.message for p, _ in alone.by_message()] == [place.message]


@every_layout
def test_rows_and_messages_add_up_to_the_batch(memory: str, unit: str) -> None:
    bot = chatbot(memory)
    batches: Any = bot.batches(corpus(), Layout(3, 9, unit))
    state = None
    for _ in range(3):
        batch = batches.next()
        loss = bot.loss(batch, state, Full())
        rows = [
            bot.loss(
                row, None if state is None else tuple(s[n : n + 1] for s in state), Full()
            ).nats
            for n, row in enumerate(batch.apart())
        ]
        # The same terms in another order, in float64.
        torch.testing.assert_close(sum(rows), loss.nats, rtol=1e-12, atol=0)
        messages = [bot.loss(alone, state, Full()).nats for _, alone in batch.by_message()]
        torch.testing.assert_close(sum(messages), loss.nats, rtol=1e-12, atol=0)
        state = loss.state


@every_layout
def test_the_culprit_is_the_message_with_the_largest_gradient(memory: str, unit: str) -> None:
    bot = chatbot(memory, dropout=0.5)
    batches: Any = bot.batches(corpus(), Layout(3, 9, unit))
    batches.next()
    batch = batches.next()
    state = tuple(torch.randn_like(part) for part in bot.initial_state(3))
    kept = [parameter.detach().clone() for parameter in bot.parameters()]
    found = culprit(bot, batch, state)
    assert found is not None
    assert bot.training
    assert all(parameter.grad is None for parameter in bot.parameters())
    assert all(torch.equal(a, b) for a, b in zip(kept, bot.parameters(), strict=True))

    bot.eval()

    def norm(part: Any) -> float:
        bot.zero_grad()
        loss = bot.loss(part, state, Full())
        (loss.nats / count).backward()
        gradients = [p.grad for p in bot.parameters() if p.grad is not None]
        return float(torch.nn.utils.get_total_norm(gradients))

    count = len(bot.loss(batch, state, Full()).targets)
    by_place = {
        (place.conversation, place.message): norm(alone) for place, alone in batch.by_message()
    }
    own = {key: value for key, value in by_place.items() if key[0] == found.origin.conversation}
    assert max(own, key=lambda key: own[key]) == (found.origin.conversation, found.origin.message)
    assert found.message_norm == pytest.approx(max(own.values()), rel=1e-10)


def test_a_watched_run_is_the_same_run(
    tmp_path: Path, make_config: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where it looks after every step, and takes every step for a spike."""
    monkeypatch.setattr(watching, "MAX_TIME_SHARE", 1e9)
    monkeypatch.setattr(watching, "MIN_STEPS_FOR_SPIKE", 3)
    monkeypatch.setattr(watching, "SPIKE_FACTOR", 0.9)
    seen: list[str] = []

    def watcher(chatbot: Any, tokenizer: Any, corpus: Any, config: Any) -> GradientWatcher:
        return GradientWatcher(chatbot, tokenizer, corpus, config, share=1e9)

    config = make_config(model__dropout=0.2)
    train(config, tmp_path / "plain")
    train(
        config,
        tmp_path / "watched",
        watcher=watcher,
        observers=(lambda kind, facts: seen.append(kind),),
    )
    assert seen.count("lag") + seen.count("spike") == 11  # the first step has nothing to go by
    assert {"lag", "spike"} <= set(seen)
    one, other = (read_tensors(checkpoints(tmp_path / name)[0])[0] for name in ("plain", "watched"))
    for name, tensor in one.items():
        assert torch.equal(tensor, other[name]), name


class Clock:
    """A clock that moves when it is told to."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def watch(monkeypatch: pytest.MonkeyPatch, clock: Clock, cost: float) -> GradientWatcher:
    """A watcher whose looks cost so many seconds."""

    def looked(*_: Any) -> Lags:
        clock.now += cost
        ones = torch.ones(3, 1).double()
        return Lags(ones, ones[:, 0], None, torch.ones(3).long())

    monkeypatch.setattr(watching, "perf_counter", clock)
    monkeypatch.setattr(watching, "lags", looked)
    config = {
        "model": {"conversation_cell": None, "cell": "rnn"},
        "data": {"learn_from": "all"},
        "train": {"unit": "steps", "unfold": 16},
    }
    return GradientWatcher(chatbot("tokens"), Tokenizer.train([], 260), corpus(), config)


@pytest.mark.parametrize("cost", [0.05, 0.5, 5.0])
def test_looking_stays_under_its_share_of_the_time(
    monkeypatch: pytest.MonkeyPatch, cost: float
) -> None:
    clock = Clock()
    watcher = watch(monkeypatch, clock, cost)
    looks = 0
    for step in range(20_000):
        events = list(watcher(None, None, 1.0))
        looks += sum(kind == "lag" for kind, _ in events)
        clock.now += 0.1
        if looks > 1:  # the first look shows what one costs
            assert watcher.cost <= 0.02, step
    assert looks > 5
    assert watcher.cost > 0.012  # it does not sleep, either


def test_a_spike_is_what_is_far_above_the_usual(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    watcher = watch(monkeypatch, clock, 0.1)
    batches: Any = watcher._chatbot.batches(corpus(), Layout(3, 9, "steps"))
    for _ in range(2000):
        assert not any(kind == "spike" for kind, _ in watcher(batches.next(), None, 2.0))
        clock.now += 1
    [(kind, facts)] = list(watcher(batches.next(), None, 50.0))
    assert kind == "spike"
    assert facts["usual"] == 2.0
    assert (
        f"conversation {facts['conversation'] + 1}, message {facts['message'] + 1}"
        in (facts["text"])
    )


def profile(*norms: float) -> Lags:
    size = torch.tensor(norms, dtype=torch.float64)
    return Lags(size[:, None], size, None, torch.ones(len(norms)).long())


def test_warnings_in_words() -> None:
    vanishing = profile(1.0, 0.5, 1e-4, 1e-6, 1e-8)
    assert judged(vanishing, 5, "rnn") == (
        "nothing reaches back past message 2: under 1 % of the gradient does; a larger "
        "train.unfold does not help, LSTM does (model.cell=lstm)"
    )
    assert "LSTM" not in judged(vanishing, 5, "lstm")
    assert judged(vanishing, 1.5, "rnn") == ""  # it is not unfolded so far
    assert judged(profile(1.0, 0.9, 0.8, 0.7), 5, "rnn") == ""
    assert "explodes" in judged(profile(1.0, 5.0, 30.0), 5, "rnn")
    assert "explodes" in judged(profile(1.0, float("nan")), 5, "rnn")
    assert in_words(7, False, 5.0) == (
        "it learns from about 7 messages; you unfold about 5: a larger train.unfold may help"
    )
    assert in_words(1, False, 3.24) == "it learns from about 1 message; you unfold about 3.24"


def test_a_warning_is_said_once_and_only_when_sure(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    watcher = watch(monkeypatch, clock, 0.01)
    vanished = (1.0, 1e-9, 0.0, 0.0)
    found = chain([vanished, (1.0, 1.0, 1.0, 1.0)], repeat(vanished))

    def looked(*_: Any) -> Lags:
        clock.now += 0.01
        return profile(*next(found))

    monkeypatch.setattr(watching, "lags", looked)
    monkeypatch.setattr(watcher, "_unfold", 3.0)
    told: list[str] = []
    for _ in range(1000):
        told += [kind for kind, _ in watcher(None, None, 1.0)]
        clock.now += 1
    assert told.count("warning") == 1
    assert told.index("warning") == 5  # the third look in a row that finds it
