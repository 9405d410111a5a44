import json
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from elman.data.conversation import Conversation, Message
from elman.data.corpus import Corpus, scored
from elman.data.layout import Layout
from elman.data.stream import Stream, Window
from elman.data.tokenizer import MIN_VOCABULARY_SIZE, SPECIALS, Tokenizer

BYTES = Tokenizer.train([], MIN_VOCABULARY_SIZE)


@dataclass(frozen=True)
class Case:
    """A small corpus, whose conversations begin with different letters, and how it is read."""

    lengths: list[int]
    lanes: int
    window: int
    learn_from: str = "bot"
    seed: int = 0

    @property
    def corpus(self) -> Corpus:
        talks = (
            Conversation((Message("Mira", chr(ord("a") + n)), Message("Tobin", "." * length)))
            for n, length in enumerate(self.lengths)
        )
        return Corpus.encode(talks, BYTES)

    @property
    def layout(self) -> Layout:
        return Layout(self.lanes, self.window, "steps", False, self.learn_from, self.seed)

    def stream(self) -> Stream:
        return Stream(self.corpus, self.layout)


some = settings(max_examples=40, deadline=None, derandomize=True)
# Up to as many lanes as conversations and more, and windows shorter and longer than any of them.
cases = st.builds(
    Case,
    lengths=st.lists(st.integers(0, 9), min_size=1, max_size=6),
    lanes=st.integers(1, 8),
    window=st.integers(1, 40),
    learn_from=st.sampled_from(["bot", "all"]),
    seed=st.integers(0, 9),
)
steps = st.integers(0, 20)

FIRST_LETTER = BYTES.encode("a")[0]


def begun(window: Window) -> list[list[int]]:
    """For each lane, which conversations it begins."""
    first = (window.targets - FIRST_LETTER).T
    return [lane[starts].tolist() for lane, starts in zip(first, ~window.keep.T, strict=True)]


def order(case: Case, epochs: int = 1) -> list[int]:
    stream = case.stream()
    found: list[int] = []
    while len(found) < epochs * len(case.lengths):
        found += [each for lane in begun(stream.next()) for each in lane]
    return found[: epochs * len(case.lengths)]


def tensors(window: Window) -> tuple[Tensor, ...]:
    assert window.cut is None
    return window.inputs, window.targets, window.weight, window.keep


@given(cases)
@some
def test_every_conversation_is_handed_out_once_an_epoch(case: Case) -> None:
    count = len(case.lengths)
    found = order(case, epochs=3)
    for epoch in range(3):
        assert sorted(found[epoch * count : (epoch + 1) * count]) == list(range(count))


@given(cases, steps)
@some
def test_epochs_counts_what_was_handed_out(case: Case, taken: int) -> None:
    stream = case.stream()
    handed_out = sum(len(lane) for _ in range(taken) for lane in begun(stream.next()))
    assert round(stream.epochs * len(case.lengths), 6) == handed_out


@given(cases, steps)
@some
def test_lanes_read_whole_conversations_one_after_another(case: Case, taken: int) -> None:
    stream, corpus = case.stream(), case.corpus
    windows = [stream.next() for _ in range(taken + 1)]
    inputs, targets, weight, keep = (
        torch.cat(all_of) for all_of in zip(*map(tensors, windows), strict=True)
    )
    for lane in range(case.lanes):
        talks = [corpus[each] for window in windows for each in begun(window)[lane]]
        expected = (
            np.concatenate([talk[:-1] for talk in talks]),
            np.concatenate([talk[1:] for talk in talks]),
            np.concatenate([scored(talk, case.learn_from)[1:] for talk in talks]),
            np.concatenate([np.arange(len(talk) - 1) > 0 for talk in talks]),
        )
        for found, whole in zip((inputs, targets, weight, keep), expected, strict=True):
            assert found[:, lane].tolist() == whole[: len(found)].tolist()


@given(cases, steps)
@some
def test_a_saved_position_resumes_exactly(case: Case, taken: int) -> None:
    stream, resumed = case.stream(), case.stream()
    for _ in range(taken):
        stream.next()
    state = stream.state_dict()
    following = [stream.next() for _ in range(5)]
    # Saved only now, to see that going on left the state alone.
    resumed.load_state_dict(json.loads(json.dumps(state)))
    for window in following:
        for one, other in zip(tensors(window), tensors(resumed.next()), strict=True):
            assert torch.equal(one, other)
    assert resumed.epochs == stream.epochs


@given(cases, st.lists(st.integers(1, 9), min_size=1, max_size=4))
@some
def test_processes_that_share_the_rows_read_what_one_would(case: Case, sizes: list[int]) -> None:
    whole = case.stream()
    for size in sizes:  # one number of processes after another goes on from what was saved
        begins = [rank * case.lanes // size for rank in range(size + 1)]
        parts = [
            Stream(case.corpus, replace(case.layout, own_rows=range(begin, end)))
            for begin, end in pairwise(begins)
        ]
        for part in parts:
            part.load_state_dict(whole.state_dict())
        for _ in range(3):
            windows = [part.next() for part in parts]
            expected = whole.next()
            for name in ("inputs", "targets", "weight", "keep", "conversation", "message"):
                together = torch.cat([getattr(window, name) for window in windows], dim=1)
                assert torch.equal(together, getattr(expected, name)), name
            assert all(part.state_dict() == whole.state_dict() for part in parts)


def test_a_position_that_was_saved_before_is_still_read() -> None:
    saved = {"epoch": 1, "taken": 2, "conversation": [-1, 0], "offset": [5, 2]}
    stream = Case([3, 4, 5], lanes=2, window=7).stream()
    stream.load_state_dict(saved)
    assert stream.state_dict() == saved


def test_the_order_depends_on_seed_and_epoch() -> None:
    base = Case([1] * 20, lanes=2, window=8)
    found = order(base, epochs=2)
    assert found == order(base, epochs=2)
    assert found[:20] != found[20:]
    assert found[:20] != order(Case([1] * 20, lanes=2, window=8, seed=1))


def test_windows_have_the_shapes_and_kinds_that_models_take() -> None:
    window = Case([3, 4], lanes=3, window=7).stream().next()
    assert {tensor.shape for tensor in tensors(window)} == {(7, 3)}
    kinds = [torch.int64, torch.int64, torch.float32, torch.bool]
    assert [tensor.dtype for tensor in tensors(window)] == kinds
    assert (window.inputs[0] < SPECIALS).all()
    assert not window.keep[0].any()
