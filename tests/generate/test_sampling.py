"""Choosing tokens."""

from collections.abc import Iterator, Sequence

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from elman.data.tokenizer import END, ROLES, SPECIALS
from elman.generate import sampling
from elman.generate.drawing import reply, reply_batch
from elman.generate.loops import MAX_COPIES, MIN_LOOP_TOKENS, LoopDetector
from elman.generate.network import NetworkDecoder
from elman.generate.sampling import ReplySampler, SamplingParams
from elman.generate.token_draw import (
    draw_by_numpy,
    draw_tokens,
    log_softmax,
    token_logprobs,
    token_nats,
)
from elman.model import ModelConfig, build
from elman.native.library import KERNELS_VARIABLE, load
from tests.instruction_sets import instruction_set

VOCABULARY = 270

SAID = [ROLES["bot"]]
"""Something, so that a reply may end, under no penalty."""


LIBRARY = load()[0]


def generator() -> np.random.Generator:
    return np.random.default_rng(0)


def choose(
    logits: torch.Tensor,
    params: SamplingParams,
    generator: np.random.Generator,
    said: Sequence[int] = (),
    recent: Sequence[int] = (),
) -> int:
    """One token after what was said."""
    own = params.model_copy(update={"max_tokens": 200 + len(said)})
    sampler = ReplySampler(own, recent, seed=int(generator.integers(2**32)))
    for token in said:
        sampler.say(token)
    return sampling.choose(logits.unsqueeze(0).numpy(), [sampler])[0]


def looping(said: Sequence[int]) -> list[int]:
    detector = LoopDetector()
    for token in said:
        detector.say(token)
    return detector.next_copies()


def logits(*values: float) -> torch.Tensor:
    """Of END, three roles that look likely, and text tokens from id 4 on."""
    return torch.tensor([values[0], 50.0, 50.0, 50.0, *values[1:]])


def draws(scores: torch.Tensor, params: SamplingParams, number: int = 200) -> set[int]:
    source = generator()
    return {choose(scores, params, source, SAID) for _ in range(number)}


def test_temperature_zero_takes_the_likeliest() -> None:
    assert choose(logits(0, 1, 3, 2), SamplingParams(temperature=0), generator()) == 5


@pytest.mark.parametrize(("temperature", "top_p"), [(1e-30, 1e-300), (1e-30, 1.0), (3.0, 1e-300)])
def test_what_is_next_to_greedy_is_greedy(temperature: float, top_p: float) -> None:
    scores = torch.from_numpy(np.random.default_rng(0).normal(size=300).astype(np.float32))
    recent = [7, 9, int(scores.argmax())]
    params = SamplingParams(temperature=temperature, top_p=top_p)
    cold = SamplingParams(temperature=0)
    assert choose(scores, params, generator(), SAID, recent) == choose(
        scores, cold, generator(), SAID, recent
    )


@given(st.floats(0.1, 5), st.floats(0.05, 1), st.floats(0, 1), st.integers(0, 99))
@settings(deadline=None, max_examples=60)
def test_roles_are_never_said(temperature: float, top_p: float, min_p: float, seed: int) -> None:
    params = SamplingParams(temperature=temperature, top_p=top_p, min_p=min_p)
    token = choose(logits(1, 1, 2, 0), params, np.random.default_rng(seed), SAID)
    assert token == END or token >= SPECIALS
    assert choose(logits(9, 1), params, generator()) == SPECIALS


def test_top_p_keeps_the_smallest_set_that_reaches_it() -> None:
    scores = torch.tensor([0.5, 0.3, 0.15, 0.05]).log()
    scores = logits(*scores.tolist())
    assert draws(scores, SamplingParams(temperature=1, top_p=0.49, min_p=0)) == {END}
    assert draws(scores, SamplingParams(temperature=1, top_p=0.79, min_p=0)) == {END, 4}
    assert draws(scores, SamplingParams(temperature=1, top_p=0.81, min_p=0)) == {END, 4, 5}


def test_min_p_is_relative_to_the_likeliest() -> None:
    scores = logits(*torch.tensor([0.5, 0.3, 0.15, 0.05]).log().tolist())
    assert draws(scores, SamplingParams(temperature=1, top_p=1, min_p=0.25)) == {END, 4, 5}


LANE = st.tuples(
    st.lists(st.integers(-40, 40), min_size=9, max_size=9),  # eighths, so that no sum is rounded
    st.sampled_from([0.5, 1.0, 2.0]),
    st.sampled_from([0.1, 0.5, 0.95, 1.0]),
    st.sampled_from([0.0, 0.02, 0.3, 1.0]),
    st.floats(0, 1, exclude_max=True),
)


@given(st.lists(LANE, min_size=1, max_size=5))
@settings(deadline=None, max_examples=200)
def test_what_is_drawn(lanes: list[tuple[list[int], float, float, float, float]]) -> None:
    """Every lane alone, in order: the likeliest first, of the alike the one with the lower id."""
    expected = []
    for scores, heat, share, floor, point in lanes:
        weights = np.exp((np.array(scores) - max(scores)) / 8 / heat)
        order = [n for n in np.argsort(-weights, kind="stable") if weights[n] >= floor]
        upto = weights[order].cumsum()
        kept = [n for n in range(len(order)) if n == 0 or upto[n - 1] < share * upto[-1]]
        expected.append((order, upto[kept], point * upto[kept[-1]]))
    logits, temperature, top_p, min_p, points = (
        np.array(each) for each in zip(*lanes, strict=True)
    )
    wishes = logits.astype(np.float32) / 8, temperature, top_p, min_p, points
    found = draw_tokens(*wishes)
    np.testing.assert_array_equal(found, draw_by_numpy(*wishes))
    for token, (order, upto, wanted) in zip(found, expected, strict=True):
        place = order.index(token)
        assert place < len(upto)
        assert place == 0 or wanted >= upto[place - 1]
        assert wanted < upto[place] or place == len(upto) - 1, "a product may be rounded up"


@pytest.fixture(params=() if LIBRARY is None else LIBRARY.sets)
def isa(request: pytest.FixtureRequest) -> Iterator[str]:
    with instruction_set(request.param):
        yield request.param


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    seed=st.integers(0, 10_000),
    size=st.sampled_from([4, 5, 16, 17, 270, 4096]),
    spread=st.sampled_from([0.0, 0.1, 3.0, 1000.0]),
    refused=st.sampled_from([0.0, 0.5, 1.0]),
)
def test_the_library_draws_what_numpy_draws(
    isa: str, seed: int, size: int, spread: float, refused: float
) -> None:
    draw, rows = np.random.default_rng(seed), 9
    logits = draw.normal(0, spread, (rows, size)).astype(np.float32)
    logits[draw.random(logits.shape) < refused] = -np.inf
    logits[np.arange(rows), draw.integers(0, size, rows)] = 1.0
    temperature = draw.choice([0.0, 0.1, 0.7, 1.0, 100.0], rows)
    top_p, min_p = draw.choice([1e-9, 0.5, 0.95, 1.0], rows), draw.choice([0.0, 0.1, 1.0], rows)
    points = draw.choice([0.0, 0.3, 1 - 2**-53, *draw.random(5)], rows)
    expected = draw_by_numpy(logits, temperature, top_p, min_p, points)
    np.testing.assert_array_equal(
        draw_tokens(logits, temperature, top_p, min_p, points), expected, err_msg=isa
    )
    nats = token_nats(logits, expected)
    found = [-token_logprobs(*each, 1)[0] for each in zip(logits, expected.tolist(), strict=True)]
    np.testing.assert_allclose(nats, found, rtol=1e-6, atol=2e-6)


def test_without_the_library_numpy_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KERNELS_VARIABLE, "reference")
    load.cache_clear()
    scores = np.array([[0.0, 1.0, 3.0, 2.0], [0.0, 9.0, 1.0, 2.0]], np.float32)
    try:
        assert draw_tokens(scores, [0, 1.0], 1.0, 0.0, [0.5, 0.5]).tolist() == [2, 1]
        expected = -np.log(np.exp(3) / np.exp(scores[0]).sum())
        assert token_nats(scores[:1], np.array([2])) == pytest.approx(expected)
    finally:
        load.cache_clear()


def test_recent_tokens_are_less_likely() -> None:
    params = SamplingParams(temperature=0, repetition_penalty=2)
    scores = logits(-9, 3.0, 2.0, -1.0)
    assert choose(scores, params, generator()) == 4
    assert choose(scores, params, generator(), recent=[4]) == 5
    assert choose(scores, params, generator(), recent=[4, 5]) == 4  # 1.5 against 1.0
    negative = logits(-9, -1.0, -1.5)
    assert choose(negative, params, generator(), recent=[4]) == 5
    assert choose(negative, params, generator(), said=[4]) == 5


@given(
    st.lists(st.integers(4, 7), max_size=6),
    st.lists(st.integers(4, 7), min_size=1, max_size=4),
    st.integers(1, 5),
)
def test_a_loop_is_not_gone_on_with(before: list[int], block: list[int], copies: int) -> None:
    said = [*before, *copies * block]
    expected = set()
    for size in range(1, len(said)):
        copied = range(1, max(MAX_COPIES * size, MIN_LOOP_TOKENS) - size + 1)
        if size + copied[-1] <= len(said) and all(said[-n] == said[-n - size] for n in copied):
            expected.add(said[-size])
    assert set(looping(said)) == expected
    assert copies < MIN_LOOP_TOKENS or block[0] in expected


def test_a_reply_says_nothing_for_ever() -> None:
    scores = logits(-9, 9.0, 8.0)
    said: list[int] = []
    for _ in range(12):
        said.append(
            choose(scores, SamplingParams(temperature=0, repetition_penalty=1), generator(), said)
        )
    assert said == [4, 4, 4, 4, 5, 4, 4, 4, 4, 5, 4, 4]


@pytest.mark.parametrize("longest", [1, 7])
def test_replies_end(longest: int) -> None:
    torch.manual_seed(0)
    chatbot = build(ModelConfig(hidden_size=8, layers=1), VOCABULARY).eval()
    params = SamplingParams(seed=1, max_tokens=longest)
    decoder = NetworkDecoder(chatbot)
    said = [token for token, _ in reply(decoder, decoder.initial_state(1), params, generator())]
    assert said[-1] == END
    assert 2 <= len(said) <= longest + 1
    assert END not in said[:-1]


def test_a_batch_of_greedy_replies_equals_single_ones() -> None:
    torch.manual_seed(0)
    chatbot = build(ModelConfig(hidden_size=8, layers=2), VOCABULARY).eval()
    decoder = NetworkDecoder(chatbot)
    params, warm, ones = (
        SamplingParams(temperature=0, max_tokens=12),
        SamplingParams(max_tokens=12),
        [True] * 5,
    )
    state = tuple(torch.randn(5, spec.size) for spec in chatbot.state_spec)
    alone = []
    for row in range(5):
        own = tuple(tensor[row : row + 1] for tensor in state)
        said = [token for token, _ in reply(decoder, own, params, generator())]
        alone.append(said[:-1])
    together = reply_batch(decoder, state, params)
    assert [list(each.tokens) for each in together] == alone
    assert [
        list(each.tokens) for each in reply_batch(decoder, state, warm, likeliest=ones)
    ] == alone
    for row, (tokens, nats, _) in enumerate(together):
        own = tuple(tensor[row : row + 1] for tensor in state)
        read, _ = chatbot.score([[np.array([ROLES["bot"], *tokens, END])]], own)
        # Lanes side by side sum in another order, in float32.
        assert nats == pytest.approx(float(read[0][0]), rel=1e-5)


def test_log_softmax_is_as_exact_as_float32_allows() -> None:
    scores = np.random.default_rng(0).normal(scale=9, size=(5, 300)).astype(np.float32)
    scores[0, 7] = -np.inf
    exact = torch.from_numpy(scores).double().log_softmax(1).numpy()
    np.testing.assert_allclose(log_softmax(scores), exact, rtol=0, atol=3e-6)
    token, count = 11, 4
    logp, best = token_logprobs(scores[2], token, count)
    assert logp == pytest.approx(exact[2, token], abs=3e-6)
    assert [each for each, _ in best] == np.argsort(-exact[2])[:count].tolist()
