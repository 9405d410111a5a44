"""A piped chat: one line in, one line out."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from elman.cli.text import plain

Run = Callable[..., Any]


def test_lines_are_answered_one_by_one(elman: Run, trained: Path) -> None:
    ran = elman("chat", trained, "--seed", 1, given="hello\n\nwhat is 1 plus 2?\n")
    assert ran.code == 0
    first, empty, second = ran.out.splitlines(True)
    assert (empty, bool(second.strip())) == ("\n", True)
    assert elman("chat", trained, "--seed", 1, given="hello\n").out == first


def test_numpy_takes_over_and_says_so_once(
    elman: Run, trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    why = "this processor has none of AVX2, AVX-512 and NEON"
    monkeypatch.setattr("elman.runtime.choose.load", lambda: (None, why))
    ran = elman("chat", trained, "--weights", "int8", given="hello\nwhat is 1 plus 2?\n")
    assert ran.code == 0
    assert len(ran.out.splitlines()) == 2
    assert ran.err.count("numpy") == 1
    assert f"Replies are computed by numpy: {why}" in ran.err


@pytest.mark.parametrize("why", ["", "Unable to allocate 3.00 GiB for an array"])
def test_too_little_memory_is_one_sentence(
    elman: Run, trained: Path, monkeypatch: pytest.MonkeyPatch, why: str
) -> None:
    def too_large(*_: object) -> None:
        raise MemoryError(*filter(None, [why]))

    monkeypatch.setattr("elman.runtime.choose.read_tokenizer", too_large)
    ran = elman("chat", trained, given="hello\n")
    assert ran.code == 2
    assert (
        ran.err == f"elman: out of memory: {why or 'end other programs, or take a smaller bot'}\n"
    )


LINES = [
    "hello", "", "   ", "\t", "a\u2028b\x0bc\x85d", "a\rb", "what?\r", "/dance", "/", "//",
    "/help me", "/etc/hosts is empty", "/undo", "/undo x", "/undo 99", "/state",
    "/tree", "/help", "/why", "/save", "/load nothing.state", "/again", "/reset", "/again",
]  # fmt: skip


@given(st.lists(st.sampled_from(LINES), max_size=8), st.booleans(), st.integers(0, 9))
@settings(
    deadline=None,
    max_examples=25,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_every_line_gets_one_line(
    elman: Run, trained: Path, lines: list[str], ended: bool, seed: int
) -> None:
    asked = "".join(f"{line}\n" for line in lines)
    if lines and lines[-1] and not ended:
        asked = asked[:-1]
    ran = elman("chat", trained, "--seed", seed, "--max-tokens", 20, "--samples", 1, given=asked)
    assert ran.code == 0
    assert ran.out.count("\n") == len(ran.out.splitlines()) == len(lines)
    for line, said in zip(lines, ran.out.splitlines(), strict=True):
        assert line.strip() or not said


def test_a_reply_of_several_lines_is_one_line(
    elman: Run, tmp_path: Path, small_run: tuple[str, ...]
) -> None:
    chats = tmp_path / "chats.jsonl"
    reply = "one\r\ntwo\u2028three\n\nfour"
    turns = [{"speaker": "Bob", "text": "count"}, {"speaker": "Ann", "text": reply}]
    chats.write_text(
        "".join(json.dumps({"id": n, "turns": turns}) + "\n" for n in range(9)), "utf-8"
    )
    one_step = (*small_run, "--set", "train.steps=1")
    assert elman("train", chats, "--out", tmp_path / "bot", *one_step).code == 0
    ran = elman("chat", tmp_path / "bot", "--reply-from", "data", given="count\n" * 2)
    assert ran.out == "one two three  four\n" * 2


def test_what_begins_with_a_slash_and_is_no_command_is_said(elman: Run, trained: Path) -> None:
    """From a pipe; at a terminal it is taken for a mistake."""
    said = ["/dance", "/help me", "/reset everything, please", "/home is where the heart is"]
    ran = elman("chat", trained, "--seed", 1, given="\n".join([*said, "/tree"]))
    assert (ran.code, ran.err) == (0, "")
    tree = ran.out.splitlines()[-1]
    assert all(f"user  {line}" in tree for line in said)


def test_what_was_not_read_of_a_long_message_is_said(elman: Run, trained: Path) -> None:
    text = "lamp " * 40_000  # 200 KB
    ran = elman("chat", trained, "--seed", 1, "--max-tokens", 5, given=f"{text}\nhello\n")
    assert (ran.code, len(ran.out.splitlines())) == (0, 2)
    assert ran.err.count("this message is long: its first ") == 1


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
    assert len(ran.err.splitlines()) == 5
    *failed, danced, said = sorted(ran.out.splitlines())
    assert (failed, bool(danced), bool(said)) == ([""] * 5, True, True)


def test_any_bytes_can_be_piped(elman: Run, trained: Path) -> None:
    ran = elman("chat", trained, given=b"\xff\xfe caf\xe9 \x00\n")
    assert ran.code == 0
    assert len(ran.out.splitlines()) == 1


def test_text_is_shown_and_not_obeyed() -> None:
    assert plain("a\x1b[2Jb\x07\u202ec\x9b") == "a\ufffd[2Jb\ufffd\ufffdc\ufffd"
    kept = "one\n\ttwo 👩\u200d👩 \u0645\u06cc\u200c\u062e \U0001f3f4\U000e0067\U000e007f"
    assert plain(kept) == kept
    mentioned = "@\u2068Mira\u2069, \u202b\u05e9\u05dc\u05d5\u05dd\u200f\u202c (\u061cok\u200e)"
    assert plain(mentioned) == "@Mira, \u05e9\u05dc\u05d5\u05dd\u200f (\u061cok\u200e)"


def test_replies_of_people(elman: Run, trained: Path, chats: Path) -> None:
    asked = "what is 1 plus 2?\nwhat is 4 plus 0?\n"
    ran = elman("chat", trained, "--reply-from", "data", given=asked)
    assert ran.code == 0, ran.err
    really = {line[5:] for line in chats.read_text("utf-8").splitlines() if line[:4] == "Ann:"}
    assert set(ran.out.splitlines()) <= really
    best = elman("chat", trained, "--reply-from", "best", "--seed", 1, given=asked).out.splitlines()
    assert all(line.endswith(("[said by somebody]", "[made]")) for line in best)


def test_unsure_where_too_much_would_be_wrong(elman: Run, trained: Path) -> None:
    data = ["chat", trained, "--reply-from", "data", "--unsure", "Ask Ann."]
    ran = elman(*data, "--wrong", 0.97, given="what is 1 plus 2?\n\u0416\u0434\u0438 zzz\n")
    assert ran.code == 0, ran.err
    assert "held-out conversations would be answered, at most 97%" in ran.err
    ran = elman(*data, "--wrong", 0.0001, given="hello\n")
    assert ran.code in (0, 2), "an untrained bot may answer nothing, or be right by luck"
    if ran.code == 2:
        assert "no score keeps wrong answers" in ran.err


def test_one_sample_is_said_as_it_is_drawn(elman: Run, trained: Path) -> None:
    ran = elman("chat", trained, "--samples", 1, "--seed", 1, given="hello\n")
    assert (ran.code, len(ran.out.splitlines())) == (0, 1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--samples", 0], "--samples 0"),
        (["--mmi-weight", 2], "--mmi-weight 2"),
        (["--reply-from", "people"], "generate, data or best"),
        (["--unsure", "no"], "add --reply-from data"),
        (["--wrong", 0.1], "--unsure TEXT"),
        (["--reply-from", "data", "--unsure", " "], "cannot be empty"),
        (["--reply-from", "data", "--unsure", "no", "--wrong", 1], "share between 0 and 1"),
    ],
)
def test_what_makes_no_sense_is_refused(
    elman: Run, trained: Path, options: list[Any], message: str
) -> None:
    ran = elman("chat", trained, *options, given="hello\n")
    assert ran.code == 2
    assert message in ran.err
    assert not ran.out


def test_a_session_is_kept(elman: Run, trained: Path, tmp_path: Path) -> None:
    kept = ("--session", "tea", "--db", tmp_path / "memory.db", "--seed", 1)
    ran = elman("chat", trained, *kept, given="hello\nwhat is 1 plus 2?\n")
    assert (ran.code, ran.err) == (0, "")
    ran = elman("chat", trained, *kept, given="/state\n/undo\n/fork milk\n/edit 1 bye\n/tree\n")
    assert ran.code == 0
    assert "tea goes on, 4 messages old" in ran.err
    said = ran.out.splitlines()
    assert "4 messages old" in said[0]
    assert "2 messages are left" in said[1]
    assert said[2] == "you are in milk now; tea stays as it was"
    # One line: a piped reply has no line breaks.
    assert "user  hello" in said[-1]
    assert "user  bye" in said[-1]
    ran = elman("sessions", "list", "--db", tmp_path / "memory.db")
    assert "milk" in ran.out
    assert "tea" in ran.out
    ran = elman("sessions", "show", "tea", "--db", tmp_path / "memory.db")
    assert ran.out.splitlines()[0].endswith("hello")
    ran = elman("sessions", "export", "--branches", "--db", tmp_path / "memory.db")
    lines = [json.loads(line) for line in ran.out.splitlines()]
    assert {line["id"].split()[0] for line in lines} == {"tea", "milk"}
    ran = elman(
        "sessions", "export", "tea", "--db", tmp_path / "memory.db", "--out", tmp_path / "x.jsonl"
    )
    assert elman("data", "inspect", tmp_path / "x.jsonl").code == 0
    assert elman("sessions", "delete", "tea", "--db", tmp_path / "memory.db").code == 0
    ran = elman("sessions", "delete", "tea", "--db", tmp_path / "memory.db")
    assert ran.code == 2
    assert "there is no session 'tea'" in ran.err
    assert "milk" in elman("sessions", "list", "--json", "--db", tmp_path / "memory.db").out
    assert elman("chat", trained, "--session", " ").code == 2


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
    assert "none, for what base learned from does not come" in ran.out
