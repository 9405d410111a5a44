"""A bot that learns from a corpus on disk is the bot that learns from its sources."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from elman.data.config import DataConfig
from elman.data.shards.build import CorpusBuild
from elman.data.view import View
from elman.errors import ElmanError
from elman.model.folder import read_config
from elman.model.tensor_files import read_tensors
from elman.train import Config, resume, train
from elman.train.built import IN_MEMORY_ONLY
from elman.train.checkpoints import last_checkpoint

Make = Callable[..., Config]


@pytest.fixture(scope="module")
def corpus(chats: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("built") / "corpus"
    asked = CorpusBuild(
        [str(chats)], out, View(bot="Ann"), vocabulary=lambda size: 300, workers=1,
        piece_bytes=1500, shard_tokens=200,
    )  # fmt: skip
    asked.run()
    return out


def checkpoint_of(folder: Path) -> Path:
    path = last_checkpoint(folder)
    assert path is not None
    return path


@pytest.mark.parametrize("memory", ["tokens", "messages"])
def test_the_bot_is_the_same(tmp_path: Path, make_config: Make, corpus: Path, memory: str) -> None:
    settings: dict[str, Any] = {"model.memory": memory, "data.replies": 20, "model.ngrams": 0}
    if memory == "tokens":
        settings |= {"model.pointer": 8, "model.ngrams": 2}
    train(make_config(**settings), tmp_path / "sources")
    train(make_config(**settings, **{"data.path": str(corpus)}), tmp_path / "built")
    (weights, facts), (own, known) = (
        read_tensors(checkpoint_of(tmp_path / name)) for name in ("sources", "built")
    )
    assert all((weights[name] == own[name]).all() for name in weights)
    assert facts["contents"] == known["contents"]
    for name in (
        "model.safetensors",
        "tokenizer.json",
        "replies.safetensors",
        "replay.safetensors",
    ):
        if name != "replies.safetensors":  # it names the place of what it was made of
            assert (tmp_path / "sources" / name).read_bytes() == (
                tmp_path / "built" / name
            ).read_bytes()
    one, other = (read_config(tmp_path / name) for name in ("sources", "built"))
    assert one["model"] == other["model"]
    assert one["reply"] == other["reply"]


def test_a_run_goes_on(tmp_path: Path, make_config: Make, corpus: Path) -> None:
    config = make_config(**{"data.path": str(corpus)})
    train(config, tmp_path / "whole")
    calls = iter(range(100))
    train(config, tmp_path / "parted", stop=lambda: next(calls) == 5)
    resume(tmp_path / "parted")
    (weights, _), (own, _) = (
        read_tensors(checkpoint_of(tmp_path / name)) for name in ("whole", "parted")
    )
    assert all((weights[name] == own[name]).all() for name in weights)


def test_what_was_built_otherwise_is_refused(
    tmp_path: Path, make_config: Make, corpus: Path
) -> None:
    cases: list[tuple[dict[str, object], str]] = [
        ({"data.bot": "Bob"}, "data.bot is 'Bob', and .* was built with 'Ann'"),
        ({"data.redact": True}, "data.redact is True"),
        ({"data.drop": ["Bob"]}, "data.drop is"),
        ({"data.test": True}, "data.test is True"),
        ({"data.canaries": 2}, "data.canaries: not with a corpus that was built"),
        ({"data.invent": True}, "data.invent: not"),
        ({"data.max_text_bytes": 100}, "data.max_text_bytes: not"),
        ({"train.base": "base"}, "build the corpus with --tokenizer base"),
    ]
    for changed, said in cases:
        config = make_config(**({"data.path": str(corpus)} | changed))
        with pytest.raises(ElmanError, match=said):
            train(config, tmp_path / "bot")
    assert set(IN_MEMORY_ONLY) <= set(DataConfig.model_fields)


def test_the_command_builds_trains_and_verifies(
    tmp_path: Path, chats: Path, elman: Callable[..., Any]
) -> None:
    out, bot = tmp_path / "corpus", tmp_path / "bot"
    built = elman("data", "build", chats, "--out", out, "--bot", "Ann", "--vocabulary", 300)
    assert built.code == 0, built.err
    assert "train: " in built.out
    assert f"next: elman train {out}" in built.out
    ran = elman(
        "train", out, "--out", bot, "--set", "model.hidden_size=16", "--set", "train.steps=3"
    )
    assert ran.code == 0, ran.err
    assert elman("data", "verify", out).out.startswith(f"{out}: sound")
    again = elman("data", "build", chats, "--out", out)
    assert (again.code, "is there already" in again.err) == (2, True)
    shard = next(out.glob("train*.shard"))
    shard.write_bytes(shard.read_bytes()[:-8])
    cut = elman("train", out, "--out", tmp_path / "other")
    assert cut.code == 2
    assert f"{shard}: cut" in cut.err.replace("\n", "")
