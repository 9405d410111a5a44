"""What int8 weights cost a bot is measured when training ends, and decides what it speaks with."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from elman import load_bot
from elman.model.folder import INT8_WEIGHTS
from elman.native import library
from elman.runtime.choose import INT8_LOSS, MAX_INT8_LOSS
from elman.train import Config, train

Make = Callable[..., Config]


def kept(folder: Path) -> object:
    return json.loads((folder / "config.json").read_text("utf-8"))[INT8_LOSS]


@pytest.mark.skipif(library.load()[0] is None, reason=library.load()[1])
def test_it_is_measured_and_obeyed(trained: Path) -> None:
    loss = kept(trained)
    assert isinstance(loss, float)
    assert loss != 0
    cheap = loss <= MAX_INT8_LOSS
    assert load_bot(trained).precision == ("int8" if cheap else "float32")
    assert (trained / INT8_WEIGHTS).exists() == cheap


@pytest.mark.skipif(library.load()[0] is None, reason=library.load()[1])
@pytest.mark.parametrize("loss", [MAX_INT8_LOSS, MAX_INT8_LOSS + 1e-6])
def test_they_are_kept_where_they_cost_next_to_nothing(
    make_config: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, loss: float
) -> None:
    monkeypatch.setattr("elman.train.finishing.int8_loss", lambda *_: loss)
    tmp_path.joinpath(INT8_WEIGHTS).write_bytes(b"of an earlier run")
    train(make_config(train__steps=3), tmp_path)
    assert kept(tmp_path) == loss
    assert (tmp_path / INT8_WEIGHTS).exists() == (loss == MAX_INT8_LOSS)
    loaded = load_bot(tmp_path)
    assert (loaded.precision, loaded.slower) == (
        "int8" if loss == MAX_INT8_LOSS else "float32",
        False,
    )


def test_without_the_library_it_stays_unknown(
    make_config: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("elman.train.finishing.load", lambda: (None, "there is none"))
    train(make_config(train__steps=3), tmp_path)
    assert kept(tmp_path) is None
    assert load_bot(tmp_path).precision == "float32"
