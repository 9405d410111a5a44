"""elman check"""

import json
from typing import Annotated

import typer

from elman.cli.text import plain


def check(
    target: Annotated[
        str,
        typer.Argument(
            metavar="MODULE:LAYER",
            help="A class of layers, a layer, a function that makes one, or a function of x and a "
            "state: torch.nn:LSTM, layers.py:MyGRU.",
        ),
    ],
    call: Annotated[
        str | None,
        typer.Option(help="A function call(layer, x, state) that calls it: layers.py:call."),
    ] = None,
    input_size: Annotated[int | None, typer.Option(min=1, help="Else it is found.")] = None,
    batch_first: Annotated[
        bool | None,
        typer.Option("--batch-first/--steps-first", help="The layout of x; else it is found."),
    ] = None,
    window: Annotated[
        int | None,
        typer.Option(min=1, help="The gradient is meant to be cut before every so many steps."),
    ] = None,
    reach: Annotated[
        int | None,
        typer.Option(min=1, help="Each output's gradient is meant to reach so many steps back."),
    ] = None,
    time_limit: Annotated[float, typer.Option(min=0.1, help="Seconds.")] = 60,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Tell what is wrong with a recurrent layer: its outputs, its gradients, its masks.

    The layer's code is run. Exit code 0: nothing is wrong; 1: it is wrong; 2: it cannot be checked.

    Example: `elman check torch.nn:LSTM`
    """
    from elman.referee.limited import Asked, check_within

    asked = Asked(target, call, input_size, batch_first, window, reach)
    verdict = check_within(time_limit, asked)
    print(json.dumps(verdict.to_json()) if as_json else plain(str(verdict)))
    raise typer.Exit(0 if verdict.right else 1)
