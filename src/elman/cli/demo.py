"""elman demo"""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from elman.cli.settings import flag_of
from elman.cli.text import console, is_interactive, plain

if TYPE_CHECKING:
    from rich.console import Console

    from elman.chat import Session

DEMO_MINUTES = 3.0

DEMO_PROMPTS = ("hi! how are you?", "what are you studying?", "any plans for the weekend?")

SCRIPTED = (
    ("hello", "where are you from?", "nice, do you like it there?"),
    ("what kind of music do you like?", "who is your favorite?", "i will listen to that"),
    ("i am so tired today", "i have a test tomorrow", "thanks, talk to you later"),
)


def demo(
    minutes: Annotated[float, flag_of("train.minutes", default=False)] = DEMO_MINUTES,
    memory: Annotated[str | None, flag_of("model.memory")] = None,
    cell: Annotated[str | None, flag_of("model.cell")] = None,
    seed: Annotated[int, flag_of("train.seed", default=False)] = 0,
    as_json: Annotated[
        bool, typer.Option("--json", help="Tell the training as JSON Lines.")
    ] = False,
) -> None:
    """Train a bot on real built-in conversations, measure it, and talk with it.

    Example: `elman demo --minutes 3`
    """
    started = time.monotonic()
    from platformdirs import user_data_path
    from rich.markup import escape
    from rich.table import Table

    from elman.chat import Session
    from elman.cli import training
    from elman.cli.chat import talk
    from elman.cli.evaluate import MeasuringOptions
    from elman.data.source import BUILT_IN
    from elman.generate.network import load_network_bot
    from elman.generate.sampling import SamplingParams
    from elman.generate.scoring import bits_per_byte

    folder = user_data_path("elman") / "bots" / "demo"
    before: list[str] = []

    def watch(kind: str, facts: dict[str, Any]) -> None:
        if kind == "start":
            before.extend(_replies(folder, seed))

    flags = {
        "data.path": BUILT_IN,
        "data.replies": 0,
        "data.test": True,
        "model.memory": memory,
        "model.cell": cell,
        "train.minutes": minutes,
        "train.base": "none",  # which has learned from them already
        "train.seed": seed,
    }
    values = training.asked_settings(None, flags, [])
    result = training.begin(
        values, folder, overwrite=True, as_json=as_json, started=started, observers=(watch,)
    )
    if result.reason == "interrupted":
        return
    out = console()
    bot = load_network_bot(folder)
    corpus, _ = MeasuringOptions(part="test").read(bot, BUILT_IN)
    found = bits_per_byte(bot.decoder, corpus, bot.tokenizer, "all")
    out.print(
        f"\n[bold]{found:.3f} bits per byte[/bold] on {len(corpus):,} held-out conversations\n"
    )
    table = Table("you say", "before training", "after training", show_lines=True)
    for prompt, old, new in zip(DEMO_PROMPTS, before, _replies(folder, seed), strict=True):
        table.add_row(prompt, f"[dim]{escape(old)}[/dim]", escape(new))
    out.print(table)
    session = Session(bot, SamplingParams.of(bot.config, seed=seed))
    if is_interactive():
        talk(session, "bot")
    else:
        _hold_scripted(out, session)
    out.print(
        f"\nThe bot is kept in {folder}. What to do next:\n"
        f"  elman chat '{folder}'            talk with it\n"
        "  elman chat                       talk with the base, which learned for longer\n"
        "  elman data inspect CHATS         look at your own export: what is in it, and what is "
        "private\n"
        "  elman train CHATS --bot NAME     make a bot of it\n"
        "  elman lens --tiny                see one step of its learning, number by number",
        soft_wrap=True,
        markup=False,
    )


def _replies(folder: Path, seed: int) -> list[str]:
    """Let the bot reply to the first words of three conversations."""
    from elman.chat import Session
    from elman.generate.network import load_network_bot
    from elman.generate.sampling import SamplingParams

    bot = load_network_bot(folder)
    params = SamplingParams.of(bot.config, seed=seed, max_tokens=30)
    return [plain("".join(Session(bot, params).say(prompt))) for prompt in DEMO_PROMPTS]


def _hold_scripted(out: "Console", session: "Session") -> None:
    """Hold short conversations, where there is no terminal to hold one at."""
    for number, lines in enumerate(SCRIPTED, 1):
        out.print(f"\nconversation {number}")
        session.reset()
        for line in lines:
            out.print(f"you> {line}", markup=False)
            said = plain("".join(session.say(line)))
            out.print(f"bot> {said}", markup=False, soft_wrap=True)
