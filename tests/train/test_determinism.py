"""--deterministic: the same run again ends in the same weights, whatever the clock and the load."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from elman.bptt import precision
from elman.errors import ElmanError
from elman.model.tensor_files import read_tensors, write_tensors
from elman.train import Config, resume, train
from elman.train.checkpoints import checkpoints

Make = Callable[..., Config]


@pytest.fixture
def threads() -> Iterator[int]:
    """Threads of this process, which are put back."""
    before = torch.get_num_threads()
    yield before
    torch.set_num_threads(before)


def test_threads_are_those_that_the_run_began_with(
    tmp_path: Path, make_config: Make, threads: int
) -> None:
    seen: list[tuple[int, bool]] = []

    def watch(kind: str, facts: dict[str, Any]) -> None:
        if kind == "step":
            seen.append((torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()))

    config = make_config(train__deterministic=True)
    torch.set_num_threads(2)
    asked = iter(range(3))
    train(config, tmp_path, observers=(watch,), stop=lambda: next(asked, None) is None)
    torch.set_num_threads(1)
    resume(tmp_path, observers=(watch,))
    assert set(seen) == {(2, True)}
    assert len(seen) == 12
    assert (torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()) == (1, False)


def test_other_conditions_are_said(tmp_path: Path, make_config: Make, threads: int) -> None:
    notes: list[str] = []
    train(make_config(), tmp_path, stop=lambda: True)
    [path] = checkpoints(tmp_path)
    tensors, facts = read_tensors(path)
    facts["conditions"] |= {"torch": "1.0", "threads": threads + 1}
    write_tensors(path, tensors, facts)
    resume(
        tmp_path,
        stop=lambda: True,
        observers=(lambda kind, facts: notes.append(facts["text"]) if kind == "note" else None,),
    )
    [note] = [note for note in notes if "bit for bit" in note]
    assert f"threads {threads} where it was {threads + 1}, " in note
    assert f"torch {torch.__version__} where it was 1.0: the run does not end bit for bit" in note


def test_nothing_is_decided_by_a_clock(
    tmp_path: Path, make_config: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    def measured(*_: object) -> float:
        raise AssertionError

    monkeypatch.setattr(precision, "bfloat16_speed", measured)
    config = make_config(train__deterministic=True, train__precision="bfloat16", train__steps=2)
    train(config, tmp_path / "low")
    with pytest.raises(ElmanError, match=r"ends by the clock.*--set train\.epochs=10"):
        train(make_config(train__deterministic=True, train__minutes=1.0), tmp_path / "minutes")
    with pytest.raises(ElmanError, match="ends by the clock"):
        resume(tmp_path / "low", budget={"minutes": 1.0})


def test_threads_that_come_and_go_are_refused(
    tmp_path: Path, make_config: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_DYNAMIC", "true")
    with pytest.raises(ElmanError, match="OMP_DYNAMIC"):
        train(make_config(train__deterministic=True), tmp_path)
