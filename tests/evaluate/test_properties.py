"""Four properties without which bits per byte mean nothing."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from elman.data.conversation import Role
from elman.data.corpus import Corpus
from elman.data.dataset import Dataset
from elman.data.tokenizer import END, ROLES, SPECIALS
from elman.generate.decoder import Decoder
from elman.generate.network import NetworkDecoder, load_network_bot
from elman.generate.scoring import bits_per_byte
from elman.model import ModelConfig, build
from elman.model.chatbot import Chatbot
from elman.model.checkpoint import weights_digest
from elman.train import Config, train

VOCABULARY = 60


@pytest.fixture(scope="module", params=["tokens", "messages"])
def decoder(request: pytest.FixtureRequest) -> Decoder:
    """A net with pointer and counts, which have seen something."""
    torch.manual_seed(0)
    config = ModelConfig(hidden_size=8, layers=2, memory=request.param, pointer=12, ngrams=3)
    chatbot = build(config, VOCABULARY).eval()
    with torch.no_grad():  # begins as nothing: no history would count
        for parameter in chatbot.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.3)
    ids = np.concatenate([message(n % 7, 3, 1, 4, 1, 5) for n in range(40)])
    chatbot.count(ids, np.ones(len(ids), bool))
    return NetworkDecoder(chatbot)


def message(*tokens: int, role: Role = "user") -> np.ndarray:
    return np.array([ROLES[role], *(SPECIALS + token for token in tokens), END])


HEARD = [message(1, 2, 3), message(3, 1, 4, 1, role="bot"), message(1, 2, 3, 9)]


def test_causal(decoder: Decoder) -> None:
    """What is said later changes nothing of what a message costs."""
    for later in (message(1, 2, 3), message(30, 31, 32, 33)):
        [nats], _ = decoder.score([[*HEARD, later]], decoder.initial_state(1))
        [alone], _ = decoder.score([HEARD], decoder.initial_state(1))
        np.testing.assert_allclose(nats[:3], alone, rtol=1e-6)


def test_normalised_over_the_vocabulary(decoder: Decoder) -> None:
    """The probabilities of all messages of up to one token, and of what goes on, add up to 1."""
    _, state = decoder.score([HEARD], decoder.initial_state(1))
    logits, begun = decoder.begin_reply(state)
    first = np.exp(logits[0].astype(np.float64))
    assert first.sum() == pytest.approx(1, abs=1e-5)
    assert (first >= 0).all()
    for token in (SPECIALS, SPECIALS + 3, SPECIALS + 50):
        after, _ = decoder.step(np.array([token]), begun)
        second = np.exp(after[0].astype(np.float64))
        assert second.sum() == pytest.approx(1, abs=1e-5)
        # What is scored is what is said.
        said = decoder.costs([np.array([ROLES["bot"], token, END])], state)
        assert float(said[0]) == pytest.approx(-np.log(first[token] * second[END]), rel=1e-4)


def test_scored_before_anything_is_updated(trained: Path, chats: Path) -> None:
    """Measuring twice gives the same: nothing learns or counts meanwhile."""
    bot = load_network_bot(trained)
    corpus = Corpus.encode(Dataset.read(str(chats)).conversations(), bot.tokenizer, "Ann")
    before = weights_digest(bot.chatbot)
    found = [bits_per_byte(bot.decoder, corpus, bot.tokenizer, "bot") for _ in range(2)]
    assert found[0] == found[1]
    assert weights_digest(bot.chatbot) == before


def test_no_test_part_is_learned_or_counted(
    tmp_path: Path, make_config: Callable[..., Config], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every conversation has a word of its own: those that are held out are never handed over."""
    names = [f"zq{number:03}x" for number in range(200)]
    talk = "\n\n".join(f"Bob: hello {name}\nAnn: I see {name}" for name in names)
    path = tmp_path / "chats.txt"
    path.write_text(talk + "\n", "utf-8")
    handed: dict[str, list[np.ndarray]] = {"counted": [], "learned": []}
    kind = type(build(ModelConfig(hidden_size=8), 300))
    batches, count = kind.batches, Chatbot.count

    def noting_batches(self: Any, corpus: Corpus, layout: Any) -> Any:
        handed["learned"].append(corpus.ids)
        return batches(self, corpus, layout)

    def noting_count(self: Any, ids: np.ndarray, counted: np.ndarray) -> None:
        handed["counted"].append(ids)
        count(self, ids, counted)

    monkeypatch.setattr(kind, "batches", noting_batches)
    monkeypatch.setattr(Chatbot, "count", noting_count)
    out = tmp_path / "bot"
    changes = {
        "data.path": str(path),
        "data.test": True,
        "model.pointer": 16,
        "model.ngrams": 2,
        "train.steps": 3,
    }
    train(make_config(**changes), out)
    bot = load_network_bot(out)
    parts, _ = Dataset.again(bot.config["data"]).encode(bot.tokenizer, True)

    def named(ids: np.ndarray) -> set[str]:
        text = bot.tokenizer.decode([int(t) for t in ids if t >= SPECIALS])
        return {name for name in names if name in text}

    held = named(parts["dev"].ids) | named(parts["test"].ids)
    assert len(held) > 5
    for what, given in handed.items():
        seen = set().union(*map(named, given))
        assert len(seen) > 100, what
        assert not seen & held, what
