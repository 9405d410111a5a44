"""elman lens"""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from elman.errors import ElmanError

if TYPE_CHECKING:
    from elman.lens.tiny import TinyStep


def lens(
    tiny: Annotated[
        bool, typer.Option("--tiny", help="Five messages and a state of three numbers.")
    ] = False,
    cell: Annotated[str, typer.Option(help="rnn, gru or lstm.")] = "rnn",
    unfold: Annotated[
        int, typer.Option(help="Messages that the gradient goes back; from 5 on it is never cut.")
    ] = 5,
    seed: Annotated[int, typer.Option(help="Of the weights.")] = 0,
    html: Annotated[
        Path | None, typer.Option(help="Write it as a page for the classroom instead.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Show one whole training step, small enough to check by hand.

    Example: `elman lens --tiny --cell gru`
    """
    if not tiny:
        raise ElmanError("elman lens looks at the tiny network for now: add --tiny")
    from elman.lens.tiny import CELLS, tiny_step

    if cell not in CELLS:
        *others, last = CELLS
        raise ElmanError(f"--cell {cell}: expected {', '.join(others)} or {last}")
    if unfold < 1:
        raise ElmanError(f"--unfold {unfold}: expected a number of messages, 1 or more")
    if not 0 <= seed < 2**63:
        raise ElmanError(f"--seed {seed}: expected a whole number from 0 to {2**63 - 1}")
    step = tiny_step(cell, unfold, seed)
    if html is not None:
        from elman.data.files import write_file
        from elman.lens.tiny_page import page

        write_file(html, page(step))
    if as_json:
        print(json.dumps(to_json(step) | ({} if html is None else {"html": str(html)})))
    elif html is not None:
        print(f"wrote {html}: open it in a browser; the arrow keys walk through it")
    else:
        show(step)


def to_json(value: Any) -> Any:
    """Dataclasses as objects and tensors as lists, all the way down."""
    from torch import Tensor

    if isinstance(value, Tensor):
        return value.tolist()
    if isinstance(value, dict):
        return {key: to_json(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [to_json(part) for part in value]
    return to_json(vars(value)) if hasattr(value, "__dataclass_fields__") else value


def show(step: "TinyStep") -> None:
    """The step as text for people."""
    from rich.console import Console

    from elman.lens.tiny_text import printed

    console = Console(highlight=False)
    for part in printed(step):
        console.print(part)
