"""elman lens"""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from elman.cli.options import (
    JsonOption,
    NameThereOption,
    OwnEncodingOption,
    TrustOption,
    with_groups,
)
from elman.cli.text import console, plain, status
from elman.errors import ElmanError


@dataclass(frozen=True)
class Wish:
    """Which conversation is looked at, and how."""

    number: Annotated[
        int | None,
        typer.Option(
            "--conversation",
            help="Which one, from 1.  [default: the first in which the bot answers]",
            min=1,
        ),
    ] = None
    name: NameThereOption = None
    encoding: OwnEncodingOption = None
    precision: Annotated[
        str, typer.Option(help="Of the weights; rounded ones have no gradient: bfloat16 or int8.")
    ] = "float32"
    compare: Annotated[
        bool,
        typer.Option(
            "--compare", help="Train an RNN, a GRU and an LSTM on this, with and without clipping."
        ),
    ] = False
    compare_steps: Annotated[
        int, typer.Option(help="Optimizer steps of each of these six runs.", min=10)
    ] = 200
    seed: Annotated[int, typer.Option(help="Of what is drawn: weights, a sample.")] = 0


@with_groups
def lens(
    *,
    bot: Annotated[
        Path | None,
        typer.Argument(help="The bot's folder, or base: the one that comes with Elman."),
    ] = None,
    chat: Annotated[
        str | None, typer.Argument(help="Conversations, as for train; one of them is shown.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Write it as a page, one HTML file.")] = None,
    as_json: JsonOption = False,
    wish: Wish,
    tiny: Annotated[
        bool, typer.Option("--tiny", help="Instead: five messages and a state of three numbers.")
    ] = False,
    cell: Annotated[str, typer.Option(help="Of --tiny: rnn, gru or lstm.")] = "rnn",
    unfold: Annotated[
        int, typer.Option(help="Of --tiny: messages that the gradient goes back; from 5 on all.")
    ] = 5,
    html: Annotated[
        Path | None, typer.Option(help="Of --tiny: write it as a page for the classroom instead.")
    ] = None,
    trust: TrustOption = None,
) -> None:
    """See how a conversation teaches a bot: its gradient, travelling back through the messages.

    Example: `elman lens base chats.txt --bot Ann --out lens.html`; `elman lens --tiny` shows a
    step small enough to check by hand.
    """
    if not 0 <= wish.seed < 2**63:
        raise ElmanError(f"--seed {wish.seed}: expected a whole number from 0 to {2**63 - 1}")
    if tiny:
        _tiny(cell, unfold, wish.seed, html, as_json)
        return
    if bot is None or chat is None:
        raise ElmanError(
            "expected a bot and conversations: elman lens BOT CHAT --out FILE; for the tiny "
            "network, add --tiny"
        )
    from elman.cli.looking import look_at
    from elman.data.files import write_file
    from elman.lens.page import page
    from elman.lens.summary import summary

    with status() as tell:
        seen = look_at(bot, chat, wish, tell, trust or ())
    if out is not None:
        write_file(out, page(seen))
    if as_json:
        print(json.dumps(seen | ({} if out is None else {"html": str(out)})))
        return
    _show(summary(seen), soft_wrap=True)
    if out is not None:
        print(f"wrote {plain(str(out))}: open it in a browser")


def _tiny(cell: str, unfold: int, seed: int, html: Path | None, as_json: bool) -> None:
    from elman.data.files import write_file
    from elman.lens.tiny import TINY_CELLS, tiny_step
    from elman.lens.tiny_page import page
    from elman.lens.tiny_text import printed

    if cell not in TINY_CELLS:
        *others, last = TINY_CELLS
        raise ElmanError(f"--cell {cell}: expected {', '.join(others)} or {last}")
    if unfold < 1:
        raise ElmanError(f"--unfold {unfold}: expected a number of messages, 1 or more")
    step = tiny_step(cell, unfold, seed)
    if html is not None:
        write_file(html, page(step))
    if as_json:
        facts = asdict(step) | ({} if html is None else {"html": str(html)})
        print(json.dumps(facts, default=lambda tensor: tensor.tolist()))
    elif html is not None:
        print(f"wrote {html}: open it in a browser; the arrow keys walk through it")
    else:
        _show(printed(step))


def _show(parts: Iterable[Any], *, soft_wrap: bool = False) -> None:
    shown = console()
    for part in parts:
        shown.print(part, soft_wrap=soft_wrap)
