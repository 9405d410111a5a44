"""Every command that README and the documents show is one that there is, and those of Elman run.

Each page is walked from top to bottom, as its reader would, on a small chat: what would take
minutes gets a smaller budget.
"""

import ast
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import typer

from elman.cli import app, main
from elman.cli.renamed import RENAMED_FLAGS
from tests.conftest import Ran
from tests.shown import PAGES, ROOT, Command, commands, spans

SHOWN = [command for page in PAGES for command in commands(page)]
OWN = [command for command in SHOWN if command.words[0] == "elman"]
FIRST_PAGES = {command.words: command.page for command in reversed(OWN)}
"""Where each command is shown first: there it is run."""
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]

NOT_OURS = {".", "apt-get", "curl", "lm_eval", "pre-commit", "zensical"}
"""Programs whose flags are not ours to check."""

SMALL_NET = [
    "--base", "none", "--set", "model.hidden_size=16", "--set", "data.vocabulary=300",
    "--set", "train.batch_size=4", "--set", "train.unfold=8", "--set", "train.steps=4",
]  # fmt: skip
CHEAPER = {
    "--compare": ["--compare-steps", "10"],
    "audit": ["--samples", "20"],
    "check": ["--time-limit", "600"],
    "bench": ["--max-steps", "50", "--length", "10", "--seeds", "1"],
    "forget": ["--samples", "20"],
    "persona": ["--steps", "2"],
    "train": [*SMALL_NET, "--overwrite"],
}
"""What is added to a command with one of these words: it shall end in seconds, also where others
keep the computer busy, and in the place of a bot that is there already.
"""

POSTGRES = re.compile(r"postgresql://\S+")

RUN_ELSEWHERE = {("elman", "demo"): "test_demo of tests/test_journey.py"}
"""Commands that another test runs, because they take long."""

CELLS = """
import torch
import elman

class MyGRU(torch.nn.GRU):
    pass

class MyLSTM(torch.nn.LSTM):
    pass

class Cell(elman.Cell):
    gates = 1
    states = 1

    def step(self, gx, gh, state):
        (h,) = state
        return (0.9 * h + 0.1 * (gx + gh).tanh(),), None

class LeakyCell(Cell):
    pass
"""


@cache
def cli() -> Any:
    return typer.main.get_command(app)


def verb_of(words: tuple[str, ...]) -> tuple[Any, list[str]]:
    """Follow the words after `elman` to the command that they name; return it and the rest."""
    found, rest = cli(), list(words[1:])
    while hasattr(found, "commands") and rest and not rest[0].startswith("-"):
        name = rest.pop(0)
        assert name in found.commands, f"there is no {name!r} in elman {found.name or ''}"
        found = found.commands[name]
    return found, rest


def flags_of(command: Any) -> set[str]:
    own = {flag for each in command.params for flag in [*each.opts, *each.secondary_opts]}
    return own | {"--help", "-h"}


@pytest.mark.parametrize("command", OWN, ids=str)
def test_the_command_line_reads_it(command: Command) -> None:
    verb, rest = verb_of(command.words)
    assert not hasattr(verb, "commands") or not rest, f"{command}: which one?"
    verb.make_context(verb.name, list(rest))
    former = RENAMED_FLAGS.get(command.words[1] if len(command.words) > 1 else "", {})
    assert not former.keys() & set(rest), "this flag has another name now"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_what_a_sentence_names_is_there(page: Path) -> None:
    for span in spans(page):
        verb, rest = verb_of(tuple(span.split()))
        flags = {word.partition("=")[0] for word in rest if re.match("--?[a-z]", word)}
        assert flags <= flags_of(verb), span


@pytest.mark.parametrize("command", [c for c in SHOWN if c not in OWN], ids=str)
def test_other_programs_are_given_what_they_take(command: Command) -> None:
    program, *rest = command.words
    if program == "pip":
        _check_pip(rest)
    elif program in ("python", "python3"):
        _check_script(rest)
    elif program == "pytest":
        assert all((ROOT / word).exists() for word in rest if word.endswith(".py"))
    elif program == "bash":
        assert (ROOT / rest[0]).is_file()
    else:
        assert program in NOT_OURS


def _check_pip(arguments: list[str]) -> None:
    """Extras must be ours, and other packages those that we name as somebody's choice."""
    extras = PROJECT["optional-dependencies"]
    known = {re.split(r"[\[<>=]", each)[0] for every in extras.values() for each in every}
    assert arguments.pop(0) == "install"
    for word in arguments:
        if word.startswith(("-", "https://")):
            continue
        name, _, inside = word.partition("[")
        assert name in {".", "elman", *known}, word
        assert not inside or set(inside.rstrip("]").split(",")) <= extras.keys(), word


def _check_script(arguments: list[str]) -> None:
    """A script must be there, and name each flag that it is given."""
    if arguments[0] == "-m":
        return
    tree = ast.parse((ROOT / arguments[0]).read_text("utf-8"))
    strings = {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)}
    assert {word for word in arguments[1:] if word.startswith("--")} <= strings


def whatsapp(seed: int) -> str:
    """A phone's export in which Bob and Cleo ask and Ann answers."""
    draw = random.Random(seed)
    lines = []
    for day in range(1, 29):
        asker = "Bob" if day % 2 else "Cleo"
        for minute in range(8):
            a, b = draw.randint(0, 4), draw.randint(0, 4)
            lines.append(f"{day}/12/2023, 23:{minute * 2:02} - {asker}: what is {a} plus {b}?")
            lines.append(f"{day}/12/2023, 23:{minute * 2 + 1:02} - Ann: it is {a + b}, friend.")
    return "\n".join(lines) + "\n"


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with all files and bots that pages speak of. Not to be changed."""
    place = tmp_path_factory.mktemp("reader")
    with zipfile.ZipFile(place / "WhatsApp Chat - Ann.zip", "w") as archive:
        archive.writestr("_chat.txt", whatsapp(0))
    (place / "chats.txt").write_text(whatsapp(1), "utf-8")
    (place / "kind.jsonl").write_text(
        '{"turns": [{"speaker": "Bob", "text": "Hi"}, {"speaker": "Ann", "text": "Hello you"}]}\n'
        * 20
    )
    (place / "questions.txt").write_text("what is 1 plus 1?\n")
    (place / "my").mkdir()
    for name in ("layers", "my_layers", "leaky", "my/module"):
        (place / f"{name}.py").write_text(CELLS)
    for name in ("heldout.jsonl", "chats.jsonl"):
        assert_ran(place, "data", "convert", "chats.txt", "--out", name)
    for name, more in {
        "ann": [],
        "chats": ["--canaries", "2"],
        "leaky": ["--set", "model.cell=leaky:LeakyCell"],
    }.items():
        assert_ran(
            place, "train", "chats.txt", "--bot", "Ann", *SMALL_NET, *more, "--out", f"bots/{name}"
        )
    for name in ("bob", "help"):
        shutil.copytree(place / "bots" / "ann", place / "bots" / name)
    assert_ran(place, "keys", "add", "tablet")
    return place


def environment(home: Path) -> dict[str, str]:
    return os.environ | {
        "HOME": str(home),
        "XDG_DATA_HOME": str(home / "data"),
        "PYTHONPATH": str(home),
        "PYTHONUNBUFFERED": "1",
    }


def assert_ran(home: Path, *arguments: str) -> None:
    """Run a command in this process, which has imported everything already."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(home)
        patch.syspath_prepend(home)
        for name, value in environment(home).items():
            patch.setenv(name, value)
        patch.setattr("sys.argv", ["elman", *arguments])
        code: object = 0
        try:
            main()
        except SystemExit as ended:
            code = ended.code
        assert not code, arguments


def assert_serves(home: Path, arguments: list[str]) -> None:
    """Start what goes on until Ctrl-C, wait until it says where it is, and end it."""
    command = [sys.executable, "-m", "elman", *arguments]
    with subprocess.Popen(
        command, cwd=home, env=environment(home), text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        said = []
        for line in process.stdout:
            said.append(line)
            if "http" in line or ".sock" in line:
                process.send_signal(signal.SIGINT)
                break
        process.stdout.read()
    assert said, command
    assert "http" in said[-1] or ".sock" in said[-1], "".join(said)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(set(FIRST_PAGES.values())))
def test_every_command_of_a_page_runs(
    name: str,
    prepared: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    elman: Callable[..., Ran],
    request: pytest.FixtureRequest,
) -> None:
    home = tmp_path / "h"
    shutil.copytree(prepared, home)
    monkeypatch.chdir(home)
    monkeypatch.syspath_prepend(home)
    for variable, value in environment(home).items():
        monkeypatch.setenv(variable, value)
    for command in OWN:
        if command.page != name or FIRST_PAGES[command.words] != name:
            continue
        if command.words in RUN_ELSEWHERE:
            continue
        verb, *rest = [word.replace("~", str(home)) for word in command.words[1:]]
        if any(map(POSTGRES.fullmatch, rest)):
            url = request.getfixturevalue("postgres").database()
            rest = [url if POSTGRES.fullmatch(word) else word for word in rest]
        rest += [more for word in command.words for more in CHEAPER.get(word, [])]
        if verb == "serve":
            assert_serves(home, [verb, *rest, *([] if "--uds" in rest else ["--port", "0"])])
        elif verb == "watch" and not {"--json", "--terminal", "--tensorboard"} & set(rest):
            assert_serves(home, [verb, *rest, "--no-browser"])
        else:
            given = (home / command.given).read_text() if command.given else "hello\n"
            ran = elman(verb, *rest, given=given)
            assert ran.code == 0, f"{command}: {ran.err}"
