"""elman lens"""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast, get_args

import typer

from elman.cli.text import plain
from elman.cli.trust import Trust
from elman.errors import ElmanError

if TYPE_CHECKING:
    from elman.lens.tiny import TinyStep


def lens(
    bot: Annotated[
        Path | None,
        typer.Argument(help="The bot's folder, or base: the one that comes with Elman."),
    ] = None,
    chat: Annotated[
        str | None, typer.Argument(help="Conversations, as for train; one of them is shown.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Write it as a page, one HTML file.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    number: Annotated[
        int | None,
        typer.Option(
            "--conversation",
            help="Which one, from 1.  [default: the first in which the bot answers]",
            min=1,
        ),
    ] = None,
    name: Annotated[
        str | None,
        typer.Option("--bot", help="Who it is in these conversations, where the name differs."),
    ] = None,
    encoding: Annotated[
        str | None, typer.Option(help="Of the files.  [default: that of what it learned from]")
    ] = None,
    precision: Annotated[
        str, typer.Option(help="Of the weights; rounded ones have no gradient: bfloat16 or int8.")
    ] = "float32",
    compare: Annotated[
        bool,
        typer.Option(
            "--compare", help="Train an RNN, a GRU and an LSTM on this, with and without clipping."
        ),
    ] = False,
    compare_steps: Annotated[
        int, typer.Option(help="Optimizer steps of each of these six runs.", min=10)
    ] = 200,
    tiny: Annotated[
        bool, typer.Option("--tiny", help="Instead: five messages and a state of three numbers.")
    ] = False,
    cell: Annotated[str, typer.Option(help="Of --tiny: rnn, gru or lstm.")] = "rnn",
    unfold: Annotated[
        int,
        typer.Option(help="Of --tiny: messages that the gradient goes back; from 5 on all."),
    ] = 5,
    seed: Annotated[int, typer.Option(help="Of what is drawn: weights, a sample.")] = 0,
    html: Annotated[
        Path | None, typer.Option(help="Of --tiny: write it as a page for the classroom instead.")
    ] = None,
    trust: Trust = None,
) -> None:
    """See how a conversation teaches a bot: its gradient, travelling back through the messages.

    Example: `elman lens base chats.txt --bot Ann --out lens.html`; `elman lens --tiny` shows a
    step small enough to check by hand.
    """
    if not 0 <= seed < 2**63:
        raise ElmanError(f"--seed {seed}: expected a whole number from 0 to {2**63 - 1}")
    if tiny:
        _tiny(cell, unfold, seed, html, as_json)
        return
    if bot is None or chat is None:
        raise ElmanError(
            "expected a bot and conversations: elman lens BOT CHAT --out FILE; for the tiny "
            "network, add --tiny"
        )
    from elman.bptt.decode import Precision
    from elman.cli.looking import Wish, look_at

    if precision not in get_args(Precision):
        raise ElmanError(f"--precision {precision}: {', '.join(get_args(Precision))}")
    wish = Wish(
        bot, chat, name, number, encoding, cast(Precision, precision), seed,
        compare_steps if compare else None, tuple(trust or ()),
    )  # fmt: skip
    with _progress() as tell:
        seen = look_at(wish, tell)
    if out is not None:
        from elman.data.files import write_file
        from elman.lens.page import page

        write_file(out, page(seen))
    if as_json:
        print(json.dumps(seen | ({} if out is None else {"html": str(out)})))
        return
    show_seen(seen)
    if out is not None:
        print(f"wrote {plain(str(out))}: open it in a browser")


@contextmanager
def _progress() -> Iterator[Callable[[str], None]]:
    """Says on a terminal what is being done."""
    from rich.console import Console
    from rich.markup import escape

    with Console(stderr=True).status("") as status:
        yield lambda words: status.update(escape(plain(words)))


def show_seen(seen: dict[str, Any]) -> None:
    """A conversation's summary, for people."""
    from rich.console import Console

    from elman.lens.summary import summary

    console = Console(highlight=False)
    for part in summary(seen):
        console.print(part, soft_wrap=True)


def _tiny(cell: str, unfold: int, seed: int, html: Path | None, as_json: bool) -> None:
    from elman.lens.tiny import TINY_CELLS, tiny_step

    if cell not in TINY_CELLS:
        *others, last = TINY_CELLS
        raise ElmanError(f"--cell {cell}: expected {', '.join(others)} or {last}")
    if unfold < 1:
        raise ElmanError(f"--unfold {unfold}: expected a number of messages, 1 or more")
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
