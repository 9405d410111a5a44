"""elman eval"""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from elman.cli.text import plain
from elman.errors import ElmanError

if TYPE_CHECKING:
    from elman.data.corpus import Corpus
    from elman.evaluate import Report
    from elman.model.checkpoint import Bot


def evaluate(
    bot: Annotated[Path, typer.Argument(help="The bot's folder.")],
    heldout: Annotated[
        str, typer.Argument(help="Conversations that it has not learned from, as for train.")
    ],
    part: Annotated[
        str,
        typer.Option("--split", help="all; or dev or test, the parts that training holds out."),
    ] = "all",
    name: Annotated[
        str | None,
        typer.Option("--bot", help="Who it is in these conversations, where the name differs."),
    ] = None,
    encoding: Annotated[
        str | None, typer.Option(help="Of the files.  [default: that of what it learned from]")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of everything that is drawn.", min=0)] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Measure a bot on conversations it has not seen.

    Example: `elman eval bots/ann heldout.jsonl --json`
    """
    from elman.evaluate import evaluate as measured
    from elman.model.checkpoint import load_bot

    loaded = load_bot(bot)
    corpus, notes = read_for(loaded, heldout, part, encoding, name)
    report = measured(loaded, corpus, loaded.config["data"]["learn_from"], seed)
    if as_json:
        print(
            json.dumps(
                {
                    "bot": str(bot),
                    "heldout": heldout,
                    "split": part,
                    "left_out": notes,
                    **report.to_json(),
                }
            )
        )
    else:
        show(report, notes)


def read_for(
    bot: "Bot",
    heldout: str,
    part: str = "all",
    encoding: str | None = None,
    name: str | None = None,
) -> tuple["Corpus", list[str]]:
    """Held-out conversations as a bot sees them, and what was left out of them.

    Raises:
        ElmanError: where the part is unknown or was not held out, where nobody is the bot, or where
            it cannot be known who is.
    """
    from elman.data.corpus import Corpus
    from elman.data.dataset import Dataset
    from elman.train.config import DataConfig

    if part not in ("all", "dev", "test"):
        raise ElmanError(f"--split {part}: expected all, dev or test")
    saved = DataConfig.model_validate(bot.config["data"])
    if part == "test" and not saved.test:
        raise ElmanError(
            "--split test: this bot was trained without a test part (--set data.test=true), so it "
            "has learned from those conversations"
        )
    same = heldout == saved.path or Path(heldout).resolve() == Path(saved.path)
    if saved.rename and name is None and not same:
        raise ElmanError(
            "people were renamed for this bot, and get other names in other conversations: say who "
            "it is there, with --bot and the real name"
        )
    dataset = Dataset(
        heldout, encoding or saved.encoding, bot=name or saved.bot, lenient=True, **saved.view()
    )
    notes = dataset.notes.lines()
    if part == "all":
        corpus = Corpus.encode(dataset.conversations(), bot.tokenizer, dataset.bot, dataset.others)
    else:
        parts, repeated = dataset.encode(bot.tokenizer, saved.test)
        if repeated:
            notes.append(f"{repeated:,} held-out conversations left out: nearly learned")
        corpus = parts.get(part, Corpus.encode((), bot.tokenizer))
    if not len(corpus):
        raise ElmanError(f"{heldout}: no conversation is in its {part} part")
    return corpus, notes


def show(report: "Report", notes: list[str]) -> None:
    """The report as a table for people."""
    from rich.console import Console
    from rich.table import Table

    def gain(mean: float | None, interval: tuple[float, float] | None) -> str:
        if mean is None or interval is None:
            return "-"
        return f"{mean:.4f} ({interval[0]:.4f} to {interval[1]:.4f})"

    table = Table("measure", "the bot", "people", box=None, pad_edge=False)
    table.add_row("bits per byte", f"{report.bits_per_byte:.4f}", "")
    table.add_row(
        "context gain, over no history", gain(report.context_gain, report.context_gain_interval), ""
    )
    table.add_row(
        "context gain, over another's",
        gain(report.context_gain_other, report.context_gain_other_interval),
        "",
    )
    for label, ours, theirs in (
        ("distinct-1", report.distinct_1, report.distinct_1_people),
        ("distinct-2", report.distinct_2, report.distinct_2_people),
        ("repeated replies", report.repeated_replies, report.repeated_replies_people),
        ("words in a reply", report.reply_words, report.reply_words_people),
    ):
        table.add_row(label, f"{ours:.3f}", f"{theirs:.3f}")
    if report.context_gain_by_lag:
        gains = "  ".join(f"{value:+.4f}" for value in report.context_gain_by_lag)
        table.add_row("context gain by message of lag", gains, "")
    console = Console(highlight=False)
    console.print(table)
    console.print(
        f"{report.conversations:,} conversations, {report.messages:,} messages; gains over "
        f"{report.context_replies:,} replies, in bits per byte with 95 % intervals; "
        f"the rest over {report.replies:,} replies drawn by seed {report.seed}",
        soft_wrap=True,
    )
    for note in notes:
        console.print(plain(note), soft_wrap=True, markup=False)
