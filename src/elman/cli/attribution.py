"""What each message did for a reply, as a few lines under it."""

import sys
from collections.abc import Collection
from functools import cached_property
from typing import TYPE_CHECKING

from elman.cli.options import as_precision
from elman.cli.text import plain
from elman.errors import ElmanError, telling_where_torch_is_missing

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from elman.chat import Session
    from elman.generate.bot import Bot
    from elman.generate.network import NetworkBot
    from elman.lens.attribution import Attribution
    from elman.lens.nearest import Lines

MAX_SHOWN_MESSAGES = 20
"""Messages before the reply that are shown, the last ones."""

MAX_BAR_CHARS = 12
"""Characters of the longest bar."""

NUMBERS_CHARS = 58
"""Columns of a line that are not a name or a text."""


class AttributionLines:
    """Say of a session's last reply what each message did for it, and what it is near to.

    What the bot learned from is read when it is first asked for.
    """

    def __init__(self, bot: "Bot", name: str = "bot", trust: Collection[str] = ()) -> None:
        self._bot, self._name, self._trust = bot, name, trust

    def __call__(self, session: "Session") -> str:
        """Return the lines, coloured at a terminal; raise ElmanError where no reply was made."""
        from rich.console import Console

        from elman.data.tokenizer import ROLES

        with telling_where_torch_is_missing():
            from elman.lens.attribution import attribute

        turns = session.turns
        if not turns or turns[-1][0] != ROLES["bot"]:
            raise ElmanError("there is no reply to explain yet")
        *asked, reply = turns
        network = self._network
        start = network.decoder.from_arrays(self._bot.decoder.to_arrays(session.start))
        found = attribute(network, asked, reply, start, MAX_SHOWN_MESSAGES, linear=True)
        texts = [self._bot.tokenizer.decode(turn[1:-1]) for turn in turns]
        names = [self._name if turn[0] == ROLES["bot"] else "you" for turn in turns]
        console = Console(highlight=False, file=sys.stdout)
        with console.capture() as captured:
            console.print(_bars(found, texts, names, console))
            some = ""
            if len(asked) > MAX_SHOWN_MESSAGES:
                some = f"the last {len(found)} of {len(asked):,} messages, "
            console.print(
                f"({some}in nats: above 0 it made the reply likelier; left out, and copied, what "
                "its words were worth to the pointer: exactly; linear and input: by the gradient)",
                style="dim",
                soft_wrap=True,
            )
            for line in self._nearest(texts[-1]):
                console.print(line, soft_wrap=True)
        return captured.get().rstrip("\n")

    def _nearest(self, reply: str) -> "list[Text]":
        from rich.text import Text

        from elman.lens.nearest import MIN_COPIED_WORDS

        learned = self._learned
        if isinstance(learned, ElmanError):
            return [Text(f"nearest lines: none, for {plain(str(learned))}", "dim")]
        whole = "" if learned.complete else f" (of its first {len(learned):,} lines)"
        lines = [Text(f"nearest of what it learned to say{whole}")]
        lines += [
            Text(f" {near.likeness:5.0%}  ", "cyan").append(_short(near.text), "default")
            for near in learned.nearest(reply)
        ] or [Text("   none is like it", "dim")]
        if copy := learned.copied(reply):
            said = f"it copies {copy.words} words in a row of: {_short(copy.line, 200)}"
            return [*lines, Text(said, "yellow")]
        return [*lines, Text(f"it copies no {MIN_COPIED_WORDS} words in a row of them", "dim")]

    @cached_property
    def _network(self) -> "NetworkBot":
        """The bot in torch, whose gradient is looked at, in the precision that it speaks in."""
        from elman.generate.network import in_torch

        return in_torch(self._bot, as_precision(self._bot.precision), self._trust)

    @cached_property
    def _learned(self) -> "Lines | ElmanError":
        """What the bot learned to say, or why that cannot be read."""
        from elman.lens.nearest import training_lines

        if sys.stderr.isatty():
            print("(reading what it learned from)", file=sys.stderr, flush=True)
        try:
            return training_lines(self._bot)
        except ElmanError as error:
            return error


def _bars(
    found: "list[Attribution]", texts: list[str], names: list[str], console: "Console"
) -> "Table":
    """Make one row for each message: a bar, and its numbers."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, padding=(0, 1), pad_edge=False)
    table.add_column("", justify="right", style="dim", no_wrap=True)
    table.add_column("", no_wrap=True)
    width = max(16, console.width - NUMBERS_CHARS - max(len(_short(name, 12)) for name in names))
    table.add_column("why it said that", overflow="ellipsis", no_wrap=True, max_width=width)
    table.add_column("", no_wrap=True)
    for title in ("left out", "copied", "linear", "input"):
        table.add_column(title, justify="right", no_wrap=True, min_width=len(title))
    most = max(1e-9, *(abs(each.nats) for each in found))
    full, less = ("█", "▒") if _writes("█▒", console) else ("#", "-")
    for each in found:
        length = round(MAX_BAR_CHARS * abs(each.nats) / most)
        bar, style = (full, "green") if each.nats >= 0 else (less, "magenta")
        numbers = (each.nats, each.copied, each.linear, each.gradient)
        table.add_row(
            str(each.message + 1),
            Text(_short(names[each.message], 12), "bold"),
            Text(_short(texts[each.message])),
            Text(bar * length, style),
            *("" if number is None else f"{number:+.2f}" for number in numbers),
        )
    return table


def _short(text: str, most: int = 100) -> str:
    """Cut a text to one line."""
    line = " ".join(plain(text).split())
    return line if len(line) <= most else line[: most - 1] + "…"


def _writes(characters: str, console: "Console") -> bool:
    try:
        characters.encode(console.encoding)
    except UnicodeEncodeError:
        return False
    return True
