"""elman sessions"""

import json
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from elman.cli.data import write_lines
from elman.cli.options import DatabaseOption, open_store
from elman.cli.text import plain
from elman.errors import ElmanError

if TYPE_CHECKING:
    from elman.chat import Session
    from elman.chat.database import Connection
    from elman.chat.memory import MemoryStore, Node, StoredSession

app = typer.Typer(
    name="sessions",
    no_args_is_help=True,
    help="The conversations that `elman chat --session NAME` keeps.",
)

SessionArgument = Annotated[str, typer.Argument(help="The session's name.")]

TREE_TEXT_CHARS = 72
"""Characters of a message in the tree."""


@app.command("list")
def list_(
    database: DatabaseOption = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="One JSON line for each, for programs.")
    ] = False,
) -> None:
    """List the sessions, the latest first."""
    from elman.chat.memory import LOCAL

    rows: list[dict[str, Any]] = []
    with open_store(database) as store, store.reading() as connection:
        for kept in store.sessions(connection, LOCAL):
            last = None if kept.head is None else store.node(connection, LOCAL, kept.head)
            rows.append(
                {
                    "name": kept.name,
                    "bot": kept.bot,
                    "messages": 0 if last is None else last.depth,
                    "created": _time(kept.created),
                    "updated": _time(kept.updated),
                }
            )
    if not rows and not as_json:
        print("There are no sessions yet; elman chat BOT --session NAME begins one.")
    width = max((len(plain(row["name"])) for row in rows), default=0)
    for row in rows:
        messages = f"{row['messages']:>6,} messages"
        line = f"{plain(row['name']):{width}}  {messages}  {row['updated'][:16]}  {row['bot']}"
        print(json.dumps(row) if as_json else plain(line))


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

    lines = []
    with open_store(database) as store, store.reading() as connection:
        every = store.sessions(connection, LOCAL)
        for kept in every if name is None else [_kept(store, connection, name)]:
            ends = [] if kept.head is None else [kept.head]
            if branches:
                others = store.held(connection, LOCAL, holder(kept.name))
                ends += [key for key in others if key != kept.head]
            for number, key in enumerate(ends):
                title = kept.name if number == 0 else f"{kept.name} {number}"
                lines.append(conversation_line(title, store.path(connection, LOCAL, key)))
    write_lines(out, lines, "conversations")


@app.command()
def delete(name: SessionArgument, database: DatabaseOption = None) -> None:
    """Forget a session with all its branches."""
    from elman.chat.memory import LOCAL

    def forget(connection: "Connection") -> None:
        _kept(store, connection, name)
        store.delete_session(connection, LOCAL, name)

    with open_store(database) as store:
        store.freeing(forget)
    print(plain(f"{name} is forgotten"))


@app.command()
def copy(
    to: Annotated[str, typer.Option(help="The database to copy into: postgresql://...")],
    database: DatabaseOption = None,
) -> None:
    """Copy a store of SQLite with all sessions, chats and keys into another database.

    Example: `elman sessions copy --to postgresql://elman@db.example.org/elman`
    """
    from elman.chat.copying import copy_store
    from elman.chat.sqlite import SqliteDatabase

    with open_store(database) as source, open_store(to) as target:
        if not isinstance(source.database, SqliteDatabase):
            raise ElmanError(f"--db {source.database.where}: only a store of SQLite is copied")
        found = copy_store(source, target)
        there = f"; {found.there:,} were there already" if found.there else ""
        print(plain(f"{found.copied:,} rows are copied to {target.database.where}{there}"))


def _kept(store: "MemoryStore", connection: "Connection", name: str) -> "StoredSession":
    from elman.chat.memory import LOCAL

    if (kept := store.session(connection, LOCAL, name)) is None:
        raise ElmanError(f"there is no session {name!r}; elman sessions list shows them")
    return kept


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds).astimezone().isoformat(timespec="seconds")


def conversation_line(name: str, path: "list[Node]") -> str:
    """Return a conversation as a line of JSON, as `elman train` reads it."""
    turns = [
        {"speaker": node.role, "text": node.text, "time": _time(node.time)}
        for node in path
        if node.role != "state"
    ]
    return json.dumps({"id": name, "turns": turns}, ensure_ascii=False)


def draw_tree(session: "Session") -> str:
    """Draw what was said as a tree: a branch is indented, and where we are is marked."""
    nodes = session.tree()
    here = {node.key for node in session.path}
    children: dict[bytes, list[Node]] = {}
    for node in nodes:
        children.setdefault(node.parent, []).append(node)
    keys = {node.key for node in nodes}
    waiting = [(node, 0) for node in reversed(nodes) if node.parent not in keys]
    lines = []
    while waiting:
        node, indent = waiting.pop()
        words = " ".join(node.text.split())
        words = words if len(words) <= TREE_TEXT_CHARS else words[: TREE_TEXT_CHARS - 1] + "…"
        mark = "*" if node.key in here else " "
        lines.append(f"{node.depth:>4}{mark} {'  ' * indent}{node.role:4}  {words}")
        # The first branch goes straight on, below the later ones.
        after = children.get(node.key, [])
        waiting += [(child, indent + (n > 0)) for n, child in enumerate(after)]
    return "\n".join(lines) or "nothing was said yet"
