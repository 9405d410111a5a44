"""elman data: what is in an export, and the same as a file of one's own."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from elman.data.readers import read
from elman.data.source import documents

Run = Callable[..., Any]

TINY = ("--set", "data.vocabulary=bytes", "--set", "model.hidden_size=8")

PHONE = """\
[01/03/2024, 08:00:00] Mira: \u200eMessages and calls are end-to-end encrypted.
[01/03/2024, 08:00:10] Mira: write to mira@kettle.example
[01/03/2024, 08:01:00] Tobin: I will, the day after tomorrow, when it is done
and after that we go there
[01/03/2024, 08:02:00] Ada\x1b[2J: me too
[01/03/2024, 08:02:30] Mira: \u200eimage omitted
[25/03/2024, 19:00:00] Tobin: did it work?
[25/03/2024, 19:01:00] Mira: yes, thank you
"""


@pytest.fixture
def phone(tmp_path: Path) -> Path:
    path = tmp_path / "WhatsApp Chat - Mira.txt"
    path.write_text(PHONE, "utf-8")
    return path


def test_inspect_tells_machines_what_is_there(elman: Run, phone: Path) -> None:
    ran = elman("data", "inspect", phone, "--json")
    assert (ran.code, ran.err) == (0, "")
    found = json.loads(ran.out)
    assert found["format"] == "whatsapp"
    assert found["messages"] == 5
    assert found["people"] == {"Mira": 2, "Tobin": 2, "Ada\x1b[2J": 1}
    assert sum(found["left_out"].values()) == 2
    assert found["private"] == {"email": 1}
    assert found["conversations"] == 2
    assert found["largest_group"] == 3
    assert found["span"] == {
        "first": "2024-03-01T08:00:10+00:00",
        "last": "2024-03-25T19:01:00+00:00",
    }
    assert [text.partition(":")[0] for text in found["hope"]] == ["Mira", "Tobin", "Ada\x1b[2J"]
    assert found["gap_seconds"] == 3600


def test_inspect_tells_people_the_same(elman: Run, phone: Path) -> None:
    ran = elman("data", "inspect", phone)
    assert (ran.code, ran.err) == (0, "")
    for words in (
        "whatsapp, 5 messages of 3 people in 2 conversations",
        "2024-03-01 to 2024-03-25",
        "ends after 1 h of silence",
        "messages left out",
        "1  email",
        "what to hope for",
        "--bot Mira",
    ):
        assert words in ran.out, words
    assert "\x1b" not in ran.out  # a name is shown, never obeyed


def test_what_is_converted_reads_back_the_same(elman: Run, phone: Path, tmp_path: Path) -> None:
    out = tmp_path / "chat.jsonl"
    ran = elman("data", "convert", phone, "--out", out, "--gap", "1d")
    assert ran.code == 0
    assert ran.out == f"wrote {out}: 5 messages in 2 conversations\n"
    assert list(read(documents(out))) == list(read(documents(phone)))
    again = tmp_path / "again.jsonl"
    assert elman("data", "convert", out, "--out", again).code == 0
    assert again.read_bytes() == out.read_bytes()


def test_what_is_private_can_be_taken_out(elman: Run, phone: Path, tmp_path: Path) -> None:
    out = tmp_path / "chat.jsonl"
    ran = elman(
        "data", "convert", phone, "--out", out, "--redact", "--rename", "--drop", "Ada\x1b[2J"
    )
    assert ran.code == 0
    text = out.read_text("utf-8")
    assert "[email]" in text
    assert not any(name in text for name in ('Mira"', "Tobin", "Ada", "kettle.example"))
    assert "me too" not in text


@pytest.mark.parametrize("gap", ["soon", "", "5", "-1h", "0m", "nanh", "infd", "1w"])
def test_a_gap_that_is_no_time(elman: Run, phone: Path, gap: str) -> None:
    ran = elman("data", "inspect", phone, "--gap", gap)
    assert ran.code == 2
    assert ran.err == f"elman: --gap {gap}: expected a time such as 90m, 2h or 1d\n"


def test_nothing_is_written_where_it_cannot_be_read(elman: Run, tmp_path: Path) -> None:
    broken, out = tmp_path / "broken.jsonl", tmp_path / "out.jsonl"
    good = '{"messages": [{"role": "user", "content": "Hi"}, {"role": "bot", "content": "Ho"}]}\n'
    broken.write_text(good + '{"messages": [', "utf-8")
    out.write_text("mine", "utf-8")
    ran = elman("data", "convert", broken, "--out", out)
    assert ran.code == 2
    assert "line 2" in ran.err
    assert out.read_text("utf-8") == "mine"
    assert {path.name for path in tmp_path.iterdir()} == {"broken.jsonl", "out.jsonl"}


def test_nobody_of_that_name_is_left_out(elman: Run, phone: Path, tmp_path: Path) -> None:
    ran = elman("data", "convert", phone, "--out", tmp_path / "out", "--drop", "Bob")
    assert ran.code == 2
    assert "--drop 'Bob': nobody has that name; there are Mira (2 messages), Tobin" in ran.err
    assert "\x1b" not in ran.err


def test_a_bot_of_a_group_knows_people_by_name(elman: Run, phone: Path, tmp_path: Path) -> None:
    bot = tmp_path / "bot"
    ran = elman(
        "train", phone, "--bot", "Mira", "--out", bot, *TINY, "--set", "train.steps=2",
        "--set", "train.batch_size=2",
    )  # fmt: skip
    assert ran.code == 0, ran.err
    assert "Mira: 2 messages, " in ran.err
    saved = json.loads((bot / "config.json").read_text("utf-8"))["data"]
    assert (saved["others"], saved["gap"]) == ("names", 3600)
    said = elman("chat", bot, "--as", "Tobin", "--seed", 1, given="hello\n")
    assert (said.code, said.err) == (0, "")
    unnamed = elman("chat", bot, "--seed", 1, given="hello\n")
    assert unnamed.err == (
        "This bot knows people by name; with --as you can be Tobin, Ada\ufffd[2J.\n"
    )
    stranger = elman("chat", bot, "--as", "Bo", "--seed", 1, given="hello\n")
    assert "has never met Bo; with --as you can be Tobin" in stranger.err
    alike = elman("train", phone, "--bot", "Mira", "--set", "data.others=user", "--out", bot,
                  "--set", "train.steps=1", *TINY, "--overwrite")  # fmt: skip
    assert alike.code == 0
    refused = elman("chat", bot, "--as", "Tobin", given="hello\n")
    assert refused.code == 2
    assert "knows nobody by name" in refused.err


NO_NETWORK = """
import sys

def watch(event, arguments):
    if event in ("socket.connect", "socket.sendto", "socket.getaddrinfo", "socket.gethostbyname"):
        print(event, arguments, file=sys.stderr)
        raise RuntimeError(event)

sys.addaudithook(watch)
from elman.cli import main

main()
"""


def test_nothing_leaves_the_machine(phone: Path, tmp_path: Path) -> None:
    bot = tmp_path / "bot"
    small = ["--set", "train.steps=1", *TINY]
    for arguments in (
        ["data", "inspect", phone],
        ["train", phone, "--bot", "Mira", "--redact", "--rename", "--out", bot, *small],
        ["chat", bot],
    ):
        command = [sys.executable, "-c", NO_NETWORK, *map(str, arguments)]
        ran = subprocess.run(command, input="hello\n", capture_output=True, text=True, check=False)
        assert ran.returncode == 0, ran.stderr
        assert "socket." not in ran.stderr


def small(elman: Run, data: Path, bot: Path, *options: object) -> Any:
    return elman(
        "train", data, "--out", bot, *TINY, "--set", "train.steps=2",
        "--set", "train.batch_size=2", "--overwrite", *options,
    )  # fmt: skip


def test_names_are_found_whatever_their_case_and_spaces(
    elman: Run, phone: Path, tmp_path: Path
) -> None:
    bot = tmp_path / "bot"
    assert small(elman, phone, bot, "--bot", " mira ").code == 0
    assert json.loads((bot / "config.json").read_text("utf-8"))["data"]["bot"] == "Mira"
    both = small(elman, phone, bot, "--bot", "Mira", "--drop", "mira")
    assert both.code == 2
    assert "learns from whom --drop leaves out" in both.err


def test_a_folder_of_a_renamed_bot_holds_no_names(elman: Run, phone: Path, tmp_path: Path) -> None:
    bot = tmp_path / "bot"
    options = ["--bot", "Mira", "--rename", "--redact", "--drop", "Ada\x1b[2J"]
    assert small(elman, phone, bot, *options).code == 0
    for name in ("config.json", "tokenizer.json", "log.jsonl"):
        text = (bot / name).read_text("utf-8").replace(str(phone), "")
        assert not any(real in text for real in ("Mira", "Tobin", "Ada", "kettle")), name
    more = elman("train", "--resume", bot, "--set", "train.steps=4")
    assert more.code == 0, more.err
    fewer = elman("train", "--resume", bot, "--set", "train.steps=3")
    assert (fewer.code, "4 steps are done already" in fewer.err) == (2, True)
    # In other conversations others have its name.
    other = tmp_path / "other.txt"
    other.write_text(PHONE.replace("Tobin", "Bo"), "utf-8")
    refused = elman("eval", bot, other)
    assert (refused.code, "--bot and the real name" in refused.err) == (2, True)
    assert elman("eval", bot, other, "--bot", "Mira").code == 0
    assert elman("eval", bot, phone).code == 0


def test_only_a_part_that_was_held_out_can_be_measured(
    elman: Run, trained: Path, chats: Path
) -> None:
    ran = elman("eval", trained, chats, "--split", "test")
    assert ran.code == 2
    assert "trained without a test part" in ran.err


def test_an_export_is_not_replaced_by_what_is_made_of_it(elman: Run, phone: Path) -> None:
    ran = elman("data", "convert", phone, "--out", phone)
    assert (ran.code, "is the export itself" in ran.err) == (2, True)
    assert phone.read_text("utf-8") == PHONE


def test_an_old_encoding_of_the_terminal_ends_nothing(phone: Path) -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "elman", "data", "inspect", str(phone)],
        env=os.environ | {"PYTHONIOENCODING": "ascii"},
        capture_output=True,
        check=False,
    )
    assert (ran.returncode, ran.stderr) == (0, b"")


def test_standard_output_gets_the_data_and_nothing_else(
    elman: Run, phone: Path, tmp_path: Path
) -> None:
    ran = elman("data", "convert", phone, "--out", tmp_path / "new" / "folders" / "chat.jsonl")
    assert (ran.code, ran.out.startswith("wrote ")) == (0, True)
    whole = (tmp_path / "new" / "folders" / "chat.jsonl").read_text("utf-8")
    piped = elman("data", "convert", phone, "--out", "-")
    assert (piped.code, piped.out) == (0, whole)
    both = elman("data", "convert", "-", "--out", "-", given=PHONE)
    assert [json.loads(line)["turns"] for line in both.out.splitlines()] == [
        json.loads(line)["turns"] for line in whole.splitlines()
    ]
    assert "wrote to standard output: 5 messages" in piped.err
    assert "left out" in piped.err
    assert not Path("-").exists()


def test_whoever_reads_only_the_beginning_ends_it_quietly() -> None:
    """More than a pipe holds, so that the rest is written to nobody."""
    command = [sys.executable, "-m", "elman", "data", "convert", "chitchat", "--out", "-"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as running:
        assert running.stdout
        assert running.stderr
        json.loads(running.stdout.readline())
        running.stdout.close()
        assert running.stderr.read() == b""


def test_a_folder_that_cannot_be_made_is_said(elman: Run, phone: Path) -> None:
    ran = elman("data", "convert", phone, "--out", phone / "below" / "chat.jsonl")
    assert (ran.code, len(ran.err.splitlines())) == (2, 1)
    assert "cannot be written" in ran.err
    assert phone.read_text("utf-8") == PHONE


def test_reports_and_exports_make_their_folders(
    elman: Run, trained: Path, chats: Path, tmp_path: Path
) -> None:
    new = tmp_path / "new"
    for number, command in enumerate(
        (
            ("eval", trained, chats, "--samples", 1, "--card"),
            ("sessions", "export", "--db", tmp_path / "db" / "memory.db", "--out"),
        )
    ):
        place = new / str(number) / "deep" / "file"
        ran = elman(*command, place)
        assert (ran.code, place.is_file()) == (0, True), ran.err
    exported = elman("sessions", "export", "--db", tmp_path / "db" / "memory.db", "--out", "-")
    assert (exported.code, exported.out, exported.err) == (0, "", "")


def test_help_and_version_import_nothing_heavy() -> None:
    program = (
        "import sys\nfrom elman.cli import app\n"
        "try: app(sys.argv[1:])\nexcept SystemExit: pass\n"
        "print({'torch', 'numpy', 'sqlite3'} & {*sys.modules}, file=sys.stderr)"
    )
    for option in ("--help", "--version"):
        ran = subprocess.run(
            [sys.executable, "-c", program, option], capture_output=True, text=True, check=True
        )
        assert ran.stderr == "set()\n"
