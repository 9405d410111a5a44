"""Which of several replies is said."""

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from elman.data.tokenizer import END, ROLES
from elman.model import ModelConfig, build
from elman.model.chatbot import Chatbot
from elman.model.decoding import Sampling, choose, choose_each, reply, reply_batch, say
from elman.model.ranking import (
    AGAIN,
    Candidate,
    Likelihoods,
    Ranking,
    Tokens,
    draw,
    fresh,
    generated,
    likelihoods,
    ranked,
)

VOCABULARY = 270


@pytest.fixture(scope="module", params=["tokens", "messages"])
def chatbot(request: pytest.FixtureRequest) -> Chatbot:
    torch.manual_seed(0)
    config = ModelConfig(hidden_size=8, layers=2, memory=request.param)
    bot = build(config, VOCABULARY).eval()
    with torch.no_grad():  # begins as nothing: nobody's history would count
        for parameter in bot.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.3)
    return bot


def states(chatbot: Chatbot, batch: int) -> tuple[torch.Tensor, ...]:
    heard = [[np.array([ROLES["user"], 10 + n, 20 + n, END])] for n in range(batch)]
    return chatbot.score(heard, chatbot.initial_state(batch))[1]


def test_likelihoods_are_those_of_reading_the_reply(chatbot: Chatbot) -> None:
    replies: list[list[Tokens]] = [[(5, 6), (7,)], [(8, 9, 10)]]
    state = states(chatbot, 2)
    found = likelihoods(chatbot, state, replies)
    for row, own in enumerate(replies):
        for n, tokens in enumerate(own):
            message = np.array([ROLES["bot"], *tokens, END])
            alone, _ = chatbot.score([[message]], chatbot.initial_state(1))
            one = tuple(tensor[row : row + 1] for tensor in state)
            given, _ = chatbot.score([[message]], one)
            # Lanes side by side sum in another order, in float32.
            assert float(found[row].given[n]) == pytest.approx(-float(given[0][0]), rel=1e-5)
            assert float(found[row].alone[n]) == pytest.approx(-float(alone[0][0]), rel=1e-5)
            assert int(found[row].lengths[n]) == len(tokens) + 1


def test_mutual_information_takes_off_what_fits_everywhere(chatbot: Chatbot) -> None:
    (found,) = likelihoods(chatbot, states(chatbot, 1), [[(5, 6), (7,)]])
    root = found.lengths.sqrt()
    assert torch.equal(found.scores(0.0), found.given / root)
    assert torch.equal(found.scores(1.0), (found.given - found.alone) / root)
    candidates = ranked([(5, 6), (7,)], found, 0.3)
    assert candidates[0].score == pytest.approx(float(found.scores(0.3).max()))
    assert candidates[0].score >= candidates[1].score


def test_the_likeliest_is_among_what_is_drawn(chatbot: Chatbot) -> None:
    sampling = Sampling(longest=6)
    generator = torch.Generator().manual_seed(1)
    drawn = draw(chatbot, states(chatbot, 3), sampling, 5, generator)
    assert all(1 < len(own) <= 5 for own in drawn)
    assert all(len({each.tokens for each in own}) == len(own) for own in drawn)
    greedy = reply_batch(chatbot, states(chatbot, 3), Sampling(temperature=0, longest=6))
    assert [own[0].tokens for own in drawn] == [each.tokens for each in greedy]
    single = {
        own[0].tokens
        for seed in range(9)
        for own in draw(
            chatbot, states(chatbot, 1), sampling, 1, torch.Generator().manual_seed(seed)
        )
    }
    assert len(single) > 1, "one alone is drawn by chance"
    still = draw(chatbot, states(chatbot, 3), Sampling(temperature=0), 5, generator)
    assert [len(own) for own in still] == [1, 1, 1], "the others would be the same"


@pytest.mark.parametrize("mutual", [0.0, 0.4])
def test_what_is_said_is_the_best_of_what_is_drawn(chatbot: Chatbot, mutual: float) -> None:
    sampling, ranking = Sampling(longest=6), Ranking(samples=6, mutual=mutual)
    state = states(chatbot, 2)
    best = generated(chatbot, state, sampling, ranking, torch.Generator().manual_seed(2))
    drawn = draw(chatbot, state, sampling, 6, torch.Generator().manual_seed(2))
    replies = [[each.tokens for each in own] for own in drawn]
    for said, own, read in zip(best, replies, likelihoods(chatbot, state, replies), strict=True):
        first = ranked(own, read, mutual)[0]
        assert said.tokens == first.tokens
        # Likelihoods of what is drawn and of what is read are summed in another order.
        assert said.score == pytest.approx(first.score, rel=1e-4, abs=1e-5)


def test_what_was_said_lately_gives_way_to_what_is_about_as_good() -> None:
    near = [Candidate((5,), -1.0), Candidate((6,), -1.0 - AGAIN / 2)]
    far = [Candidate((5,), -1.0), Candidate((6,), -1.0 - 2 * AGAIN)]
    assert fresh(near, ()) == near[0]
    assert fresh(near, {(5,)}) == near[1]
    assert fresh(far, {(5,)}) == far[0]


def test_what_is_likelier_than_all_others_together_is_said() -> None:
    given = torch.tensor([-0.6, -0.8, -5.0]).double()
    alone = torch.tensor([-1.0, -1.0, -50.0]).double()
    own = [(5,), (6,), (7,)]
    lengths = torch.tensor([2, 2, 2])
    found = ranked(own, Likelihoods(given, alone, lengths), 1.0)
    assert [each.tokens for each in found] == [(5,), (7,), (6,)]
    assert fresh(found, {(5,)}).tokens == (5,), "what is right is said again"


def test_saying_known_tokens_ends_where_making_them_does(chatbot: Chatbot) -> None:
    sampling = Sampling(temperature=0, longest=5)
    made = list(reply(chatbot, states(chatbot, 1), sampling, torch.Generator()))
    said = list(say(chatbot, states(chatbot, 1), [token for token, _ in made[:-1]]))
    assert [token for token, _ in said] == [token for token, _ in made]
    for (_, one), (_, other) in zip(made, said, strict=True):
        assert all(map(torch.equal, one, other))


def test_lanes_choose_as_each_would_alone() -> None:
    torch.manual_seed(3)
    logits = torch.randn(4, 12)
    sampling = Sampling(temperature=0, repetition_penalty=3)
    said = [[], [5], [5, 6], [4, 4, 4, 4]]
    together = choose_each(logits, sampling, torch.Generator(), said, [7])
    alone = [
        choose(row, sampling, torch.Generator(), own, [7])
        for row, own in zip(logits, said, strict=True)
    ]
    assert together == alone


@pytest.mark.parametrize("wrong", [{"samples": 0}, {"mutual": -0.1}, {"mutual": 1.1}, {"n": 1}])
def test_values_out_of_range(wrong: dict[str, float]) -> None:
    with pytest.raises(ValidationError):
        Ranking.model_validate(wrong)
