"""elman eval"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from elman.cli.learned import has_learned_from, read_as
from elman.cli.options import (
    JsonOption,
    NameThereOption,
    OwnEncodingOption,
    RankingOptions,
    TemperatureOption,
    TrustOption,
    make_params,
    with_groups,
)
from elman.cli.text import console, plain
from elman.errors import ElmanError

if TYPE_CHECKING:
    from elman.data.corpus import Corpus
    from elman.evaluate import Measured
    from elman.evaluate.texts import Responder
    from elman.generate.bot import Bot
    from elman.generate.network import NetworkBot


@dataclass(frozen=True)
class MeasuringOptions:
    """On which conversations a bot is measured, and how its replies are drawn there."""

    part: Annotated[
        str, typer.Option("--split", help="all; or dev or test, the parts that training holds out.")
    ] = "all"
    name: NameThereOption = None
    encoding: OwnEncodingOption = None
    temperature: TemperatureOption = None
    seed: Annotated[int, typer.Option(help="Of everything that is drawn.", min=0)] = 0

    def responder(self, bot: "NetworkBot", ranking: RankingOptions) -> "Responder":
        """Make what replies at many positions at once."""
        params = make_params(bot, temperature=self.temperature, seed=self.seed)
        return partial(ranking.replier(bot, params).replies, generator=params.generator())

    def read(self, bot: "NetworkBot", heldout: str) -> tuple["Corpus", list[str]]:
        """Read held-out conversations as a bot sees them, and say what was left out of them.

        Raises:
            ElmanError: where the part is unknown or was not held out, where nobody is the bot, or
                where it cannot be known who is.
        """
        from elman.data.corpus import Corpus

        part, saved, tokenizer = self.part, bot.data, bot.tokenizer
        if part not in ("all", "dev", "test"):
            raise ElmanError(f"--split {part}: expected all, dev or test")
        if part == "test" and not saved.test:
            raise ElmanError(
                "--split test: this bot was trained without a test part (--set data.test=true), so "
                "it has learned from those conversations"
            )
        dataset = read_as(bot, heldout, self.encoding, self.name)
        notes = dataset.notes.lines()
        if part == "all":
            corpus = Corpus.encode(dataset.conversations(), tokenizer, dataset.bot, dataset.others)
        else:
            parts, repeated = dataset.encode(tokenizer, saved.test)
            if repeated:
                notes.append(f"{repeated:,} held-out conversations left out: nearly learned")
            corpus = parts.get(part, Corpus.encode((), tokenizer))
        if not len(corpus):
            raise ElmanError(f"{heldout}: no conversation is in its {part} part")
        return corpus, notes


@with_groups
def evaluate(
    *,
    bot: Annotated[Path, typer.Argument(help="The bot's folder, or base.")],
    heldout: Annotated[
        str, typer.Argument(help="Conversations that it has not learned from, as for train.")
    ],
    measuring: MeasuringOptions,
    ranking: RankingOptions,
    card_path: Annotated[
        Path | None,
        typer.Option("--card", help="Write a report card: Markdown, with pictures beside it."),
    ] = None,
    as_json: JsonOption = False,
    trust: TrustOption = None,
) -> None:
    """Measure a bot on conversations it has not seen.

    Example: `elman eval bots/ann heldout.jsonl --card ann.md`
    """
    from elman.data.files import write_file
    from elman.evaluate import evaluate as measure
    from elman.evaluate.card import card
    from elman.generate.network import load_network_bot
    from elman.generate.rerank import Ranking

    loaded = load_network_bot(bot, trust=trust or ())
    corpus, notes = measuring.read(loaded, heldout)
    respond = measuring.responder(loaded, ranking)
    learned, missing = learned_texts(loaded, heldout)
    measured = measure(loaded, corpus, loaded.data.learn_from, measuring.seed, respond, learned)
    notes += missing
    facts = {"split": measuring.part, "reply_from": ranking.reply_from}
    samples = Ranking.of(loaded.config, samples=ranking.samples).samples
    if card_path is not None:
        stem = re.sub(r"[^A-Za-z0-9_-]+", "-", card_path.stem)
        shown = {"data": heldout, **facts, "samples": samples}
        audit = kept_audit(loaded)
        text, pictures = card(str(bot), stem, measured, corpus, loaded.tokenizer, shown, audit)
        for name, content in {**pictures, card_path.name: text}.items():
            write_file(card_path.with_name(name), content, parents=True)
    if as_json:
        about = {"bot": str(bot), "heldout": heldout, **facts, "left_out": notes}
        print(json.dumps(about | measured.report.to_json()))
    else:
        show(measured, notes)
        if card_path is not None:
            print(f"{card_path} holds the card")


def learned_texts(bot: "NetworkBot", heldout: str) -> tuple[Iterator[str] | None, list[str]]:
    """Read every message that a bot learned from, if need be from where they are measured now; and
    say so where they can no longer be read.
    """
    from elman.data.dataset import Dataset
    from elman.data.source import fingerprint

    saved, path = bot.data, bot.data.path
    if fingerprint(path) is None:
        if not has_learned_from(bot, heldout):
            return None, ["what it learned from is not here: nothing is said of what it copies"]
        path = heldout
    return Dataset.again(bot.config["data"] | {"path": path}).texts(saved.test), []


def kept_audit(bot: "Bot") -> dict[str, Any] | None:
    """Read what `elman audit` found of a bot; None where its weights are others by now."""
    from elman.data.untrusted import parse_json, read_text
    from elman.evaluate.card import AUDIT
    from elman.model.folder import MAX_JSON_BYTES

    path = bot.path / AUDIT
    if not path.exists():
        return None
    kept = parse_json(read_text(path, MAX_JSON_BYTES), path)
    if not isinstance(kept, dict):
        raise ElmanError(f"{path}: not what elman audit writes; make it anew")
    return kept if kept.get("weights") == bot.decoder.weights_digest else None


def show(measured: "Measured", notes: list[str]) -> None:
    """Show a report to people, as a table."""
    from rich.table import Table

    from elman.evaluate.card import rows

    report = measured.report
    table = Table("measure", "the bot", "people", box=None, pad_edge=False)
    for row in rows(measured):
        table.add_row(*row)
    if report.context_gain_by_lag:
        gains = "  ".join(f"{value:+.4f}" for value in report.context_gain_by_lag)
        table.add_row("context gain by message of lag", gains, "")
    out = console()
    out.print(table)
    out.print(
        f"{report.conversations:,} conversations, {report.messages:,} messages; gains over "
        f"{report.context_replies:,} replies, in bits per byte with 95 % intervals; "
        f"the rest over {report.replies:,} replies drawn by seed {report.seed}",
        soft_wrap=True,
    )
    for note in notes:
        out.print(plain(note), soft_wrap=True, markup=False)
