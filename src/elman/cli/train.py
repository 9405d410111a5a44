"""elman train"""

import inspect
import re
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from elman.cli.data import seconds
from elman.cli.settings import help_of, show_settings
from elman.cli.trust import Trust
from elman.errors import ElmanError

DATA_PANEL, BOT_PANEL, RUN_PANEL = "The conversations", "The bot", "The run"
"""Headings of the help."""

HIDDEN_FLAGS: dict[str, tuple[str, type]] = {
    "batch-size": ("train.batch_size", int),
    "clip": ("train.clip", float),
    "dropout": ("model.dropout", float),
    "encoding": ("data.encoding", str),
    "epochs": ("train.epochs", float),
    "lanes": ("train.batch_size", int),
    "layers": ("model.layers", int),
    "learn-from": ("data.learn_from", str),
    "lr": ("train.lr", float),
    "mlp": ("model.mlp", float),
    "ngrams": ("model.ngrams", int),
    "optimizer": ("train.optimizer", str),
    "pointer": ("model.pointer", int),
    "slide": ("train.slide", bool),
    "steps": ("train.steps", int),
    "unfold": ("train.unfold", int),
    "unit": ("train.unit", str),
    "vocabulary": ("data.vocabulary", str),
}
"""Flags that help does not show: each is short for a `--set` of its setting."""

RENAMED_FLAGS = {"lanes": "batch-size"}
"""Flags of the last release, and what they are called today."""


def _with_hidden_flags(command: Callable[..., None]) -> Callable[..., None]:
    """Let a command take the hidden flags, as keywords."""
    signature = inspect.signature(command)
    parameters = [each for each in signature.parameters.values() if each.kind != each.VAR_KEYWORD]
    for flag, (_, kind) in HIDDEN_FLAGS.items():
        name = flag.replace("-", "_")
        option = typer.Option(f"--{flag}", hidden=True)
        annotation = Annotated[kind | None, option]  # type: ignore[valid-type]
        command.__annotations__[name] = annotation
        parameters.append(
            inspect.Parameter(
                name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation
            )
        )
    command.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    return command


@_with_hidden_flags
def train(
    chats: Annotated[
        str | None,
        typer.Argument(
            help="A file or folder of conversations, `-` for standard input, or `chitchat`, "
            "the built-in ones.",
        ),
    ] = None,
    bot: Annotated[
        str | None, typer.Option(help=help_of("data.bot"), rich_help_panel=DATA_PANEL)
    ] = None,
    others: Annotated[
        str | None, typer.Option(help=help_of("data.others"), rich_help_panel=DATA_PANEL)
    ] = None,
    gap: Annotated[
        str | None,
        typer.Option(help=help_of("data.gap", "; or 90m, 2h, 1d"), rich_help_panel=DATA_PANEL),
    ] = None,
    drop: Annotated[
        list[str] | None,
        typer.Option(help=help_of("data.drop", "; may be given again"), rich_help_panel=DATA_PANEL),
    ] = None,
    redact: Annotated[
        bool | None,
        typer.Option("--redact", help=help_of("data.redact"), rich_help_panel=DATA_PANEL),
    ] = None,
    rename: Annotated[
        bool | None,
        typer.Option("--rename", help=help_of("data.rename"), rich_help_panel=DATA_PANEL),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="The bot's folder.  [default: bots/ and CHATS' name]", rich_help_panel=BOT_PANEL
        ),
    ] = None,
    base: Annotated[
        str | None, typer.Option(help=help_of("train.base"), rich_help_panel=BOT_PANEL)
    ] = None,
    memory: Annotated[
        str | None, typer.Option(help=help_of("model.memory"), rich_help_panel=BOT_PANEL)
    ] = None,
    cell: Annotated[
        str | None, typer.Option(help=help_of("model.cell"), rich_help_panel=BOT_PANEL)
    ] = None,
    hidden_size: Annotated[
        int | None, typer.Option(help=help_of("model.hidden_size"), rich_help_panel=BOT_PANEL)
    ] = None,
    minutes: Annotated[
        float | None, typer.Option(help=help_of("train.minutes"), rich_help_panel=RUN_PANEL)
    ] = None,
    seed: Annotated[
        int | None, typer.Option(help=help_of("train.seed"), rich_help_panel=RUN_PANEL)
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
    **hidden: Any,
) -> None:
    """Train a bot on conversations.

    Example: `elman train chats.jsonl --bot Ann --out bots/ann --minutes 10`
    """
    started = time.monotonic()
    if all_settings:
        show_settings(as_json)
        return
    flags = {
        "data.path": chats,
        "data.bot": bot,
        "data.others": others,
        "data.gap": seconds(gap),
        "data.drop": drop,
        "data.redact": redact,
        "data.rename": rename,
        "model.memory": memory,
        "model.cell": cell,
        "model.hidden_size": hidden_size,
        "train.base": base,
        "train.minutes": minutes,
        "train.seed": seed,
        **_settings_of(hidden),
    }
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


def _settings_of(hidden: dict[str, Any]) -> dict[str, Any]:
    """Collect the settings that hidden flags give; an old flag says what it is called today."""
    found = {}
    for flag, (setting, _) in HIDDEN_FLAGS.items():
        value = hidden[flag.replace("-", "_")]
        if value is None:
            continue
        if flag in RENAMED_FLAGS:
            print(f"--{flag} is now called --{RENAMED_FLAGS[flag]}", file=sys.stderr)
        found[setting] = value
    return found


def default_name(values: dict[str, Any]) -> str:
    """Name a folder for the bot of some data."""
    path = values.get("data", {}).get("path")
    if not path or not isinstance(path, str):
        raise ElmanError("name the conversations to learn from: elman train CHATS")
    stem = Path(path).name.split(".")[0] or "bot"
    return re.sub(r"[^\w-]+", "-", stem).strip("-") or "bot"
