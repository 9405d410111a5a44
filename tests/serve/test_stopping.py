"""What is done for each token costs the same, however much a request asks for."""

from collections.abc import Sequence
from typing import Any, ClassVar

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from elman.model.decoding import Sampling, looping
from elman.serve.jobs import Ended, Reason
from elman.serve.loop_detector import MAX_PERIOD, LoopDetector
from elman.serve.render.answers import finish_reason
from elman.serve.sampling import Chooser, Wishes, choose
from elman.serve.stopping import StopMatcher, StopTexts

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


@given(st.lists(st.integers(4, 6), max_size=40))
def test_loops_are_found_as_by_searching(said: list[int]) -> None:
    detector = LoopDetector()
    for number, token in enumerate(said):
        detector.say(token)
        assert set(detector.next_copies()) == set(looping(said[: number + 1]))


def test_a_loop_is_found_after_any_number_of_tokens() -> None:
    detector = LoopDetector()
    for token in range(3 * MAX_PERIOD + 7):
        detector.say(10 + token)
    for token in (4, 5, 6) * 3:
        detector.say(token)
    assert detector.next_copies() == [4]


def test_penalties_and_biases_are_those_of_each_token() -> None:
    torch.manual_seed(0)
    logits = torch.randn(1, 50)
    wishes = Wishes(
        Sampling(temperature=0, repetition_penalty=1),
        presence=0.5,
        frequency=0.25,
        bias={7: 1.5, 9: -2.0},
    )
    chooser = Chooser(wishes)
    for token in (7, 8, 7, 20):
        chooser.say(token)
    changed = logits[0].clone()
    chooser.change(changed)
    expected = logits[0].clone()
    for token, count in ((7, 2), (8, 1), (20, 1)):
        expected[token] -= 0.5 + 0.25 * count
    expected[7] += 1.5
    expected[9] -= 2.0
    torch.testing.assert_close(changed, expected)


def test_biases_and_stop_texts_are_prepared_once_for_all_replies(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = []
    original = torch.tensor
    wishes = Wishes(
        Sampling(temperature=0), bias=dict.fromkeys(range(4, 40), 1.0), stop=("x" * 1000,)
    )
    choosers = [Chooser(wishes, choice=choice) for choice in range(16)]

    def counted(*args: Any, **options: Any) -> torch.Tensor:
        made.append(args)
        return original(*args, **options)

    monkeypatch.setattr(torch, "tensor", counted)
    for _ in range(5):
        choose(torch.zeros(16, 50), choosers)
    assert len(made) == 2
    assert wishes.stop_texts is wishes.stop_texts


@pytest.mark.parametrize(
    ("reason", "told"), [("stop", "stop"), ("length", "length"), ("cancelled", "length")]
)
def test_only_a_whole_reply_is_told_as_one(reason: Reason, told: str) -> None:
    """A server that is told to stop cuts replies, and clients must not take them for whole."""
    assert finish_reason(Ended(0, reason, "", (), ())) == told
