"""elman forget"""

import json
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from elman.cli.audit import require_same
from elman.cli.learned import dataset_learned
from elman.cli.options import (
    BotArgument,
    DatabaseOption,
    JsonOption,
    LearnedPathArgument,
    TrustOption,
    open_store,
)
from elman.cli.text import plain, tell
from elman.errors import ElmanError

if TYPE_CHECKING:
    from elman.chat.forgetting import StoredCounts
    from elman.chat.memory import MemoryStore
    from elman.generate.bot import Bot
    from elman.learning.selection import ForgetRequest, Selection


def forget(
    bot: BotArgument,
    data: LearnedPathArgument = None,
    person: Annotated[str | None, typer.Option(help="Forget what this person said.")] = None,
    conversation: Annotated[
        str | None, typer.Option(help="Forget the conversation of this id.")
    ] = None,
    text: Annotated[
        Path | None,
        typer.Option(help="Forget every message in which a line of this file stands."),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would go, and change nothing.")
    ] = False,
    minutes: Annotated[
        float | None,
        typer.Option(help="Of training anew.  [default: as long as it was trained]", min=0.01),
    ] = None,
    samples: Annotated[
        int, typer.Option(help="Replies that are drawn for the certificate.", min=1)
    ] = 10_000,
    certificate: Annotated[
        Path | None,
        typer.Option(help="Where it is written, as text; as JSON beside it, ending in .json."),
    ] = None,
    database: DatabaseOption = None,
    as_json: JsonOption = False,
    trust: TrustOption = None,
) -> None:
    """Make a bot forget a person, a conversation or some text, and show how well it did.

    It is trained anew without them, and every older version of it is deleted; so are the chats with
    them that are stored. What it learned from is left as it is.

    Example: `elman forget bots/ann --person Bob --dry-run`
    """
    from elman.cli.progress import shown
    from elman.data.files import write_file
    from elman.generate.taught import TaughtReplies
    from elman.learning.forget import finish
    from elman.learning.forget import forget as make_forget
    from elman.learning.selection import select
    from elman.model.replay import NO_UPDATES, read_replay
    from elman.runtime.choose import load_bot

    wanted = _wanted(person, conversation, text)
    loaded = load_bot(bot, "float32", trust or ())
    if not dry_run and finish(loaded.home, tell):
        tell("older versions, which an earlier run had left, were deleted")
    dataset = dataset_learned(loaded, data)
    parts, _ = dataset.encode(loaded.tokenizer, loaded.data.test)
    require_same(loaded, dataset.path, parts["train"], "forget")
    later = read_replay(loaded.path, loaded.tokenizer) or NO_UPDATES
    selection = select(dataset, loaded.tokenizer, loaded.data.test, wanted, later)
    with open_store(database) as store:
        roots, stored = _stored(store, selection, wanted)
        going = _going(loaded, selection, stored)
        if dry_run:
            if as_json:
                print(json.dumps({"bot": str(bot), "dry_run": True, **going}))
            else:
                print("\n".join(map(plain, _going_lines(going))))
            return
        with nullcontext() if as_json else shown(False) as progress:
            version, found = make_forget(
                loaded.home,
                dataset,
                selection,
                minutes=minutes,
                samples=samples,
                observers=() if progress is None else (progress,),
                warn=tell,
                trust=trust or (),
            )
        from elman.chat.forgetting import delete_conversations

        delete_conversations(store, roots)
    if dropped := TaughtReplies(loaded.home).drop({*selection.names, *wanted.lines}):
        tell(f"{dropped:,} taught answers, in which they stand, were deleted")
    told: dict[str, Any] = {"bot": str(bot), "version": version.id, **going, **found.to_json()}
    lines = [*found.lines(), *_stored_lines(going["stored_chats"], "were deleted")]
    if certificate is not None:
        write_file(certificate, "\n".join(lines) + "\n", parents=True)
        write_file(certificate.with_suffix(".json"), json.dumps(told, indent=1) + "\n")
    if as_json:
        print(json.dumps(told))
    else:
        print("\n".join(map(plain, lines)))


def _wanted(person: str | None, conversation: str | None, text: Path | None) -> "ForgetRequest":
    from elman.learning.selection import ForgetRequest

    if sum(each is not None for each in (person, conversation, text)) != 1:
        raise ElmanError("say what to forget: one of --person, --conversation and --text")
    if text is None:
        return ForgetRequest(person, conversation)
    try:
        read = text.read_text("utf-8")
    except UnicodeDecodeError:
        raise ElmanError(f"{text}: is not text in UTF-8") from None
    lines = tuple(dict.fromkeys(line.strip() for line in read.splitlines() if line.strip()))
    if not lines:
        raise ElmanError(f"{text}: is empty; every line of it is to be forgotten")
    return ForgetRequest(lines=lines)


def _stored(
    store: "MemoryStore", selection: "Selection", wanted: "ForgetRequest"
) -> "tuple[set[bytes], StoredCounts]":
    from elman.chat.forgetting import count_conversations, roots_with

    with store.reading() as connection:
        roots = roots_with(connection, selection.names, wanted.lines)
        return roots, count_conversations(connection, roots)


def _going(bot: "Bot", selection: "Selection", stored: "StoredCounts") -> dict[str, Any]:
    """Say what goes, in numbers."""
    from elman.data.corpus import scored
    from elman.model.versions import versions

    ids = selection.before.ids
    learned = int(scored(ids, bot.data.learn_from).sum())
    return {
        "digests": list(selection.digests),
        "messages": selection.messages,
        "conversations": len(selection.before),
        "whole_conversations": selection.whole,
        "held_out_conversations": selection.held_out,
        "counted_tokens": learned,
        "canaries": len(selection.planted),
        "kept_replies": _kept_replies(bot, selection),
        "versions": [each.id for each in versions(bot.home)],
        "retrained_from": bot.config["train"].get("base"),
        "stored_chats": stored._asdict(),
    }


def _kept_replies(bot: "Bot", selection: "Selection") -> int:
    """Count the kept replies of people that were said in what goes."""
    from elman.generate.likelihood import split
    from elman.model.array_files import read_arrays
    from elman.model.folder import REPLIES

    path = bot.path / REPLIES
    if not path.exists():
        return 0
    arrays, _ = read_arrays(path)
    every = split(arrays["tokens"], arrays["lengths"].tolist())
    own = {tuple(m[1:-1].tolist()) for n in range(len(selection.before))
           for m in selection.before.messages(n)}  # fmt: skip
    return sum(tuple(reply.tolist()) in own for reply in every)


def _going_lines(going: dict[str, Any]) -> list[str]:
    start = going["retrained_from"] or "nothing"
    much = f"{going['messages']:,} messages of {going['conversations']:,} conversations"
    counted, kept = going["counted_tokens"], going["kept_replies"]
    return [
        f"{much} would go, {going['whole_conversations']:,} of these whole",
        f"{counted:,} counted tokens, {kept:,} kept replies, {going['canaries']:,} canaries",
        f"versions: {', '.join(going['versions']) or 'the one that training wrote'}",
        *_stored_lines(going["stored_chats"], "would be deleted"),
        f"the net would be trained anew from {start}",
    ]


def _stored_lines(stored: dict[str, int], done: str) -> list[str]:
    if not stored["conversations"]:
        return ["no stored chat is theirs"]
    chats = f"{stored['conversations']:,} stored chats of {stored['messages']:,} messages"
    more = f"{stored['sessions']:,} sessions, {stored['responses']:,} responses"
    return [f"{chats}, with {more} and {stored['feedback']:,} ratings, {done}"]
