"""Layers of configuration, and what is said of mistakes in them."""

from pathlib import Path
from typing import Any

import pytest

from elman.errors import ElmanError
from elman.train.config import Config, layered
from elman.train.schedule import rate


def test_flags_override_the_file_and_assignments_override_flags(tmp_path: Path) -> None:
    toml = tmp_path / "run.toml"
    toml.write_text('[data]\npath = "a.txt"\n[train]\nminutes = 5\nlr = 0.1\nseed = 3\n')
    values = layered(toml, {"train.lr": 0.2, "train.seed": None}, ["train.lr=3e-1"])
    config = Config.make(values)
    assert (config.train.lr, config.train.seed, config.data.path) == (0.3, 3, "a.txt")


def test_a_budget_on_the_command_line_replaces_the_one_of_the_file(tmp_path: Path) -> None:
    toml = tmp_path / "run.toml"
    toml.write_text("[train]\nminutes = 5\n")
    assert layered(toml, {"train.steps": 7})["train"] == {"steps": 7}


def test_words_need_no_quotes() -> None:
    values = layered(None, {}, ["model.cell=gru", "data.path=x y.txt", "train.steps=2"])
    assert values["model"] == {"cell": "gru"}
    assert values["data"] == {"path": "x y.txt"}


@pytest.mark.parametrize(
    ("assignment", "said"),
    [
        ("train.steps=0", "train.steps: Input should be greater than or equal to 1"),
        ("train.speed=1", "train.speed: Extra inputs are not permitted"),
        (
            "train.optimizer=lion",
            "train.optimizer: Input should be 'sgd', 'adam', 'adamw' or 'muon'",
        ),
        ("train.epochs=0", "train.epochs: Input should be greater than 0"),
        ("data=1", "data: Input should be a valid dictionary"),
        ("train.steps.more=1", "steps is a value, not a table"),
        ("train", "expected a.b=value"),
    ],
)
def test_mistakes_are_named(assignment: str, said: str) -> None:
    with pytest.raises(ElmanError, match=said):
        Config.make(layered(None, {"data.path": "a", "train.steps": 5}, [assignment]))


def test_config_survives_json() -> None:
    config = Config.make({"data": {"path": "a"}, "train": {"steps": 1}})
    assert Config.model_validate_json(config.model_dump_json()) == config


def test_rate_rises_then_falls_to_zero() -> None:
    rates = [rate(spent / 100, 0.1) for spent in range(101)]
    top = rates.index(max(rates))
    assert top == 10
    assert max(rates) == pytest.approx(1)
    assert rates[:11] == sorted(rates[:11])
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert rates[0] > 0
    assert rates[-1] == 0


def test_budgets_exclude_each_other() -> None:
    with pytest.raises(ElmanError, match="exactly one of minutes, epochs and steps, got minutes"):
        Config.make({"data": {"path": "a"}, "train": {"minutes": 1, "steps": 1}})


def test_old_names_are_read_and_the_new_ones_said(tmp_path: Path) -> None:
    toml = tmp_path / "run.toml"
    toml.write_text("[train]\nlanes = 3\nsteps = 2\n[reply]\nmutual = 0.5\n")
    said: list[str] = []
    given = {"data.path": "a", "data.most_bytes": 9}
    config = Config.make(layered(toml, given, ["train.copying=0.3"], said.append))
    assert said == [
        "train.lanes is now called train.batch_size",
        "reply.mutual is now called reply.mmi_weight",
        "data.most_bytes is now called data.max_text_bytes",
        "train.copying is now called train.pointer_loss_weight",
    ]
    assert (config.train.batch_size, config.train.pointer_loss_weight) == (3, 0.3)
    assert (config.reply.mmi_weight, config.data.max_text_bytes) == (0.5, 9)
    over = layered(toml, {"data.path": "a"}, ["train.batch_size=4"])
    assert Config.make(over).train.batch_size == 4


def test_every_old_name_is_read_as_what_it_is_called_today() -> None:
    old: dict[str, dict[str, Any]] = {
        "data": {"path": "a", "most_bytes": 9},
        "model": {"longest_message": 7},
        "train": {"lanes": 3, "copying": 0.3, "most_epochs": 2, "steps": 1, "unit": None},
        "reply": {"mutual": 0.5},
    }
    new: dict[str, dict[str, Any]] = {
        "data": {"path": "a", "max_text_bytes": 9},
        "model": {"max_message_tokens": 7},
        "train": {"batch_size": 3, "pointer_loss_weight": 0.3, "cycle_epochs": 2, "steps": 1},
        "reply": {"mmi_weight": 0.5},
    }
    assert Config.make(old) == Config.make(new)
    assert not Config.make(old).model_dump_json().count("lanes")
    for table in ("data", "model", "train", "reply"):
        with pytest.raises(ElmanError, match=r"is now called .*: give one of them"):
            Config.make(new | {table: old[table] | new[table]})
