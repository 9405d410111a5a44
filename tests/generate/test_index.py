"""Replies that people gave: found, ranked, kept on disk, and made again when they are stale."""

import json
import shutil
from collections.abc import Callable
from math import inf
from pathlib import Path

import numpy as np
import pytest
import torch

from elman.data.corpus import Corpus
from elman.data.files import write_file
from elman.data.readers import read
from elman.data.source import documents
from elman.errors import ElmanError
from elman.generate import index as reply_index
from elman.generate import index_files
from elman.generate.index import Bound, ReplyIndex
from elman.generate.index_files import build, known
from elman.generate.network import NetworkBot, load_network_bot
from elman.generate.positions import HeldOut, overlap
from elman.model.folder import REPLIES
from elman.train import Config, train


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, make_config: Callable[..., Config]) -> Path:
    """Of a bot that has learned its sums."""
    out = tmp_path_factory.mktemp("bot") / "ann"
    settings = {"train.steps": 300, "train.lr": 0.01, "model.hidden_size": 48, "model.dropout": 0.0}
    train(make_config(**settings), out)
    return out


@pytest.fixture(scope="module")
def bot(folder: Path) -> NetworkBot:
    return load_network_bot(folder)


@pytest.fixture
def told() -> list[str]:
    return []


def questions(bot: NetworkBot, *texts: str) -> tuple[torch.Tensor, ...]:
    lanes = [[[1, *bot.tokenizer.encode(text), 0]] for text in texts]
    return bot.chatbot.score(lanes, bot.chatbot.initial_state(len(texts)))[1]  # type: ignore[arg-type]


def test_it_answers_with_what_somebody_answered(
    bot: NetworkBot, told: list[str], chats: Path
) -> None:
    index = known(bot, told.append)
    assert not told, "training has kept it"
    state = questions(bot, "what is 2 plus 1?", "what is 2 plus 2?")
    said = [each.candidates[0].tokens for each in index.best(bot.decoder, state)]
    assert [bot.tokenizer.decode(tokens) for tokens in said] == ["it is 3, Bob.", "it is 4, Bob."]
    every = {bot.tokenizer.decode(tokens) for tokens in index.replies}
    assert every == {f"it is {n}, Bob." for n in range(9)}, "each is there once"
    assert len(index.places) == len(index.reply) > len(index.replies)


def test_what_was_given_further_away_is_worth_less(
    bot: NetworkBot, told: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    index = known(bot, told.append)
    state = questions(bot, "what is 2 plus 1?", "what is 3 plus 3?", "zzz qqq xxx")
    orders = []
    for far in (0.0, 1e9):
        monkeypatch.setattr(reply_index, "SCORE_LOSS_PER_COSINE", far)
        likes = []
        for near, found in zip(
            index.nearest(bot.decoder, state), index.best(bot.decoder, state), strict=True
        ):
            alike = dict(zip(near.replies, near.alike.tolist(), strict=True))
            assert found.alike == max(alike.values())
            numbers = [index.replies.index(each.tokens) for each in found.candidates]
            likes.append(
                [
                    alike[n]
                    for n, each in zip(numbers, found.candidates, strict=True)
                    if not each.certain
                ]
            )
        orders.append(likes)
    assert orders[1] == [sorted(own, reverse=True) for own in orders[1]], "the nearest first"
    assert orders[0] != orders[1], "by the net's taste another order"


def test_what_was_never_asked_is_unlike_what_was(bot: NetworkBot, told: list[str]) -> None:
    index = known(bot, told.append)
    bound = index.bound(0.1)
    assert bound is not None
    state = questions(bot, "what is 2 plus 1?", "zzz qqq xxx")
    asked, strange = index.best(bot.decoder, state)
    assert bound.reached(asked.candidates[0].score, asked.alike)
    assert not bound.reached(strange.candidates[0].score, strange.alike)


def index_of(scores: list[float], right: list[float]) -> ReplyIndex:
    calibration = np.array([scores, right, [1.0] * len(scores)])
    nothing = np.zeros(0)
    return ReplyIndex(nothing, nothing, nothing, nothing, [], nothing, calibration)


def test_the_bound_keeps_wrong_answers_as_rare_as_stated() -> None:
    index = index_of([-4, -3, -2, -1], [0, 1, 0, 1])
    assert index.bound(0.5) == Bound(-inf, 1)
    assert index.bound(0.4) == Bound(-3, 1)  # one of three is wrong
    assert index.bound(0.2) == Bound(-1, 1)
    assert index.answered(Bound(-3, 1)) == 0.75
    assert index_of([-2, -1], [1, 0]).bound(0.2) is None
    assert index_of([], []).bound(0.2) is None
    assert "nothing is held out" in index_of([], []).doubts()
    assert "50% were wrong" in index.doubts()


def test_read_back_as_written(bot: NetworkBot, tmp_path: Path, chats: Path) -> None:
    corpus = Corpus.encode(read(documents(chats)), bot.tokenizer, "Ann")
    heldout = HeldOut.of(bot.decoder, bot.tokenizer, corpus, "bot")
    index = build(bot.decoder, bot.tokenizer, corpus, "bot", 1000, heldout)
    assert index is not None
    index_files.save(tmp_path, index, bot, str(chats))
    config = bot.config
    again = known(NetworkBot.of(bot.chatbot, bot.tokenizer, config, tmp_path), pytest.fail)
    assert again.replies == index.replies
    for name in ("centre", "directions", "places", "reply", "alone", "calibration"):
        assert np.array_equal(getattr(again, name), getattr(index, name)), name


def test_of_many_replies_some_conversations_are_kept(bot: NetworkBot, chats: Path) -> None:
    corpus = Corpus.encode(read(documents(chats)), bot.tokenizer, "Ann")
    index = build(bot.decoder, bot.tokenizer, corpus, "bot", 20)
    assert index is not None
    assert 16 <= len(index.places) <= 24
    nobody = Corpus(corpus.ids[: corpus.starts[0]], corpus.starts[:1])
    assert build(bot.decoder, bot.tokenizer, nobody, "bot", 20) is None


def test_made_again_where_weights_or_conversations_are_others(
    folder: Path, chats: Path, tmp_path: Path, told: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    own, data = tmp_path / "bot", tmp_path / "chats.txt"
    shutil.copytree(folder, own)
    shutil.copy(chats, data)
    config = json.loads((own / "config.json").read_text("utf-8"))
    config["data"]["path"] = str(data)
    write_file(own / "config.json", json.dumps(config))
    bot = load_network_bot(own)
    known(bot, told.append)
    assert "the conversations changed since" in told.pop()
    known(bot, pytest.fail)
    data.write_text(data.read_text("utf-8") + "\n\nBob: hello\nAnn: hi\n", "utf-8")
    assert any(map("hi".__eq__, map(bot.tokenizer.decode, known(bot, told.append).replies)))
    assert "the conversations changed since" in told.pop()
    with torch.no_grad():
        next(bot.chatbot.parameters()).mul_(1.01)
    known(bot, told.append)
    assert "other weights made it" in told.pop()
    monkeypatch.setattr(index_files, "INDEX_FORMAT", index_files.INDEX_FORMAT + 1)
    known(bot, told.append)
    assert "another version of Elman made it" in told.pop()
    (own / REPLIES).unlink()
    known(bot, told.append)
    assert told == [f"{own / REPLIES}: is not there; it is made, of {data}"]
    data.unlink()
    known(bot, pytest.fail)  # it still fits, and nothing newer is known
    (own / REPLIES).unlink()
    with pytest.raises(ElmanError, match=r"no replies of people.*is gone"):
        known(bot, told.append)


def test_the_base_keeps_nobodys_replies(told: list[str]) -> None:
    with pytest.raises(ElmanError, match="the bot base keeps nobody's replies"):
        known(load_network_bot("base"), told.append)


def test_a_damaged_index_is_an_error(folder: Path, tmp_path: Path, told: list[str]) -> None:
    own = tmp_path / "bot"
    shutil.copytree(folder, own)
    content = (own / REPLIES).read_bytes()
    (own / REPLIES).write_bytes(content[: len(content) // 2])
    with pytest.raises(ElmanError, match="damaged or truncated"):
        known(load_network_bot(own), told.append)


def test_overlap_counts_each_as_often_as_in_both() -> None:
    assert overlap("abc", "abc") == 1
    assert overlap("aab", "ac") == pytest.approx(2 / 5)
    assert overlap([], []) == 0
