"""One frozen configuration for a whole run, saved beside the weights."""

import tomllib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, ClassVar, Final, Literal, Self

from pydantic import Field, model_validator

import elman
from elman.data.config import DataConfig as DataConfig
from elman.data.config import Section, chosen
from elman.data.files import write_file
from elman.data.untrusted import validated
from elman.errors import ElmanError
from elman.model import step_unit
from elman.model.config import ModelConfig
from elman.model.config import ReplyConfig as ReplyConfig
from elman.model.folder import CONFIG, FORMAT

AUTO: Final = "auto"
NO_BASE = "none"

BUDGETS = ("minutes", "epochs", "steps")

MAX_BATCH_UNITS = 1 << 20
"""`batch_size` times `unfold`: what one optimizer step holds in memory."""

MAX_SEED = 2**63 - 1
"""The largest seed that torch takes."""


class TrainConfig(Section):
    """How the network learns. One of `minutes`, `epochs` and `steps` ends it."""

    OLD_NAMES: ClassVar[Mapping[str, str]] = {
        "copying": "pointer_loss_weight",
        "lanes": "batch_size",
        "most_epochs": "cycle_epochs",
    }

    minutes: float | None = Field(
        None,
        gt=0,
        allow_inf_nan=False,
        description="budget in minutes, everything included",
        json_schema_extra=chosen("10, without another budget"),
    )
    epochs: float | None = Field(
        None, gt=0, allow_inf_nan=False, description="budget in passes over the data"
    )
    steps: int | None = Field(None, ge=1, description="budget in optimizer steps")
    cycle_epochs: float | None = Field(
        None,
        gt=0,
        description="passes of one cycle of the learning rate; another one follows where the last "
        "gained",
        json_schema_extra=chosen("in minutes 12, or 8 from a base; else one cycle for all"),
    )
    base: str | None = Field(
        AUTO,
        description="the bot to start from: base or languages, which come with Elman, a folder, or "
        "none",
        json_schema_extra=chosen(
            "base, or in other languages languages; none where a size or kind is given, or where "
            "the minutes or the kind of text make it learn less"
        ),
    )
    optimizer: Literal["sgd", "adam", "adamw", "muon"] = Field(
        "adamw", description="how weights are updated"
    )
    lr: float = Field(
        3e-3,
        gt=0,
        allow_inf_nan=False,
        description="highest learning rate",
        json_schema_extra=chosen("the optimizer's; from a base 0.001, or 0.0002 below 200 KB"),
    )
    momentum: float = Field(0.9, ge=0, lt=1, description="of SGD and Muon; Adam's first beta")
    weight_decay: float = Field(0.01, ge=0, description="how much matrices shrink, times lr")
    clip: float = Field(1.0, ge=0, description="largest norm of the whole gradient; 0: off")
    pointer_loss_weight: float = Field(
        0.1, ge=0, description="how much a pointer is taught beside the loss, as if all were copied"
    )
    warmup: float = Field(
        0.02, ge=0, lt=1, description="share of a cycle in which the learning rate rises"
    )
    batch_size: int = Field(
        16,
        ge=1,
        description="conversations that are learned side by side",
        json_schema_extra=chosen("16; over messages 8"),
    )
    unfold: int = Field(
        64,
        ge=1,
        description="how many units back the gradient goes",
        json_schema_extra=chosen("64 steps, or 128 of bytes; 5 messages"),
    )
    unit: Literal["steps", "messages"] = Field(
        "steps",
        description="what unfold counts",
        json_schema_extra=chosen("messages for the messages memory, else steps"),
    )
    slide: bool = Field(False, description="learn every reply through exactly unfold messages")
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        AUTO,
        description="of the products",
        json_schema_extra=chosen("bfloat16 where that is measured to be faster, else float32"),
    )
    validations: int = Field(
        10, ge=1, description="how often in a cycle held-out conversations are scored"
    )
    validation_tokens: int = Field(16384, ge=1, description="held-out tokens that are scored")
    keep_checkpoints: int = Field(
        2, ge=1, description="how many of the last checkpoints are kept, beside the best"
    )
    patience: int = Field(
        3,
        ge=1,
        description="validations without a gain before an early stop; no limit where passes of a "
        "cycle are limited",
    )
    seed: int = Field(0, ge=0, le=MAX_SEED, description="of all randomness")
    deterministic: bool = Field(
        False, description="end in the very same weights each time, on one machine"
    )

    @model_validator(mode="before")
    @classmethod
    def _read_old_values(cls, values: Any) -> Any:
        """Read null as not given where today a number is always written, and "none" as no base."""
        if not isinstance(values, dict):
            return values
        free = ("lr", "batch_size", "lanes", "unfold", "unit")
        read = {k: v for k, v in values.items() if v is not None or k not in free}
        return read | {"base": None} if read.get("base") == NO_BASE else read

    @model_validator(mode="after")
    def _check_budget(self) -> Self:
        given = [name for name in BUDGETS if getattr(self, name) is not None]
        if len(given) > 1:
            raise ValueError(
                f"give exactly one of minutes, epochs and steps, got {', '.join(given)}"
            )
        return self


class Config(Section):
    """Everything that decides what a run ends in.

    What was not given is chosen when the run begins (`plan.resolve`); `model_fields_set` of each
    table says what was given.
    """

    format: int = FORMAT
    elman: str = elman.__version__
    data: DataConfig
    model: ModelConfig = ModelConfig()
    train: TrainConfig = TrainConfig()
    reply: ReplyConfig = ReplyConfig()
    int8_loss: float | None = None
    """How much worse it predicts held-out talk with int8 weights, as a share of its bits; measured
    when training ends.
    """

    @model_validator(mode="after")
    def _check_units(self) -> Self:
        train, given = self.train, self.train.model_fields_set
        over_messages = step_unit(self.model) == "messages"
        if over_messages and "unit" in given and train.unit == "steps":
            raise ValueError(f"the {self.model.memory} memory is unfolded over messages, not steps")
        if train.slide and not (over_messages or train.unit == "messages"):
            raise ValueError("train.slide goes over messages: add --set train.unit=messages")
        batch = train.batch_size if "batch_size" in given else 1
        unfold = train.unfold if "unfold" in given else 1
        if batch * unfold > MAX_BATCH_UNITS:
            raise ValueError(
                f"{batch:,} conversations side by side, each unfolded over {unfold:,}, are more "
                f"than the {MAX_BATCH_UNITS:,} that one step may hold: lower train.batch_size or "
                "train.unfold"
            )
        return self

    @classmethod
    def make(cls, values: Mapping[str, Any]) -> "Config":
        """Check values by table and name; raise ElmanError where one is wrong."""
        return validated(cls, values)

    def changed(self, **tables: Mapping[str, Any]) -> "Config":
        """Put other values into tables; they count as given, and are not checked."""
        copies = {k: getattr(self, k).model_copy(update=values) for k, values in tables.items()}
        return self.model_copy(update=copies)


SECTIONS: dict[str, type[Section]] = {
    "data": DataConfig,
    "model": ModelConfig,
    "train": TrainConfig,
    "reply": ReplyConfig,
}

OLD_NAMES = {
    f"{table}.{old}": f"{table}.{new}"
    for table, section in SECTIONS.items()
    for old, new in section.OLD_NAMES.items()
}
"""Names of the last release, as in `--set`, and those of today."""


def write_config(folder: Path, config: Config) -> None:
    """Write a run's configuration into its folder.

    It is written once, when the run begins, and again only where it would be untrue: a run that
    goes on has got another budget or another place of its data, or the weight that replies are
    ranked by was found when training ended.
    """
    write_file(folder / CONFIG, config.model_dump_json(indent=2) + "\n", follow_link=False)


def layered(
    toml: Path | None,
    flags: Mapping[str, Any],
    assignments: Iterable[str] = (),
    note: Callable[[str], None] = lambda text: None,
) -> dict[str, Any]:
    """Read values from a TOML file with the tables of `Config`, overridden by what is `assigned`.

    Raises:
        ElmanError: where the file or an assignment cannot be understood.
    """
    values: dict[str, Any] = {}
    if toml is not None:
        try:
            values = tomllib.loads(toml.read_text("utf-8"))
        except (OSError, ValueError) as error:
            raise ElmanError(f"{toml}: {error}") from None
    for name in SECTIONS:
        table = values.get(name, {})
        if not isinstance(table, dict):
            raise ElmanError(f"{toml}: expected {name} to be a table, got {table!r}")
        for old in [old for old in table if f"{name}.{old}" in OLD_NAMES]:
            new = _new_name(f"{name}.{old}", note).removeprefix(f"{name}.")
            if new in table:
                raise ElmanError(f"{toml}: {name}.{old} is now called {name}.{new}: give one")
            table[new] = table.pop(old)
    given = assigned(flags, assignments, note)
    budgets = set(BUDGETS) & {name.removeprefix("train.") for name in given}
    if len(budgets) == 1:  # a budget from the command line replaces the one of the file
        values["train"] = {k: v for k, v in values.get("train", {}).items() if k not in BUDGETS}
    for name, value in given.items():
        *sections, last = name.split(".")
        place = values
        for section in sections:
            place = place.setdefault(section, {})
            if not isinstance(place, dict):
                raise ElmanError(f"{name}: {section} is a value, not a table")
        place[last] = value
    return values


def assigned(
    flags: Mapping[str, Any],
    assignments: Iterable[str] = (),
    note: Callable[[str], None] = lambda text: None,
) -> dict[str, Any]:
    """Read what flags give, overridden by `a.b=v` assignments, by today's dotted names.

    Args:
        flags: by dotted name; those that are None were not given.
        assignments: values are written as in TOML, or are plain words.
        note: told of each setting that is called by its old name.
    """
    given = {name: value for name, value in flags.items() if value is not None}
    for assignment in assignments:
        name, equals, written = assignment.partition("=")
        if not equals:
            raise ElmanError(f"--set {assignment}: expected a.b=value, for example train.lr=0.002")
        try:
            given[name.strip()] = tomllib.loads(f"value = {written}")["value"]
        except tomllib.TOMLDecodeError:
            given[name.strip()] = written.strip()
    return {_new_name(name, note): value for name, value in given.items()}


def _new_name(name: str, note: Callable[[str], None]) -> str:
    new = OLD_NAMES.get(name, name)
    if new != name:
        note(f"{name} is now called {new}")
    return new
