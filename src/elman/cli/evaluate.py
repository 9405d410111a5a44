"""elman eval"""

import json
import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from elman.cli.learned import has_learned_from
from elman.cli.reply_options import (
    MmiWeightOption,
    ReplyFromOption,
    SamplesOption,
    TemperatureOption,
    make_params,
    make_replier,
)
from elman.cli.text import plain
from elman.cli.trust import Trust
from elman.errors import ElmanError

if TYPE_CHECKING:
    from elman.data.corpus import Corpus
    from elman.evaluate import Measured
    from elman.evaluate.texts import Responder
    from elman.model.checkpoint import Bot

PartOption = Annotated[
    str, typer.Option("--split", help="all; or dev or test, the parts that training holds out.")
]
NameThereOption = Annotated[
    str | None,
    typer.Option("--bot", help="Who it is in these conversations, where the name differs."),
]
OwnEncodingOption = Annotated[
    str | None, typer.Option(help="Of the files.  [default: that of what it learned from]")
]
SeedOption = Annotated[int, typer.Option(help="Of everything that is drawn.", min=0)]


def evaluate(
    bot: Annotated[Path, typer.Argument(help="The bot's folder, or base.")],
    heldout: Annotated[
        str, typer.Argument(help="Conversations that it has not learned from, as for train.")
    ],
    part: PartOption = "all",
    name: NameThereOption = None,
    encoding: OwnEncodingOption = None,
    temperature: TemperatureOption = None,
    samples: SamplesOption = None,
    mmi_weight: MmiWeightOption = None,
    reply_from: ReplyFromOption = "generate",
    seed: SeedOption = 0,
    card_path: Annotated[
        Path | None,
        typer.Option("--card", help="Write a report card: Markdown, with pictures beside it."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    trust: Trust = None,
) -> None:
    """Measure a bot on conversations it has not seen.

    Example: `elman eval bots/ann heldout.jsonl --card ann.md`
    """
    from elman.data.files import write_file
    from elman.evaluate import evaluate as measure
    from elman.evaluate.card import card
    from elman.generate.rerank import Ranking
    from elman.model.checkpoint import load_bot

    loaded = load_bot(bot, trust=trust or ())
    corpus, notes = read_for(loaded, heldout, part, encoding, name)
    respond = responder(loaded, temperature, samples, mmi_weight, reply_from, seed)
    learned, missing = learned_texts(loaded, heldout)
    measured = measure(loaded, corpus, loaded.data.learn_from, seed, respond, learned)
    notes += missing
    ranking = Ranking.of(loaded.config, samples=samples)
    facts = {"data": heldout, "split": part, "reply_from": reply_from, "samples": ranking.samples}
    if card_path is not None:
        stem = re.sub(r"[^A-Za-z0-9_-]+", "-", card_path.stem)
        text, pictures = card(str(bot), stem, measured, corpus, loaded.tokenizer, facts)
        for picture, drawn in pictures.items():
            write_file(card_path.with_name(picture), drawn, parents=True)
        write_file(card_path, text, parents=True)
    if as_json:
        of = {"bot": str(bot), "heldout": heldout, "split": part, "reply_from": reply_from}
        print(json.dumps({**of, "left_out": notes, **measured.report.to_json()}))
    else:
        show(measured, notes)
        if card_path is not None:
            print(f"{card_path} holds the card")


def responder(
    bot: "Bot",
    temperature: float | None,
    samples: int | None,
    mmi_weight: float | None,
    reply_from: str,
    seed: int,
) -> "Responder":
    """How a bot replies in many places at once."""
    params = make_params(bot, temperature=temperature, seed=seed)
    replier = make_replier(
        bot, params, samples=samples, mmi_weight=mmi_weight, reply_from=reply_from
    )
    return partial(replier.replies, generator=params.generator())


def learned_texts(bot: "Bot", heldout: str) -> tuple[Iterator[str] | None, list[str]]:
    """Every message that a bot learned from, if need be from where they are measured now; and a
    note, where they can no longer be read.
    """
    from elman.data.dataset import Dataset
    from elman.data.source import fingerprint

    saved, path = bot.data, bot.data.path
    if fingerprint(path) is None:
        if not has_learned_from(bot, heldout):
            return None, ["what it learned from is not here: nothing is said of what it copies"]
        path = heldout
    return Dataset.again(bot.config["data"] | {"path": path}).texts(saved.test), []


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

    if part not in ("all", "dev", "test"):
        raise ElmanError(f"--split {part}: expected all, dev or test")
    saved = bot.data
    if part == "test" and not saved.test:
        raise ElmanError(
            "--split test: this bot was trained without a test part (--set data.test=true), so it "
            "has learned from those conversations"
        )
    if saved.rename and name is None and not has_learned_from(bot, heldout):
        raise ElmanError(
            "people were renamed for this bot, and get other names in other conversations: say who "
            "it is there, with --bot and the real name"
        )
    dataset = Dataset.read(
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


def show(measured: "Measured", notes: list[str]) -> None:
    """The report as a table for people."""
    from rich.console import Console
    from rich.table import Table

    from elman.evaluate.card import rows

    report = measured.report
    table = Table("measure", "the bot", "people", box=None, pad_edge=False)
    for row in rows(measured):
        table.add_row(*row)
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
