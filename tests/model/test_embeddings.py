"""Embeddings that are counted: pieces that stand among the same neighbours begin alike."""

import numpy as np
import torch

from elman.data.tokenizer import END, ROLES
from elman.model import Chatbot, ModelConfig, build
from elman.model.embeddings import MIN_NEIGHBOUR_TOKENS, begin_with

VOCABULARY = 60


def make(size: int = 8) -> Chatbot:
    torch.manual_seed(0)
    return build(ModelConfig(hidden_size=size, layers=1), VOCABULARY)


def tokens() -> np.ndarray:
    """Sentences in which 10 and 11 stand in one kind of place, 20 and 21 in another."""
    draw = np.random.default_rng(0)
    parts = []
    for _ in range(12_000):
        one, other = draw.integers(10, 12), draw.integers(20, 22)
        parts += [ROLES["user"], 30, one, 31, 40, other, 41, draw.integers(42, VOCABULARY), END]
    return np.array(parts, np.uint16)


def test_what_can_stand_in_for_another_begins_near_it() -> None:
    chatbot = make()
    begin_with(chatbot, tokens())
    weight = torch.nn.functional.normalize(chatbot.output_layer[0].detach())
    assert weight[10] @ weight[11] > 0.9
    assert weight[20] @ weight[21] > 0.9
    assert weight[10] @ weight[20] < 0.5


def test_the_bias_is_how_often_each_piece_occurs() -> None:
    chatbot, ids = make(), tokens()
    begin_with(chatbot, ids)
    shares = chatbot.output_layer[1].detach().softmax(0)
    expected = np.bincount(ids, minlength=VOCABULARY) + 0.5
    expected[list(ROLES.values())] = 0.5
    np.testing.assert_allclose(shares, expected / expected.sum(), rtol=1e-4)


def test_it_is_as_large_as_random_and_the_same_each_time() -> None:
    once, again = make(), make()
    spread = once.output_layer[0].std().item()
    begin_with(once, tokens(), seed=3)
    state = torch.get_rng_state()
    begin_with(again, tokens(), seed=3)
    assert torch.equal(torch.get_rng_state(), state), "nothing else is drawn differently for it"
    assert torch.equal(once.output_layer[0], again.output_layer[0])
    assert abs(once.output_layer[0].std().item() / spread - 1) < 1e-3


def test_little_text_tells_too_little() -> None:
    chatbot = make()
    before = chatbot.output_layer[0].detach().clone()
    begin_with(chatbot, tokens()[: MIN_NEIGHBOUR_TOKENS - 1])
    assert torch.equal(chatbot.output_layer[0], before)


def test_more_sizes_than_pieces_stay_random() -> None:
    chatbot = make(VOCABULARY)
    before = chatbot.output_layer[0].detach().clone()
    begin_with(chatbot, tokens())
    assert torch.equal(chatbot.output_layer[0], before)
