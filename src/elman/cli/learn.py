"""elman learn"""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from elman.cli.options import (
    DatabaseOption,
    JsonOption,
    NameThereOption,
    OwnEncodingOption,
    TrustOption,
    open_store,
)
from elman.cli.text import plain, tell
from elman.errors import ElmanError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from elman.learning.lessons import Exchange

REFUSED = 1
"""The exit code where the gate refuses an update: nothing was wrong with what was given."""


def learn(
    bot: Annotated[Path, typer.Argument(help="The bot's folder.")],
    conversations: Annotated[
        str | None, typer.Argument(help="New ones to learn from, as `elman train` takes them.")
    ] = None,
    from_feedback: Annotated[
        bool,
        typer.Option(
            "--from-feedback",
            help="Learn what was taught, and what the page keeps: replies that were called good, "
            "and what should have been said.",
        ),
    ] = False,
    name: NameThereOption = None,
    encoding: OwnEncodingOption = None,
    history: Annotated[
        bool, typer.Option("--history", help="Show how its versions did, and learn nothing.")
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option(help="With --history: the curve as a file, .html, .svg or .png."),
    ] = None,
    database: DatabaseOption = None,
    as_json: JsonOption = False,
    trust: TrustOption = None,
) -> None:
    """Let a bot learn more, and keep that only where it got better and forgot nothing.

    An update becomes a new version (`elman versions`). Where the gate refuses it, the bot stays as
    it was and the exit code is 1. What the bot said by itself is never learned.

    Example: `elman learn bots/ann --from-feedback`
    """
    if history:
        if conversations is not None or from_feedback:
            raise ElmanError("--history shows what was learned before: give it nothing to learn")
        _show_history(bot, out, as_json)
        return
    if out is not None:
        raise ElmanError("--out is where --history writes its curve")
    if conversations is None and not from_feedback:
        raise ElmanError("nothing to learn: name conversations, or --from-feedback")
    from elman.cli.learned import read_as
    from elman.generate.taught import TaughtReplies
    from elman.learning.lessons import Exchange
    from elman.learning.update import learn as learn_more
    from elman.runtime.choose import load_bot
    from elman.serve.store.responses import ResponseStore  # before the store: it adds its tables

    loaded = load_bot(bot, "float32", trust or ())
    dataset = None
    if conversations is not None:
        dataset = read_as(loaded, conversations, encoding, name)
        for line in dataset.notes.lines():
            tell(line)
    exchanges: list[Exchange] = []
    with open_store(database) as store:
        taught = TaughtReplies(loaded.home, loaded.knows_names).pairs()
        with store.reading() as connection:
            own_words = store.said_by_bots(connection)
            if from_feedback:
                exchanges = [Exchange("you", *pair) for pair in taught]
                responses, served = ResponseStore(store), loaded.home.resolve().name
                for owner in responses.raters(connection):
                    given = responses.feedback(connection, owner)
                    exchanges += _exchanges(owner, served, given)
                if not exchanges:
                    raise ElmanError(
                        f"{bot}: there is no feedback yet: /teach in elman chat, or thumbs and "
                        "better replies in the page"
                    )
    own_words -= {each.answer for each in exchanges} | {answer for _, answer in taught}
    outcome = learn_more(loaded.home, exchanges, dataset, own_words, tell=tell, trust=trust or ())
    if as_json:
        version = None if outcome.version is None else outcome.version.id
        print(json.dumps({"version": version, **outcome.report}))
    else:
        for test in outcome.tests:
            print(plain(str(test)))
        if outcome.version is not None:
            print(plain(f"{bot} is {outcome.version.id} now; elman rollback {bot} takes it back"))
        else:
            failed = ", ".join(outcome.report["failed"])
            print(plain(f"{bot} stays as it was: the update failed at {failed}"))
    if outcome.version is None:
        raise typer.Exit(REFUSED)


def _exchanges(owner: str, bot: str, feedback: "Iterator[dict[str, Any]]") -> "Iterator[Exchange]":
    """Yield what somebody approved or corrected of what a bot said."""
    from elman.chat.memory import LOCAL
    from elman.learning.lessons import Exchange

    person = "you" if owner == LOCAL else owner
    for each in feedback:
        answer = each["instead"]
        if answer is None and each["rating"] == "up":
            answer = each["output"]
        asked = each["messages"][-1] if each["messages"] else {"role": ""}
        if each["model"] == bot and answer and answer.strip() and asked["role"] == "user":
            yield Exchange(person, asked["content"], answer)


def _show_history(bot: Path, out: Path | None, as_json: bool) -> None:
    from elman.learning.history import curve, table, write_curve
    from elman.model.folder import current_id
    from elman.model.versions import versions

    found = versions(bot)
    if not found:
        raise ElmanError(f"{bot}: has learned nothing yet: elman learn {bot} CONVERSATIONS")
    points = curve(found)
    if as_json:
        print(json.dumps([vars(point) for point in points]))
    else:
        print(plain(table(points, current_id(bot))))
    if out is not None:
        write_curve(out, bot.resolve().name, points)
        tell(f"the curve is in {out}")
