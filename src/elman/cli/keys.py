"""elman keys"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from elman.cli.data import write_lines
from elman.cli.options import DatabaseOption, StateKeysOption, open_store, state_keys_of
from elman.cli.sessions import conversation_line
from elman.cli.text import plain

if TYPE_CHECKING:
    from elman.chat import MemoryStore
    from elman.serve.store.keys import Keys

app = typer.Typer(
    name="keys", no_args_is_help=True, help="Keys for those who may ask `elman serve`."
)

KeyArgument = Annotated[str, typer.Argument(help="The key's name or id.")]
RevokedKeyArgument = Annotated[str, typer.Argument(help="A revoked key's name or id.")]


@contextmanager
def _opened(database: str | None) -> "Iterator[tuple[MemoryStore, Keys]]":
    from elman.serve.store.keys import Keys

    with open_store(database) as store:
        yield store, Keys(store)


@app.command()
def add(
    name: Annotated[str, typer.Argument(help="Who or what will use it.")],
    per_minute: Annotated[
        int | None, typer.Option(min=1, help="Requests a minute, at most.  [default: no limit]")
    ] = None,
    database: DatabaseOption = None,
) -> None:
    """Make a key. It is shown once: only its hash is kept."""
    with _opened(database) as (_, keys):
        _, secret = keys.add(name, per_minute)
    print(secret)


@app.command()
def revoke(name: KeyArgument, database: DatabaseOption = None) -> None:
    """Let nobody in with a key any more; what was said with it stays.

    `chats`, `export`, `transfer` and `delete` look after that.
    """
    with _opened(database) as (_, keys):
        key = keys.revoke(name)
    print(plain(f"{key.name} ({key.id}) is revoked"))


@app.command("list")
def list_(database: DatabaseOption = None) -> None:
    """List the keys, without their secrets."""
    from elman.serve.store.ownership import count_chats

    with _opened(database) as (store, keys):
        found = keys.list()
        with store.reading() as connection:
            chats = [count_chats(connection, key.id) for key in found]
    if not found:
        print("There are no keys yet; elman keys add NAME makes one.")
    for key, count in zip(found, chats, strict=True):
        limit = "no limit" if key.per_minute is None else f"{key.per_minute} a minute"
        state = "in use" if key.revoked is None else "revoked"
        line = f"{key.id}  {key.name}  {_minute(key.created)}  {limit}  {state}"
        print(plain(f"{line}  {count:,} conversations"))


@app.command()
def chats(name: KeyArgument, database: DatabaseOption = None) -> None:
    """List the conversations that were held with a key, also with a revoked one."""
    from elman.serve.store.responses import ResponseStore

    with _opened(database) as (store, keys), store.reading() as connection:
        key = keys.one(connection, name)
        found, _ = ResponseStore(store).chats(connection, key.id, None, None)
    if not found:
        print(plain(f"Nothing is kept that was said with {key.name}."))
    for each in found:
        facts = f"{each['messages']:>6,} messages  {_minute(each['updated_at'])}"
        print(plain(f"{each['id']}  {facts}  {each['title']}"))


@app.command()
def export(
    name: KeyArgument,
    out: Annotated[Path, typer.Option(help="The file to write; `-` for standard output.")] = Path(
        "-"
    ),
    feedback: Annotated[
        bool, typer.Option("--feedback", help="What was thought of replies, instead.")
    ] = False,
    database: DatabaseOption = None,
) -> None:
    """Write what was said with a key as JSON Lines, which `elman train` reads: every branch."""
    from elman.serve.store.ownership import branches
    from elman.serve.store.responses import ResponseStore

    with _opened(database) as (store, keys), store.reading() as connection:
        owner = keys.one(connection, name).id
        if feedback:
            rated = ResponseStore(store).feedback(connection, owner)
            lines = [json.dumps(each, ensure_ascii=False) for each in rated]
        else:
            found = branches(store, connection, owner)
            lines = [conversation_line(branch.end, branch.path) for branch in found]
    write_lines(out, lines, "lines")


@app.command()
def transfer(
    old: RevokedKeyArgument,
    new: Annotated[str, typer.Argument(help="The name or id of a key in use.")],
    database: DatabaseOption = None,
) -> None:
    """Hand what was said with a revoked key to one that is in use.

    Example: after `elman keys revoke phone` and `elman keys add phone`,
    `elman keys transfer phone phone`
    """
    from elman.serve.store.ownership import transfer

    with _opened(database) as (store, keys), store.writing() as connection:
        before = keys.one(connection, old, in_use=False)
        after = keys.one(connection, new, in_use=True)
        count = transfer(connection, before, after)
    print(plain(f"{count:,} conversations of {before.id} are now those of {after.id}"))


@app.command()
def delete(name: RevokedKeyArgument, database: DatabaseOption = None) -> None:
    """Forget a revoked key, and all that was said with it."""
    from elman.serve.store.ownership import erase

    with _opened(database) as (store, keys):
        count = store.freeing(
            lambda connection: erase(connection, keys.one(connection, name, in_use=False))
        )
        left = keys.list()
    print(plain(f"{name} is forgotten, and {count:,} conversations with it"))
    if not left:
        print("There is no key any more: at this computer, elman serve asks for none.")


@app.command()
def rotate(
    grace_days: Annotated[
        float,
        typer.Option(help="For which states that the key before it signed are accepted."),
    ] = 30.0,
    state_keys: StateKeysOption = None,
) -> None:
    """Sign the states that clients carry with a new key. A server that runs takes it at once.

    The first key is made by the first state that is asked for.
    """
    key = state_keys_of(state_keys).rotate(grace_days)
    print(f"{key.id} signs states from now on")


def _minute(seconds: float) -> str:
    return f"{datetime.fromtimestamp(seconds).astimezone():%Y-%m-%d %H:%M}"
