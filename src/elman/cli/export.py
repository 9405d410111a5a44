"""elman export"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from elman.cli.options import BotArgument, JsonOption
from elman.cli.text import plain, tell
from elman.errors import ElmanError


@dataclass(frozen=True)
class ExportOptions:
    """What only some ways to leave home need.

    Args:
        max_mb: megabytes of a page; weights are rounded until it fits.
    """

    max_mb: float | None = None


def _html(bot: Path, out: Path, options: ExportOptions) -> dict[str, Any]:
    from elman.export.html import DEFAULT_MAX_MB, write_page

    return write_page(bot, out, options.max_mb or DEFAULT_MAX_MB, tell)


EXPORTERS: dict[str, Callable[[Path, Path, ExportOptions], dict[str, Any]]] = {"html": _html}
"""For each `--to` what writes the bot to a place, and returns what `--json` prints.

Of that, `bytes` is how large it is.
"""


def export(
    bot: BotArgument,
    to: Annotated[str, typer.Option("--to", help=f"As what: {', '.join(EXPORTERS)}.")],
    out: Annotated[Path, typer.Option("--out", help="Where, such as ann.html.")],
    max_mb: Annotated[
        float | None,
        typer.Option(
            help="Megabytes of a page, at most; weights are rounded until it fits.  [default: 8]",
            show_default=False,
            min=0.1,
            max=100,
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Write a bot so that it runs elsewhere: html is one page that needs no network.

    Example: `elman export bots/ann --to html --out ann.html`
    """
    if to not in EXPORTERS:
        raise ElmanError(f"--to {to}: expected {' or '.join(EXPORTERS)}")
    if max_mb is not None and to != "html":
        raise ElmanError("--max-mb is for --to html")
    told = EXPORTERS[to](bot, out, ExportOptions(max_mb))
    if as_json:
        print(json.dumps({"bot": str(bot), "to": to, "out": str(out), **told}))
    else:
        print(plain(f"{out}: {told['bytes']:,} bytes"))
