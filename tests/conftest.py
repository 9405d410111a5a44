"""A tiny chat that is learned in seconds (Bob asks for sums, Ann gives them), and the command."""

import importlib.util
import io
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings
from playwright.sync_api import Browser, sync_playwright

from elman.cli import main
from elman.train import Config, train
from elman.train.config import layered

if TYPE_CHECKING:
    from postgres_server import Postgres

# Where tests share the cores, an example takes as long as it takes.
settings.register_profile("elman", deadline=None)
settings.load_profile("elman")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int | None:
    """Run single files in this process: they end before other processes have started.

    None leaves the number to pytest-xdist, which takes that of the cores.
    """
    places = [Path(argument.partition("::")[0]) for argument in config.args]
    return 0 if all(place.is_file() for place in places) else None


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_setupnodes(specs: list[object]) -> None:
    """Give each worker its share of the cores, before it imports torch."""
    threads = max(1, (os.cpu_count() or 1) // len(specs))
    os.environ.setdefault("OMP_NUM_THREADS", str(threads))


def sums_chat(conversations: int, seed: int = 0) -> str:
    """A transcript in which every answer can be known from the question."""
    draw = random.Random(seed)
    blocks = []
    for _ in range(conversations):
        lines = []
        for _ in range(4):
            a, b = draw.randint(0, 4), draw.randint(0, 4)
            lines += [f"Bob: what is {a} plus {b}?", f"Ann: it is {a + b}, Bob."]
        blocks.append("\n".join(lines))
    return "\n\n".join(blocks) + "\n"


def load_file(folder: str, name: str) -> ModuleType:
    """Import a file that is in no package."""
    path = Path(__file__).parents[1] / folder / f"{name}.py"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def load_example() -> Callable[[str], ModuleType]:
    """Import a file of examples/ by its name."""
    return partial(load_file, "examples")


@pytest.fixture(scope="session")
def postgres() -> "Iterator[Postgres]":
    """A real PostgreSQL; skips where there is none, but never in CI."""
    server = load_file("benchmarks", "postgres_server")
    if server.programs() is None:
        why = "PostgreSQL is not installed: apt-get install postgresql"
        (pytest.fail if os.environ.get("CI") else pytest.skip)(why)
    with server.running_postgres() as found:
        yield found


TINY = {
    "data.bot": "Ann",
    "data.learn_from": "bot",
    "data.vocabulary": 300,
    "model.hidden_size": 16,
    "model.pointer": 0,
    "train.batch_size": 4,
    "train.unfold": 16,
    "train.steps": 12,
    "train.validations": 3,
    "train.precision": "float32",
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests that look at a page in a browser."""
    for item in items:
        if "browser" in getattr(item, "fixturenames", ()):
            item.add_marker("browser")


@pytest.fixture(scope="session")
def chats(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("chats") / "chats.txt"
    path.write_text(sums_chat(30), "utf-8")
    return path


@pytest.fixture(scope="session")
def make_config(chats: Path) -> Callable[..., Config]:
    """Makes the configuration of a run of a fraction of a second; settings by dotted name."""

    def make(**changes: object) -> Config:
        given = {name.replace("__", "."): value for name, value in changes.items()}
        values = TINY | {"data.path": str(chats)} | given
        if {"train.minutes", "train.epochs"} & given.keys():
            del values["train.steps"]
        return Config.make(layered(None, values))

    return make


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory, make_config: Callable[..., Config]) -> Path:
    """The folder of a bot that has learned a little. Not to be changed."""
    folder = tmp_path_factory.mktemp("bots") / "ann"
    train(make_config(), folder)
    return folder


@pytest.fixture(scope="session")
def small_run() -> tuple[str, ...]:
    """The options with which `elman train` makes a small bot of Ann, not from the base."""
    return (
        "--bot", "Ann", "--base", "none",
        "--set", "model.hidden_size=16", "--set", "data.vocabulary=300",
    )  # fmt: skip


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium, in which pages are looked at; skips where there is none, but never in CI."""
    path = shutil.which("chromium")
    if path is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)("Chromium is not installed")
    with sync_playwright() as playwright:
        arguments = ["--no-sandbox", "--disable-background-networking"]
        launched = playwright.chromium.launch(executable_path=path, args=arguments)
        yield launched
        launched.close()


@dataclass(frozen=True)
class Ran:
    code: int
    out: str
    err: str


@pytest.fixture
def elman(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Ran]:
    """Runs the command in this process, as the shell would."""

    def run(*arguments: object, given: str | bytes = b"") -> Ran:
        data = given.encode() if isinstance(given, str) else given
        monkeypatch.setattr("sys.argv", ["elman", *map(str, arguments)])
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(data), "utf-8"))
        code: object = 0
        try:
            main()
        except SystemExit as exit_:
            code = exit_.code or 0
        sys.stdin.close()
        captured = capsys.readouterr()
        assert isinstance(code, int)
        return Ran(code, captured.out, captured.err)

    return run


# Hides torch, and what only trains as it does, from every import and from `find_spec`, as if they
# were not installed.
HIDING_TORCH = """
from importlib.machinery import PathFinder

HIDDEN = {"torch", "tokenizers", "huggingface_hub", "sqlalchemy"}
find_spec = PathFinder.find_spec

@classmethod
def without_torch(cls, name, path=None, target=None):
    return None if name.partition(".")[0] in HIDDEN else find_spec(name, path, target)

PathFinder.find_spec = without_torch
"""


@pytest.fixture(scope="session")
def environment_without_torch(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Environment variables of a Python process in which torch is not installed."""
    folder = tmp_path_factory.mktemp("without_torch")
    (folder / "sitecustomize.py").write_text(HIDING_TORCH, "utf-8")
    paths = [str(folder), *filter(None, [os.environ.get("PYTHONPATH")])]
    return os.environ | {"PYTHONPATH": os.pathsep.join(paths)}


@pytest.fixture
def without_torch(environment_without_torch: dict[str, str]) -> Callable[..., Ran]:
    """Runs Python in a process without torch: `without_torch("-m", "elman", "chat", folder)`."""

    def run(*arguments: object, given: str = "") -> Ran:
        ran = subprocess.run(
            [sys.executable, *map(str, arguments)],
            input=given,
            env=environment_without_torch,
            capture_output=True,
            text=True,
            check=False,
        )
        return Ran(ran.returncode, ran.stdout, ran.stderr)

    return run
