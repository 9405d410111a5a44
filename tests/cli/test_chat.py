"""A piped chat: one line in, one line out."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from elman.cli.text import plain

Run = Callable[..., Any]


def test_lines_are_answered_one_by_one(elman: Run, trained: Path) -> None:
    ran = elman("chat", trained, "--seed", 1, given="hello\n\nwhat is 1 plus 2?\n")
    assert ran.code == 0
    assert len(ran.out.splitlines()) == 2
    assert elman("chat", trained, "--seed", 1, given="hello\n").out == ran.out.splitlines(True)[0]


def test_commands(elman: Run, trained: Path, tmp_path: Path) -> None:
    kept = tmp_path / "a state"
    lines = ["/state", "hello", "/again", "/state", f"/save '{kept}'", "/undo", "/state"]
    lines += [f"/load '{kept}'", "/state", "/reset", "/state", "/help", "/quit", "unheard"]
    ran = elman("chat", trained, "--seed", 1, given="\n".join(lines) + "\n")
    assert (ran.code, ran.err) == (0, "")
    said = ran.out.splitlines()
    assert said[0].endswith("0 messages old, norm 0.00")
    assert "2 messages old" in said[3]
    assert said[4].startswith(f"kept in {kept}")
    assert "0 messages are left" in said[5]
    assert "0 messages old" in said[6]
    assert "2 messages old" in said[7]
    assert said[8] == said[3]
    assert said[9] == "everything is forgotten"
    assert said[10] == said[0]
    assert "/again" in said[11]
    assert len(said) == 12


def test_what_cannot_be_done_is_said_and_the_chat_goes_on(elman: Run, trained: Path) -> None:
    lines = ["/undo", "/dance", "/save", "/save 'a", "/undo 3", "/load nothing.state", "hello"]
    ran = elman("chat", trained, given="\n".join(lines) + "\n")
    assert ran.code == 0
    assert len(ran.err.splitlines()) == 6
    assert len(ran.out.splitlines()) == 1


def test_any_bytes_can_be_piped(elman: Run, trained: Path) -> None:
    ran = elman("chat", trained, given=b"\xff\xfe caf\xe9 \x00\n")
    assert ran.code == 0
    assert len(ran.out.splitlines()) == 1


def test_text_is_shown_and_not_obeyed() -> None:
    assert plain("a\x1b[2Jb\x07\u202ec\x9b") == "a\ufffd[2Jb\ufffd\ufffdc\ufffd"
    kept = "one\n\ttwo 👩\u200d👩 \u0645\u06cc\u200c\u062e \U0001f3f4\U000e0067\U000e007f"
    assert plain(kept) == kept


def test_why_explains_each_reply_in_plain_text(elman: Run, trained: Path) -> None:
    ran = elman("chat", trained, "--seed", 1, "--why", given="hello\nwhat is 1 plus 2?\n")
    assert (ran.code, ran.err) == (0, "")
    assert "\x1b" not in ran.out
    second = ran.out[ran.out.rindex("why it said that") :].splitlines()
    rows = [line.split() for line in second[1:4]]
    assert [row[0] for row in rows] == ["1", "2", "3"]
    assert [row[1] for row in rows] == ["you", "Ann", "you"]
    for row in rows:
        assert all(number[0] in "+-" and float(number) is not None for number in row[-3:])
    assert "nearest of what it learned to say" in ran.out
    assert "8 words in a row" in ran.out


def test_why_is_a_command_and_says_what_it_cannot_explain(elman: Run, trained: Path) -> None:
    ran = elman("chat", trained, "--seed", 1, given="/why\nhello\n/why\n/undo\n/why\n")
    assert ran.code == 0
    assert ran.err.count("no reply to explain yet") == 2
    assert ran.out.count("why it said that") == 1


def test_why_without_the_training_data_says_what_is_gone(elman: Run, trained: Path) -> None:
    ran = elman("chat", "base", "--seed", 1, "--why", given="hello\n")
    assert ran.code == 0
    assert "none, for the conversations that the base learned from do not come" in ran.out
