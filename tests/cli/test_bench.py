"""elman bench"""

import json
from collections.abc import Callable
from typing import Any

import pytest

from elman.bptt.kernels import native
from elman.native import library

Elman = Callable[..., Any]
SMALL = ["--hidden-size", "8", "--batch-size", "2", "--steps", "5", "--runs", "1"]


def test_it_says_which_path_is_active_and_why(elman: Elman) -> None:
    facts = json.loads(elman("bench", *SMALL, "--json").out)
    built = native.load()[0] is not None
    assert facts["path"] == ("kernels" if built else "reference")
    assert facts["why"] == native.load()[1]
    assert [row["layer"] for row in facts["layers"]] == ["LSTM", "GRU", "RNN"]
    assert all(row["elman_ms"] > 0 and row["torch_ms"] > 0 for row in facts["layers"])


def test_the_reference_can_be_asked_for(elman: Elman, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ELMAN_KERNELS", "reference")
    library.load.cache_clear()
    facts = json.loads(elman("bench", *SMALL, "--json").out)
    library.load.cache_clear()
    assert facts["path"] == "reference"
    assert "ELMAN_KERNELS=reference" in facts["why"]


def test_for_people(elman: Elman) -> None:
    shown = elman("bench", *SMALL).out
    assert "time loops:" in shown
    assert all(layer in shown for layer in ("LSTM", "GRU", "RNN"))


def test_the_old_name_of_the_batch_size_still_works(elman: Elman) -> None:
    old = [{"--batch-size": "--lanes"}.get(word, word) for word in SMALL]
    ran = elman("bench", *old, "--json")
    facts = json.loads(ran.out)
    assert facts["batch_size"] == facts["lanes"] == 2
    assert ran.err == "elman: --lanes is called --batch-size now\n"
