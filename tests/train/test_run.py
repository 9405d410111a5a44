"""Whole runs: what they leave on disk; a resumed one ends where an uninterrupted one does."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from elman.data.files import write_file
from elman.errors import ElmanError
from elman.generate.network import load_network_bot
from elman.model.checkpoint import weights_digest
from elman.model.folder import CONFIG
from elman.model.tensor_files import read_tensors
from elman.train import Config, resume, train
from elman.train.checkpoints import last_checkpoint
from elman.train.runlog import LOG

Make = Callable[..., Config]


class Recorder:
    def __init__(self) -> None:
        self.events: list[tuple[str, dict[str, Any]]] = []

    def __call__(self, kind: str, facts: dict[str, Any]) -> None:
        self.events.append((kind, facts))

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [facts for k, facts in self.events if k == kind]


def stop_after(steps: int) -> Callable[[], bool]:
    """Stops a run as Ctrl-C would, after so many of its steps."""
    asked = iter(range(steps))
    return lambda: next(asked, None) is None


def newest(folder: Path) -> Path:
    path = last_checkpoint(folder)
    assert path is not None
    return path


def saved(folder: Path) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    tensors, facts = read_tensors(newest(folder))
    for name in ("seconds", "cycle_began"):
        facts.pop(name)
    return tensors, facts


@pytest.mark.slow
@pytest.mark.parametrize("cell", ["rnn", "gru", "lstm"])
@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw"])
def test_resumed_is_bit_identical(
    tmp_path: Path, make_config: Make, cell: str, optimizer: str
) -> None:
    config = make_config(model__cell=cell, train__optimizer=optimizer, model__dropout=0.1)
    train(config, tmp_path / "whole")
    assert train(config, tmp_path / "parts", stop=stop_after(1)).reason == "interrupted"
    for steps in (3, 5):
        assert resume(tmp_path / "parts", stop=stop_after(steps)).reason == "interrupted"
    assert resume(tmp_path / "parts").reason == "finished"
    whole, facts = saved(tmp_path / "whole")
    parts, facts_of_parts = saved(tmp_path / "parts")
    assert facts == facts_of_parts
    assert whole.keys() == parts.keys()
    for name, tensor in whole.items():
        assert torch.equal(tensor, parts[name]), name
    digests = [weights_digest(load_network_bot(tmp_path / f).chatbot) for f in ("whole", "parts")]
    assert digests[0] == digests[1]


@pytest.mark.parametrize("pointer", [0, 24])
def test_resumed_epochs_are_bit_identical(tmp_path: Path, make_config: Make, pointer: int) -> None:
    config = make_config(train__epochs=0.5, model__pointer=pointer)
    train(config, tmp_path / "whole")
    train(config, tmp_path / "parts", stop=stop_after(4))
    resume(tmp_path / "parts")
    whole, parts = saved(tmp_path / "whole"), saved(tmp_path / "parts")
    assert whole[1] == parts[1]
    assert all(torch.equal(tensor, parts[0][name]) for name, tensor in whole[0].items())


def test_minutes_spent_count_on(tmp_path: Path, make_config: Make) -> None:
    config = make_config(train__minutes=60)
    train(config, tmp_path, stop=stop_after(2))
    before = read_tensors(newest(tmp_path))[1]["seconds"]
    seen = Recorder()
    resume(tmp_path, stop=stop_after(1), observers=(seen,))
    assert seen.of("step")[0]["seconds"] >= before


def test_log_has_each_step_once(tmp_path: Path, make_config: Make) -> None:
    config = make_config()
    train(config, tmp_path, stop=stop_after(5))
    with (tmp_path / LOG).open("a") as log:  # what a crash after the last checkpoint leaves
        log.write('{"kind": "step", "step": 6, "loss": 1.0}\n{"kind": "st')
    resume(tmp_path)
    records = [json.loads(line) for line in (tmp_path / LOG).read_text().splitlines()]
    steps = [record for record in records if record["kind"] == "step"]
    assert [record["step"] for record in steps] == list(range(1, 13))
    assert {"loss", "bits_per_byte", "grad_norm", "lr", "tokens_per_second"} <= steps[0].keys()
    assert [r["step"] for r in records if r["kind"] == "validation"] == [4, 8, 12]


def test_events_tell_what_happened(tmp_path: Path, make_config: Make) -> None:
    seen = Recorder()
    train(make_config(), tmp_path, observers=(seen,))
    kinds = [kind for kind, _ in seen.events]
    assert kinds.index("stage") < kinds.index("start") < kinds.index("step")
    assert kinds[-1] == "end"
    (end,) = seen.of("end")
    assert end["reason"] == "finished"
    assert end["bits_per_byte"] == pytest.approx(
        min(facts["bits_per_byte"] for facts in seen.of("validation")), abs=5e-5
    )


def test_training_learns(tmp_path: Path, make_config: Make) -> None:
    seen = Recorder()
    train(make_config(train__steps=60, train__lr=0.01), tmp_path, observers=(seen,))
    before = seen.of("step")[0]["bits_per_byte"]
    assert seen.of("validation")[-1]["bits_per_byte"] < before / 4


def test_a_pointer_is_taught_beside_the_loss(tmp_path: Path, make_config: Make) -> None:
    """What is told of a step is the loss alone; its gradient is of both."""
    first = []
    for weight in (0.0, 1.0):
        seen = Recorder()
        settings = {"model__pointer": 32, "train__steps": 3, "train__copying": weight}
        train(make_config(**settings), tmp_path, observers=(seen,))
        first.append(seen.of("step"))
    (alone, *later), (taught, *rest) = first
    assert alone["loss"] == taught["loss"]
    assert alone["grad_norm"] != taught["grad_norm"]
    assert [step["loss"] for step in later] != [step["loss"] for step in rest]


def test_a_cycle_of_limited_passes_goes_to_its_end(tmp_path: Path, make_config: Make) -> None:
    seen = Recorder()
    config = make_config(
        train__minutes=10.0,
        train__most_epochs=2.0,
        train__lr=20.0,  # so that every validation after the first is worse
        train__optimizer="sgd",
        train__warmup=0.0,
        train__validations=10,
        train__patience=1,
    )
    assert train(config, tmp_path, observers=(seen,)).reason == "finished"
    assert seen.of("step")[-1]["epochs"] >= 2.0


def test_stops_early_when_nothing_is_gained(tmp_path: Path, make_config: Make) -> None:
    seen = Recorder()
    config = make_config(
        train__steps=100,
        train__lr=20.0,  # so that every validation after the first is worse
        train__optimizer="sgd",
        train__warmup=0.0,
        train__validations=50,
        train__patience=2,
    )
    result = train(config, tmp_path, observers=(seen,))
    assert result.reason == "early stop"
    assert [facts["best"] for facts in seen.of("validation")][-2:] == [False, False]
    best = min(facts["bits_per_byte"] for facts in seen.of("validation"))
    assert result.bits_per_byte == pytest.approx(best, abs=5e-5)
    with pytest.raises(ElmanError, match="finished"):
        resume(tmp_path)


def test_explosion_keeps_the_last_checkpoint(tmp_path: Path, make_config: Make) -> None:
    config = make_config(
        train__steps=400, train__lr=1e6, train__optimizer="sgd", train__clip=0, model__cell="rnn"
    )
    with pytest.raises(ElmanError, match=r"--set train\.clip=1"):
        train(config, tmp_path)
    assert all(torch.isfinite(p).all() for p in load_network_bot(tmp_path).chatbot.parameters())


def test_finished_run_goes_on_with_a_larger_budget(tmp_path: Path, make_config: Make) -> None:
    train(make_config(train__steps=4), tmp_path)
    assert resume(tmp_path, budget={"steps": 6}).steps == 6


def test_other_conversations_are_refused(tmp_path: Path, make_config: Make, chats: Path) -> None:
    own = tmp_path / "own.txt"
    own.write_text(chats.read_text())
    config = make_config(data__path=str(own))
    train(config, tmp_path / "bot", stop=stop_after(2))
    own.write_text(chats.read_text().replace("Bob.", "Bobby."))
    with pytest.raises(ElmanError, match="not the conversations"):
        resume(tmp_path / "bot")


def test_a_run_goes_on_where_its_conversations_moved(
    tmp_path: Path, make_config: Make, chats: Path
) -> None:
    own, moved = tmp_path / "own.txt", tmp_path / "elsewhere" / "chats.txt"
    own.write_text(chats.read_text())
    stays, goes = (make_config(data__path=str(path), train__steps=8) for path in (chats, own))
    train(stays, tmp_path / "whole")
    train(goes, tmp_path / "bot", stop=stop_after(3))
    moved.parent.mkdir()
    own.rename(moved)
    with pytest.raises(ElmanError, match=r"own.txt: is gone, .*elman train PATH --resume"):
        resume(tmp_path / "bot")
    config = (tmp_path / "bot" / CONFIG).read_text()
    other = tmp_path / "other.txt"
    other.write_text(moved.read_text().replace("\n\n", "\n\nBob: one more?\nAnn: yes.\n\n", 1))
    for content, said in (
        (other.read_text(), r"learned from are \d+ conversations where there were \d+"),
        (moved.read_text().replace("plus", "more"), r"learned from are [\d,]+ tokens where"),
        (moved.read_text().replace("4", "5"), "learned from are"),
    ):
        other.write_text(content)
        with pytest.raises(ElmanError, match=said):
            resume(tmp_path / "bot", data_path=str(other))
    assert (tmp_path / "bot" / CONFIG).read_text() == config
    assert resume(tmp_path / "bot", data_path=str(moved)).steps == 8
    whole, parts = (
        load_network_bot(tmp_path / name).chatbot.state_dict() for name in ("whole", "bot")
    )
    assert all(torch.equal(whole[name], parts[name]) for name in whole)
    assert load_network_bot(tmp_path / "bot").config["data"]["path"] == str(moved)
    assert resume(tmp_path / "bot", budget={"steps": 9}).steps == 9


def test_what_is_held_out_must_be_the_same_too(
    tmp_path: Path, make_config: Make, chats: Path
) -> None:
    own = tmp_path / "own.txt"
    blocks = chats.read_text().split("\n\n")
    own.write_text("\n\n".join(blocks))
    train(make_config(data__path=str(own)), tmp_path / "bot", stop=stop_after(2))
    for number, block in enumerate(blocks):
        changed = [*blocks[:number], block.replace("Bob.", "Bib."), *blocks[number + 1 :]]
        own.write_text("\n\n".join(changed))
        with pytest.raises(ElmanError, match=r"(learned from|held out) are"):
            resume(tmp_path / "bot")


def test_full_disk_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    write_file(path, "old")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(ElmanError, match="No space left on device"):
        write_file(path, "new")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_minutes_that_are_over_before_the_first_step(tmp_path: Path, make_config: Make) -> None:
    notes: list[str] = []

    def watch(kind: str, facts: dict[str, Any]) -> None:
        if kind == "note":
            notes.append(facts["text"])

    began = time.monotonic() - 3600
    config = make_config(train__minutes=1.0)
    result = train(config, tmp_path, observers=(watch,), started=began)
    assert (result.steps, result.reason) == (0, "finished")
    assert any("nothing is learned" in note and "--minutes" in note for note in notes)


def test_minutes_are_kept(
    tmp_path: Path, make_config: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a clock of our own, a budget in minutes ends the run and leaves time for its end."""
    now = [1000.0]

    def tick() -> float:
        now[0] += 0.1
        return now[0]

    monkeypatch.setattr("time.monotonic", tick)
    result = train(make_config(train__minutes=1.0), tmp_path, started=now[0])
    assert result.reason == "finished"
    # A step that began in time may end late: here a step takes six tenths of a second. What is
    # reserved for learning how to reply, 15 % at most, takes no time by this clock.
    assert 50 < result.seconds <= 61
