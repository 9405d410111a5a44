"""Every mistake gets one clear line and exit code 2, and nothing is lost or half-written."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Run = Callable[..., Any]

ENOUGH = "Bob: hello\nAnn: hi\n"


def refused(ran: Any, *said: str) -> None:
    assert ran.code == 2, ran
    assert "Traceback" not in ran.err
    lines = [line for line in ran.err.splitlines() if line.startswith("elman: ")]
    assert len(lines) == 1, ran.err
    for words in said:
        assert words in lines[0]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", ["chats.txt", "empty"]),
        (b"Bob: hello\nBob: anyone?\n", ["only 'Bob' spoke"]),
        (b"once upon a time\n", ["no known format", "'Name: what was said'"]),
        (b'{"messages": [{"role": "user",', ["line 1", "broken JSON"]),
        (ENOUGH.encode() + b"Bob: caf\xe9\n", ["line 3", "byte 27", "--encoding cp1252"]),
    ],
    ids=["empty", "one speaker", "no format", "broken JSON", "not UTF-8"],
)
def test_bad_conversations(elman: Run, tmp_path: Path, content: bytes, said: list[str]) -> None:
    chats = tmp_path / "chats.txt"
    chats.write_bytes(content)
    refused(elman("train", chats, "--out", tmp_path / "bot", "--set", "train.steps=1"), *said)
    assert not (tmp_path / "bot").exists()


def test_unknown_bot_lists_the_names(elman: Run, chats: Path, tmp_path: Path) -> None:
    ran = elman(
        "train", chats, "--bot", "Anna", "--out", tmp_path / "bot", "--set", "train.steps=1"
    )
    refused(ran, "'Anna'", "Ann (120 messages)", "Bob (120 messages)")
    assert not (tmp_path / "bot").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--set", "train.steps=1", "--minutes", 1], "exactly one of minutes, epochs and steps"),
        (["--set", "train.steps=0"], "train.steps"),
        (["--set", "train.unfold=0"], "train.unfold"),
        (["--set", "train.lr=-1"], "train.lr"),
        (["--set", "train.lr=nan"], "train.lr"),
        (["--set", "train.clip=-1"], "train.clip"),
        (["--set", "model.cell=mamba"], "no cell 'mamba'"),
        (["--set", "model.cell=os:path"], "is not a Cell"),
        (["--set", "model.cell=no.such:Thing"], "cannot be imported"),
        (["--set", "train.unit=words"], "train.unit"),
        (
            ["--set", "model.memory=messages", "--set", "train.unit=steps"],
            "over messages, not steps",
        ),
        (["--set", "model.memory=messages", "--set", "train.unfold=0"], "train.unfold"),
        (["--set", "model.pointer=-1"], "model.pointer"),
        (["--set", "train.slide=true"], "add --set train.unit=messages"),
        (["--set", "model.memory=none"], "model.memory"),
        (["--set", "data.vocabulary=many"], "a number, or bytes"),
        (["--set", "data.vocabulary=10"], "must be from 260"),
        (["--encoding", "klingon"], "no such encoding"),
        (["--set", "train.speed=9"], "train.speed"),
        (["--set", "speed"], "expected a.b=value"),
        (["--set", "data.learn_from=me"], "data.learn_from"),
        (["--config", "missing.toml"], "missing.toml"),
    ],
    ids=lambda value: " ".join(map(str, value)) if isinstance(value, list) else "",
)
def test_bad_settings(
    elman: Run, chats: Path, tmp_path: Path, arguments: list[object], said: str
) -> None:
    budget = [] if "train.steps" in str(arguments) else ["--set", "train.steps=1"]
    refused(elman("train", chats, "--out", tmp_path / "bot", *budget, *arguments), said)


def test_no_conversations_named(elman: Run) -> None:
    refused(elman("train"), "elman train CHATS")
    refused(elman("train", "nowhere.txt"), "nowhere.txt: no such file or folder")


def test_a_bot_is_not_replaced_unasked(elman: Run, chats: Path, trained: Path) -> None:
    before = (trained / "model.safetensors").read_bytes()
    refused(
        elman("train", chats, "--out", trained, "--set", "train.steps=1"), "--resume", "--overwrite"
    )
    assert (trained / "model.safetensors").read_bytes() == before


def test_out_that_is_a_file(elman: Run, chats: Path) -> None:
    refused(elman("train", chats, "--out", chats, "--set", "train.steps=1"), "a file is there")


def test_resume_changes_only_the_budget(elman: Run, trained: Path, tmp_path: Path) -> None:
    refused(elman("train", "--resume", trained, "--set", "train.lr=1"), "train.lr")
    refused(elman("train", "--resume", trained, "--out", tmp_path), "--out")
    refused(elman("train", "--resume", trained), "finished", "--set train.steps=24")
    refused(elman("train", "--resume", tmp_path), "no bot here")


@pytest.mark.parametrize("verb", ["chat", "eval"])
def test_broken_bots(elman: Run, trained: Path, chats: Path, tmp_path: Path, verb: str) -> None:
    more = [chats] if verb == "eval" else []
    refused(elman(verb, tmp_path / "nothing", *more), "no bot here")
    bot = Path(shutil.copytree(trained, tmp_path / "bot"))
    weights = (bot / "model.safetensors").read_bytes()
    (bot / "model.safetensors").write_bytes(weights[:1000])
    refused(elman(verb, bot, *more), "model.safetensors", "damaged or truncated")
    (bot / "config.json").write_text(json.dumps({"format": 99, "elman": "9"}))
    refused(elman(verb, bot, *more), "format 99")


@pytest.mark.parametrize(
    "option", [["--temperature", "-1"], ["--top-p", "0"], ["--min-p", "2"], ["--max-tokens", "0"]]
)
def test_bad_sampling(elman: Run, trained: Path, option: list[str]) -> None:
    refused(elman("chat", trained, *option), option[0])


def test_eval_of_other_people(elman: Run, trained: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.txt"
    other.write_text(ENOUGH.replace("Ann", "Eve"))
    refused(elman("eval", trained, other), "'Ann'", "Eve (1 messages)")
    refused(elman("eval", trained, other, "--split", "some"), "all, dev or test")


def test_unknown_options_are_the_shells(elman: Run) -> None:
    assert elman("train", "--speed", "9").code == 2
    assert elman("dance").code == 2


def test_a_full_disk(
    elman: Run, chats: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    ran = elman("train", chats, "--out", tmp_path / "bot", "--set", "train.steps=1")
    refused(ran, "No space left on device")
    assert list((tmp_path / "bot").iterdir()) == []
