"""Two bots compared on the command line, by measures and by a person."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from elman.train import Config, train

Run = Callable[..., Any]


@pytest.fixture(scope="module")
def better(tmp_path_factory: pytest.TempPathFactory, make_config: Callable[..., Config]) -> Path:
    folder = tmp_path_factory.mktemp("bots") / "better"
    train(make_config(train__steps=80, train__lr=0.01, train__seed=1), folder)
    return folder


@pytest.mark.slow
def test_the_better_one_is_named(elman: Run, trained: Path, better: Path, chats: Path) -> None:
    ran = elman("ab", trained, better, chats, "--json")
    assert ran.code == 0, ran.err
    found = {each["measure"]: each for each in json.loads(ran.out)["measures"]}
    assert found["bits_per_byte"]["better"] == "other"
    low, high = found["bits_per_byte"]["interval"]
    assert low < found["bits_per_byte"]["difference"] < high < 0
    shown = elman("ab", trained, better, chats).out
    assert "bits per byte" in shown
    assert "paired bootstrap" in shown


@pytest.mark.slow
def test_blind_choices_are_kept(
    elman: Run, trained: Path, better: Path, chats: Path, tmp_path: Path
) -> None:
    tally = tmp_path / "tally.json"
    blind = ["ab", trained, better, chats, "--blind", "--tally", tally]
    ran = elman(*blind, given="1\n2\nwhat\n=\nq\n")
    assert ran.code == 0, ran.err
    kept = json.loads(tally.read_text("utf-8"))
    assert sum(kept.values()) == 3
    assert kept["neither"] == 1
    before_choice = ran.out.split(str(tally))[0]
    assert str(better) not in before_choice
    assert str(trained) not in before_choice
    elman(*blind, given="1\n")
    assert sum(json.loads(tally.read_text("utf-8")).values()) == 4, "it goes on"


@pytest.mark.slow
def test_a_tally_of_other_bots_is_not_written_over(
    elman: Run, trained: Path, better: Path, chats: Path, tmp_path: Path
) -> None:
    tally = tmp_path / "tally.json"
    for content in ('{"somebody": 1}', "[]", "no json"):
        tally.write_text(content, "utf-8")
        ran = elman("ab", trained, better, chats, "--blind", "--tally", tally, given="1\n")
        assert ran.code == 2
        assert tally.read_text("utf-8") == content
