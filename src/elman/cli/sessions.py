"""elman sessions"""

import json
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from elman.cli.data import written
from elman.cli.store import DatabaseOption, open_store
from elman.cli.text import plain
from elman.errors import ElmanError

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from elman.chat.memory import MemoryStore, Node, StoredSession

app = typer.Typer(
    name="sessions",
    no_args_is_help=True,
    help="The conversations that `elman chat --session NAME` keeps.",
)

SessionArgument = Annotated[str, typer.Argument(help="The session's name.")]
Json = Annotated[bool, typer.Option("--json", help="One JSON line for each, for programs.")]


@app.command("list")
def list_(database: DatabaseOption = None, as_json: Json = False) -> None:
    """List the sessions, the latest first."""
    from elman.chat.memory import LOCAL

    with open_store(database) as store, store.reading() as connection:
        rows = [_facts(store, connection, kept) for kept in store.sessions(connection, LOCAL)]
    if as_json:
        for row in rows:
            print(json.dumps(row))
        return
    if not rows:
        print("There are no sessions yet; elman chat BOT --session NAME begins one.")
        return
    width = max(len(plain(row["name"])) for row in rows)
    for row in rows:
        name = plain(row["name"])
        print(
            f"{name:{width}}  {row['messages']:>6,} messages  {row['updated'][:16]}  "
            f"{plain(row['bot'])}"
        )


@app.command()
def show(name: SessionArgument, database: DatabaseOption = None) -> None:
    """Show what was said in a session, as `/tree` numbers it."""
    from elman.chat.memory import LOCAL

    with open_store(database) as store, store.reading() as connection:
        kept = _kept(store, connection, name)
        path = [] if kept.head is None else store.path(connection, LOCAL, kept.head)
    for node in path:
        print(plain(f"{node.depth:>4} {node.role:6}  {node.text}"))


@app.command()
def export(
    name: Annotated[str | None, typer.Argument(help="The session; none: all of them.")] = None,
    out: Annotated[Path, typer.Option(help="The file to write; `-` for standard output.")] = Path(
        "-"
    ),
    branches: Annotated[
        bool, typer.Option(help="Every branch, and not only where each session stands.")
    ] = False,
    database: DatabaseOption = None,
) -> None:
    """Write sessions as JSON Lines, which `elman train` reads.

    Example: `elman sessions export work --out work.jsonl`
    """
    from elman.chat.memory import LOCAL, holder

    with open_store(database) as store, store.reading() as connection:
        found = (
            store.sessions(connection, LOCAL) if name is None else [_kept(store, connection, name)]
        )
        lines = []
        for kept in found:
            ends = [] if kept.head is None else [kept.head]
            if branches:
                others = store.held(connection, LOCAL, holder(kept.name))
                ends += [key for key in others if key != kept.head]
            for number, key in enumerate(ends):
                path = store.path(connection, LOCAL, key)
                lines.append(
                    conversation_line(kept.name if number == 0 else f"{kept.name} {number}", path)
                )
    with written(out) as (file, told):
        file.write("".join(lines).encode())
    if str(out) != "-":
        print(f"{plain(str(out))}: {len(lines):,} conversations", file=told)


@app.command()
def delete(name: SessionArgument, database: DatabaseOption = None) -> None:
    """Forget a session with all its branches."""
    from elman.chat.memory import LOCAL

    with open_store(database) as store:
        if not store.freeing(lambda connection: store.delete_session(connection, LOCAL, name)):
            raise _none(name)
    print(plain(f"{name} is forgotten"))


def _kept(store: "MemoryStore", connection: "Connection", name: str) -> "StoredSession":
    from elman.chat.memory import LOCAL

    kept = store.session(connection, LOCAL, name)
    if kept is None:
        raise _none(name)
    return kept


def _none(name: str) -> ElmanError:
    return ElmanError(f"there is no session {name!r}; elman sessions list shows them")


def _facts(store: "MemoryStore", connection: "Connection", kept: "StoredSession") -> dict[str, Any]:
    from elman.chat.memory import LOCAL

    last = None if kept.head is None else store.node(connection, LOCAL, kept.head)
    return {
        "name": kept.name,
        "bot": kept.bot,
        "messages": 0 if last is None else last.depth,
        "created": _time(kept.created),
        "updated": _time(kept.updated),
    }


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds).astimezone().isoformat(timespec="seconds")


def conversation_line(name: str, path: "list[Node]") -> str:
    """Return a conversation as a line of JSON, as `elman train` reads it."""
    turns = [
        {"speaker": node.role, "text": node.text, "time": _time(node.time)}
        for node in path
        if node.role != "state"
    ]
    return json.dumps({"id": name, "turns": turns}, ensure_ascii=False) + "\n"
