"""Samples are taken in the same places, in the same way, from what is held out."""

import numpy as np
import torch

from elman.data.corpus import Corpus
from elman.data.tokenizer import END, Tokenizer
from elman.model import ModelConfig, build
from elman.train.samples import SAMPLED_REPLIES, Samples


def corpus(tokenizer: Tokenizer, conversations: int, roles: tuple[int, ...]) -> Corpus:
    tokens: list[int] = []
    starts = [0]
    for number in range(conversations):
        for n, role in enumerate(roles):
            tokens += [role, *tokenizer.encode(f"{number}.{n}"), END]
        starts.append(len(tokens))
    return Corpus(np.array(tokens, np.uint16), np.array(starts))


def test_samples_are_the_same_places_each_time() -> None:
    tokenizer = Tokenizer.train([], 260)
    torch.manual_seed(0)
    chatbot = build(ModelConfig(hidden_size=8), tokenizer.vocabulary_size)
    samples = Samples(corpus(tokenizer, 9, (1, 2, 1, 2, 1)), tokenizer, "bot")
    before = torch.get_rng_state()
    found = samples(chatbot)
    assert torch.equal(torch.get_rng_state(), before)  # a run goes on as if nothing was said
    assert found == samples(chatbot)
    assert [(sample["heard"], sample["person"]) for sample in found] == [
        ([f"{n}.1", f"{n}.2"], f"{n}.3") for n in (0, 4, 8)
    ]
    assert len(found) == SAMPLED_REPLIES


def test_where_nobody_answers_there_are_none() -> None:
    tokenizer = Tokenizer.train([], 260)
    chatbot = build(ModelConfig(hidden_size=8), tokenizer.vocabulary_size)
    assert Samples(corpus(tokenizer, 2, (1, 1)), tokenizer, "bot")(chatbot) == []
    assert Samples(corpus(tokenizer, 1, (2,)), tokenizer, "bot")(chatbot) == []
