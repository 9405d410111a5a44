"""A bot forgets: what goes, what stays, and that a crash leaves the bot as it was."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from elman.chat import MemoryStore, Session
from elman.data.dataset import Dataset
from elman.data.forgotten import forgotten_digest
from elman.generate.network import load_network_bot
from elman.learning.forget import subtracted
from elman.learning.lessons import Exchange
from elman.learning.revision import UpdateSettings
from elman.learning.selection import ForgetRequest, select
from elman.learning.update import learn
from elman.model import versions
from elman.model.folder import CONFIG, WEIGHTS, folder_of, read_tokenizer
from elman.model.replay import read_replay
from elman.runtime.choose import load_bot
from elman.train import Config, train

Run = Callable[..., Any]
NAMES = ("Bob", "Cem", "Dana", "Eli")


@pytest.fixture(scope="session")
def group(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Conversations of Ann with four people, and of three at once."""
    draw = np.random.default_rng(0)
    path = tmp_path_factory.mktemp("chats") / "group.jsonl"
    lines = []
    for n in range(40):
        name = NAMES[n % 4]
        turns = []
        for _ in range(3):
            a, b = draw.integers(0, 5, 2).tolist()
            turns += [
                {"speaker": name, "text": f"{name.lower()} asks what {a} plus {b} is"},
                {"speaker": "Ann", "text": f"it is {a + b}"},
            ]
        if n % 10 == 9:
            turns.insert(2, {"speaker": "Bob", "text": f"bob was here {n} times"})
        lines.append(json.dumps({"id": f"talk-{n}", "turns": turns}))
    path.write_text("\n".join(lines), "utf-8")
    return path


@pytest.fixture(scope="session")
def grouped(
    tmp_path_factory: pytest.TempPathFactory, group: Path, make_config: Callable[..., Config]
) -> Path:
    """The folder of a bot that learned from all of them. Not to be changed."""
    folder = tmp_path_factory.mktemp("bots") / "ann"
    small = {"data.path": str(group), "train.steps": 6, "train.base": "none"}
    more = {"model.pointer": 16, "model.ngrams": 3, "data.learn_from": "all"}
    train(make_config(data__canaries=12, data__vocabulary=260, **small, **more), folder)
    return folder


@pytest.fixture
def home(grouped: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(grouped, tmp_path / "ann"))


def everything(folder: Path) -> dict[str, bytes]:
    """What a bot says is decided by these."""
    names = (*versions.DIGESTED_FILES, "replies.safetensors")
    return {n: (folder / n).read_bytes() for n in names if (folder / n).exists()}


def said_in(dataset: Dataset) -> list[tuple[str, str]]:
    return [(m.author, m.text) for _, each in dataset.parts() for m in each.messages]


def test_the_rest_is_divided_and_carries_canaries_as_before(group: Path) -> None:
    view: dict[str, Any] = {"bot": "Ann", "canaries": 12}
    before = list(Dataset.read(str(group), **view).with_canaries())
    bob = forgotten_digest("person", "Bob")
    dataset = Dataset.read(str(group), **view, forgotten=(bob,))
    after = {each.id: (part, each, canary) for part, each, canary in dataset.with_canaries()}
    for part, each, canary in before:
        if "Bob" not in each.authors:
            assert after.pop(each.id) == (part, each, canary)
        elif len(each.authors) == 2:
            assert each.id not in after
        else:
            left = after.pop(each.id)[1]
            assert left.messages == tuple(m for m in each.messages if m.author != "Bob")
    assert not after
    assert "Bob" not in {author for author, _ in said_in(dataset)}
    assert all("Bob" not in each.authors for each in dataset.conversations())


def test_whom_the_bot_knows_is_not_who_is_forgotten(group: Path) -> None:
    digest = forgotten_digest("person", "Bob")
    dataset = Dataset.read(str(group), bot="Ann", others="names", forgotten=(digest,))
    assert set(dataset.known) == {"Cem", "Dana", "Eli"}


def test_what_goes_is_found(group: Path, grouped: Path) -> None:
    bot = load_network_bot(grouped)
    dataset = Dataset.again(bot.config["data"])

    def found(**wanted: Any) -> Any:
        return select(dataset, bot.tokenizer, False, ForgetRequest(**wanted))

    bob = found(person=" bob")
    assert bob.digests == (forgotten_digest("person", "Bob"),)
    assert bob.names == ("Bob",)
    assert all("bob" in bot.tokenizer.decode(bob.own[n]) for n in range(len(bob.own)))
    assert len(bob.before) > len(bob.after) > 0
    assert bob.whole == len(bob.before) - len(bob.after)
    some = next(each for part, each in dataset.parts() if part == "train")
    talk = found(conversation=some.id)
    assert (len(talk.before), talk.whole, len(talk.after)) == (1, 1, 0)
    text = found(lines=("bob was here 9 times",))
    assert len(text.digests) == 1
    assert text.messages + text.held_out == 1


def test_it_forgets_and_shows_it(home: Path, group: Path, tmp_path: Path, elman: Run) -> None:
    bot = load_bot(home)
    database = tmp_path / "m.db"
    with MemoryStore(database) as store:
        for name in ("Bob", "Cem"):
            list(Session(bot, store=store, name=name).say(f"hello from {name}, a secret"))
    before = home / "versions"
    assert not before.exists()
    going = json.loads(elman("forget", home, "--person", "Bob", "--dry-run", "--json",
                             "--db", database).out)  # fmt: skip
    assert going["stored_chats"]["conversations"] == 1
    assert going["conversations"] > going["whole_conversations"] > 0
    assert not before.exists()
    out = tmp_path / "forgotten.txt"
    ran = elman("forget", home, "--person", "Bob", "--samples", 60, "--db", database,
                "--certificate", out, "--json")  # fmt: skip
    assert ran.code == 0, ran.err
    told = json.loads(ran.out)
    assert told["counts_subtracted"] is True
    assert told["after"]["repeating"] == 0
    assert told["before"]["exposure"]["canaries"] == told["canaries"] > 0
    assert told["after"]["exposure"]["bits"] <= told["before"]["exposure"]["bits"]
    assert told["not_undone"]
    assert "not undone" in out.read_text("utf-8")
    assert json.loads(out.with_suffix(".json").read_text("utf-8")) == told
    assert [each.id for each in versions.versions(home)] == [told["version"]]
    assert everything(home) == everything(folder_of(home))
    config = json.loads((home / CONFIG).read_text("utf-8"))
    assert config["data"]["forgotten"] == [forgotten_digest("person", "Bob")]
    for path in home.rglob("*"):
        if path.is_file():
            assert b"bob" not in path.read_bytes().lower(), path
    listed = elman("sessions", "list", "--db", database).out
    assert "Cem" in listed
    assert "Bob" not in listed
    wiped = b"".join(p.read_bytes() for p in tmp_path.glob("m.db*") if "reserve" not in p.name)
    assert b"hello from Bob" not in wiped
    assert b"hello from Cem" in wiped
    again = elman("forget", home, "--person", "Bob", "--db", database)
    assert again.code == 2
    assert "forgotten already" in again.err


def test_counts_are_those_of_before_less_what_went(
    grouped: Path, group: Path, tmp_path: Path, make_config: Callable[..., Config]
) -> None:
    """The check of the certificate fails where it should."""
    bot = load_bot(grouped)
    dataset = Dataset.again(bot.config["data"])
    bob = select(dataset, bot.tokenizer, False, ForgetRequest(person="Bob"))
    cem = select(dataset, bot.tokenizer, False, ForgetRequest(person="Cem"))
    saved = json.loads((grouped / CONFIG).read_text("utf-8"))
    data = saved["data"] | {"forgotten": list(bob.digests)}
    train(Config.make(saved | {"data": data, "train": saved["train"] | {"base": "none"}}),
          tmp_path / "less")  # fmt: skip
    less = load_bot(tmp_path / "less")
    assert subtracted(bot, less, bob, ()) is True
    assert subtracted(bot, less, cem, ()) is not True


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ((), "say what to forget"),
        (("--person", "Bob", "--conversation", "talk-1"), "say what to forget"),
        (("--person", "Bop"), "the nearest are Bob"),
        (("--person", "Ann"), "the bot is Ann"),
        (("--conversation", "talk-1000"), "there is none of that id"),
    ],
)
def test_one_mistake_one_sentence(
    grouped: Path, tmp_path: Path, elman: Run, given: tuple[str, ...], said: str
) -> None:
    ran = elman("forget", grouped, *given, "--db", tmp_path / "m.db", "--dry-run")
    assert (ran.code, ran.out) == (2, "")
    assert said in ran.err
    assert len(ran.err.splitlines()) == 1


def test_text_that_cannot_be_forgotten(
    grouped: Path, group: Path, tmp_path: Path, elman: Run
) -> None:
    for content, said in (
        (b"", "is empty"),
        (b"abc\n", "at least 4"),
        (b"nobody ever said this\n", "stands in"),
        (b"\xff\xfe", "not text"),
    ):
        (tmp_path / "text.txt").write_bytes(content)
        ran = elman("forget", grouped, "--text", tmp_path / "text.txt", "--db", tmp_path / "m.db")
        assert ran.code == 2
        assert said in ran.err
    ran = elman("forget", grouped, "--text", tmp_path / "none.txt", "--db", tmp_path / "m.db")
    assert ran.code == 2
    changed = tmp_path / "changed.jsonl"
    changed.write_text(group.read_text("utf-8").replace("bob asks", "bob says"), "utf-8")
    ran = elman("forget", grouped, changed, "--person", "Bob", "--db", tmp_path / "m.db")
    assert ran.code == 2
    assert "changed since" in ran.err
    ran = elman("forget", grouped, tmp_path / "gone", "--person", "Bob", "--db", tmp_path / "m.db")
    assert ran.code == 2
    assert "is gone" in ran.err


def test_a_version_that_was_removed_by_hand(home: Path, tmp_path: Path, elman: Run) -> None:
    kept = versions.keep_first(home)
    shutil.rmtree(kept.folder)
    ran = elman("forget", home, "--person", "Bob", "--db", tmp_path / "m.db")
    assert ran.code == 2
    assert "is gone" in ran.err
    assert "rollback" in ran.err


def taught_by(name: str, count: int) -> list[Exchange]:
    return [
        Exchange(name, f"{name.lower()} wants {n} plus {n}", f"{name.lower()} gets {2 * n}")
        for n in range(count)
    ]


def updated(home: Path, *people: str) -> None:
    """Let a bot learn from corrections, whatever the gate says."""
    settings = UpdateSettings(gate=False, epochs=1)
    learn(home, [each for name in people for each in taught_by(name, 12)], settings=settings)


def sources_of(home: Path) -> set[str]:
    kept = read_replay(folder_of(home), read_tokenizer(folder_of(home)))
    assert kept is not None
    return {each.person for each in (*kept.sources, *kept.held_out_sources)}


def test_what_an_update_learned_is_forgotten_by_the_version_before_it(
    home: Path, tmp_path: Path, elman: Run
) -> None:
    first = versions.keep_first(home).id
    updated(home, "Gus")
    before = versions.current(home)
    assert before is not None
    updated(home, "Hana", "Ida")
    assert sources_of(home) == {"Gus", "Hana", "Ida"}
    ran = elman("forget", home, "--person", "Hana", "--samples", 40, "--db", tmp_path / "m.db",
                "--json")  # fmt: skip
    assert ran.code == 0, ran.err
    told = json.loads(ran.out)
    assert told["started_from"] == f"version {before.id}"
    assert told["steps"] > 0
    assert told["after"]["unlearned_repeating"] is not None
    assert [each.id for each in versions.versions(home)] == [told["version"]]
    assert first not in (told["version"], before.id)
    assert sources_of(home) == {"Gus", "Ida"}
    for path in home.rglob("*"):
        if path.is_file():
            assert b"hana" not in path.read_bytes().lower(), path
    again = elman("forget", home, "--person", "Hana", "--db", tmp_path / "m.db")
    assert again.code == 2
    assert "nobody has that name" in again.err


def test_what_others_taught_stays_when_training_is_repeated(
    home: Path, tmp_path: Path, elman: Run
) -> None:
    updated(home, "Gus", "Bob")
    ran = elman("forget", home, "--person", "bob", "--samples", 40, "--db", tmp_path / "m.db",
                "--json")  # fmt: skip
    assert ran.code == 0, ran.err
    assert json.loads(ran.out)["started_from"] is None
    assert sources_of(home) == {"Gus"}


def test_lines_of_an_update_are_forgotten(home: Path, tmp_path: Path, elman: Run) -> None:
    updated(home, "Gus")
    (tmp_path / "text.txt").write_text("gus wants 3 plus 3\n", "utf-8")
    before = load_bot(home)
    ran = elman("forget", home, "--text", tmp_path / "text.txt", "--samples", 40, "--db",
                tmp_path / "m.db", "--json")  # fmt: skip
    assert ran.code == 0, ran.err
    assert not before.path.exists()
    kept = read_replay(folder_of(home), before.tokenizer)
    assert kept is not None
    assert len(kept.later) + len(kept.later_held_out) == 11


KILLED = """
import os, signal, sys
from elman.cli import main
from elman.model import versions

def die(*given, **more):
    os.kill(os.getpid(), signal.SIGKILL)

target, name = {"keep": (versions, "keep"), "current": (versions, "make_current"),
                "remove": (versions, "remove")}[sys.argv.pop(1)]
real, calls = getattr(target, name), []

def last(*given, **more):
    calls.append(given)
    if name == "remove" or len(calls) > 1:  # the first call keeps what training wrote
        die()
    return real(*given, **more)

setattr(target, name, last)
main()
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="there is no SIGKILL")
@pytest.mark.parametrize("when", ["keep", "current", "remove"])
def test_killed_at_any_moment_a_version_is_whole(
    home: Path, tmp_path: Path, elman: Run, when: str
) -> None:
    before = everything(folder_of(home))
    given = ("forget", home, "--person", "Bob", "--samples", 4, "--db", tmp_path / "m.db")
    ran = subprocess.run(
        [sys.executable, "-c", KILLED, when, *map(str, given)],
        capture_output=True, check=False, env=os.environ | {"OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert ran.returncode == -signal.SIGKILL, ran.stderr
    after = everything(folder_of(home))
    load_bot(home)
    if when != "remove":
        assert after == before
        return
    assert after != before
    ran = elman(*given)
    assert ran.code == 2
    assert "older versions" in ran.err
    assert "forgotten already" in ran.err
    assert len(versions.versions(home)) == 1
    assert everything(home) == after


def test_on_a_full_disk_the_bot_is_as_it_was(
    home: Path, tmp_path: Path, elman: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = everything(home)
    written = []

    def full(*given: Any, **more: Any) -> None:
        written.append(given)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("elman.learning.forget.load_bot", full)
    ran = elman("forget", home, "--person", "Bob", "--db", tmp_path / "m.db")
    assert written
    assert ran.code == 2
    assert "No space left on device" in ran.err
    assert everything(folder_of(home)) == before
    assert (home / WEIGHTS).exists()
