"""What works on a machine without torch, and what is said where it does not."""

import importlib.util
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from elman.cli import app

Run = Callable[..., Any]

HIDDEN = """
import importlib.util
for name in {names}:
    assert importlib.util.find_spec(name) is None
    try:
        importlib.import_module(name)
    except ModuleNotFoundError as error:
        assert error.name == name
    else:
        raise AssertionError
"""

SENTENCE = "this needs torch: pip install 'elman[train]'"

# One process for all: every command's help, and that of those which have commands of their own.
HELP = """
import sys
from elman.cli import app

for path in {paths}:
    try:
        app([*path, "--help"])
    except SystemExit as exit_:
        assert not exit_.code, path
assert not {{"torch", "numpy"}} & set(sys.modules)
"""

PYTHON = """
import elman
from elman import ElmanError

for name in ("LSTM", "functional", "check", "recurrence"):
    try:
        getattr(elman, name)
    except ImportError as error:
        assert isinstance(error, ElmanError)
        print(error)
    else:
        raise AssertionError(name)
assert elman.Message and elman.read and elman.Tokenizer and elman.SamplingParams
try:
    elman.Tokenizer.train(["tea"], 300)
except ImportError as error:
    print(error)
"""


def command_paths() -> list[list[str]]:
    """Return the words of every command, the bare one included."""
    paths: list[list[str]] = [[]]
    paths += [[each.name] for each in app.registered_commands if each.name]
    for group in app.registered_groups:
        assert group.typer_instance is not None
        name = group.typer_instance.info.name
        assert isinstance(name, str)
        paths.append([name])
        for each in group.typer_instance.registered_commands:
            assert each.callback is not None
            paths.append([name, each.name or each.callback.__name__])
    return paths


def test_what_trains_is_hidden(without_torch: Run) -> None:
    names = ("torch", "tokenizers")
    assert all(importlib.util.find_spec(name) is not None for name in names)
    ran = without_torch("-c", HIDDEN.format(names=names))
    assert ran.code == 0, ran.err


def test_every_command_explains_itself(without_torch: Run) -> None:
    paths = command_paths()
    assert len(paths) > 15
    ran = without_torch("-c", HELP.format(paths=paths))
    assert ran.code == 0, ran.err
    assert ran.out.count("Usage: ") == len(paths)


def test_exports_are_inspected_and_converted(
    without_torch: Run, chats: Path, tmp_path: Path
) -> None:
    inspected = without_torch("-m", "elman", "data", "inspect", chats, "--json")
    assert inspected.code == 0, inspected.err
    assert json.loads(inspected.out)["conversations"] == 30
    out = tmp_path / "out.jsonl"
    arguments = ["data", "convert", chats, "--redact", "--rename", "--out", out]
    converted = without_torch("-m", "elman", *arguments)
    assert converted.code == 0, converted.err
    assert len(out.read_text("utf-8").splitlines()) == 30


@pytest.mark.parametrize(
    "arguments",
    [
        ["demo"],
        ["train", "CHATS"],
        ["eval", "BOT", "CHATS"],
        ["ab", "BOT", "BOT", "CHATS"],
        ["lens", "BOT", "CHATS"],
        ["lens", "--tiny"],
        ["check", "torch.nn:LSTM"],
        ["bench"],
    ],
    ids=" ".join,
)
def test_what_trains_says_what_to_install(
    without_torch: Run, trained: Path, chats: Path, tmp_path: Path, arguments: list[str]
) -> None:
    places = {"BOT": trained, "CHATS": chats}
    ran = without_torch("-m", "elman", *[places.get(each, each) for each in arguments])
    assert ran.code == 2, ran.err
    assert ran.err == f"elman: {SENTENCE}\n"
    assert not ran.out


def test_python_says_what_to_install(without_torch: Run) -> None:
    ran = without_torch("-c", PYTHON)
    assert ran.code == 0, ran.err
    *layers, learning = ran.out.splitlines()
    assert layers == [SENTENCE] * 4
    assert learning == "learning pieces of text needs tokenizers: pip install 'elman[train]'"


def test_pytest_runs_with_our_plugin(without_torch: Run, tmp_path: Path) -> None:
    test = tmp_path / "test_it.py"
    test.write_text("def test_it(elman_check): pass\n", "utf-8")
    ran = without_torch("-m", "pytest", "--rootdir", tmp_path, test)
    assert ran.code == 0, ran.out
