"""The settings of a run, for help and lists: read from a file, since their own module needs torch.

`elman.train.settings` writes that file from the configuration's fields; a test holds it to them.
"""

import json
from functools import cache
from pathlib import Path
from typing import Any

import typer

from elman.cli.text import console


@cache
def all_settings() -> dict[str, dict[str, Any]]:
    """Read every setting by its name, such as train.lr."""
    read = json.loads(Path(__file__).with_name("settings.json").read_text("utf-8"))
    return {each["name"]: each for each in read}


def help_of(name: str, more: str = "", *, default: bool = True) -> str:
    """Say what a setting is, `more` about it, and by default what it is where it is not given."""
    found = all_settings()[name]
    text = f"{found['description'][0].upper()}{found['description'][1:]}{more}."
    without = found["chosen"] or found["default"]
    return f"{text}  [default: {without}]" if default and without not in (None, False, []) else text


def flag_of(name: str, panel: str | None = None, more: str = "", *, default: bool = True) -> Any:
    """Make the flag of a setting, shown under a heading of the help."""
    return typer.Option(help=help_of(name, more, default=default), rich_help_panel=panel)


def show_settings(as_json: bool) -> None:
    """Print every setting, as a table or as JSON."""
    if as_json:
        print(json.dumps(list(all_settings().values()), indent=1))
        return
    from rich.table import Table

    table = Table("setting", "default", "values", "what it is", box=None, pad_edge=False)
    table.columns[0].no_wrap = True
    for each in all_settings().values():
        default = each["chosen"] or json.dumps(each["default"])
        table.add_row(each["name"], default, each["range"], each["description"])
    out = console()
    out.print(table)
    out.print("\nset one with --set NAME=VALUE, or in a file for --config", markup=False)
