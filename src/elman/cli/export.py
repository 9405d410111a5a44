"""elman export"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from elman.cli.options import BotArgument, JsonOption, with_groups
from elman.cli.text import plain, tell
from elman.errors import ElmanError, require


@dataclass(frozen=True)
class ExportOptions:
    """What only some ways to leave home need; `ONLY_FOR` says which."""

    max_mb: Annotated[
        float | None,
        typer.Option(
            help="Megabytes of a page, at most; weights are rounded until it fits.  [default: 8]",
            show_default=False,
            min=0.1,
            max=100,
        ),
    ] = None
    with_replies: Annotated[
        bool, typer.Option("--with-replies", help="Take along people's replies, word for word.")
    ] = False
    license_id: Annotated[
        str | None,
        typer.Option("--license", help="For the card, such as cc-by-4.0.  [default: unknown]"),
    ] = None
    language: Annotated[
        list[str] | None, typer.Option("--language", help="For the card, such as en.")
    ] = None
    push: Annotated[
        str | None,
        typer.Option("--push", help="Push the folder to the Hugging Face Hub: OWNER/NAME."),
    ] = None
    public: Annotated[bool, typer.Option("--public", help="With --push: let everybody see it.")] = (
        False
    )


ONLY_FOR = {
    "max_mb": ("html",),
    "with_replies": ("folder",),
    "license_id": ("folder", "onnx"),
    "language": ("folder", "onnx"),
    "push": ("folder",),
    "public": ("folder",),
}
"""For which `--to` each option is."""


def _html(bot: Path, out: Path, options: ExportOptions) -> dict[str, Any]:
    from elman.export.html import DEFAULT_MAX_MB, write_page

    return write_page(bot, out, options.max_mb or DEFAULT_MAX_MB, tell)


def _folder(bot: Path, out: Path, options: ExportOptions) -> dict[str, Any]:
    from elman.export.folder import write_folder
    from elman.export.hub import push_folder

    if options.public and options.push is None:
        raise ElmanError("--public is for --push OWNER/NAME")
    if options.push is not None:
        require("hub", "--push")
    told = write_folder(
        bot,
        out,
        tell,
        license_id=options.license_id,
        languages=options.language or (),
        with_replies=options.with_replies,
    )
    if options.push is not None:
        told["pushed"] = push_folder(out, options.push, private=not options.public)
    return told


def _onnx(bot: Path, out: Path, options: ExportOptions) -> dict[str, Any]:
    require("onnx", "--to onnx")
    from elman.export.onnx_file import write_onnx

    return write_onnx(
        bot, out, tell, license_id=options.license_id, languages=options.language or ()
    )


EXPORTERS: dict[str, Callable[[Path, Path, ExportOptions], dict[str, Any]]] = {
    "html": _html,
    "folder": _folder,
    "onnx": _onnx,
}
"""For each `--to` what writes the bot to a place, and returns what `--json` prints.

Of that, `bytes` is how large it is.
"""


@with_groups
def export(
    bot: BotArgument,
    to: Annotated[str, typer.Option("--to", help=f"As what: {', '.join(EXPORTERS)}.")],
    out: Annotated[Path, typer.Option("--out", help="Where, such as ann.html.")],
    options: ExportOptions,
    as_json: JsonOption = False,
) -> None:
    """Write a bot so that it runs elsewhere: html is one page that needs no network.

    Example: `elman export bots/ann --to html --out ann.html`
    """
    if to not in EXPORTERS:
        raise ElmanError(f"--to {to}: expected {' or '.join(EXPORTERS)}")
    for name, ways in ONLY_FOR.items():
        if getattr(options, name) and to not in ways:
            flag = name.removesuffix("_id").replace("_", "-")
            raise ElmanError(f"--{flag} is for --to {' or '.join(ways)}")
    told = EXPORTERS[to](bot, out, options)
    if as_json:
        print(json.dumps({"bot": str(bot), "to": to, "out": str(out), **told}))
        return
    print(plain(f"{out}: {told['bytes']:,} bytes"))
    if "pushed" in told:
        print(plain(told["pushed"]))
