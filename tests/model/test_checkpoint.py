"""Bots and states on disk: whole or refused."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from elman.data.tokenizer import END, ROLES
from elman.errors import ElmanError
from elman.generate.bot import Bot, load_state, save_state
from elman.generate.network import load_network_bot
from elman.model.checkpoint import save_weights, weights_digest
from elman.model.tensor_files import read_tensors, write_tensors
from elman.runtime.choose import load_bot
from elman.runtime.weights import load_weights

LOADERS = pytest.mark.parametrize("load", [load_bot, load_network_bot])
"""Into the runtime, and into torch."""

Load = Callable[..., Bot]


@pytest.fixture
def folder(trained: Path, tmp_path: Path) -> Path:
    """A copy that may be broken."""
    return Path(shutil.copytree(trained, tmp_path / "bot"))


def test_a_bot_comes_back_as_it_was(trained: Path) -> None:
    one, other = load_network_bot(trained), load_network_bot(trained)
    assert weights_digest(one.chatbot) == weights_digest(other.chatbot)
    assert not one.chatbot.training


def test_what_is_on_disk(trained: Path) -> None:
    names = {path.name for path in trained.iterdir()}
    assert names - {"model.int8.safetensors"} == {
        "config.json",
        "model.safetensors",
        "tokenizer.json",
        "replies.safetensors",
        "replay.safetensors",
        "common.json",
        "checkpoints",
        "log.jsonl",
    }


@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json", "config.json"])
@pytest.mark.parametrize("share", [0.0, 0.5, 0.99])
@LOADERS
def test_truncated_files_are_refused(load: Load, folder: Path, name: str, share: float) -> None:
    whole = (folder / name).read_bytes()
    (folder / name).write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(ElmanError, match=name):
        load(folder)


@LOADERS
def test_missing_files_are_named(load: Load, folder: Path) -> None:
    (folder / "tokenizer.json").unlink()
    with pytest.raises(ElmanError, match=r"tokenizer\.json"):
        load(folder)
    with pytest.raises(ElmanError, match="no bot here"):
        load(folder / "nothing")


@LOADERS
def test_another_format_is_refused(load: Load, folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"format": 99, "elman": "9.0"}))
    with pytest.raises(ElmanError, match=r"format 99, made by Elman 9\.0"):
        load(folder)


@LOADERS
def test_a_tokenizer_of_another_bot_is_refused(load: Load, folder: Path) -> None:
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    tokenizer["model"]["merges"].pop()
    last = max(tokenizer["model"]["vocab"], key=tokenizer["model"]["vocab"].get)
    del tokenizer["model"]["vocab"][last]
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    with pytest.raises(ElmanError, match="do not belong together"):
        load(folder)


@LOADERS
def test_weights_of_another_shape_are_refused(load: Load, folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    config["model"]["hidden_size"] = 8
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(ElmanError, match="does not fit"):
        load(folder)


@LOADERS
def test_foreign_safetensors_are_refused(load: Load, folder: Path) -> None:
    save_file({"a": torch.zeros(1)}, folder / "model.safetensors")
    with pytest.raises(ElmanError, match="not written by Elman"):
        load(folder)


def test_a_state_is_a_small_file_of_its_own_weights(folder: Path, tmp_path: Path) -> None:
    bot = load_network_bot(folder)
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
    bot = load_network_bot(folder)
    path = tmp_path / "kept.state"
    save_state(path, bot, bot.chatbot.initial_state(1), {})
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ElmanError, match="damaged or truncated"):
        load_state(path, bot)
    write_tensors(path, {"a": torch.zeros(1)}, {})
    with pytest.raises(ElmanError, match="not a saved state"):
        load_state(path, bot)


@pytest.mark.parametrize("made_with", [load_bot, load_network_bot])
def test_a_state_goes_from_one_decoder_to_the_other(
    made_with: Load, trained: Path, tmp_path: Path
) -> None:
    one = made_with(trained, "float32")
    other = (load_bot if made_with is load_network_bot else load_network_bot)(trained, "float32")
    assert (one.made_by, one.state_digest) == (other.made_by, other.state_digest)
    message = [np.array([ROLES["user"], *one.tokenizer.encode("hello there"), END])]
    state = one.decoder.read([message], one.decoder.initial_state(1))
    save_state(tmp_path / "one.state", one, state, {"messages": 1})
    found, facts = load_state(tmp_path / "one.state", other)
    assert facts["messages"] == 1
    save_state(tmp_path / "other.state", other, found, {"messages": 1})
    assert (tmp_path / "one.state").read_bytes() == (tmp_path / "other.state").read_bytes()
    expected = other.decoder.read([message], other.decoder.initial_state(1))
    for a, b in zip(other.decoder.to_arrays(found), other.decoder.to_arrays(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_halves_are_read_alike(folder: Path, dtype: torch.dtype) -> None:
    path = folder / "model.safetensors"
    tensors, facts = read_tensors(path)
    halves = {n: t.to(dtype) if t.is_floating_point() else t for n, t in tensors.items()}
    write_tensors(path, halves, facts)
    ours, theirs = load_bot(folder, "float32"), load_network_bot(folder)
    assert ours.made_by == theirs.made_by
    assert path.stat().st_size < sum(tensor.nbytes for tensor in tensors.values())


def test_loading_a_bot_imports_no_compiler() -> None:
    """Filling weights on the meta device did, which doubled the time that a chat takes to begin."""
    code = (
        "import sys; from elman.model.checkpoint import load_chatbot; load_chatbot('base'); "
        "assert not {'torch._dynamo', 'sympy'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def in_int8(folder: Path) -> tuple[dict[str, torch.Tensor], dict[str, object]]:
    """Rewrite a bot's weights in int8; return what its file holds."""
    bot = load_network_bot(folder)
    save_weights(folder, bot.chatbot, bot.tokenizer, "int8")
    return read_tensors(folder / "model.safetensors")


def test_int8_weights_come_back_as_they_were_rounded(folder: Path) -> None:
    before = load_network_bot(folder).chatbot.state_dict()
    size = (folder / "model.safetensors").stat().st_size
    stored, _ = in_int8(folder)
    assert (folder / "model.safetensors").stat().st_size < size / 2
    after = load_network_bot(folder)
    for name, tensor in after.chatbot.state_dict().items():
        if stored[name].dtype != torch.int8:
            assert torch.equal(tensor, before[name])
            continue
        # Half a step of each row's own scale, and the rounding of the product.
        step = before[name].abs().amax(1, keepdim=True) / 127
        assert ((tensor - before[name]).abs() <= 0.5001 * step).all()
    assert {t.dtype for t in stored.values()} >= {torch.int8, torch.float32}
    digest = weights_digest(after.chatbot)
    in_int8(folder)  # what was rounded once stays as it is
    assert weights_digest(load_network_bot(folder).chatbot) == digest
    for name, array in load_weights(folder).arrays.items():
        assert torch.equal(torch.from_numpy(array), after.chatbot.state_dict()[name])


@pytest.mark.parametrize("change", ["missing", "short", "nan", "no matrix"])
def test_int8_weights_that_do_not_fit_are_refused(folder: Path, change: str) -> None:
    tensors, facts = in_int8(folder)
    name = next(name for name in tensors if name.endswith(".int8_scale"))
    if change == "missing":
        del tensors[name]
    elif change == "short":
        tensors[name] = tensors[name][1:]
    elif change == "nan":
        tensors[name] = tensors[name] * torch.nan
    else:
        del tensors[name.removesuffix(".int8_scale")]
    write_tensors(folder / "model.safetensors", tensors, facts)
    with pytest.raises(ElmanError, match=r"model\.safetensors"):
        load_network_bot(folder)
    with pytest.raises(ElmanError, match=r"model\.safetensors"):
        load_weights(folder)


@pytest.mark.parametrize(
    "tensor",
    [
        torch.tensor(7),
        torch.zeros(0, 3, dtype=torch.long),
        torch.arange(3)[:0],
        torch.tensor([5]).expand(1),
        torch.tensor([5, 6])[::2],
        torch.tensor(5).expand(4),
        torch.arange(6).reshape(2, 3).T,
    ],
    ids=["scalar", "empty", "part", "one, stride 0", "one, stride 2", "expanded", "turned"],
)
def test_a_tensor_of_any_stride_comes_back(tensor: torch.Tensor, tmp_path: Path) -> None:
    write_tensors(tmp_path / "a", {"a": tensor}, {})
    read, _ = read_tensors(tmp_path / "a")
    assert torch.equal(read["a"], tensor)
