"""Conversations that lie somewhere else than when a bot learned from them."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Run = Callable[..., Any]


@pytest.fixture
def moved(elman: Run, chats: Path, tmp_path: Path, small_run: tuple[str, ...]) -> tuple[Path, Path]:
    """A bot that learned under pseudonyms, and where its conversations lie now."""
    old, new = tmp_path / "chats.txt", tmp_path / "elsewhere" / "other name.txt"
    shutil.copy(chats, old)
    ran = elman(
        "train", old, *small_run, "--rename", "--set", "train.steps=2", "--out", tmp_path / "bot"
    )
    assert ran.code == 0, ran.err
    new.parent.mkdir()
    old.rename(new)
    return tmp_path / "bot", new


@pytest.mark.parametrize("path_first", [True, False])
def test_a_run_goes_on(elman: Run, moved: tuple[Path, Path], path_first: bool) -> None:
    bot, new = moved
    gone = elman("train", "--resume", bot, "--set", "train.steps=3")
    assert gone.code == 2
    assert f"is gone, and {bot} was trained on it" in gone.err
    assert f"elman train PATH --resume {bot}" in gone.err
    place = (new, "--resume", bot) if path_first else ("--resume", bot, new)
    assert elman("train", *place, "--set", "train.steps=3").code == 0
    assert elman("train", "--resume", bot, "--set", "train.steps=4").code == 0


def test_a_run_goes_on_with_what_comes_from_a_pipe(elman: Run, moved: tuple[Path, Path]) -> None:
    bot, new = moved
    ran = elman("train", "-", "--resume", bot, "--set", "train.steps=3", given=new.read_bytes())
    assert ran.code == 0, ran.err
    ran = elman("train", "--resume", bot, "--set", "train.steps=4")
    assert (ran.code, "standard input: is gone" in ran.err) == (2, True)
    assert elman("train", new, "--resume", bot, "--set", "train.steps=4").code == 0


@pytest.mark.parametrize("content", ["Bob: hello\nAnn: hi\n", "Cid: hello\nDov: hi\n", "nothing"])
def test_others_are_refused(
    elman: Run, moved: tuple[Path, Path], tmp_path: Path, content: str
) -> None:
    bot, _ = moved
    other = tmp_path / "other.txt"
    other.write_text(content)
    ran = elman("train", other, "--resume", bot, "--set", "train.steps=3")
    assert ran.code == 2
    assert f"not the conversations that {bot} was trained on: " in ran.err
    missing = elman("train", tmp_path / "missing", "--resume", bot, "--set", "train.steps=3")
    assert (missing.code, "no such file" in missing.err) == (2, True)


def test_eval_and_lens_know_them(
    elman: Run, moved: tuple[Path, Path], chats: Path, tmp_path: Path
) -> None:
    """Whose pseudonyms are the same, and whose held-out part nobody learned from."""
    bot, new = moved
    ran = elman("eval", bot, new, "--split", "dev", "--samples", 1, "--json")
    assert ran.code == 0, ran.err
    assert not any("is not here" in note for note in json.loads(ran.out)["left_out"])
    seen = json.loads(elman("lens", bot, new, "--json").out)
    assert any("trained or chosen with" in note for note in seen["exact"])
    other = tmp_path / "other.txt"
    other.write_text(chats.read_text().replace("plus", "and"))
    for verb in ("eval", "lens"):
        ran = elman(verb, bot, other)
        assert (ran.code, "people were renamed for this bot" in ran.err) == (2, True)
