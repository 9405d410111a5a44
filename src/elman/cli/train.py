"""elman train"""

import inspect
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import typer

from elman.cli.data import seconds
from elman.cli.settings import help_of, show_settings
from elman.cli.trust import Trust
from elman.errors import ElmanError

DATA_PANEL, BOT_PANEL, RUN_PANEL = "The conversations", "The bot", "The run"
"""Headings of the help."""


class Flag(NamedTuple):
    """A flag that gives a setting.

    Args:
        setting: its name.
        kind: of its value.
        panel: of the help that shows it; None: it is hidden, and short for a `--set`.
        more: what its help adds to the setting's description.
    """

    setting: str
    kind: Any
    panel: str | None = None
    more: str = ""


FLAGS = {
    "bot": Flag("data.bot", str, DATA_PANEL),
    "others": Flag("data.others", str, DATA_PANEL),
    "gap": Flag("data.gap", str, DATA_PANEL),
    "drop": Flag("data.drop", list[str], DATA_PANEL, "; may be given again"),
    "redact": Flag("data.redact", bool, DATA_PANEL),
    "rename": Flag("data.rename", bool, DATA_PANEL),
    "base": Flag("train.base", str, BOT_PANEL),
    "memory": Flag("model.memory", str, BOT_PANEL),
    "cell": Flag("model.cell", str, BOT_PANEL),
    "hidden-size": Flag("model.hidden_size", int, BOT_PANEL),
    "minutes": Flag("train.minutes", float, RUN_PANEL),
    "seed": Flag("train.seed", int, RUN_PANEL),
    "batch-size": Flag("train.batch_size", int),
    "clip": Flag("train.clip", float),
    "dropout": Flag("model.dropout", float),
    "encoding": Flag("data.encoding", str),
    "epochs": Flag("train.epochs", float),
    "layers": Flag("model.layers", int),
    "learn-from": Flag("data.learn_from", str),
    "lr": Flag("train.lr", float),
    "mlp": Flag("model.mlp", float),
    "ngrams": Flag("model.ngrams", int),
    "optimizer": Flag("train.optimizer", str),
    "pointer": Flag("model.pointer", int),
    "slide": Flag("train.slide", bool),
    "steps": Flag("train.steps", int),
    "unfold": Flag("train.unfold", int),
    "unit": Flag("train.unit", str),
    "vocabulary": Flag("data.vocabulary", str),
}
"""The flags that give settings, as help shows them: Typer is told of them by `_with_flags`."""


def _with_flags(command: Callable[..., None]) -> Callable[..., None]:
    """Let a command take the `FLAGS` as keywords, after its argument."""
    signature = inspect.signature(command)
    chats, *others, _ = signature.parameters.values()
    parameters = [chats]
    for flag, (setting, kind, panel, more) in FLAGS.items():
        option = typer.Option(
            f"--{flag}",
            help=help_of(setting, more),
            hidden=panel is None,
            rich_help_panel=panel,
        )
        name, annotation = flag.replace("-", "_"), Annotated[kind | None, option]
        command.__annotations__[name] = annotation
        parameters.append(chats.replace(name=name, annotation=annotation))
    parameters += others
    command.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    return command


@_with_flags
def train(
    *,
    chats: Annotated[
        str | None,
        typer.Argument(
            help="A file or folder of conversations, `-` for standard input, or `chitchat`, "
            "the built-in ones.",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="The bot's folder.  [default: bots/ and CHATS' name]", rich_help_panel=RUN_PANEL
        ),
    ] = None,
    assign: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            help="Any setting, such as train.steps=500; may be given again.",
            rich_help_panel=RUN_PANEL,
        ),
    ] = None,
    config: Annotated[
        Path | None, typer.Option(help="A TOML file of settings.", rich_help_panel=RUN_PANEL)
    ] = None,
    all_settings: Annotated[
        bool,
        typer.Option(
            "--all-settings", help="List every setting, and end.", rich_help_panel=RUN_PANEL
        ),
    ] = False,
    resume: Annotated[
        Path | None,
        typer.Option(
            help="Go on with this run, exactly where it stopped; with CHATS where its "
            "conversations moved.",
            rich_help_panel=RUN_PANEL,
        ),
    ] = None,
    overwrite: Annotated[
        bool,
        typer.Option(
            "--overwrite", help="Replace a bot that is already in --out.", rich_help_panel=RUN_PANEL
        ),
    ] = False,
    as_json: Annotated[
        bool,
        typer.Option("--json", help="Tell everything as JSON Lines.", rich_help_panel=RUN_PANEL),
    ] = False,
    trust: Trust = None,
    **given: Any,
) -> None:
    """Train a bot on conversations.

    Example: `elman train chats.jsonl --bot Ann --out bots/ann --minutes 10`
    """
    started = time.monotonic()
    if all_settings:
        show_settings(as_json)
        return
    flags = {"data.path": chats, **_settings_of(given)}
    from elman.cli import training

    if resume is not None:
        if out is not None or config is not None or overwrite:
            raise ElmanError(
                "--resume goes on in its own folder: leave out --out, --config and --overwrite"
            )
        result = training.resume(resume, flags, assign or [], as_json, started, trust or ())
        out = resume
    else:
        values = training.asked_settings(config, flags, assign or [], trust or ())
        out = out or Path("bots") / default_name(values)
        result = training.begin(
            values,
            out,
            overwrite=overwrite,
            as_json=as_json,
            started=started,
            trust=trust or (),
        )
    if result.reason != "interrupted" and not as_json:
        training.say(f"talk with it: elman chat {out}{training.trusting(out)}")


def _settings_of(given: dict[str, Any]) -> dict[str, Any]:
    """Collect the settings that flags give; an old flag says what it is called today."""
    found = {}
    for flag, (setting, *_) in FLAGS.items():
        value = given[flag.replace("-", "_")]
        if value is None:
            continue
        found[setting] = seconds(value) if flag == "gap" else value
    return found


def default_name(values: dict[str, Any]) -> str:
    """Name a folder for the bot of some data."""
    path = values.get("data", {}).get("path")
    if not path or not isinstance(path, str):
        raise ElmanError("name the conversations to learn from: elman train CHATS")
    stem = Path(path).name.split(".")[0] or "bot"
    return re.sub(r"[^\w-]+", "-", stem).strip("-") or "bot"
