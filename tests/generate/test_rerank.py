"""Which of several replies is said."""

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from elman.data.tokenizer import END, ROLES
from elman.generate.decoder import Decoder
from elman.generate.drawing import reply, reply_batch
from elman.generate.likelihood import Likelihoods, Tokens, as_message, likelihoods
from elman.generate.network import NetworkDecoder
from elman.generate.rerank import (
    REPEATED_SCORE_LOSS,
    Candidate,
    Ranking,
    best,
    best_drawn,
    draw,
    ranked,
)
from elman.generate.sampling import ReplySampler, SamplingParams, choose
from elman.model import ModelConfig, build

VOCABULARY = 270


@pytest.fixture(scope="module", params=["tokens", "messages"])
def decoder(request: pytest.FixtureRequest) -> Decoder:
    torch.manual_seed(0)
    config = ModelConfig(hidden_size=8, layers=2, memory=request.param)
    bot = build(config, VOCABULARY).eval()
    with torch.no_grad():  # begins as nothing: nobody's history would count
        for parameter in bot.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.3)
    return NetworkDecoder(bot)


def states(decoder: Decoder, rows: int) -> tuple[torch.Tensor, ...]:
    heard = [[np.array([ROLES["user"], 10 + n, 20 + n, END])] for n in range(rows)]
    return decoder.read(heard, decoder.initial_state(rows))


def test_likelihoods_are_those_of_reading_the_reply(decoder: Decoder) -> None:
    replies: list[list[Tokens]] = [[(5, 6), (7,)], [(8, 9, 10)]]
    state = states(decoder, 2)
    found = likelihoods(decoder, state, replies)
    for row, own in enumerate(replies):
        for n, tokens in enumerate(own):
            message = np.array([ROLES["bot"], *tokens, END])
            alone, _ = decoder.score([[message]], decoder.initial_state(1))
            one = tuple(tensor[row : row + 1] for tensor in state)
            given, _ = decoder.score([[message]], one)
            # Lanes side by side sum in another order, in float32.
            assert float(found[row].given[n]) == pytest.approx(-float(given[0][0]), rel=1e-5)
            assert float(found[row].alone[n]) == pytest.approx(-float(alone[0][0]), rel=1e-5)
            assert int(found[row].lengths[n]) == len(tokens) + 1


def test_mutual_information_takes_off_what_fits_everywhere(decoder: Decoder) -> None:
    (found,) = likelihoods(decoder, states(decoder, 1), [[(5, 6), (7,)]])
    root = np.sqrt(found.lengths)
    assert np.array_equal(found.scores(0.0), found.given / root)
    assert np.array_equal(found.scores(1.0), (found.given - found.alone) / root)
    candidates = ranked([(5, 6), (7,)], found, 0.3)
    assert candidates[0].score == pytest.approx(float(found.scores(0.3).max()))
    assert candidates[0].score >= candidates[1].score


def test_the_likeliest_is_among_what_is_drawn(decoder: Decoder) -> None:
    params = SamplingParams(max_tokens=6)
    generator = np.random.default_rng(1)
    drawn = draw(decoder, states(decoder, 3), params, 5, generator)
    assert all(1 < len(own) <= 5 for own in drawn)
    assert all(len({each.tokens for each in own}) == len(own) for own in drawn)
    greedy = reply_batch(decoder, states(decoder, 3), SamplingParams(temperature=0, max_tokens=6))
    assert [own[0].tokens for own in drawn] == [each.tokens for each in greedy]
    single = {
        own[0].tokens
        for seed in range(9)
        for own in draw(decoder, states(decoder, 1), params, 1, np.random.default_rng(seed))
    }
    assert len(single) > 1, "one alone is drawn by chance"
    still = draw(decoder, states(decoder, 3), SamplingParams(temperature=0), 5, generator)
    assert [len(own) for own in still] == [1, 1, 1], "the others would be the same"


@pytest.mark.parametrize("mmi_weight", [0.0, 0.4])
def test_what_is_said_is_the_best_of_what_is_drawn(decoder: Decoder, mmi_weight: float) -> None:
    params, ranking = SamplingParams(max_tokens=6), Ranking(samples=6, mmi_weight=mmi_weight)
    state = states(decoder, 2)
    found = best_drawn(decoder, state, params, ranking, np.random.default_rng(2))
    drawn = draw(decoder, state, params, 6, np.random.default_rng(2))
    replies = [[each.tokens for each in own] for own in drawn]
    for said, own, read in zip(
        found, replies, likelihoods(decoder, state, replies, decoder.copies), strict=True
    ):
        first = ranked(own, read, mmi_weight)[0]
        assert said.tokens == first.tokens
        # Likelihoods of what is drawn and of what is read are summed in another order.
        assert said.score == pytest.approx(first.score, rel=1e-4, abs=1e-5)


def test_what_was_said_lately_gives_way_to_what_is_about_as_good() -> None:
    near = [Candidate((5,), -1.0), Candidate((6,), -1.0 - REPEATED_SCORE_LOSS / 2)]
    far = [Candidate((5,), -1.0), Candidate((6,), -1.0 - 2 * REPEATED_SCORE_LOSS)]
    assert best(near, ()) == near[0]
    assert best(near, [(5,)]) == near[1]
    assert best(far, [(5,)]) == far[0]


def test_what_is_likelier_than_all_others_together_is_said() -> None:
    given = np.array([-0.6, -0.8, -5.0])
    alone = np.array([-1.0, -1.0, -50.0])
    own = [(5,), (6,), (7,)]
    lengths = np.array([2, 2, 2])
    found = ranked(own, Likelihoods(given, alone, lengths), 1.0)
    assert [each.tokens for each in found] == [(5,), (7,), (6,)]
    assert best(found, [(5,)]).tokens == (5,), "what is right is said again"


def test_a_reply_that_was_read_ends_where_making_it_does(decoder: Decoder) -> None:
    params = SamplingParams(temperature=0, max_tokens=5)
    made = list(reply(decoder, states(decoder, 1), params, np.random.default_rng()))
    tokens = [token for token, _ in made[:-1]]
    read = decoder.read([[as_message(tokens)]], states(decoder, 1))
    for one, other in zip(made[-1][1], read, strict=True):
        # Steps and a whole message are summed in another order, in float32.
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)


def test_states_that_are_kept_are_those_before_end(decoder: Decoder) -> None:
    params = SamplingParams(seed=3, max_tokens=7)
    for each in reply_batch(decoder, states(decoder, 3), params, keep_states=True)[:1]:
        assert each.state is not None
        read = decoder.read([[as_message(each.tokens)]], states(decoder, 1))
        for one, other in zip(decoder.end_message(each.state), read, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)


def test_rows_choose_as_each_would_alone() -> None:
    logits = np.random.default_rng(3).normal(size=(4, 12)).astype(np.float32)
    params = SamplingParams(temperature=0, repetition_penalty=3)

    def samplers() -> list[ReplySampler]:
        found = [ReplySampler(params, [7]) for _ in range(4)]
        for sampler, said in zip(found, [[], [5], [5, 6], [4, 4, 4, 4]], strict=True):
            for token in said:
                sampler.say(token)
        return found

    alone = [choose(logits[row : row + 1], [each])[0] for row, each in enumerate(samplers())]
    assert choose(logits, samplers()) == alone


@pytest.mark.parametrize(
    "wrong", [{"samples": 0}, {"mmi_weight": -0.1}, {"mmi_weight": 1.1}, {"n": 1}]
)
def test_values_out_of_range(wrong: dict[str, float]) -> None:
    with pytest.raises(ValidationError):
        Ranking.model_validate(wrong)
