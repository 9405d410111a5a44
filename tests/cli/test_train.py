"""What `elman train` takes, what it says of it, and that Python makes the same run of it."""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from elman import Config
from elman.cli.renamed import RENAMED_FLAGS, with_new_names
from elman.cli.settings import help_of
from elman.generate.network import load_network_bot
from elman.generate.rerank import Ranking
from elman.model.folder import CONFIG, WEIGHTS
from elman.model.tensor_files import read_tensors, write_tensors
from elman.train import resume, train
from elman.train.checkpoints import CHECKPOINTS, checkpoints
from elman.train.config import SECTIONS
from elman.train.resuming import OLD_FACTS, RESUME
from elman.train.settings import SETTINGS_JSON, list_settings, put_table

Run = Callable[..., Any]

SIZES = ("model.hidden_size=16", "data.vocabulary=300", "train.batch_size=4", "train.unfold=16")
SMALL = [word for size in SIZES for word in ("--set", size)]
FLAG = re.compile(r"(?<!\S)--[a-z][a-z-]+")


@pytest.mark.parametrize(
    ("flags", "asked"),
    [
        (
            [*SMALL, "--set", "train.steps=6", "--set", "train.precision=float32"],
            {
                "data": {"bot": "ann", "vocabulary": 300},
                "model": {"hidden_size": 16},
                "train": {"steps": 6, "batch_size": 4, "unfold": 16, "precision": "float32"},
            },
        ),
        (
            ["--set", "train.steps=1", "--set", "train.precision=float32",
             "--set", "reply.mmi_weight=1", "--set", "data.replies=0",
             "--set", "data.others=names"],
            {
                "data": {"bot": "ann", "replies": 0, "others": "names"},
                "train": {"steps": 1, "precision": "float32"},
                "reply": {"mmi_weight": 1.0},
            },
        ),
    ],
    ids=["small", "base"],
)  # fmt: skip
def test_python_and_the_command_make_the_same_run(
    elman: Run,
    chats: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    flags: list[object],
    asked: dict[str, dict[str, Any]],
) -> None:
    monkeypatch.chdir(chats.parent)
    ran = elman("train", chats.name, "--bot", "ann", "--out", tmp_path / "command", *flags)
    assert ran.code == 0, ran.err
    values = asked | {"data": asked["data"] | {"path": chats.name}}
    train(Config.make(values), tmp_path / "python")
    for name in (CONFIG, WEIGHTS, "tokenizer.json"):
        one, other = ((tmp_path / each / name).read_bytes() for each in ("command", "python"))
        assert one == other, name
    found = json.loads((tmp_path / "python" / CONFIG).read_text())
    assert (found["data"]["bot"], found["data"]["learn_from"]) == ("Ann", "bot")
    assert found["data"]["path"] == str(chats)


def test_the_file_of_settings_is_what_the_fields_say() -> None:
    """Where it is not: python -m elman.train.settings"""
    found = list_settings()
    assert json.loads(SETTINGS_JSON.read_text("utf-8")) == found
    names = [f"{table}.{name}" for table, each in SECTIONS.items() for name in each.model_fields]
    assert [each["name"] for each in found] == names
    assert all(each["description"] and each["range"] for each in found)


def test_the_document_shows_what_the_fields_say() -> None:
    """Where it does not: python -m elman.train.settings"""
    shown = (Path(__file__).parents[2] / "docs" / "configuration.md").read_text("utf-8")
    assert shown == put_table(shown)
    assert shown.count("| `train.") == sum(
        each["name"].startswith("train.") for each in list_settings()
    )


def test_help_shows_what_a_person_needs_and_all_settings_are_listed(elman: Run) -> None:
    said = elman("train", "--help").out
    shown = set(FLAG.findall(said)) - {"--help", "--set", "--no-redact", "--no-rename"}
    assert len(shown) <= 17, shown
    assert not shown & RENAMED_FLAGS["train"].keys()
    listed = elman("train", "--all-settings")
    for each in list_settings():
        assert f"{each['name']} " in listed.out
    for setting in ("data.bot", "data.redact", "train.base", "train.minutes"):
        description = help_of(setting).partition(".  [")[0]
        assert description[:20] in said, setting
    assert json.loads(elman("train", "--all-settings", "--json").out) == list_settings()


def test_help_needs_no_torch() -> None:
    code = (
        "import sys; sys.argv = ['elman', 'train', '--help']\n"
        "from elman.cli import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "print('torch' in sys.modules)"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.splitlines()[-1] == "False"
    assert "--minutes" in ran.stdout


def test_old_flags_are_settings(elman: Run, chats: Path, tmp_path: Path) -> None:
    names = {each["name"] for each in list_settings()}
    settings = [new.removeprefix("--set ") for new in RENAMED_FLAGS["train"].values()]
    assert {setting.partition("=")[0] for setting in settings} <= names
    bot = tmp_path / "bot"
    ran = elman("train", chats, "--out", bot, "--hidden-size", 8, "--lanes", 3, "--steps=1",
                "--vocabulary", "bytes", "--learn-from", "bot", "--slide", "--unit", "messages",
                "--set", "train.copying=0.2")  # fmt: skip
    assert ran.code == 0, ran.err
    assert ran.err.count("--lanes is called --set train.batch_size now") == 1
    assert ran.err.count("--slide is called --set train.slide=true now") == 1
    assert ran.err.count("train.copying is now called train.pointer_loss_weight") == 1
    saved = json.loads((bot / CONFIG).read_text())
    assert (saved["train"]["batch_size"], saved["train"]["steps"]) == (3, 1)
    assert (saved["train"]["slide"], saved["train"]["pointer_loss_weight"]) == (True, 0.2)
    assert (saved["data"]["vocabulary"], saved["data"]["learn_from"]) == (260, "bot")


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        (["train", "a", "--lr", "0.1"], ["train", "a", "--set", "train.lr=0.1"]),
        (["train", "--lr=-1", "a"], ["train", "--set", "train.lr=-1", "a"]),
        (["train", "--slide", "a"], ["train", "--set", "train.slide=true", "a"]),
        (["train", "--lr"], ["train", "--set"]),
        (["train", "--", "--lr", "1"], ["train", "--", "--lr", "1"]),
        (["chat", "--mutual", "1"], ["chat", "--mmi-weight", "1"]),
        (["chat", "--mutual=1", "a"], ["chat", "--mmi-weight", "1", "a"]),
        (["chat", "--seed", "1"], ["chat", "--seed", "1"]),
        ([], []),
    ],
)
def test_old_flags_are_read_as_new_ones(given: list[str], meant: list[str]) -> None:
    assert with_new_names(given) == meant


def with_old_names(values: dict[str, Any]) -> dict[str, Any]:
    """A configuration as the last release wrote it."""
    for table, section in SECTIONS.items():
        for old, new in section.OLD_NAMES.items():
            values[table][old] = values[table].pop(new)
    return values


def test_a_bot_of_the_last_release_talks_and_goes_on(
    elman: Run, trained: Path, tmp_path: Path
) -> None:
    bot = tmp_path / "bot"
    shutil.copytree(trained, bot)
    before = json.loads((bot / CONFIG).read_text())
    written = with_old_names(json.loads((bot / CONFIG).read_text()))
    assert {"lanes", "copying", "most_epochs"} <= written["train"].keys()
    (bot / CONFIG).write_text(json.dumps(written))
    loaded = load_network_bot(bot)
    assert Ranking.of(loaded.config) == Ranking.of(load_network_bot(trained).config)
    assert loaded.config["model"] == before["model"]
    said = [elman("chat", each, "--seed", 1, given="what is 1 plus 1?\n").out
            for each in (trained, bot)]  # fmt: skip
    assert said[0] == said[1]
    tensors, facts = read_tensors(checkpoints(bot)[0])
    for old, new in OLD_FACTS.items():
        facts[old] = facts.pop(new)
    del facts["best_step"]
    facts["finished"] = facts.pop("ended") is not None
    shutil.rmtree(bot / CHECKPOINTS)
    write_tensors(bot / RESUME, tensors, facts)
    assert resume(bot, budget={"steps": 13}).steps == 13
    after = json.loads((bot / CONFIG).read_text())
    assert after["train"] == before["train"] | {"steps": 13}
