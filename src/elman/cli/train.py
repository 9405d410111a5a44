"""elman train"""

import re
import time
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from elman.cli.data import seconds
from elman.cli.options import TrustOption
from elman.cli.settings import flag_of, help_of, show_settings
from elman.errors import ElmanError

DATA_PANEL, RUN_PANEL = "The conversations", "The run"
"""Headings of the help."""

_RunOption = partial(typer.Option, rich_help_panel=RUN_PANEL)


def train(
    chats: Annotated[
        str | None,
        typer.Argument(
            help="A file or folder of conversations, `-` for standard input, or `chitchat`, "
            "the built-in ones."
        ),
    ] = None,
    bot: Annotated[str | None, flag_of("data.bot", DATA_PANEL)] = None,
    gap: Annotated[str | None, flag_of("data.gap", DATA_PANEL)] = None,
    drop: Annotated[
        list[str] | None, flag_of("data.drop", DATA_PANEL, "; may be given again")
    ] = None,
    redact: Annotated[bool | None, flag_of("data.redact", DATA_PANEL)] = None,
    rename: Annotated[bool | None, flag_of("data.rename", DATA_PANEL)] = None,
    encoding: Annotated[str | None, flag_of("data.encoding", DATA_PANEL)] = None,
    canaries: Annotated[int | None, flag_of("data.canaries", DATA_PANEL)] = None,
    base: Annotated[str | None, flag_of("train.base", RUN_PANEL)] = None,
    minutes: Annotated[float | None, flag_of("train.minutes", RUN_PANEL)] = None,
    deterministic: Annotated[
        bool, _RunOption("--deterministic", help=help_of("train.deterministic"))
    ] = False,
    out: Annotated[
        Path | None, _RunOption(help="The bot's folder.  [default: bots/ and CHATS' name]")
    ] = None,
    assign: Annotated[
        list[str] | None,
        _RunOption("--set", help="Any setting, such as train.steps=500; may be given again."),
    ] = None,
    config: Annotated[Path | None, _RunOption(help="A TOML file of settings.")] = None,
    all_settings: Annotated[
        bool, _RunOption("--all-settings", help="List every setting, and end.")
    ] = False,
    resume: Annotated[
        Path | None,
        _RunOption(
            help="Go on with this run, exactly where it stopped; with CHATS where its "
            "conversations moved."
        ),
    ] = None,
    overwrite: Annotated[
        bool, _RunOption("--overwrite", help="Replace a bot that is already in --out.")
    ] = False,
    as_json: Annotated[bool, _RunOption("--json", help="Tell everything as JSON Lines.")] = False,
    trust: TrustOption = None,
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
        "data.gap": seconds(gap),
        "data.drop": drop,
        "data.redact": redact,
        "data.rename": rename,
        "data.encoding": encoding,
        "data.canaries": canaries,
        "train.base": base,
        "train.minutes": minutes,
        "train.deterministic": deterministic or None,
    }
    from elman.cli import training
    from elman.cli.progress import say

    if resume is not None:
        if out is not None or config is not None or overwrite:
            raise ElmanError(
                "--resume goes on in its own folder: leave out --out, --config and --overwrite"
            )
        out = resume
        result = training.resume(out, flags, assign or [], as_json, started, trust or ())
    else:
        values = training.asked_settings(config, flags, assign or [], trust or ())
        out = out or Path("bots") / default_name(values)
        result = training.begin(
            values, out, overwrite=overwrite, as_json=as_json, started=started, trust=trust or ()
        )
    if result.reason not in ("interrupted", "followed") and not as_json:
        say(f"talk with it: elman chat {out}{training.trusting(out)}")


def default_name(values: dict[str, Any]) -> str:
    """Name a folder for the bot of some data."""
    path = values.get("data", {}).get("path")
    if not path or not isinstance(path, str):
        raise ElmanError("name the conversations to learn from: elman train CHATS")
    stem = Path(path).name.split(".")[0] or "bot"
    return re.sub(r"[^\w-]+", "-", stem).strip("-") or "bot"
