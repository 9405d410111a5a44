"""A seed gives the same words whoever else is drawing."""

import numpy as np
import pytest

from elman.generate.decoder import Decoder
from elman.generate.network import NetworkDecoder
from elman.generate.points import POINTS_AT_ONCE, Points
from elman.generate.sampling import ReplySampler, SamplingParams, choose
from elman.model import ModelConfig, build

PLACES = range(3 * POINTS_AT_ONCE)


@pytest.fixture(scope="module")
def decoder() -> Decoder:
    return NetworkDecoder(build(ModelConfig(layers=1, hidden_size=16), 270))


def test_a_number_depends_on_its_place_and_not_on_what_was_drawn_before() -> None:
    in_order = [Points(5, 2).at(place) for place in PLACES]
    points = Points(5, 2)
    assert [points.at(place) for place in reversed(PLACES)] == in_order[::-1]
    assert len(set(in_order)) == len(in_order)


def test_each_reply_and_each_seed_has_numbers_of_its_own() -> None:
    seeds = (-1, 0, 1, 2**63, 2**64 + 2, None, None)
    firsts = [Points(seed, choice).at(0) for seed in seeds for choice in (0, 1, 7)]
    assert len(set(firsts)) == len(firsts)


def test_numbers_are_spread_evenly() -> None:
    found = np.array([Points(seed).at(place) for seed in range(100) for place in PLACES])
    counts, _ = np.histogram(found, 10, (0, 1))
    assert abs(counts / len(found) - 0.1).max() < 0.01


def test_they_stay_what_they_are() -> None:
    """Words at a seed are what people write down: Philox of numpy is kept as it is."""
    expected = [0.30931491118583454, 0.3569562367935075, 0.34276452522457346]
    assert [Points(1, 2).at(place) for place in (0, 1, POINTS_AT_ONCE)] == expected


def said(decoder: Decoder, replies: list[tuple[int, int]], longest: int) -> list[list[int]]:
    """Say replies side by side, each by its seed and choice."""
    params = SamplingParams(temperature=1.5, top_p=1, min_p=0, max_tokens=longest)
    samplers = [ReplySampler(params, choice=choice, seed=seed) for seed, choice in replies]
    logits, state = decoder.begin_reply(decoder.initial_state(len(replies)))
    for _ in range(longest):
        tokens = choose(logits, samplers)
        for sampler, token in zip(samplers, tokens, strict=True):
            sampler.say(token)
        logits, state = decoder.step(np.array(tokens), state)
    return [sampler.said for sampler in samplers]


def test_a_reply_is_the_same_alone_in_a_batch_and_in_another_order(decoder: Decoder) -> None:
    replies = [(seed, choice) for seed in range(3) for choice in range(2)]
    together = said(decoder, replies, 12)
    assert said(decoder, replies[::-1], 12) == together[::-1]
    assert [said(decoder, [own], 12)[0] for own in replies] == together
    assert len(set(map(tuple, together))) == len(together)
