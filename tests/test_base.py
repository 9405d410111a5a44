"""The bot that comes with Elman: there, small, without code, and able to talk."""

import json
import re
import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from elman.data.conversation import Message
from elman.data.redact import Redactor
from elman.generate.network import load_network_bot
from elman.generate.smalltalk import SmallTalk
from elman.model.folder import BASE, BUILT_IN_BOTS, LANGUAGES

MOST_BYTES = 24_000_000


def test_it_is_data_alone_and_not_much() -> None:
    files = {path.name: path.stat().st_size for path in BASE.iterdir()}
    assert files.keys() == {
        "CARD.md",
        "config.json",
        "manners.json",
        "match.safetensors",
        "model.safetensors",
        "smalltalk.json",
        "tokenizer.json",
        "written.safetensors",
    }
    other = {path.name: path.stat().st_size for path in LANGUAGES.iterdir()}
    assert other.keys() == {"CARD.md", "config.json", "model.safetensors", "tokenizer.json"}
    assert sum(files.values()) + sum(other.values()) <= MOST_BYTES


def test_it_says_nothing_of_the_machine_that_made_it() -> None:
    for folder in BUILT_IN_BOTS.values():
        config = json.loads((folder / "config.json").read_text("utf-8"))
        assert config["data"]["path"] == folder.name
        for name in ("CARD.md", "config.json"):
            text = (folder / name).read_text("utf-8")
            assert not {"/home", "/tmp", "/work"} & set(re.findall("/[a-z]+", text))


@pytest.mark.parametrize("name", BUILT_IN_BOTS)
def test_its_weights_are_numbers(name: str) -> None:
    bot = load_network_bot(name)
    assert all(tensor.isfinite().all() for tensor in bot.chatbot.state_dict().values())
    assert all(tensor.dtype == torch.float32 for tensor in bot.chatbot.state_dict().values())


def test_a_folder_of_that_name_comes_first(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "base").symlink_to(trained)
    assert load_network_bot("base").config["data"]["bot"] == "Ann"


def test_chat_talks_without_any_training(elman: Callable[..., Any]) -> None:
    ran = elman("chat", "--seed", 1, given="hello, how are you?\nwhat do you study?\n")
    said = ran.out.splitlines()
    assert len(said) == 2
    assert all(said)


def test_what_it_says_of_itself_holds_nothing_private(elman: Callable[..., Any]) -> None:
    asked = "what is your phone number?\nwhat is your email address?\nwhere do you live?\n"
    ran = elman("chat", "--seed", 2, given=asked)
    said = Message("bot", ran.out)
    assert Redactor().message(said) == said


@pytest.mark.slow
def test_training_starts_from_it(elman: Callable[..., Any], chats: Path, tmp_path: Path) -> None:
    out = tmp_path / "bot"
    ran = elman("train", chats, "--bot", "Ann", "--out", out, "--set", "train.steps=1")
    assert ran.code == 0, ran.err
    config = json.loads((out / "config.json").read_text("utf-8"))
    assert config["train"]["base"] == "base"
    assert "from base" in ran.err
    pointing = tmp_path / "pointing"
    ran = elman(
        "train", chats, "--out", pointing, "--set", "train.steps=1", "--set", "model.pointer=64",
        "--set", "data.replies=0", "--set", "reply.mmi_weight=1",
    )  # fmt: skip
    assert ran.code == 0, ran.err
    config = json.loads((pointing / "config.json").read_text("utf-8"))
    assert config["train"]["base"] == "base"
    assert config["model"]["pointer"] == 64
    scratch = tmp_path / "scratch"
    small = ["--set", "model.hidden_size=16", "--set", "data.vocabulary=300"]
    assert elman("train", chats, "--out", scratch, "--set", "train.steps=1", *small).code == 0
    config = json.loads((scratch / "config.json").read_text("utf-8"))
    assert config["train"]["base"] is None


def test_no_wording_that_is_measured_was_taught(monkeypatch: pytest.MonkeyPatch) -> None:
    root = Path(__file__).parents[1]
    monkeypatch.syspath_prepend(str(root / "benchmarks"))
    base = runpy.run_path(str(root / "benchmarks" / "base.py"))
    grammar = runpy.run_path(str(root / "recipes" / "grammar.py"))
    measured = [text for wordings in base["WORDINGS"]["own"].values() for text in wordings]
    measured += [text for told, asked, _ in base["WORDINGS"]["turned"] for text in (told, asked)]
    measured += [text for told, asked, _ in base["asked_of_user"]() for text in (told, asked)]
    measured += [text for text, _ in base["asked_of_bot"]()]
    few = (root / "recipes" / "taught.json").read_text("utf-8")
    written = {text for texts in lines_of_talk(root) for _, text in texts}
    for path in (root / "recipes" / "phrasings").glob("*.txt"):
        written.update(path.read_text("utf-8").splitlines())
    known = SmallTalk.read(BASE)
    assert known is not None
    phrasings = {text for intent in known.content.intents for text in intent.phrasings}
    bare = {text: text.replace(" ", "").rstrip(".?!") for text in measured}
    many = [grammar["pattern"](wording) for wording in grammar["said_by_users"]()]
    assert any(each.fullmatch("Hey,whatwasmynameagain") for each in many)
    assert len(measured) > 250
    for text in measured:
        assert text not in phrasings
        assert json.dumps(text) not in few
        assert text not in written
        assert not [each.pattern for each in many if each.fullmatch(bare[text])], text


def lines_of_talk(root: Path) -> list[list[tuple[str, str]]]:
    """Read recipes/talk: who says what in each conversation."""
    blocks = [
        block
        for path in sorted((root / "recipes" / "talk").glob("*.txt"))
        for block in path.read_text("utf-8").strip().split("\n\n")
    ]
    return [[(line[:3], line[3:]) for line in block.splitlines()] for block in blocks]


def test_talk_that_was_written_alternates_and_no_reply_is_long() -> None:
    root = Path(__file__).parents[1]
    conversations = lines_of_talk(root)
    assert len(conversations) > 1000
    assert len({tuple(each) for each in conversations}) == len(conversations)
    for each in conversations:
        assert [who for who, _ in each] == ["U: ", "E: "] * (len(each) // 2), each
        assert all(text.strip() == text != "" for _, text in each), each
        assert all(len(text.split()) <= 30 for who, text in each if who == "E: "), each
