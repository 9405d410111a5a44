"""elman watch: the terminal, JSON, and what is wrong with what was given."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Run = Callable[..., Any]


@pytest.fixture
def run(trained: Path) -> Path:
    """A finished run."""
    return trained


def test_json_is_the_moment(elman: Run, run: Path) -> None:
    ran = elman("watch", run, "--json")
    assert (ran.code, ran.err) == (0, "")
    found = json.loads(ran.out)
    assert found["step"]["step"] == 12
    assert found["end"]["reason"] == "finished"
    assert found["best"] == pytest.approx(found["end"]["bits_per_byte"], abs=5e-5)
    assert len(found["samples"]["samples"]) == 2  # of two conversations that were held out
    assert found["warnings"] == []


def test_the_terminal_shows_a_finished_run_and_ends(elman: Run, run: Path) -> None:
    ran = elman("watch", run, "--terminal")
    assert (ran.code, ran.err) == (0, "")
    for shown in ("step 12", "finished", "bits per byte", "gradient's norm", "held out", "says"):
        assert shown in ran.out
    assert "\x1b" not in ran.out


def test_tensorboard_missing_is_said(
    elman: Run, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    ran = elman("watch", run, "--tensorboard", tmp_path / "tb")
    assert ran.code == 2
    assert "pip install 'elman[tensorboard]'" in ran.err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nowhere"], "nowhere: no such folder; elman train CHATS --out nowhere makes one"),
        ([".", "--json"], "no run here"),
        ([".", "--json", "--terminal"], "choose one of"),
    ],
)
def test_mistakes(
    elman: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    ran = elman("watch", *arguments)
    assert (ran.code, ran.out) == (2, "")
    (line,) = ran.err.splitlines()
    assert said in line
