"""Whose code may be run: bots can name cells that do not come with Elman."""

from typing import Annotated

import typer

Trust = Annotated[
    list[str] | None,
    typer.Option(
        "--trust",
        help="A cell from outside Elman whose code the bot may run: my.module:Name.",
        show_default=False,
    ),
]
