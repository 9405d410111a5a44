"""A bot's versions: whole, never changed, and taken back bit by bit."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from elman.chat import MemoryStore, Session
from elman.cli import main
from elman.data.locks import only_one
from elman.errors import ElmanError
from elman.generate.bot import Bot
from elman.model import versions
from elman.model.folder import CONFIG, REPLIES, TOKENIZER, VERSIONS, WEIGHTS, folder_of, home_of
from elman.model.versions import Version
from elman.runtime.choose import load_bot
from elman.train import Config, train

FILES = (CONFIG, TOKENIZER, WEIGHTS, REPLIES)


def fail(text: str) -> None:
    raise AssertionError(text)


@pytest.fixture
def home(trained: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(trained, tmp_path / "ann"))


@pytest.fixture(scope="session")
def other(tmp_path_factory: pytest.TempPathFactory, make_config: Callable[..., Config]) -> Path:
    """The folder of a bot with the same tokenizer and other weights. Not to be changed."""
    folder = tmp_path_factory.mktemp("bots") / "ann"
    train(make_config(train__steps=3), folder)
    return folder


def learn(home: Path, other: Path) -> Version:
    """Make a version with the weights of another bot, and make the bot be it."""
    with only_one(home, fail):
        first = versions.keep_first(home)
        with versions.draft(home, first) as folder:
            (folder / WEIGHTS).unlink()
            shutil.copyfile(other / WEIGHTS, folder / WEIGHTS)
            made = versions.keep(home, folder, by="learn", parent=first, report={"gain": 0.1})
        versions.make_current(home, made)
    return made


def contents(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in FILES if (folder / name).exists()}


def test_a_bot_without_versions_is_its_own_first_one(home: Path) -> None:
    assert versions.versions(home) == []
    assert versions.current(home) is None
    assert folder_of(home) == home == home_of(home)
    before = contents(home)
    with only_one(home, fail):
        first = versions.keep_first(home)
        assert versions.keep_first(home) == first
    assert first.id == versions.digest_of(home)
    assert contents(first.folder) == before == contents(home)
    assert folder_of(home) == first.folder
    assert home_of(first.folder) == home
    assert load_bot(home).home == home


def test_a_rollback_is_bit_identical(home: Path, other: Path) -> None:
    before = contents(home)
    made = learn(home, other)
    assert load_bot(home).made_by == load_bot(other).made_by
    assert contents(folder_of(home))[WEIGHTS] == (other / WEIGHTS).read_bytes()
    back = versions.rollback(home, None, fail)
    assert back.id == made.parent
    assert contents(folder_of(home)) == before
    assert versions.rollback(home, made.id[:4], fail) == made
    assert load_bot(home).made_by == load_bot(other).made_by


def test_versions_that_are_the_same_are_one(home: Path) -> None:
    with only_one(home, fail):
        first = versions.keep_first(home)
        with versions.draft(home, first) as folder:
            assert versions.keep(home, folder, by="learn", parent=first) == first
    assert versions.versions(home) == [first]


def test_what_is_changed_in_the_folder_changes_no_version(home: Path, other: Path) -> None:
    """Small files are copies; large ones are shared, and replaced by whoever writes them."""
    made = learn(home, other)
    first = versions.find(home, made.parent or "")
    with (home / CONFIG).open("a") as file:
        file.write(" ")
    assert versions.digest_of(first.folder) == first.id


def test_training_again_makes_the_bot_what_it_wrote(
    home: Path, other: Path, make_config: Callable[..., Config]
) -> None:
    made = learn(home, other)
    train(make_config(train__steps=2), home)
    assert folder_of(home) == home
    assert load_bot(home).made_by != load_bot(made.folder).made_by
    assert versions.rollback(home, made.id, fail) == made


CRASH = """
import os, signal, sys
from pathlib import Path
sys.path.insert(0, {tests!r})
import elman.data.files, test_versions
from elman.model import versions

left = {steps}
def dying(function):
    def called(*given, **named):
        global left
        left -= 1
        if left < 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*given, **named)
    return called

os.fsync = dying(os.fsync)
os.link = dying(os.link)
for name in ("rename", "replace", "mkdir", "chmod", "unlink"):
    setattr(Path, name, dying(getattr(Path, name)))
test_versions.learn(Path({home!r}), Path({other!r}))
print("whole")
"""


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="no SIGKILL")
@pytest.mark.parametrize("steps", range(0, 48, 5))
def test_a_crash_leaves_the_old_version_or_the_new_one(
    home: Path, other: Path, trained: Path, steps: int
) -> None:
    """Killed before each of the calls that change something on disk."""
    code = CRASH.format(
        tests=str(Path(__file__).parent), steps=steps, home=str(home), other=str(other)
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ran.returncode == -signal.SIGKILL or ran.stdout == "whole\n", ran.stderr
    known = [load_bot(folder).made_by for folder in (other, trained)]
    assert load_bot(home).made_by in known
    for each in versions.versions(home):
        assert versions.digest_of(each.folder) == each.id
    assert load_bot(learn(home, other).folder).made_by == known[0]
    left = [path.name for path in (home / VERSIONS).iterdir() if path.name.startswith(".")]
    assert left == []


def test_a_version_removed_by_hand_is_named(
    home: Path, other: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    made = learn(home, other)
    shutil.rmtree(made.folder)
    with pytest.raises(ElmanError, match=f"its current version {made.id} is gone"):
        load_bot(home)
    monkeypatch.setattr(sys, "argv", ["elman", "rollback", str(home)])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert made.id in said
    versions.rollback(home, made.parent, fail)
    assert load_bot(home).home == home


def test_a_damaged_version_is_not_taken(home: Path, other: Path) -> None:
    made = learn(home, other)
    first = versions.find(home, made.parent or "")
    content = bytearray((first.folder / WEIGHTS).read_bytes())
    content[-1] ^= 1
    (first.folder / WEIGHTS).unlink()
    (first.folder / WEIGHTS).write_bytes(content)
    with pytest.raises(ElmanError, match="was changed or damaged; the bot is as it was"):
        versions.rollback(home, first.id, fail)
    assert versions.current(home) == made


@pytest.mark.parametrize("content", ["", "{", "[]", '{"version": "../.."}', '{"version": 3}'])
def test_a_damaged_pointer_is_refused(home: Path, other: Path, content: str) -> None:
    learn(home, other)
    (home / VERSIONS / "current.json").write_text(content)
    with pytest.raises(ElmanError, match=r"current\.json"):
        load_bot(home)


@pytest.mark.parametrize(
    ("name", "why"),
    [("ffff", "no such version"), ("", "at least 4"), ("../", "no such version")],
)
def test_a_name_that_is_no_version_lists_them(home: Path, other: Path, name: str, why: str) -> None:
    made = learn(home, other)
    if name == "":
        name = made.id[:2]
    with pytest.raises(ElmanError, match=why) as error:
        versions.rollback(home, name, fail)
    assert made.id in str(error.value)


def test_nothing_is_rolled_back_while_something_is_learned(home: Path, other: Path) -> None:
    learn(home, other)
    with only_one(home, fail), pytest.raises(ElmanError, match="is being trained by"):
        versions.rollback(home, None, fail)


def test_a_version_is_removed_with_what_training_wrote(home: Path, other: Path) -> None:
    made = learn(home, other)
    with pytest.raises(ElmanError, match="take another one first"):
        versions.remove(home, made)
    versions.remove(home, versions.find(home, made.parent or ""))
    assert [each.id for each in versions.versions(home)] == [made.id]
    assert not (home / WEIGHTS).exists()
    assert load_bot(home).made_by == load_bot(other).made_by


def test_the_command_lists_and_goes_back(
    home: Path, other: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def elman(*arguments: str) -> str:
        monkeypatch.setattr(sys, "argv", ["elman", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        assert not ended.value.code
        return capsys.readouterr().out

    assert "is what training wrote" in elman("versions", str(home))
    made = learn(home, other)
    listed = elman("versions", str(home)).splitlines()
    assert [line[:18] for line in listed] == [f"  {made.parent}", f"* {made.id}"]
    assert elman("rollback", str(home)).startswith(f"{home} is {made.parent} again")
    facts = json.loads(elman("versions", str(home), "--json"))
    assert facts["current"] == made.parent
    assert [each["current"] for each in facts["versions"]] == [True, False]
    assert facts["versions"][1]["report"] == {"gain": 0.1}


class Words:
    """Counts what a bot reads."""

    def __init__(self, bot: Bot) -> None:
        self.read = 0
        self._of = bot.decoder.read
        object.__setattr__(bot.decoder, "read", self)

    def __call__(self, rows: object, state: object) -> object:
        self.read += sum(len(piece) for row in rows for piece in row)  # type: ignore[attr-defined, misc]
        return self._of(rows, state)  # type: ignore[arg-type]


def test_states_of_another_version_are_not_given_to_its_weights(
    home: Path, other: Path, tmp_path: Path
) -> None:
    """The transcript is read anew: the session stands as if the new weights had heard all of it."""
    path = tmp_path / "memory.db"
    with MemoryStore(path) as store:
        session = Session(load_bot(home), store=store, name="tea")
        for text in ("what is 1 plus 2?", "what is 2 plus 2?"):
            list(session.say(text))
        texts = [node.text for node in session.path]
    learn(home, other)
    bot = load_bot(home)
    with MemoryStore(path) as store:
        heard = Words(bot)
        again = Session(bot, store=store, name="tea")
        assert again.read_anew
        assert [node.text for node in again.path] == texts
        said = again.turns  # a reply was maybe said in other pieces than its text is cut into
        assert heard.read == sum(map(len, said))
        expected = bot.decoder.read([said], bot.decoder.initial_state(1))
        for own, wanted in zip(again.state, expected, strict=True):
            assert (own == wanted).all()
