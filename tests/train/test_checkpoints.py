"""Checkpoints: whichever a run goes on from, it ends in the very same files."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from elman.errors import ElmanError
from elman.model.folder import CONFIG, WEIGHTS
from elman.model.tensor_files import digest, read_tensors, write_tensors
from elman.train import Config, resume, train
from elman.train.checkpoints import CHECKPOINTS, checkpoints, weights_in
from elman.train.runlog import LOG

Make = Callable[..., Config]

OF_TIME = ("seconds", "tokens_per_second", "left", "cycle_began")
"""What differs between two runs that are the same."""


def notes(into: list[str]) -> Callable[[str, dict[str, Any]], None]:
    return lambda kind, facts: into.append(facts["text"]) if kind == "note" else None


def end_of(folder: Path) -> dict[str, Any]:
    """All that a run leaves, but for time; its last checkpoint in the place of all of them."""
    found: dict[str, Any] = {}
    for path in folder.iterdir():
        if path.name == LOG:
            lines = [json.loads(line) for line in path.read_text().splitlines()]
            lines = [line for line in lines if line.get("reason") != "interrupted"]
            found[LOG] = [{k: v for k, v in line.items() if k not in OF_TIME} for line in lines]
        elif path.name == CHECKPOINTS:
            tensors, facts = read_tensors(checkpoints(folder)[0])
            kept = {k: v for k, v in facts.items() if k not in OF_TIME}
            found[CHECKPOINTS] = (digest(tensors), kept)
        else:
            found[path.name] = path.read_bytes()
    return found


def assert_same_weights(checkpoint: Path, folder: Path) -> None:
    """The weights in a bot's folder are those of a checkpoint."""
    own, weights = weights_in(read_tensors(checkpoint)[0]), read_tensors(folder / WEIGHTS)[0]
    assert digest(own) == digest(weights)


def flip(path: Path, share: float) -> None:
    """Change one bit, somewhere."""
    content = bytearray(path.read_bytes())
    content[int(share * len(content))] ^= 4
    path.write_bytes(content)


def copy(folder: Path, to: Path) -> Path:
    return Path(shutil.copytree(folder, to))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, make_config: Make) -> Path:
    """A run that was never stopped, with its checkpoints after 8 and 12 steps."""
    folder = tmp_path_factory.mktemp("whole") / "bot"
    train(make_config(train__validations=3, data__replies=20), folder)
    return folder


@pytest.mark.parametrize(
    "changes",
    [
        {"train__steps": 30, "train__cycle_epochs": 0.2, "train__lr": 0.01},
        {"train__steps": 40, "train__lr": 20.0, "train__optimizer": "sgd", "train__warmup": 0.0,
         "train__validations": 20, "train__patience": 2},
        {"train__steps": 12, "train__validations": 3, "model__dropout": 0.2},
    ],
    ids=["cycles", "early stop", "one cycle"],
)  # fmt: skip
def test_every_checkpoint_leads_to_the_same_end(
    tmp_path: Path, make_config: Make, changes: dict[str, Any]
) -> None:
    """A kill leaves what is on disk; here that is each checkpoint in turn, with a later log."""
    train(make_config(**changes, train__keep_checkpoints=99), tmp_path / "whole")
    end = end_of(tmp_path / "whole")
    every = checkpoints(tmp_path / "whole")
    assert len(every) > 3
    for number in range(len(every)):
        folder = copy(tmp_path / "whole", tmp_path / f"{number}")
        for path in checkpoints(folder)[:number]:
            path.unlink()
        log = (folder / LOG).read_text().splitlines(keepends=True)
        (folder / LOG).write_text("".join(log[:-1]))  # the end was not written
        resume(folder)
        assert end_of(folder) == end


def test_the_last_ones_and_the_best_are_kept(tmp_path: Path, make_config: Make) -> None:
    config = make_config(
        train__steps=40, train__lr=20.0, train__optimizer="sgd", train__warmup=0.0,
        train__validations=20, train__patience=4, train__keep_checkpoints=2,
    )  # fmt: skip
    train(config, tmp_path)
    lines = [json.loads(line) for line in (tmp_path / LOG).read_text().splitlines()]
    scored = {line["step"]: line["bits_per_byte"] for line in lines if line["kind"] == "validation"}
    best, last = min(scored, key=scored.__getitem__), sorted(scored)[-2:]
    assert best < last[0]
    kept = [tmp_path / CHECKPOINTS / f"step-{step:08d}.safetensors" for step in [best, *last]]
    assert checkpoints(tmp_path) == kept[::-1]
    assert_same_weights(kept[0], tmp_path)


@pytest.mark.parametrize("share", [0.0, 0.01, 0.3, 0.6, 0.99])
def test_a_damaged_checkpoint_gives_way_to_the_one_before(
    tmp_path: Path, whole: Path, share: float
) -> None:
    folder, said = copy(whole, tmp_path / "bot"), list[str]()
    newest, before = checkpoints(folder)
    flip(newest, share)
    resume(folder, observers=(notes(said),))
    [line] = [line for line in said if str(newest) in line]
    assert line.endswith(f"going on from the one before, {before.name}")
    assert any(line.startswith("step 12 was reached") and "of step 8:" in line for line in said)
    assert end_of(folder) == end_of(whole)


def test_a_truncated_checkpoint_gives_way_too(tmp_path: Path, whole: Path) -> None:
    folder = copy(whole, tmp_path / "bot")
    newest, _ = checkpoints(folder)
    os.truncate(newest, newest.stat().st_size // 2)
    resume(folder)
    assert end_of(folder) == end_of(whole)


def test_where_none_is_whole_the_run_is_refused(tmp_path: Path, whole: Path) -> None:
    folder = copy(whole, tmp_path / "bot")
    for path in checkpoints(folder):
        flip(path, 0.5)
    with pytest.raises(ElmanError, match=r"checksum .*; nor is one of 1 newer ones whole"):
        resume(folder)


def test_checkpoints_that_were_deleted_are_said(tmp_path: Path, whole: Path) -> None:
    folder, said = copy(whole, tmp_path / "bot"), list[str]()
    checkpoints(folder)[0].unlink()
    resume(folder, observers=(notes(said),))
    assert any(line.startswith("step 12 was reached") and "of step 8:" in line for line in said)
    assert end_of(folder) == end_of(whole)
    for path in checkpoints(folder):
        path.unlink()
    with pytest.raises(ElmanError, match=rf"no checkpoint of this run .* --base {folder}"):
        resume(folder)


@pytest.mark.parametrize("spoil", [Path.unlink, lambda path: flip(path, 0.7)])
def test_the_best_weights_are_made_again(
    tmp_path: Path, whole: Path, spoil: Callable[[Path], None]
) -> None:
    folder, said = copy(whole, tmp_path / "bot"), list[str]()
    newest, before = checkpoints(folder)
    newest.unlink()
    spoil(folder / WEIGHTS)
    resume(folder, observers=(notes(said),), stop=lambda: True)
    assert any(f"{folder / WEIGHTS}: " in line and "made again from" in line for line in said)
    assert_same_weights(before, folder)
    resume(folder)
    assert end_of(folder) == end_of(whole)


def test_weights_that_are_nowhere_are_said(tmp_path: Path, whole: Path, make_config: Make) -> None:
    folder, said = copy(whole, tmp_path / "bot"), list[str]()
    for path in checkpoints(folder)[:-1]:
        path.unlink()
    (folder / WEIGHTS).unlink()
    (lone,) = checkpoints(folder)
    tensors, facts = read_tensors(lone)
    write_tensors(lone, tensors, facts | {"best_step": 5})
    result = resume(folder, observers=(notes(said),))
    assert any("best weights so far are lost" in line for line in said)
    assert result.bits_per_byte is not None


def test_a_run_that_ended_goes_on_with_what_was_left_to_do(
    tmp_path: Path, whole: Path, make_config: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The steps are all made, but people's replies were not kept yet when it was killed."""

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("elman.train.loop.learn_to_reply", killed)
        with pytest.raises(KeyboardInterrupt):
            train(make_config(train__validations=3, data__replies=20), tmp_path)
    resume(tmp_path)
    assert end_of(tmp_path) == end_of(whole)
    with pytest.raises(ElmanError, match="this run is finished"):
        resume(tmp_path)


def test_a_run_that_did_not_begin_leaves_no_bot(
    tmp_path: Path, make_config: Make, monkeypatch: pytest.MonkeyPatch, whole: Path
) -> None:
    """Until its first checkpoint is whole, a folder is as if nothing had begun there."""
    folder = copy(whole, tmp_path / "bot")

    def killed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("elman.train.loop.write_checkpoint", killed)
    with pytest.raises(KeyboardInterrupt):
        train(make_config(), folder)
    assert not (folder / CONFIG).exists()
    with pytest.raises(ElmanError, match="no bot here"):
        resume(folder)


def test_a_full_disk_leaves_the_last_checkpoint(
    tmp_path: Path, make_config: Make, monkeypatch: pytest.MonkeyPatch, whole: Path
) -> None:
    calls = iter(range(100))  # six to begin with, then three for each checkpoint that is the best
    written = os.fsync

    def full(file: int) -> None:
        if next(calls) >= 8:
            raise OSError(28, "No space left on device")
        written(file)

    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", full)
        with pytest.raises(ElmanError) as error:
            train(make_config(train__validations=3, data__replies=20), tmp_path)
    [newest, *_] = checkpoints(tmp_path)
    assert "No space left on device; what was there before is still there" in str(error.value)
    assert f"the last checkpoint is {newest.name}, and elman train --resume" in str(error.value)
    assert not list(tmp_path.rglob(".elman-*"))
    resume(tmp_path)
    assert end_of(tmp_path) == end_of(whole)
