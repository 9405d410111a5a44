"""A bot on its way to the Hub and back, against a fake on this machine: nothing is uploaded."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from elman.model.folder import CONFIG, REPLIES, TOKENIZER, WEIGHTS
from tests.export.fake_hub import TOKEN, FakeHub, Repository, fake_hub

NAMES = ["README.md", CONFIG, WEIGHTS, TOKENIZER]


class Hub:
    """The fake, and Python processes that take it for the real one."""

    def __init__(self, fake: FakeHub, folder: Path) -> None:
        self.fake = fake
        self.repositories, self.asked = fake.repositories, fake.asked
        self.environment = os.environ | {
            "HF_ENDPOINT": fake.url,
            "HF_HOME": str(folder / "library"),
            "HF_TOKEN": TOKEN,
            "HF_HUB_DISABLE_TELEMETRY": "1",
        }

    def run(self, *arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, *map(str, arguments)],
            env=self.environment | environment,
            capture_output=True,
            text=True,
            check=False,
        )

    def elman(self, *arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
        return self.run("-m", "elman", *arguments, **environment)


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    with fake_hub() as fake:
        yield Hub(fake, tmp_path)


@pytest.mark.slow
def test_a_bot_goes_to_the_hub_and_comes_back(hub: Hub, trained: Path, tmp_path: Path) -> None:
    ran = hub.elman(
        "export", trained, "--to", "folder", "--out", tmp_path / "away", "--push", "ann/bot"
    )
    assert ran.returncode == 0, ran.stderr
    assert "/ann/bot/commit/" in ran.stdout
    repository = hub.repositories["ann/bot"]
    assert repository.private  # nobody said --public
    assert sorted(repository.files) == NAMES
    assert repository.files[WEIGHTS] == (trained / WEIGHTS).read_bytes()

    repository.files |= {"evil.py": b"raise SystemExit", "pytorch_model.bin": b"\x80"}
    hub.asked.clear()
    code = (
        "import elman, os\n"
        "bot = elman.load_bot('hf://ann/bot')\n"
        "print(bot.state_digest.hex(), sorted(os.listdir(bot.path)))"
    )
    loaded = hub.run("-c", code)
    assert loaded.returncode == 0, loaded.stderr
    here = hub.run(
        "-c", f"import elman; print(elman.load_bot({str(trained)!r}).state_digest.hex())"
    )
    assert loaded.stdout == f"{here.stdout.strip()} {NAMES[1:]}\n"
    assert not any("evil" in path or "pytorch" in path or "README" in path for path in hub.asked)

    ran = hub.elman("import", "hf://ann/bot@main", "--out", tmp_path / "home")
    assert ran.returncode == 0, ran.stderr
    assert sorted(path.name for path in (tmp_path / "home").iterdir()) == NAMES[1:]
    assert not (tmp_path / "home" / WEIGHTS).is_symlink()  # as it lies in the library's cache


@pytest.mark.slow
def test_a_second_push_leaves_nothing_of_the_first(hub: Hub, trained: Path, tmp_path: Path) -> None:
    push = f"import elman; elman.push_to_hub({str(trained)!r}, 'ann/bot', with_replies=%s)"
    assert hub.run("-c", push % True).returncode == 0
    assert REPLIES in hub.repositories["ann/bot"].files
    ran = hub.run("-c", push % False)
    assert ran.returncode == 0, ran.stderr
    assert sorted(hub.repositories["ann/bot"].files) == NAMES


@pytest.mark.slow
def test_what_should_be_private_never_lies_in_a_public_repository(
    hub: Hub, trained: Path, tmp_path: Path
) -> None:
    hub.repositories["ann/bot"] = Repository(private=False)
    command = ("export", trained, "--to", "folder", "--push", "ann/bot", "--out")
    ran = hub.elman(*command, tmp_path / "one")
    assert ran.returncode == 2
    assert ran.stderr.splitlines()[-1].startswith("elman: ann/bot: is public on the Hub already")
    assert not hub.repositories["ann/bot"].files
    ran = hub.elman(*command, tmp_path / "two", "--public")
    assert ran.returncode == 0, ran.stderr
    assert sorted(hub.repositories["ann/bot"].files) == NAMES


@pytest.mark.parametrize(
    ("name", "environment", "why"),
    [
        ("hf://ann/gone", {}, "hf://ann/gone: "),
        ("hf://ann/bot", {"HF_TOKEN": "hf_of_somebody_else"}, "hf://ann/bot: "),
        ("hf://ann/bot", {"HF_ENDPOINT": "http://127.0.0.1:9"}, "hf://ann/bot: "),
        ("hf://ann/bot/../../x", {}, "expected hf://OWNER/NAME"),
        ("hf://../..", {}, "hf://../..: "),
        ("hf://ann/cut", {}, f"{WEIGHTS}: damaged or truncated"),
    ],
)
def test_what_cannot_be_had_is_one_sentence(
    hub: Hub, trained: Path, tmp_path: Path, name: str, environment: dict[str, str], why: str
) -> None:
    files = {each: (trained / each).read_bytes() for each in NAMES[1:]}
    hub.repositories["ann/bot"] = Repository(True, files)
    hub.repositories["ann/cut"] = Repository(True, files | {WEIGHTS: files[WEIGHTS][:5000]})
    ran = hub.elman("import", name, "--out", tmp_path / "home", **environment)
    assert ran.returncode == 2
    assert ran.stderr.splitlines()[-1].startswith("elman: ")
    assert why in ran.stderr
    assert "Traceback" not in ran.stderr
    assert not (tmp_path / "home").exists()


def test_nothing_is_fetched_unless_the_hub_is_named(hub: Hub, tmp_path: Path) -> None:
    hub.repositories["ann/bot"] = Repository(private=False)
    for command in (("chat", "ann/bot"), ("import", "ann/bot", "--out", tmp_path / "home")):
        ran = hub.elman(*command)
        assert ran.returncode == 2
    ran = hub.elman("chat", "hf://ann/bot")
    assert "elman import hf://OWNER/NAME --out FOLDER" in ran.stderr
    assert hub.asked == []
