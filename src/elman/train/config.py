"""One frozen configuration for a whole run, saved beside the weights."""

import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, model_validator

import elman
from elman.data.config import DataConfig as DataConfig
from elman.data.config import Section
from elman.data.untrusted import validated
from elman.errors import ElmanError
from elman.model import step_unit
from elman.model.checkpoint import FORMAT
from elman.model.config import ModelConfig
from elman.model.config import ReplyConfig as ReplyConfig

AUTO = "auto"

MAX_BATCH_UNITS = 1 << 20
"""Lanes times `unfold`: what one optimizer step holds in memory."""

MAX_SEED = 2**63 - 1
"""The largest that torch takes."""


class TrainConfig(Section):
    """How the network learns. Exactly one of `minutes`, `epochs` and `steps` ends it."""

    minutes: float | None = Field(None, gt=0, allow_inf_nan=False)
    epochs: float | None = Field(None, gt=0, allow_inf_nan=False)
    steps: int | None = Field(None, ge=1)
    most_epochs: float | None = Field(
        None, gt=0, description="passes of a round; another one follows where the last gained"
    )
    base: str | None = Field(
        None,
        description="a bot to start from: base, the one of the package, or a folder; auto: base "
        "where the minutes are enough for it",
    )
    optimizer: Literal["sgd", "adam", "adamw", "muon"] = "adamw"
    lr: float | None = Field(None, gt=0, allow_inf_nan=False, description="None: the optimizer's")
    momentum: float = Field(0.9, ge=0, lt=1)
    weight_decay: float = Field(0.01, ge=0)
    clip: float = Field(1.0, ge=0, description="largest norm of the whole gradient; 0: off")
    copying: float = Field(
        0.1, ge=0, description="how much a pointer is taught beside the loss, as if all were copied"
    )
    warmup: float = Field(0.02, ge=0, lt=1, description="share of the budget")
    lanes: int | None = Field(
        None, ge=1, description="conversations side by side; None: 16, or 8 over messages"
    )
    unfold: int | None = Field(
        None, ge=1, description="how many units back the gradient goes; None: 64 steps, 5 messages"
    )
    unit: Literal["steps", "messages"] | None = Field(
        None, description="None: messages for the messages memory, else steps"
    )
    slide: bool = Field(
        False, description="every reply is learned through exactly `unfold` messages"
    )
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        "auto", description="of the products; auto: what a short measurement finds faster"
    )
    validations: int = Field(10, ge=1, description="how often held-out conversations are scored")
    validation_tokens: int = Field(16384, ge=1)
    patience: int = Field(
        3,
        ge=1,
        description="validations without a gain before an early stop; none within a round",
    )
    seed: int = Field(0, ge=0, le=MAX_SEED)

    @model_validator(mode="after")
    def _one_budget(self) -> Self:
        given = [n for n in ("minutes", "epochs", "steps") if getattr(self, n) is not None]
        if len(given) != 1:
            raise ValueError(
                f"give exactly one of minutes, epochs and steps, got {', '.join(given) or 'none'}"
            )
        return self


UNFOLD: dict[str, int] = {"steps": 64, "messages": 5}
LANES: dict[str, int] = {"steps": 16, "messages": 8}


class Config(Section):
    """Everything that decides what a run ends in."""

    format: int = FORMAT
    elman: str = elman.__version__
    data: DataConfig
    model: ModelConfig = ModelConfig()
    train: TrainConfig
    reply: ReplyConfig = ReplyConfig()

    @model_validator(mode="after")
    def _units_fit(self) -> Self:
        if step_unit(self.model) == "messages" and self.train.unit == "steps":
            raise ValueError(f"the {self.model.memory} memory is unfolded over messages, not steps")
        if self.train.slide and self.unit != "messages":
            raise ValueError("--slide goes over messages: add --unit messages")
        if self.lanes * self.unfold > MAX_BATCH_UNITS:
            raise ValueError(
                f"{self.lanes:,} lanes of {self.unfold:,} {self.unit} are more than the "
                f"{MAX_BATCH_UNITS:,} that one step may hold: lower --lanes or --unfold"
            )
        return self

    @property
    def unit(self) -> str:
        """What `unfold` counts."""
        return self.train.unit or ("messages" if step_unit(self.model) == "messages" else "steps")

    @property
    def unfold(self) -> int:
        """How many units back the gradient goes."""
        return self.train.unfold or UNFOLD[self.unit]

    @property
    def lanes(self) -> int:
        """Conversations side by side."""
        return self.train.lanes or LANES[self.unit]

    @classmethod
    def make(cls, values: Mapping[str, Any]) -> "Config":
        """Raises ElmanError where a value is wrong."""
        return validated(cls, values)


def layered(
    toml: Path | None, flags: Mapping[str, Any], assignments: Iterable[str] = ()
) -> dict[str, Any]:
    """Values from a TOML file, overridden by flags, overridden by `a.b=v` assignments.

    Args:
        toml: a file with the tables of `Config`.
        flags: by dotted name; those that are None were not given.
        assignments: values are written as in TOML, or are plain words.

    Raises:
        ElmanError: where the file or an assignment cannot be understood.
    """
    values: dict[str, Any] = {}
    if toml is not None:
        try:
            values = tomllib.loads(toml.read_text("utf-8"))
        except (OSError, ValueError) as error:
            raise ElmanError(f"{toml}: {error}") from None
    for name in ("data", "model", "train", "reply"):
        if not isinstance(values.get(name, {}), dict):
            raise ElmanError(f"{toml}: expected {name} to be a table, got {values[name]!r}")
    given = {name: value for name, value in flags.items() if value is not None}
    for assignment in assignments:
        name, equals, written = assignment.partition("=")
        if not equals:
            raise ElmanError(f"--set {assignment}: expected a.b=value, for example train.lr=0.002")
        try:
            given[name.strip()] = tomllib.loads(f"value = {written}")["value"]
        except tomllib.TOMLDecodeError:
            given[name.strip()] = written.strip()
    for name, value in given.items():
        *sections, last = name.split(".")
        place = values
        for section in sections:
            place = place.setdefault(section, {})
            if not isinstance(place, dict):
                raise ElmanError(f"{name}: {section} is a value, not a table")
        place[last] = value
    budgets = {"minutes", "epochs", "steps"} & {name.removeprefix("train.") for name in given}
    if len(budgets) == 1:  # a budget from the command line replaces the one of the file
        for other in {"minutes", "epochs", "steps"} - budgets:
            values.get("train", {}).pop(other, None)
    return values
