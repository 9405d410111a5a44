"""elman audit"""

import json
from typing import TYPE_CHECKING, Annotated

import typer

from elman.cli.learned import corpus_learned, dataset_learned
from elman.cli.options import BotArgument, JsonOption, LearnedPathArgument, TrustOption
from elman.cli.text import console, plain, tell
from elman.errors import ElmanError

if TYPE_CHECKING:
    from elman.data.corpus import Corpus
    from elman.evaluate.audit import Audit
    from elman.generate.bot import Bot


def audit(
    bot: BotArgument,
    data: LearnedPathArgument = None,
    samples: Annotated[int, typer.Option(help="Replies that are drawn.", min=1)] = 1000,
    seed: Annotated[int, typer.Option(help="Of everything that is drawn.", min=0)] = 0,
    as_json: JsonOption = False,
    trust: TrustOption = None,
) -> None:
    """Measure what a bot gives away of the conversations that it learned from.

    The result is kept in the bot's folder, and `elman eval --card` shows it.

    Example: `elman train chats.txt --bot Ann --canaries 32`, then `elman audit bots/chats`
    """
    from elman.data.files import write_file
    from elman.evaluate.audit import Learned
    from elman.evaluate.audit import audit as measure
    from elman.evaluate.card import AUDIT
    from elman.runtime.choose import load_bot

    loaded = load_bot(bot, "float32", trust or ())
    saved = loaded.data
    dataset = dataset_learned(loaded, data)
    learned = Learned.read(dataset, loaded.tokenizer, saved.test)
    require_same(loaded, dataset.path, learned.train, "audit")
    base = base_of(loaded, trust or ())
    found = measure(loaded, learned, saved.learn_from, base, samples=samples, seed=seed)
    kept = {"weights": loaded.decoder.weights_digest, **found.to_json()}
    write_file(loaded.path / AUDIT, json.dumps(kept, indent=1) + "\n", follow_link=False)
    if as_json:
        print(json.dumps({"bot": str(bot), "data": dataset.path, **found.to_json()}))
    else:
        show(found)


def require_same(bot: "Bot", path: str, train: "Corpus", verb: str) -> None:
    """Raise ElmanError where conversations are not those that a bot learned from."""
    expected = corpus_learned(bot)
    if expected is not None and train.digest != expected:
        raise ElmanError(
            f"{path}: not the conversations that {bot.home} learned from, or they changed since; "
            f"name a copy of those: elman {verb} {bot.home} PATH"
        )


def base_of(bot: "Bot", trust: "list[str] | tuple[str, ...]") -> "Bot | None":
    """Load the bot that a bot started from; None where there is none, or it is gone."""
    from elman.runtime.choose import load_bot

    name = bot.config.get("train", {}).get("base")
    if name is None:
        return None
    try:
        return load_bot(name, "float32", trust)
    except ElmanError as error:
        tell(f"nothing is calibrated by the bot that it started from: {error}")
        return None


def show(audit: "Audit") -> None:
    """Show an audit to people."""
    from rich.table import Table

    from elman.evaluate.card import audit_rows, people_rows

    table = Table("measure", "the bot", "of what it never learned", box=None, pad_edge=False)
    for row in audit_rows(audit.to_json()):
        table.add_row(*map(plain, row))
    people = Table(
        "person", "conversations", "exposure, bits", "replies that repeat 8 tokens", "AUC",
        box=None, pad_edge=False,
    )  # fmt: skip
    for person in people_rows(audit.to_json()):
        people.add_row(*map(plain, person))
    out = console()
    out.print(table)
    if audit.people:
        out.print(people)
    if audit.extraction.longest:
        out.print(plain(f"longest run: {audit.extraction.longest}"), soft_wrap=True, markup=False)
    if audit.exposure is None:
        out.print("no canaries were planted: elman train --canaries N does that", markup=False)
