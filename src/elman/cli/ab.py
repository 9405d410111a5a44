"""elman ab"""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from elman.cli.evaluate import MeasuringOptions
from elman.cli.options import JsonOption, RankingOptions, TrustOption, with_groups
from elman.cli.text import console, plain
from elman.errors import ElmanError

if TYPE_CHECKING:
    from elman.data.corpus import Corpus
    from elman.evaluate import Measured
    from elman.generate.network import NetworkBot

AB_HISTORY_MESSAGES = 4
PREFERENCE_KEYS = {"1": 0, "2": 1, "=": None, "": None}


@with_groups
def ab(
    *,
    one: Annotated[Path, typer.Argument(help="A bot's folder, or base.")],
    other: Annotated[Path, typer.Argument(help="Another's.")],
    heldout: Annotated[str, typer.Argument(help="Conversations that neither has learned from.")],
    measuring: MeasuringOptions,
    ranking: RankingOptions,
    blind: Annotated[
        bool, typer.Option("--blind", help="You choose the better reply, not knowing whose it is.")
    ] = False,
    tally: Annotated[Path, typer.Option(help="With --blind: where your choices are kept.")] = Path(
        "ab.json"
    ),
    as_json: JsonOption = False,
    trust: TrustOption = None,
) -> None:
    """Compare two bots on the same conversations, with intervals that tell luck from skill.

    Example: `elman ab bots/ann base heldout.jsonl`; with `--blind` you are the judge.
    """
    from elman.evaluate import evaluate
    from elman.generate.network import load_network_bot

    bots, measured, corpora = [], [], []
    for path in (one, other):
        bot = load_network_bot(path, trust=trust or ())
        corpus, _ = measuring.read(bot, heldout)
        respond = measuring.responder(bot, ranking)
        bots.append(bot)
        corpora.append(corpus)
        measured.append(evaluate(bot, corpus, bot.data.learn_from, measuring.seed, respond))
    names = (str(one), str(other))
    if blind:
        judge(names, bots[0], corpora[0], measured, tally, measuring.seed)
    else:
        show(names, measured, as_json, measuring.seed)


def show(names: tuple[str, str], measured: "list[Measured]", as_json: bool, seed: int) -> None:
    """Show the measures of two bots side by side."""
    from rich.table import Table

    from elman.evaluate.compare import compare

    differences = compare(measured[0], measured[1], seed)
    if as_json:
        found = [difference.to_json() for difference in differences]
        print(json.dumps({"one": names[0], "other": names[1], "measures": found}))
        return
    table = Table("measure", *map(plain, names), "difference (95 %)", "better", box=None)
    for each in differences:
        low, high = each.interval
        winner = {"one": names[0], "other": names[1], None: ""}[each.better]
        table.add_row(
            each.name.replace("_", " "),
            f"{each.one:.4f}",
            f"{each.other:.4f}",
            f"{each.other - each.one:+.4f} ({low:+.4f} to {high:+.4f})",
            plain(winner),
        )
    out = console()
    out.print(table)
    report = measured[0].report
    out.print(
        f"{report.conversations:,} conversations, {report.replies:,} replies drawn by seed {seed}; "
        "intervals by paired bootstrap",
        soft_wrap=True,
    )


def judge(
    names: tuple[str, str],
    bot: "NetworkBot",
    corpus: "Corpus",
    measured: "list[Measured]",
    tally: Path,
    seed: int,
) -> None:
    """Show a conversation and both replies to it, in an order by chance, until the person stops.

    Every choice is kept at once. Where both say the same there is nothing to choose.
    """
    import random

    from elman.data.files import write_file
    from elman.data.tokenizer import ROLES
    from elman.evaluate.compare import check_alike

    check_alike(measured[0], measured[1])
    kept = _kept(tally, names)
    draw = random.Random(seed)  # noqa: S311  (an order for the eye, no secret)
    places = list(range(len(measured[0].positions)))
    draw.shuffle(places)
    print("1 or 2: the better reply; =: neither; q: enough.")
    for number in places:
        place = measured[0].positions[number]
        replies = [each.pairs[number].bot for each in measured]
        order = [0, 1]
        draw.shuffle(order)
        if replies[0] == replies[1]:
            continue
        print()
        for message in corpus.messages(place.conversation)[: place.position][-AB_HISTORY_MESSAGES:]:
            who = "bot" if message[0] == ROLES["bot"] else "user"
            print(f"  {who}: {plain(bot.tokenizer.decode(message))}")
        for label, whose in zip("12", order, strict=True):
            print(f"{label}> {plain(replies[whose])}")
        answer = _answer()
        if answer == "q":
            break
        choice = PREFERENCE_KEYS[answer]
        kept["neither" if choice is None else names[order[choice]]] += 1
        write_file(tally, json.dumps(kept, indent=2) + "\n", parents=True)
    print()
    print(f"{tally}: " + ", ".join(f"{plain(key)} {value}" for key, value in kept.items()))


def _answer() -> str:
    while True:
        try:
            answer = input("better: ").strip().lower()
        except EOFError:
            return "q"
        if answer == "q" or answer in PREFERENCE_KEYS:
            return answer
        print("1, 2, = or q", file=sys.stderr)


def _kept(tally: Path, names: tuple[str, str]) -> dict[str, int]:
    """Read the choices so far; raise ElmanError where the file is of something else."""
    fresh = {names[0]: 0, names[1]: 0, "neither": 0}
    if not tally.exists():
        return fresh
    try:
        kept = json.loads(tally.read_text("utf-8"))
    except (ValueError, OSError) as error:
        raise ElmanError(f"{tally}: cannot be read: {error}") from None
    counts = isinstance(kept, dict) and all(type(value) is int for value in kept.values())
    if not counts or kept.keys() != fresh.keys():
        raise ElmanError(f"{tally}: is no tally of {names[0]} and {names[1]}; name another file")
    return dict(kept)
