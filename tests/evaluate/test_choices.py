"""The real reply among others, and words that were said before."""

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from elman.data.conversation import Conversation, Message
from elman.data.corpus import Corpus
from elman.data.tokenizer import MIN_VOCABULARY_SIZE, Tokenizer
from elman.evaluate import choices
from elman.evaluate.choices import candidates, hits, hits_by_likelihood, recall
from elman.generate.likelihood import Likelihoods
from elman.generate.network import NetworkDecoder
from elman.generate.positions import draw_positions, states_at
from elman.model import ModelConfig, build
from elman.model.chatbot import Chatbot
from elman.model.tokens import TokensChatbot

TOKENIZER = Tokenizer.train([], MIN_VOCABULARY_SIZE)


def corpus_of(conversations: Sequence[Sequence[str]]) -> Corpus:
    made = (
        Conversation(tuple(Message("ab"[n % 2], text) for n, text in enumerate(texts)))
        for texts in conversations
    )
    return Corpus.encode(made, TOKENIZER)


@given(
    st.lists(st.lists(st.text("abc", min_size=1, max_size=2), min_size=2, max_size=5), min_size=1),
    st.integers(0, 5),
)
@settings(deadline=None, max_examples=50)
def test_the_real_reply_is_there_once_and_the_others_differ(
    texts: list[list[str]], seed: int
) -> None:
    corpus = corpus_of(texts)
    places = draw_positions(corpus, "all", 10, seed)
    found = candidates(corpus, places, "all", 4, seed)
    assert found == candidates(corpus, places, "all", 4, seed)
    for place, own in zip(places, found, strict=True):
        real = corpus.messages(place.conversation)[place.position]
        assert own[0] == tuple(real[1:-1].tolist())
        assert len(set(own)) == len(own) <= 4


def test_a_hit_is_the_real_reply_ranked_first() -> None:
    given_ = np.array([-3.0, -4.0, -1.0])
    alone = np.array([-8.0, -4.0, -1.0])
    found = [Likelihoods(given_, alone, np.array([1, 1, 1]))]
    assert hits_by_likelihood(found, 3).tolist() == [False]
    assert hits(found, 3).tolist() == [True]
    assert hits_by_likelihood(found, 2).tolist() == [True], "only the first two compete"


@pytest.mark.parametrize("memory", ["tokens", "messages"])
@pytest.mark.parametrize("pointer", [0, 4])
def test_states_at_places_are_those_of_reading_up_to_them(memory: str, pointer: int) -> None:
    torch.manual_seed(0)
    values = {"hidden_size": 8, "layers": 2, "memory": memory, "pointer": pointer}
    config = ModelConfig.model_validate(values)
    chatbot = build(config, TOKENIZER.vocabulary_size).eval()
    corpus = corpus_of([["a", "b", "cc"], ["abc", "c", "a", "b"], ["b", "a"]])
    places = draw_positions(corpus, "all", 5, 1)
    places.append(places[0])
    together = states_at(NetworkDecoder(chatbot), corpus, places)
    for row, place in enumerate(places):
        history = corpus.messages(place.conversation)[: place.position]
        _, alone = chatbot.score([history], chatbot.initial_state(1))
        for one, other in zip(together, alone, strict=True):
            # Lanes side by side sum in another order, in float32.
            torch.testing.assert_close(one[row], other[0], rtol=1e-5, atol=1e-6)
    assert all(len(tensor) == 0 for tensor in states_at(NetworkDecoder(chatbot), corpus, []))


class Elephant(TokensChatbot):
    """Finds words likely that it has read before, and nothing else: the perfect memory."""

    def score(
        self, lanes: Sequence[Sequence[np.ndarray]], state: tuple[torch.Tensor, ...]
    ) -> tuple[list[torch.Tensor], tuple[torch.Tensor, ...]]:
        # The state holds which bytes' trigrams were read, as a hash table of ones.
        after = tuple(tensor.clone() for tensor in state)
        nats = []
        for row, messages in enumerate(lanes):
            own = []
            for message in messages:
                grams = [hash(tuple(message[n : n + 3].tolist())) for n in range(len(message) - 2)]
                places = [gram % state[0].shape[1] for gram in grams]
                known = float(after[0][row, places].sum())
                own.append(10.0 * len(message) - known)
                after[0][row, places] = 1
            nats.append(torch.tensor(own, dtype=torch.float64))
        return nats, after

    costs_of = Chatbot.costs_of


@pytest.fixture
def elephant() -> Chatbot:
    return Elephant(ModelConfig(hidden_size=4096, layers=1), TOKENIZER.vocabulary_size).eval()


def test_recall_tells_who_remembers(elephant: Chatbot, monkeypatch: pytest.MonkeyPatch) -> None:
    common = ["the", "of", "and", "you", "was", "for", "are", "with", "his", "they", "have"]
    monkeypatch.setattr(choices, "COMMON_WORDS", len(common))
    draw = np.random.default_rng(0)
    rare = ["".join(draw.choice(list("bcdfgklmnprst"), 7)) for _ in range(90)]
    filler = [" ".join(draw.choice(common, 6)) for _ in range(400)]
    texts = [
        [f"{filler[3 * n]} {word}", filler[n], f"{filler[n]} {word}"] for n, word in enumerate(rare)
    ]
    texts += [[line, line] for line in filler]
    corpus = corpus_of(texts)
    found = recall(NetworkDecoder(elephant), corpus, TOKENIZER, "all", of=10, number=60, seed=0)
    assert found["2"] == 1.0
    assert {name for name, share in found.items() if share is None} == {"1", "3-4", "5-8", "9+"}
    torch.manual_seed(0)
    small = build(ModelConfig(hidden_size=8, layers=1), TOKENIZER.vocabulary_size).eval()
    guessed = recall(NetworkDecoder(small), corpus, TOKENIZER, "all", of=10, number=60, seed=0)["2"]
    assert guessed is not None
    assert guessed < 0.4, "an untrained net guesses: a tenth, within what 60 draws can be off"
