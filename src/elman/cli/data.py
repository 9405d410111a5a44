"""elman data"""

import json
import shlex
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated, Any, TextIO

import typer

from elman.cli.options import JsonOption
from elman.cli.settings import flag_of
from elman.cli.text import console, plain, status
from elman.errors import ElmanError

if TYPE_CHECKING:
    from elman.data.conversation import Message

app = typer.Typer(
    name="data",
    no_args_is_help=True,
    help="Look at conversations, and make them into a file of their own.",
)

Export = Annotated[
    str, typer.Argument(help="A chat export: a file, folder or zip; `-` for standard input.")
]
EncodingOption = Annotated[str, typer.Option(help="Of the files.")]
Gap = Annotated[
    str | None,
    typer.Option(help="Silence that ends a conversation: 90m, 2h, 1d.  [default: from the data]"),
]
Drop = Annotated[
    list[str] | None, typer.Option(help="Leave out this person's messages; may be given again.")
]

MAX_SHOWN_PEOPLE = 12
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@app.command("inspect")
def inspect(
    export: Export, encoding: EncodingOption = "utf-8", gap: Gap = None, as_json: JsonOption = False
) -> None:
    """Say what is in an export, what was left out and why, and what is private in it.

    Example: `elman data inspect "WhatsApp Chat - Ann.zip"`
    """
    facts = _inspected(export, encoding, seconds(gap))
    if as_json:
        print(json.dumps(facts))
    else:
        _show(facts)


@app.command("convert")
def convert(
    export: Export,
    out: Annotated[
        Path, typer.Option(help="The file to write, as JSON Lines; `-` for standard output.")
    ],
    encoding: EncodingOption = "utf-8",
    gap: Gap = None,
    drop: Drop = None,
    redact: Annotated[
        bool, typer.Option("--redact", help="Put placeholders in the place of what is private.")
    ] = False,
    rename: Annotated[
        bool, typer.Option("--rename", help="Give people pseudonyms, in what they say too.")
    ] = False,
) -> None:
    """Write an export's conversations as JSON Lines, to look at or to train on.

    Example: `elman data convert chat.zip --redact --rename --out chat.jsonl`
    """
    from elman.data.dataset import Dataset

    if out.exists() and Path(export).exists() and out.samefile(export):
        raise ElmanError(f"--out {out}: is the export itself, and would replace it; name another")
    dataset = Dataset.read(
        export, encoding, gap=seconds(gap), drop=drop or (), redact=redact, rename=rename
    )
    with written(out) as (file, told):
        for conversation in dataset.conversations():
            line = json.dumps(conversation.to_json(), ensure_ascii=False) + "\n"
            file.write(line.encode())
    survey = dataset.survey
    print(
        f"wrote {'to standard output' if str(out) == '-' else plain(str(out))}: "
        f"{survey.people.total():,} messages in {survey.conversations:,} conversations",
        file=told,
    )
    for line in dataset.notes.lines():
        print(plain(line), file=sys.stderr)


@app.command("build")
def build(
    sources: Annotated[
        list[str],
        typer.Argument(help="Files, folders and archives of conversations; several are joined."),
    ],
    out: Annotated[Path, typer.Option(help="The folder to make.")],
    bot: Annotated[str | None, flag_of("data.bot")] = None,
    encoding: EncodingOption = "utf-8",
    gap: Gap = None,
    drop: Drop = None,
    redact: Annotated[bool, flag_of("data.redact")] = False,
    rename: Annotated[bool, flag_of("data.rename")] = False,
    test: Annotated[bool, typer.Option("--test", help="Hold out a test part, too.")] = False,
    tokenizer: Annotated[
        str | None,
        typer.Option(help="A bot, or base, whose tokenizer is used.  [default: one is learned]"),
    ] = None,
    vocabulary: Annotated[
        int | None,
        typer.Option(help="Size of a tokenizer that is learned.  [default: from the data's size]"),
    ] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Processes.  [default: one for each core]")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Make a corpus on disk, which may be larger than memory, for elman train.

    Example: `elman data build chats/ --out corpus --bot Ann` and then `elman train corpus`
    """
    from elman.data.shards.build import CorpusBuild
    from elman.data.view import View
    from elman.model.folder import folder_of, read_tokenizer

    if tokenizer is not None and vocabulary is not None:
        raise ElmanError("--vocabulary is of a tokenizer that is learned: leave out --tokenizer")
    view = View(bot=bot, gap=seconds(gap), drop=drop or (), redact=redact, rename=rename)
    with status(f"building {out}") as tell:
        asked = CorpusBuild(
            sources,
            out,
            view,
            test,
            encoding,
            tokenizer=None if tokenizer is None else read_tokenizer(folder_of(tokenizer)),
            vocabulary=lambda size: vocabulary or _vocabulary(size),
            workers=workers,
            tell=tell,
        )
        try:
            index, notes = asked.run()
        except KeyboardInterrupt:
            print("stopped; the same command goes on", file=sys.stderr)
            raise
    facts = {
        name: {
            "conversations": sum(shard.conversations for shard in part.shards),
            "messages": sum(shard.messages for shard in part.shards),
            "tokens": sum(shard.tokens for shard in part.shards),
            "shards": len(part.shards),
        }
        for name, part in index.parts.items()
    }
    if as_json:
        about = {"out": str(out), "near_duplicates": index.near_duplicates, "parts": facts}
        print(json.dumps(about | {"text_bytes": index.text_bytes, "notes": notes.lines()}))
        return
    for name, part in facts.items():
        print(
            f"{name}: {part['conversations']:,} conversations, {part['messages']:,} messages, "
            f"{part['tokens']:,} tokens in {_many(part['shards'], 'shard')}"
        )
    for line in notes.lines():
        print(plain(line), file=sys.stderr)
    print(f"wrote {plain(str(out))}; next: elman train {shlex.quote(plain(str(out)))}")


@app.command("verify")
def verify(
    folder: Annotated[Path, typer.Argument(help="A corpus that elman data build made.")],
) -> None:
    """Compare every byte of a corpus on disk with its digests.

    Example: `elman data verify corpus`
    """
    from elman.data.shards.corpus import verify

    index = verify(folder)
    shards = sum(len(part.shards) for part in index.parts.values())
    print(f"{plain(str(folder))}: sound: {_many(shards, 'shard')}, every byte as it was written")


def _vocabulary(text_bytes: int) -> int:
    from elman.train.choices import vocabulary

    return vocabulary(text_bytes)


@contextmanager
def written(out: Path) -> Iterator[tuple[IO[bytes], TextIO]]:
    """Open a file to write, or standard output for `-`, and where to say what was written."""
    from elman.data.files import replacing

    if str(out) == "-":
        yield sys.stdout.buffer, sys.stderr
        sys.stdout.buffer.flush()
    else:
        with replacing(out, parents=True) as file:
            yield file, sys.stdout


def write_lines(out: Path, lines: list[str], what: str) -> None:
    """Write JSON Lines, to standard output for `-`; of a file, say how many of what it holds."""
    with written(out) as (file, told):
        file.write("".join(f"{line}\n" for line in lines).encode())
    if str(out) != "-":
        print(f"{plain(str(out))}: {len(lines):,} {what}", file=told)


def seconds(gap: str | None) -> float | None:
    """Return the seconds of a time as people write it: 90m, 2h or 1d."""
    if gap is None:
        return None
    units = {"s": 1, "m": 60, "h": 3600, "d": 86400}
    try:
        found = float(gap[:-1]) * units[gap[-1:]]
    except (ValueError, KeyError):
        found = 0.0
    if not 0 < found < float("inf"):
        raise ElmanError(f"--gap {gap}: expected a time such as 90m, 2h or 1d")
    return found


def _inspected(export: str, encoding: str, gap: float | None) -> dict[str, Any]:
    from elman.data.dataset import Dataset
    from elman.data.expectation import basis, hope
    from elman.data.languages import Languages
    from elman.data.redact import Redactor

    redactor, languages = Redactor(), Languages()
    private: Counter[str] = Counter()
    seen = 0
    title = f"reading {export}"
    with status(title) as tell:

        def watch(message: "Message") -> "Message":
            nonlocal seen
            seen += 1
            if seen % 1000 == 0:
                tell(f"{title}: {seen:,} messages")
            redactor.count(message.text, private)
            languages.watch(message.text)
            return message

        dataset = Dataset.read(export, encoding, gap=gap, watch=watch)
    notes, survey = dataset.notes, dataset.survey
    for name in survey.people:
        redactor.count(name, private)
    return {
        "source": export,
        "format": ", ".join(notes.formats),
        "files": dict(notes.formats),
        "messages": survey.people.total(),
        "people": dict(survey.people.most_common()),
        "conversations": survey.conversations,
        "turns": survey.turns,
        "bytes": survey.text_bytes,
        "span": {"first": _iso(survey.first), "last": _iso(survey.last)},
        "languages": languages.shares(),
        "gap_seconds": dataset.gap,
        "largest_group": survey.largest_group,
        "held_out": survey.held_out,
        "left_out": dict(notes.left_out),
        "files_left_out": dict(notes.files),
        "changed": dict(notes.changed),
        "first": dict(notes.first),
        "private": dict(private.most_common()),
        "hope": [
            hope(name, messages, survey.text_bytes_of[name])
            for name, messages in survey.people.most_common(3)
        ],
        "basis": basis(survey.text_bytes),
    }


def _iso(time: float | None) -> str | None:
    return None if time is None else (EPOCH + timedelta(seconds=time)).isoformat()


def _show(facts: dict[str, Any]) -> None:
    from rich.markup import escape
    from rich.table import Table

    from elman.data.expectation import human

    out = console()
    people: dict[str, int] = facts["people"]
    source = plain(facts["source"])
    out.print(
        f"[bold]{escape(source)}[/]: {facts['format']}, {_many(facts['messages'], 'message')} of "
        f"{_many(len(people), 'person')} in {_many(facts['conversations'], 'conversation')}, "
        f"{human(facts['bytes'])} of text",
        soft_wrap=True,
    )
    said = []
    if facts["span"]["first"]:
        said.append(" to ".join(facts["span"][end][:10] for end in ("first", "last")))
    if facts["languages"]:
        shares = (f"{code} {share:.0%}" for code, share in facts["languages"].items())
        said.append(f"languages: {', '.join(shares)}")
    if facts["gap_seconds"] is not None:
        said.append(f"a conversation ends after {_time(facts['gap_seconds'])} of silence (--gap)")
    said.append(f"held out to validate on: {facts['held_out']}")
    table = Table("who", "messages", "", box=None, pad_edge=False, padding=(0, 1))
    table.columns[1].justify = "right"
    most = max(people.values())
    for name, number in list(people.items())[:MAX_SHOWN_PEOPLE]:
        bar = "█" * max(1, round(24 * number / most))
        table.add_row(escape(plain(name)), f"{number:,}", f"[cyan]{bar}[/]")
    if rest := list(people.values())[MAX_SHOWN_PEOPLE:]:
        table.add_row(f"{len(rest):,} more", f"{sum(rest):,}", "")
    out.print(escape("\n".join(said)) + "\n", soft_wrap=True)
    out.print(table)
    counted = {
        "messages left out": "left_out",
        "files left out": "files_left_out",
        "messages changed": "changed",
        "private, as found by patterns (--redact hides it)": "private",
    }
    for title, key in counted.items():
        if facts[key]:
            out.print(f"\n[bold]{title}[/]")
        for reason, number in sorted(facts[key].items(), key=lambda item: -item[1]):
            # Where something was found first is told within the source.
            first = plain(facts["first"].get(reason, "")).removeprefix(source).lstrip("/: ")
            where = f" [dim](first: {escape(first)})[/]" if first and key != "private" else ""
            out.print(f"{number:>9,}  {escape(plain(reason))}{where}", soft_wrap=True)
    if not facts["private"]:
        out.print("\nnothing private was found by patterns; names and stories are not looked for")
    out.print("\n[bold]what to hope for[/]")
    for text in (*facts["hope"], facts["basis"]):
        out.print(escape(plain(text)), soft_wrap=True)
    name = shlex.quote(plain(next(iter(people))))
    out.print(
        f"\nnext: elman train {shlex.quote(facts['source'])} --bot {name} --redact",
        style="dim",
        markup=False,
        soft_wrap=True,
    )


def _many(number: int, what: str) -> str:
    plural = "people" if what == "person" else f"{what}s"
    return f"{number:,} {what if number == 1 else plural}"


def _time(gap: float) -> str:
    hours, minutes = divmod(round(gap / 60), 60)
    parts = [f"{hours} h"] * bool(hours) + [f"{minutes} min"] * bool(minutes or not hours)
    return " ".join(parts)
