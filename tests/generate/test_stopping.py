"""What is done for each token costs the same, however much a request asks for."""

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from elman.generate.loops import MAX_COPIES, MAX_PERIOD, MIN_LOOP_TOKENS, LoopDetector
from elman.generate.sampling import ReplySampler, SamplingParams, choose
from elman.generate.stopping import StopMatcher, StopTexts
from elman.serve.jobs import Ended, Job, Reason
from elman.serve.render.answers import finish_reason

AB = st.text("ab", max_size=8)


def searched(stop: Sequence[str], pieces: Sequence[str]) -> tuple[str, bool]:
    """What is told where the whole reply is searched after each piece."""
    text = ""
    for piece in pieces:
        text += piece
        found = [at for each in stop if (at := text.find(each)) >= 0]
        if found:
            return text[: min(found)], True
    return text, False


@given(st.lists(st.text("ab", min_size=1, max_size=5), min_size=1, max_size=4), st.lists(AB))
def test_stop_texts_are_found_as_by_searching(stop: list[str], pieces: list[str]) -> None:
    matcher, told, whole = StopMatcher(StopTexts(stop)), "", ""
    for piece in pieces:
        told += matcher.feed(piece)
        whole += piece
        begun = max(n for each in stop for n in range(len(each)) if whole.endswith(each[:n]))
        # All is told but for what could still be the beginning of a stop text.
        assert matcher.found or told == whole[: len(whole) - begun]
        if matcher.found:
            break
    assert (told + matcher.rest(), matcher.found) == searched(stop, pieces)


class Counted(str):
    """A text that counts how often one of its characters is looked at."""

    looked: ClassVar[int] = 0

    def __getitem__(self, key: object) -> str:
        Counted.looked += 1
        return super().__getitem__(key)  # type: ignore[index]


@pytest.mark.parametrize("size", [10, 1000, 100_000])
def test_a_long_stop_text_costs_no_more_than_a_short_one(size: int) -> None:
    stop = StopTexts([Counted("a" * size + "b")])
    matcher = StopMatcher(stop)
    Counted.looked = 0
    for _ in range(1000):
        matcher.feed("ac")
    assert Counted.looked <= 2 * 3 * 1000


def looping(said: Sequence[int]) -> set[int]:
    """What would begin one more copy, by looking at every length."""
    found = set()
    for size in range(1, len(said) // MAX_COPIES + 1):
        tail = said[-max(MAX_COPIES * size, MIN_LOOP_TOKENS) :]
        if len(tail) >= MIN_LOOP_TOKENS and tail[size:] == tail[:-size]:
            found.add(said[-size])
    return found


@given(st.lists(st.integers(4, 6), max_size=40))
def test_loops_are_found_as_by_searching(said: list[int]) -> None:
    detector = LoopDetector()
    for number, token in enumerate(said):
        detector.say(token)
        assert set(detector.next_copies()) == looping(said[: number + 1])


def test_a_loop_is_found_after_any_number_of_tokens() -> None:
    detector = LoopDetector()
    for token in range(3 * MAX_PERIOD + 7):
        detector.say(10 + token)
    for token in (4, 5, 6) * 3:
        detector.say(token)
    assert detector.next_copies() == [4]


def test_penalties_and_biases_are_those_of_each_token() -> None:
    logits = np.random.default_rng(0).normal(size=50).astype(np.float32)
    params = SamplingParams(
        temperature=0,
        repetition_penalty=1,
        presence_penalty=0.5,
        frequency_penalty=0.25,
        logit_bias={7: 1.5, 9: -2.0},
    )
    sampler = ReplySampler(params)
    for token in (7, 8, 7, 20):
        sampler.say(token)
    changed = logits.copy()
    sampler.change(changed)
    expected = logits.copy()
    for token, count in ((7, 2), (8, 1), (20, 1)):
        expected[token] -= 0.5 + 0.25 * count
    expected[7] += 1.5
    expected[9] -= 2.0
    np.testing.assert_allclose(changed, expected, rtol=1e-6)


def test_biases_and_stop_texts_are_prepared_once_for_all_replies(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = []
    original = np.fromiter
    params = SamplingParams(
        temperature=0, logit_bias=dict.fromkeys(range(4, 40), 1.0), stop=("x" * 1000,)
    )
    samplers = [ReplySampler(params, choice=choice) for choice in range(16)]

    def counted(*args: Any, **options: Any) -> np.ndarray:
        made.append(args)
        return original(*args, **options)

    monkeypatch.setattr(np, "fromiter", counted)
    for _ in range(5):
        choose(np.zeros((16, 50), np.float32), samplers)
    assert len(made) == 2
    job = Job((), [], params, lambda _: None)
    assert job.stop_texts is job.stop_texts


@pytest.mark.parametrize(
    ("reason", "told"), [("stop", "stop"), ("length", "length"), ("cancelled", "length")]
)
def test_only_a_whole_reply_is_told_as_one(reason: Reason, told: str) -> None:
    """A server that is told to stop cuts replies, and clients must not take them for whole."""
    assert finish_reason(Ended(0, reason, "", (), ())) == told
