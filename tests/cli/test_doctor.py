"""`elman doctor` and `elman --version`: what is here, what is slow, what is broken."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from elman import __version__
from elman.cli import doctor

Run = Callable[..., Any]


@pytest.fixture
def examined(elman: Run, tmp_path: Path) -> Callable[..., tuple[int, dict[str, Any]]]:
    """Runs `elman doctor --json`; gives its exit code, and its findings by part."""

    def run(database: Path = tmp_path / "none.db") -> tuple[int, dict[str, Any]]:
        ran = elman("doctor", "--json", "--db", database)
        return ran.code, {each["part"]: each for each in json.loads(ran.out)}

    return run


Examined = Callable[..., tuple[int, dict[str, Any]]]


def test_all_is_well(examined: Examined) -> None:
    code, found = examined()
    assert code == 0
    assert found["elman"]["found"].startswith(__version__)
    assert found["base bot"]["health"] == "fine"
    assert found["torch"]["health"] == "fine"


def test_a_table_for_people(elman: Run, tmp_path: Path) -> None:
    ran = elman("doctor", "--db", tmp_path / "none.db")
    assert ran.code == 0
    assert "base bot" in ran.out
    assert "loaded in" in ran.out


def test_nothing_is_created(examined: Examined, monkeypatch: Any, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "home"))
    _, found = examined()
    assert found["conversations"]["health"] == "fine"
    assert not (tmp_path / "home").exists()


def test_a_damaged_store_is_broken(examined: Examined, tmp_path: Path) -> None:
    damaged = tmp_path / "damaged.db"
    damaged.write_bytes(b"this is no database " * 500)
    code, found = examined(damaged)
    assert code == 1
    assert found["conversations"]["health"] == "broken"
    assert str(damaged) in found["conversations"]["found"]
    assert found["base bot"]["health"] == "fine"  # the rest is still looked at


def test_fewer_processors_than_there_are(examined: Examined, monkeypatch: Any) -> None:
    monkeypatch.setattr(doctor, "usable_processors", lambda: 1.5)
    monkeypatch.setattr("os.cpu_count", lambda: 64)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    _, found = examined()
    assert found["processors"]["health"] == "note"
    assert "OMP_NUM_THREADS=1" in found["processors"]["remedy"]


@pytest.mark.slow
def test_without_torch(without_torch: Run, tmp_path: Path) -> None:
    ran = without_torch("-m", "elman", "doctor", "--db", tmp_path / "none.db")
    assert ran.code == 0, ran.err
    assert "Talking and serving work" in " ".join(ran.out.split())


@pytest.mark.slow
def test_without_the_library(without_torch: Run, monkeypatch: Any, tmp_path: Path) -> None:
    monkeypatch.setenv("ELMAN_KERNELS", "reference")
    ran = without_torch(
        "-c", "import os; os.environ['ELMAN_KERNELS'] = 'reference'\n"
        "import sys; sys.argv = ['elman', 'doctor', '--json', '--db', '" + str(tmp_path / "no.db")
        + "']\nfrom elman.cli import main; main()",
    )  # fmt: skip
    found = {each["part"]: each for each in json.loads(ran.out)}
    assert found["compiled library"]["health"] == "note"
    assert "ELMAN_KERNELS=reference is set" in found["compiled library"]["found"]
    assert "numpy" in found["base bot"]["found"]


def test_the_version_names_the_kernels(elman: Run) -> None:
    ran = elman("--version")
    assert ran.out.startswith(f"elman {__version__} (")
    assert "kernels" in ran.out
