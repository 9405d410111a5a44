"""A folder for others: the same bits, nothing private, and a bot again."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import elman as package
from elman.errors import ElmanError
from elman.export.private import private_words
from elman.generate.bot import load_state, save_state
from elman.generate.taught import TAUGHT
from elman.model.folder import (
    CONFIG,
    MANNERS,
    MATCH,
    REPLAY,
    REPLIES,
    TOKENIZER,
    WEIGHTS,
    WRITTEN,
    read_config,
)
from elman.runtime.choose import load_bot

Run = Callable[..., Any]

AT_HOME = (
    REPLAY,
    "canaries.json",
    "audit.json",
    "log.jsonl",
    "resume.safetensors",
    TAUGHT,
    "common.json",
)


@pytest.fixture
def bot(trained: Path, tmp_path: Path) -> Path:
    """A bot whose folder holds everything that a folder can."""
    folder = Path(shutil.copytree(trained, tmp_path / "bot"))
    for name in AT_HOME:
        path = folder / name
        path.write_bytes(path.read_bytes() if path.exists() else b"private words")
    return folder


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_the_same_bits_leave_and_come_home(bot: Path, tmp_path: Path, elman: Run) -> None:
    away, home = tmp_path / "away", tmp_path / "bots" / "home"
    ran = elman("export", bot, "--to", "folder", "--out", away)
    assert ran.code == 0, ran.err
    assert names(away) == ["README.md", CONFIG, WEIGHTS, TOKENIZER]
    ran = elman("import", away, "--out", home)
    assert ran.code == 0, ran.err
    assert names(home) == [CONFIG, WEIGHTS, TOKENIZER]
    for folder in (away, home):
        for name in (WEIGHTS, TOKENIZER):
            assert (folder / name).read_bytes() == (bot / name).read_bytes()
        # A state goes from one to the other.
        one, two = load_bot(bot), package.load_bot(folder)
        state = one.decoder.begin_reply(one.decoder.initial_state(1))[1]
        save_state(tmp_path / "a.state", one, state, {"messages": 1})
        load_state(tmp_path / "a.state", two)
        assert one.state_digest == two.state_digest


def test_no_path_and_no_other_person_leaves(
    bot: Path, tmp_path: Path, elman: Run, chats: Path
) -> None:
    config = json.loads((bot / CONFIG).read_text("utf-8"))
    config["data"] |= {"known": ["Bob"], "drop": ["Eve"], "canaries": 3, "canary_seed": 7}
    config["train"]["base"] = "/home/ann/secret"
    (bot / CONFIG).write_text(json.dumps(config), "utf-8")
    away = tmp_path / "away"
    assert elman("export", bot, "--to", "folder", "--out", away).code == 0
    written = (away / CONFIG).read_text("utf-8") + (away / "README.md").read_text("utf-8")
    assert str(chats) in json.dumps(config)
    for word in (str(chats), "Bob", "Eve", "secret", "canar"):
        assert word not in written
    assert read_config(away)["data"]["path"] == "-"
    assert load_bot(away).data.bot == "Ann"


def test_replies_leave_where_it_is_asked_for(bot: Path, tmp_path: Path, elman: Run) -> None:
    assert (bot / REPLIES).exists()
    ran = elman("export", bot, "--to", "folder", "--out", tmp_path / "away", "--with-replies")
    assert ran.code == 0, ran.err
    assert "word for word" in ran.err
    assert (tmp_path / "away" / REPLIES).read_bytes() == (bot / REPLIES).read_bytes()
    assert elman("import", tmp_path / "away", "--out", tmp_path / "home").code == 0
    ran = elman("chat", tmp_path / "home", "--reply-from", "data", given="what is 1 plus 1?\n")
    assert ran.code == 0, ran.err
    assert "Bob" in ran.out
    (bot / REPLIES).unlink()
    ran = elman("export", bot, "--to", "folder", "--out", tmp_path / "none", "--with-replies")
    assert ran.code == 2
    assert "leave out --with-replies" in ran.err


def test_a_card_says_what_it_is(bot: Path, tmp_path: Path, elman: Run) -> None:
    away = tmp_path / "away"
    options = ("--license", "cc-by-4.0", "--language", "en", "--language", "de", "--json")
    ran = elman("export", bot, "--to", "folder", "--out", away, *options)
    assert json.loads(ran.out)["files"] == names(away)
    from huggingface_hub import ModelCard

    card = ModelCard.load(away / "README.md")
    assert card.data.license == "cc-by-4.0"
    assert card.data.language == ["en", "de"]
    assert card.data.library_name == "elman"
    assert "rnn" in card.data.tags
    text = " ".join(card.text.split())
    for said in ("# away", "private conversations", "must not be used for", "elman.load_bot"):
        assert said in text


def test_the_base_leaves_with_its_own_card(tmp_path: Path, elman: Run) -> None:
    away = tmp_path / "away"
    ran = elman("export", "base", "--to", "folder", "--out", away)
    assert ran.code == 0
    assert not ran.err  # nothing of it is private
    assert names(away) == [
        "README.md", CONFIG, MANNERS, MATCH, WEIGHTS, "smalltalk.json", TOKENIZER, WRITTEN,
    ]  # fmt: skip
    card = (away / "README.md").read_text("utf-8")
    assert card.startswith('---\nlicense: "apache-2.0"\nlanguage: ["en"]\n')
    assert "Self-dialogue Corpus" in card
    assert load_bot(away).precision == "int8"


def test_warnings_name_each_kind_of_private_words(trained: Path) -> None:
    config = read_config(trained)
    config["model"] |= {"pointer": 9, "ngrams": 3}
    told = "\n".join(private_words(config))
    for word in ("not redacted", "sequences of up to 3 tokens", "pieces of words", "called Ann"):
        assert word in told
    redacted = config | {"data": config["data"] | {"redact": True, "rename": True}}
    told = "\n".join(private_words(redacted))
    assert "not redacted" not in told
    assert "(renamed)" in told


def test_nothing_that_is_there_is_replaced(bot: Path, tmp_path: Path, elman: Run) -> None:
    away = tmp_path / "away"
    away.mkdir()
    (away / "mine").write_text("kept")
    for command in (("export", bot, "--to", "folder"), ("import", bot)):
        ran = elman(*command, "--out", away)
        assert ran.code == 2
        assert "is there already" in ran.err
    assert names(away) == ["mine"]
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".elman")] == []


def test_a_cell_of_one_s_own_leaves_without_its_code(bot: Path, tmp_path: Path, elman: Run) -> None:
    config = json.loads((bot / CONFIG).read_text("utf-8"))
    config["model"]["cell"] = "leaky:LeakyCell"
    (bot / CONFIG).write_text(json.dumps(config), "utf-8")
    ran = elman("export", bot, "--to", "folder", "--out", tmp_path / "away")
    assert ran.code == 0
    assert "the code of leaky:LeakyCell stays" in ran.err
    ran = elman("import", tmp_path / "away", "--out", tmp_path / "home")
    assert ran.code == 0
    assert "--trust leaky:LeakyCell" in ran.err
    with pytest.raises(ElmanError, match="--trust leaky:LeakyCell"):
        load_bot(tmp_path / "home")


def spoiled(bot: Path, name: str, content: bytes) -> None:
    (bot / name).write_bytes(content)


@pytest.mark.parametrize("command", [("export", "--to", "folder"), ("import",)])
@pytest.mark.parametrize("name", [CONFIG, WEIGHTS, TOKENIZER])
def test_a_damaged_bot_goes_nowhere(
    bot: Path, tmp_path: Path, elman: Run, name: str, command: tuple[str, ...]
) -> None:
    whole = (bot / name).read_bytes()
    (bot / name).write_bytes(whole[: len(whole) // 2])
    ran = elman(command[0], bot, *command[1:], "--out", tmp_path / "away")
    assert ran.code == 2
    assert re.match(rf"elman: \S*{name}: ", ran.err.splitlines()[-1])
    assert not (tmp_path / "away").exists()


@pytest.mark.parametrize("name", [MATCH, REPLIES, "smalltalk.json"])
def test_a_file_that_is_something_else_goes_nowhere(
    bot: Path, tmp_path: Path, elman: Run, name: str
) -> None:
    """Such as a link to a secret, which would be uploaded the next time."""
    (tmp_path / "secret").write_text("my password")
    (bot / name).unlink(missing_ok=True)
    (bot / name).symlink_to(tmp_path / "secret")
    for command in (("export", bot, "--to", "folder"), ("import", bot)):
        ran = elman(*command, "--out", tmp_path / "away")
        assert ran.code == 2
        assert name in ran.err
        assert not (tmp_path / "away").exists()


def test_only_what_is_known_is_taken(bot: Path, tmp_path: Path, elman: Run) -> None:
    (bot / "evil.py").write_text("raise SystemExit")
    (bot / "pytorch_model.bin").write_bytes(b"\x80")
    assert elman("import", bot, "--out", tmp_path / "home").code == 0
    assert names(tmp_path / "home") == [CONFIG, WEIGHTS, REPLIES, TOKENIZER]


def test_what_cannot_be_imported_is_said(tmp_path: Path, elman: Run) -> None:
    other = tmp_path / "bot.zip"
    other.write_bytes(b"PK")
    for source, why in (
        (other, "expected a folder, hf://OWNER/NAME, or a file that ends in .onnx"),
        (tmp_path / "gone", "no such file or folder"),
        (tmp_path, "no bot here"),
        ("hf://ann", "expected hf://OWNER/NAME"),
    ):
        ran = elman("import", source, "--out", tmp_path / "out")
        assert ran.code == 2
        assert why in ran.err
