"""A reply that breaks fails alone, and an owner who floods leaves room for others."""

import contextlib
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pytest

from elman.data.tokenizer import END, ROLES
from elman.generate.bot import Bot
from elman.generate.decoder import State
from elman.generate.sampling import ReplySampler, SamplingParams
from elman.serve.batching import Batcher
from elman.serve.isolation import step_rows
from elman.serve.jobs import Ended, Event, Failed, Job, Read, Said
from elman.serve.queueing import FairQueue, FullError
from elman.serve.speaking import Reply

from .conftest import Served

POISON = 0.125
"""What marks a poisoned state: no network makes it everywhere."""


class Listener:
    """Collects a job's events; `wait` returns them when it has ended or failed."""

    def __init__(self, fails_at: type | None = None) -> None:
        self.events: list[Event] = []
        self._fails_at, self._done = fails_at, threading.Event()

    def __call__(self, event: Event) -> None:
        self.events.append(event)
        if isinstance(event, Ended | Failed):
            self._done.set()
        if self._fails_at is not None and isinstance(event, self._fails_at):
            raise RuntimeError("nobody takes this")

    def wait(self) -> list[Event]:
        assert self._done.wait(60)
        return self.events

    @property
    def said(self) -> tuple[int, ...]:
        last = self.wait()[-1]
        assert isinstance(last, Ended), last
        return last.said


def message(bot: Bot, text: str) -> np.ndarray:
    return np.array([ROLES["user"], *bot.tokenizer.encode(text), END], np.uint16)


def good_jobs(bot: Bot) -> list[tuple[Job, Listener]]:
    """Three replies that are long enough to be said beside whatever breaks."""
    found = []
    for seed in range(3):
        listener = Listener()
        params = SamplingParams(seed=seed, temperature=1.1, max_tokens=40, logit_bias={END: -2.0})
        unread = [message(bot, f"what is {seed} plus 2?")]
        found.append((Job(bot.decoder.initial_state(1), unread, params, listener), listener))
    return found


@pytest.fixture(scope="module")
def said_alone(bot: Bot) -> list[tuple[int, ...]]:
    found = []
    for job, listener in good_jobs(bot):
        batcher = Batcher(bot)
        batcher.submit(job)
        batcher.close()
        found.append(listener.said)
    return found


@contextlib.contextmanager
def crowd(bot: Bot, said_alone: list[tuple[int, ...]]) -> Iterator[Batcher]:
    """Three good replies; whatever is submitted beside them must leave them as they are alone."""
    batcher = Batcher(bot)
    jobs = good_jobs(bot)
    with batcher._wake:  # so that all of them are in the same rounds
        for job, _ in jobs:
            batcher.submit(job)
        yield batcher
    assert [listener.said for _, listener in jobs] == said_alone
    batcher.close()
    assert batcher.open == batcher.speaking == 0


def poisoned(bot: Bot, listener: Listener, **options: Any) -> Job:
    params = options.pop("params", SamplingParams(seed=5, max_tokens=30))
    unread = options.pop("unread", [message(bot, "hello")])
    return Job(bot.decoder.initial_state(1), unread, params, listener, **options)


@pytest.mark.parametrize("at", [Read, Said, Ended])
def test_whoever_cannot_be_told_fails_alone(
    bot: Bot, said_alone: list[tuple[int, ...]], at: type
) -> None:
    listener = Listener(at)
    with crowd(bot, said_alone) as batcher:
        batcher.submit(poisoned(bot, listener, choices=2))
    assert listener.events


def test_a_bias_outside_the_vocabulary_fails_alone(
    bot: Bot, said_alone: list[tuple[int, ...]]
) -> None:
    listener = Listener()
    with crowd(bot, said_alone) as batcher:
        batcher.submit(
            poisoned(bot, listener, params=SamplingParams(logit_bias={599_999: 1.0}), choices=3)
        )
    assert isinstance(listener.wait()[-1], Failed)


def test_a_message_that_cannot_be_read_fails_alone(
    bot: Bot, said_alone: list[tuple[int, ...]]
) -> None:
    listener = Listener()
    with crowd(bot, said_alone) as batcher:
        unread = [np.array([ROLES["user"], 65_000, END], np.uint16)]
        batcher.submit(poisoned(bot, listener, unread=unread))
    assert isinstance(listener.wait()[-1], Failed)


def test_a_state_of_another_size_fails_alone(bot: Bot, said_alone: list[tuple[int, ...]]) -> None:
    listener = Listener()
    with crowd(bot, said_alone) as batcher:
        job = poisoned(bot, listener)
        job.state = tuple(part[:, :-1] for part in job.state)
        batcher.submit(job)
    assert isinstance(listener.wait()[-1], Failed)


@pytest.mark.parametrize("where", ["next", "say", "rest"])
def test_a_reply_that_breaks_fails_alone(
    bot: Bot, said_alone: list[tuple[int, ...]], monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    original, listener = getattr(Reply, where), Listener()

    def breaking(reply: Reply, *args: Any) -> Any:
        if reply.job.deliver is listener:
            raise RuntimeError
        return original(reply, *args)

    monkeypatch.setattr(Reply, where, breaking)
    with crowd(bot, said_alone) as batcher:
        batcher.submit(poisoned(bot, listener))
    assert isinstance(listener.wait()[-1], Failed)


def test_a_choice_of_tokens_that_breaks_fails_alone(
    bot: Bot, said_alone: list[tuple[int, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    original, listener = ReplySampler.change, Listener()

    def breaking(sampler: ReplySampler, logits: np.ndarray) -> None:
        if sampler.params.presence_penalty == 1.5:
            raise RuntimeError
        original(sampler, logits)

    monkeypatch.setattr(ReplySampler, "change", breaking)
    with crowd(bot, said_alone) as batcher:
        batcher.submit(poisoned(bot, listener, params=SamplingParams(presence_penalty=1.5)))
    assert isinstance(listener.wait()[-1], Failed)


@pytest.mark.parametrize("step", ["step", "begin_reply", "end_message"])
def test_a_step_of_the_decoder_that_one_row_breaks_is_taken_again_without_it(
    bot: Bot,
    said_alone: list[tuple[int, ...]],
    monkeypatch: pytest.MonkeyPatch,
    step: str,
) -> None:
    original: Callable[..., Any] = getattr(bot.decoder, step)

    def breaking(*args: Any) -> Any:
        state: State = args[-1]
        if np.isnan(state[0]).any():
            raise RuntimeError
        return original(*args)

    monkeypatch.setattr(bot.decoder, step, breaking)
    listener = Listener()
    with crowd(bot, said_alone) as batcher:
        job = poisoned(bot, listener, unread=[], params=SamplingParams(max_tokens=3))
        job.state = tuple(np.full_like(part, np.nan) for part in job.state)
        batcher.submit(job)
    last = listener.wait()[-1]
    # A bot whose END is a step like any other never calls `end_message`.
    assert isinstance(last, Failed) or (step == "end_message" and bot.decoder.ends_by_step)


def test_rows_that_fail_are_left_out() -> None:
    def step(rows: Sequence[int]) -> list[int]:
        if 2 in rows:
            raise RuntimeError
        return [10 * row for row in rows]

    failed: dict[int, Exception] = {}
    stepped = step_rows(step, range(4), failed.__setitem__)
    assert stepped == [([0], [0]), ([1], [10]), ([3], [30])]
    assert list(failed) == [2]
    failed.clear()
    assert step_rows(step, [0, 1], failed.__setitem__) == [([0, 1], [0, 10])]
    assert failed == {}

    def broken(rows: Sequence[int]) -> list[int]:
        raise RuntimeError

    assert step_rows(broken, [0, 1], failed.__setitem__) == []
    assert list(failed) == [0, 1]


def test_a_wrong_bias_is_refused_and_ends_nobodys_reply(served: Served) -> None:
    body = {"model": "ann", "messages": [{"role": "user", "content": "hello"}]}
    endless = {**body, "logit_bias": {}, "max_tokens": 400, "stream": True}
    with served.client() as http, served.client() as other:
        with http.stream("POST", "/v1/chat/completions", json=endless) as streamed:
            lines = streamed.iter_lines()
            next(lines)
            for name in ("00000000599999", "0000000005", "599999", "-5", "5.0", "\u0665", " 5"):
                answer = other.post("/v1/chat/completions", json={**body, "logit_bias": {name: 1}})
                assert answer.status_code == 400
                assert "logit_bias" in answer.json()["error"]["message"]
            last = [line for line in lines if line][-1]
        assert last == "data: [DONE]"


def job_of(owner: str, choices: int = 1) -> Job:
    return Job((), [], SamplingParams(), lambda _: None, choices=choices, owner=owner)


def test_owners_take_turns() -> None:
    queue = FairQueue(100)
    for owner in ("ann", "ann", "ann", "bob", "bob", "cy"):
        queue.put(job_of(owner))
    order = []
    while (job := queue.take(lambda job, passes: True)) is not None:
        order.append(job.owner)
    assert order == ["ann", "bob", "cy", "ann", "bob", "ann"]
    assert not queue


def test_who_floods_is_refused_while_others_are_admitted() -> None:
    queue = FairQueue(10)
    flood = [job_of("flood") for _ in range(10)]
    for job in flood:
        queue.put(job)
    with pytest.raises(FullError):
        queue.put(job_of("flood"))
    for _ in range(5):
        queue.put(job_of("ann"))
    with pytest.raises(FullError):
        queue.put(job_of("ann"))
    for _ in range(3):
        queue.put(job_of("bob"))
    with pytest.raises(FullError):
        queue.put(job_of("flood"))
    assert queue.unfinished == 18
    for job in flood:
        job.finish(Ended(0, "stop", "", (), ()))
    assert queue.unfinished == 8
    queue.put(job_of("ann"))


def test_however_many_owners_there_are_the_queue_ends() -> None:
    queue = FairQueue(10)
    for owner in range(100):
        with contextlib.suppress(FullError):
            queue.put(job_of(str(owner), 10))
    assert queue.unfinished <= 20


def test_a_big_request_is_not_passed_forever() -> None:
    """Smaller ones of others come first only within their own share."""
    queue = FairQueue(100)
    queue.put(job_of("big", 16))
    queue.put(job_of("ann"))

    def fits(job: Job, passes: bool) -> bool:
        return job.owner == "ann" and not passes

    assert queue.take(fits) is None


def test_a_newcomer_does_not_wait_for_a_flood(bot: Bot) -> None:
    """All places are taken by replies that never end; another owner's is said all the same."""
    batcher = Batcher(bot, batch_size=4, max_waiting=8)
    endless = SamplingParams(temperature=0, max_tokens=10**6, logit_bias={END: -1000.0})
    flood = [
        Job(bot.decoder.initial_state(1), [], endless, Listener(), owner="flood") for _ in range(12)
    ]
    for job in flood:
        batcher.submit(job)
    with pytest.raises(FullError):
        batcher.submit(Job(bot.decoder.initial_state(1), [], endless, Listener(), owner="flood"))
    listener = Listener()
    params = SamplingParams(max_tokens=3)
    batcher.submit(Job(bot.decoder.initial_state(1), [], params, listener, owner="ann"))
    assert listener.said
    for job in flood:
        job.cancelled = True
    batcher.close()
    assert batcher.open == 0
