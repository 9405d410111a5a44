"""int8 weights beside those of float32 say what those say, rounded; else they are not used."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from elman.data.tokenizer import END, ROLES
from elman.errors import ElmanError
from elman.model.array_files import read_arrays, write_arrays
from elman.model.config import ModelConfig
from elman.model.folder import INT8_WEIGHTS, WEIGHTS, read_config, read_tokenizer
from elman.native import library
from elman.runtime.choose import load_bot
from elman.runtime.int8_weights import read_int8, write_int8
from elman.runtime.weights import load_weights

pytestmark = pytest.mark.skipif(library.load()[0] is None, reason=library.load()[1])


@pytest.fixture
def folder(trained: Path, tmp_path: Path) -> Path:
    """A copy of a bot, with int8 weights beside the others."""
    copy = Path(shutil.copytree(trained, tmp_path / "bot"))
    write_int8(copy, read_tokenizer(copy))
    return copy


def first_logits(folder: Path) -> np.ndarray:
    bot = load_bot(folder, "int8")
    message = np.array([ROLES["user"], *bot.tokenizer.encode("what is 1 plus 2?"), END])
    state = bot.decoder.read([[message]], bot.decoder.initial_state(1))
    return bot.decoder.begin_reply(state)[0]


def test_they_say_what_weights_say_that_are_rounded_at_the_start(folder: Path) -> None:
    found, bot = first_logits(folder), load_bot(folder, "int8")
    assert not bot.slower
    assert (folder / INT8_WEIGHTS).stat().st_size < 0.5 * (folder / WEIGHTS).stat().st_size
    (folder / INT8_WEIGHTS).unlink()
    rounded = load_bot(folder, "int8")
    np.testing.assert_array_equal(found, first_logits(folder))
    assert not rounded.slower
    assert bot.made_by == rounded.made_by == load_bot(folder, "float32").made_by


def test_what_was_in_int8_before_stays_as_it_is(folder: Path) -> None:
    expected = first_logits(folder)
    stored, _ = read_arrays(folder / INT8_WEIGHTS)
    _, facts = read_arrays(folder / WEIGHTS)
    write_arrays(folder / WEIGHTS, stored, facts)
    write_int8(folder, read_tokenizer(folder))
    np.testing.assert_array_equal(first_logits(folder), expected)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-7])


def emptied(path: Path) -> None:
    path.write_bytes(b"")


def changed(path: Path) -> None:
    whole = bytearray(path.read_bytes())
    whole[-5] ^= 1
    path.write_bytes(whole)


def of_other_weights(path: Path) -> None:
    stored, facts = read_arrays(path)
    write_arrays(path, stored, {**facts, "made_from": "0" * 64})


def of_another_shape(path: Path) -> None:
    stored, facts = read_arrays(path)
    stored["output_bias"] = stored["output_bias"][:-1]
    write_arrays(path, stored, facts)


def of_another_tokenizer(path: Path) -> None:
    stored, facts = read_arrays(path)
    write_arrays(path, stored, {**facts, "tokenizer": "0"})


def of_nothing_said(path: Path) -> None:
    stored, facts = read_arrays(path)
    write_arrays(path, stored, {**facts, "weights": None})


DAMAGE = [
    cut, emptied, changed, of_other_weights, of_another_shape, of_another_tokenizer, of_nothing_said
]  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGE)
def test_damaged_or_foreign_ones_are_not_used_and_it_is_said(
    folder: Path, damage: Callable[[Path], None], elman: Callable[..., Any]
) -> None:
    expected = first_logits(folder)
    damage(folder / INT8_WEIGHTS)
    with pytest.raises(ElmanError, match=INT8_WEIGHTS):
        read_int8(
            folder,
            ModelConfig.model_validate(read_config(folder)["model"]),
            read_tokenizer(folder),
        )
    bot = load_bot(folder, "int8")
    assert bot.slower
    assert "rounded from model.safetensors, since its int8 file cannot be used (" in bot.why
    np.testing.assert_array_equal(first_logits(folder), expected)
    ran = elman("chat", folder, "--weights", "int8", given="hello\n")
    assert ran.code == 0
    assert ran.err.count("its int8 file cannot be used") == 1


def test_without_int8_they_are_not_looked_at(folder: Path) -> None:
    cut(folder / INT8_WEIGHTS)
    assert not load_bot(folder, "float32").slower
    assert load_weights(folder).made_of is None
