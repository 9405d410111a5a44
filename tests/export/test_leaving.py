"""What leaves with a bot is said before it does, and what cannot leave is refused."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from elman.export.html import read_page
from elman.generate.taught import TaughtReplies
from tests.export.conftest import write_bot
from tests.runtime.test_decoders import config

Elman = Callable[..., Any]


def test_a_page_is_written_and_read_again(bot: Path, elman: Elman, tmp_path: Path) -> None:
    out = tmp_path / "ann.html"
    ran = elman("export", str(bot), "--to", "html", "--out", str(out), "--json")
    assert ran.code == 0, ran.err
    told = json.loads(ran.out)
    assert told["bytes"] == out.stat().st_size
    assert told["bits_per_weight"] <= 8
    document, weights, tokenizer = read_page(out)
    assert document["name"] == "Ann"
    assert document["config"]["data"]["path"] == "-"
    assert weights.checked(out).vocabulary_size == tokenizer.vocabulary_size
    assert "conversations that were not redacted" in ran.err


def test_what_leaves_word_for_word_is_told(elman: Elman, tmp_path: Path) -> None:
    folder = write_bot(
        tmp_path / "ann",
        config(),
        data={"path": "chats.txt", "bot": "Ann", "others": "names", "known": ["Bob"]},
    )
    TaughtReplies(folder).teach("where is it?", "ask ann@example.com")
    (folder / "replies.safetensors").write_bytes(b"")
    out = tmp_path / "ann.html"
    ran = elman("export", str(folder), "--to", "html", "--out", str(out))
    assert ran.code == 0, ran.err
    for line in (
        "its counts are sequences of up to 3 tokens, word for word",
        "leaves word for word: 1 answers that it was taught",
        "the names of 1 people",
        "what it was taught holds 1 pieces of private data",
        "does not leave: replies of people",
    ):
        assert line in ran.err
    document = read_page(out)[0]
    assert document["people"] == ["Bob"]
    assert document["taught"] == [["where is it?", "ask ann@example.com"]]
    assert "word for word" in " ".join(document["card"])


@pytest.mark.parametrize(
    ("changed", "options", "told"),
    [
        ({"cell": "mine:Cell"}, (), "mine:Cell is code of your own, which cannot leave"),
        ({}, ("--max-mb", "0.1"), "too large for a page of 0.1 MB"),
        ({}, ("--to", "pdf"), "--to pdf: expected html"),
        ({}, ("--out", "."), "is a folder"),
    ],
)
def test_what_cannot_leave_is_refused(
    changed: dict, options: tuple[str, ...], told: str, elman: Elman, tmp_path: Path
) -> None:
    folder = write_bot(tmp_path / "ann", config(ngrams=0))
    path = folder / "config.json"
    given = json.loads(path.read_text())
    given["model"] |= changed
    path.write_text(json.dumps(given))
    out = tmp_path / "ann.html"
    ran = elman("export", str(folder), "--to", "html", "--out", str(out), *options)
    assert ran.code == 2
    assert told in ran.err
    assert "Traceback" not in ran.err
    assert not out.exists()


def test_there_is_a_bot_at_all(elman: Elman, tmp_path: Path) -> None:
    ran = elman("export", str(tmp_path), "--to", "html", "--out", str(tmp_path / "a.html"))
    assert ran.code == 2
    assert "no bot here" in ran.err
