"""A persona: a state that is learned, of a bot whose weights stay."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from elman.data.corpus import Corpus
from elman.data.dataset import Dataset
from elman.errors import ElmanError
from elman.generate.network import load_network_bot
from elman.model.checkpoint import weights_digest
from elman.train import Config, train
from elman.train.persona import learn_persona

Run = Callable[..., Any]


@pytest.fixture
def examples(tmp_path: Path) -> Path:
    """Ann says one and the same thing in them."""
    path = tmp_path / "kind.txt"
    talk = "Bob: what is {n} plus 1?\nAnn: how kind of you, Bob.\n"
    path.write_text("\n".join(talk.format(n=n % 5) for n in range(40)), "utf-8")
    return path


def encoded(bot: Any, examples: Path) -> Corpus:
    dataset = Dataset.read(str(examples), bot="Ann")
    return Corpus.encode(dataset.conversations(), bot.tokenizer, "Ann", "user")


def test_it_gains_and_leaves_the_weights(trained: Path, examples: Path) -> None:
    bot = load_network_bot(trained)
    before = weights_digest(bot.chatbot)
    corpus = encoded(bot, examples)
    found = learn_persona(bot.chatbot, corpus, bot.tokenizer, "bot", steps=30)
    again = learn_persona(bot.chatbot, corpus, bot.tokenizer, "bot", steps=30)
    assert found.before is not None
    assert found.after is not None
    assert found.after < found.before
    assert weights_digest(bot.chatbot) == before
    for one, other in zip(found.state, again.state, strict=True):
        assert one.equal(other)


def test_it_is_a_small_file_that_a_chat_begins_with(
    trained: Path, examples: Path, tmp_path: Path, elman: Run
) -> None:
    out = tmp_path / "kind.state"
    ran = elman("persona", trained, examples, "--out", out, "--steps", 5, "--json")
    assert ran.code == 0, ran.err
    told = json.loads(ran.out)
    assert told["bytes"] == out.stat().st_size < 4096
    assert told["conversations"] == 40
    plain = elman("chat", trained, "--seed", 1, given="/state\n")
    kind = elman("chat", trained, "--state", out, "--seed", 1, given="/state\nhello\n")
    assert kind.code == 0, kind.err
    assert "norm 0.00" in plain.out
    assert "norm 0.00" not in kind.out
    assert "0 messages old" in kind.out
    assert len(kind.out.splitlines()) == 2


def test_an_empty_record_takes_no_room(
    examples: Path, tmp_path: Path, make_config: Callable[..., Config], elman: Run
) -> None:
    train(make_config(model__pointer=64, train__steps=1), tmp_path / "bot")
    out = tmp_path / "kind.state"
    assert elman("persona", tmp_path / "bot", examples, "--out", out, "--steps", 1).code == 0
    assert out.stat().st_size < 4096
    ran = elman("chat", tmp_path / "bot", "--state", out, given="hello\n")
    assert (ran.code, ran.err) == (0, "")


def test_one_mistake_one_sentence(
    trained: Path,
    examples: Path,
    tmp_path: Path,
    make_config: Callable[..., Config],
    elman: Run,
) -> None:
    ran = elman("persona", trained, examples, "--out", tmp_path)
    assert (ran.code, ran.out) == (2, "")
    assert "is a folder" in ran.err
    ran = elman("persona", trained, examples, "--bot", "Zoe", "--out", tmp_path / "x.state")
    assert ran.code == 2
    assert "nobody has that name" in ran.err
    out = tmp_path / "kind.state"
    assert elman("persona", trained, examples, "--out", out, "--steps", 1).code == 0
    other = tmp_path / "other"
    train(make_config(train__steps=1, train__seed=5), other)
    ran = elman("chat", other, "--state", out, given="hello\n")
    assert ran.code == 2
    assert "made by other weights" in ran.err
    memory = {"model__memory": "messages", "train__unit": "messages", "train__unfold": 2}
    train(make_config(train__steps=1, **memory), tmp_path / "messages")
    bot = load_network_bot(tmp_path / "messages")
    with pytest.raises(ElmanError, match="of tokens alone"):
        learn_persona(bot.chatbot, encoded(bot, examples), bot.tokenizer, "bot")
