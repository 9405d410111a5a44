"""Two trainings into one folder exclude each other, whatever becomes of either."""

import errno
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from elman.data.locks import LOCK, only_one
from elman.errors import ElmanError
from elman.generate.network import load_network_bot
from elman.train import Config, resume, train

Make = Callable[..., Config]

HOLDER = """
import sys
from pathlib import Path
from elman.data.locks import only_one

with only_one(Path(sys.argv[1]), print):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def held(tmp_path: Path) -> Any:
    """A folder that another process holds, and that process."""
    folder = tmp_path / "bot"
    folder.mkdir()
    command = [sys.executable, "-c", HOLDER, str(folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline().strip() == b"held"
        yield folder, holder
        holder.kill()


@pytest.mark.slow
def test_the_second_is_told_who_holds_it(held: Any, make_config: Make, chats: Path) -> None:
    folder, holder = held
    said = f"bot: is being trained by process {holder.pid} on .*: wait until that has ended"
    with pytest.raises(ElmanError, match=said):
        train(make_config(), folder)
    assert [path.name for path in folder.iterdir()] == [LOCK], "nothing was changed"
    command = [sys.executable, "-m", "elman", "train", str(chats), "--out", str(folder)]
    ran = subprocess.run([*command, "--set", "train.steps=1"], capture_output=True, text=True)
    assert ran.returncode == 2
    [line] = [line for line in ran.stderr.splitlines() if line.startswith("elman: ")]
    assert f"is being trained by process {holder.pid}" in line


def test_a_run_that_goes_on_cannot_be_resumed(trained: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(trained, tmp_path / "bot"))
    before = (folder / "config.json").read_bytes()
    with (
        only_one(folder, pytest.fail),
        pytest.raises(ElmanError, match=f"by process {os.getpid()} on"),
    ):
        resume(folder, budget={"steps": 13})
    assert (folder / "config.json").read_bytes() == before
    assert resume(folder, budget={"steps": 13}).steps == 13


def test_a_lock_dies_with_its_process(held: Any, make_config: Make) -> None:
    folder, holder = held
    holder.kill()
    holder.wait()
    assert (folder / LOCK).exists(), "its file is left behind"
    train(make_config(), folder)
    assert not (folder / LOCK).exists()


def test_while_it_trains_the_folder_is_held_and_can_be_read(
    make_config: Make, tmp_path: Path
) -> None:
    folder = tmp_path / "bot"
    refused: list[str] = []

    def look(kind: str, facts: dict[str, Any]) -> None:
        if kind == "validation":
            load_network_bot(folder)
            with pytest.raises(ElmanError) as error:
                train(make_config(), folder)
            refused.append(str(error.value))

    train(make_config(), folder, observers=(look,))
    assert refused
    assert all("is being trained by process" in each for each in refused)
    assert not (folder / LOCK).exists()
    config = json.loads((folder / "config.json").read_text("utf-8"))
    assert config["train"]["steps"] == 12


def test_a_lock_is_no_way_to_write_elsewhere(make_config: Make, tmp_path: Path) -> None:
    folder, precious = tmp_path / "bot", tmp_path / "precious"
    folder.mkdir()
    precious.write_text("mine")
    (folder / LOCK).symlink_to(precious)
    with pytest.raises(ElmanError, match="cannot be written"):
        train(make_config(), folder)
    assert precious.read_text() == "mine"


def test_where_there_are_no_locks_it_is_said(
    make_config: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lacking(_: Any) -> None:
        raise OSError(errno.ENOTSUP, "Operation not supported")

    monkeypatch.setattr("elman.data.locks._lock", lacking)
    notes: list[str] = []

    def told(kind: str, facts: dict[str, Any]) -> None:
        if kind == "note":
            notes.append(facts["text"])

    assert train(make_config(), tmp_path / "bot", observers=(told,)).steps == 12
    [said] = [note for note in notes if "has no locks (Operation not supported)" in note]
    assert "see to it that nobody else trains there" in said
