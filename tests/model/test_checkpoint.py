"""Bots and states on disk: whole or refused."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from elman.errors import ElmanError
from elman.model import checkpoint
from elman.model.checkpoint import load_bot, load_state, save_state, weights_digest


@pytest.fixture
def folder(trained: Path, tmp_path: Path) -> Path:
    """A copy that may be broken."""
    return Path(shutil.copytree(trained, tmp_path / "bot"))


def test_a_bot_comes_back_as_it_was(trained: Path) -> None:
    one, other = load_bot(trained), load_bot(trained)
    assert weights_digest(one.chatbot) == weights_digest(other.chatbot)
    assert not one.chatbot.training


def test_what_is_on_disk(trained: Path) -> None:
    names = {path.name for path in trained.iterdir()}
    assert names == {
        "config.json",
        "model.safetensors",
        "tokenizer.json",
        "replies.safetensors",
        "resume.safetensors",
        "log.jsonl",
    }


@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json", "config.json"])
@pytest.mark.parametrize("share", [0.0, 0.5, 0.99])
def test_truncated_files_are_refused(folder: Path, name: str, share: float) -> None:
    whole = (folder / name).read_bytes()
    (folder / name).write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(ElmanError, match=name):
        load_bot(folder)


def test_missing_files_are_named(folder: Path) -> None:
    (folder / "tokenizer.json").unlink()
    with pytest.raises(ElmanError, match=r"tokenizer\.json"):
        load_bot(folder)
    with pytest.raises(ElmanError, match="no bot here"):
        load_bot(folder / "nothing")


def test_another_format_is_refused(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"format": 99, "elman": "9.0"}))
    with pytest.raises(ElmanError, match=r"format 99, made by Elman 9\.0"):
        load_bot(folder)


def test_a_tokenizer_of_another_bot_is_refused(folder: Path) -> None:
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    tokenizer["model"]["merges"].pop()
    last = max(tokenizer["model"]["vocab"], key=tokenizer["model"]["vocab"].get)
    del tokenizer["model"]["vocab"][last]
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    with pytest.raises(ElmanError, match="do not belong together"):
        load_bot(folder)


def test_weights_of_another_shape_are_refused(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    config["model"]["hidden_size"] = 8
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(ElmanError, match="does not fit"):
        load_bot(folder)


def test_foreign_safetensors_are_refused(folder: Path) -> None:
    save_file({"a": torch.zeros(1)}, folder / "model.safetensors")
    with pytest.raises(ElmanError, match="not written by Elman"):
        load_bot(folder)


def test_a_state_is_a_small_file_of_its_own_weights(folder: Path, tmp_path: Path) -> None:
    bot = load_bot(folder)
    state = tuple(torch.randn(1, spec.size) for spec in bot.chatbot.state_spec)
    path = tmp_path / "kept.state"
    save_state(path, bot, state, {"messages": 3})
    loaded, facts = load_state(path, bot)
    assert all(torch.equal(a, b) for a, b in zip(state, loaded, strict=True))
    assert facts["messages"] == 3
    assert path.stat().st_size < sum(tensor.nbytes for tensor in state) + 1024

    with torch.no_grad():
        bot.chatbot.get_parameter("output_bias")[0] += 1
    with pytest.raises(ElmanError, match="made by other weights"):
        load_state(path, bot)


def test_a_damaged_state_is_refused(folder: Path, tmp_path: Path) -> None:
    bot = load_bot(folder)
    path = tmp_path / "kept.state"
    save_state(path, bot, bot.chatbot.initial_state(1), {})
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ElmanError, match="damaged or truncated"):
        load_state(path, bot)
    checkpoint.write_tensors(path, {"a": torch.zeros(1)}, {})
    with pytest.raises(ElmanError, match="not a saved state"):
        load_state(path, bot)


def test_loading_a_bot_imports_no_compiler() -> None:
    """Filling weights on the meta device did, which doubled the time that a chat takes to begin."""
    code = (
        "import sys; from elman.model.checkpoint import load_bot; load_bot('base'); "
        "assert not {'torch._dynamo', 'sympy'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
