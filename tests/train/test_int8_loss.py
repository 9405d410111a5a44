"""What int8 weights cost a bot is measured when training ends, and decides what it speaks with."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from elman import load_bot
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
    assert load_bot(trained).precision == ("int8" if loss <= MAX_INT8_LOSS else "float32")


def test_without_the_library_it_stays_unknown(
    make_config: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("elman.train.finishing.load", lambda: (None, "there is none"))
    train(make_config(train__steps=3), tmp_path)
    assert kept(tmp_path) is None
    assert load_bot(tmp_path).precision == "float32"
