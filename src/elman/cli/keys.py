"""elman keys"""

import json
import sys
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from elman.cli.sessions import conversation_line
from elman.cli.store import DatabaseOption, open_store
from elman.cli.text import plain

app = typer.Typer(
    name="keys", no_args_is_help=True, help="Keys for those who may ask `elman serve`."
)

KeyArgument = Annotated[str, typer.Argument(help="The key's name or id.")]


@app.command()
def add(
    name: Annotated[str, typer.Argument(help="Who or what will use it.")],
    per_minute: Annotated[
        int | None, typer.Option(min=1, help="Requests a minute, at most.  [default: no limit]")
    ] = None,
    database: DatabaseOption = None,
) -> None:
    """Make a key. It is shown once: only its hash is kept."""
    from elman.serve.store.keys import Keys

    with open_store(database) as store:
        _, secret = Keys(store).add(name, per_minute)
    print(secret)


@app.command()
def revoke(name: KeyArgument, database: DatabaseOption = None) -> None:
    """Let nobody in with a key any more; what was said with it stays.

    `chats`, `export`, `transfer` and `delete` look after that.
    """
    from elman.serve.store.keys import Keys

    with open_store(database) as store:
        key = Keys(store).revoke(name)
    print(plain(f"{key.name} ({key.id}) is revoked"))


@app.command("list")
def list_(database: DatabaseOption = None) -> None:
    """List the keys, without their secrets."""
    from elman.serve.store.keys import Keys
    from elman.serve.store.ownership import count_chats

    with open_store(database) as store:
        keys = Keys(store).list()
        with store.reading() as connection:
            chats = [count_chats(connection, key.id) for key in keys]
    if not keys:
        print("There are no keys yet; elman keys add NAME makes one.")
    for key, count in zip(keys, chats, strict=True):
        made = datetime.fromtimestamp(key.created).astimezone()
        limit = "no limit" if key.per_minute is None else f"{key.per_minute} a minute"
        state = "in use" if key.revoked is None else "revoked"
        line = f"{key.id}  {key.name}  {made:%Y-%m-%d %H:%M}  {limit}  {state}"
        print(plain(f"{line}  {count:,} conversations"))


@app.command()
def chats(name: KeyArgument, database: DatabaseOption = None) -> None:
    """List the conversations that were held with a key, also with a revoked one."""
    from elman.serve.store.keys import Keys
    from elman.serve.store.responses import ResponseStore

    with open_store(database) as store, store.reading() as connection:
        key = Keys(store).one(connection, name)
        found, _ = ResponseStore(store).chats(connection, key.id, None, None)
    if not found:
        print(plain(f"Nothing is kept that was said with {key.name}."))
    for each in found:
        updated = datetime.fromtimestamp(each["updated_at"]).astimezone()
        facts = f"{each['messages']:>6,} messages  {updated:%Y-%m-%d %H:%M}"
        print(plain(f"{each['id']}  {facts}  {each['title']}"))


@app.command()
def export(
    name: KeyArgument,
    out: Annotated[
        Path | None, typer.Option(help="The file to write.  [default: standard output]")
    ] = None,
    feedback: Annotated[
        bool, typer.Option("--feedback", help="What was thought of replies, instead.")
    ] = False,
    database: DatabaseOption = None,
) -> None:
    """Write what was said with a key as JSON Lines, which `elman train` reads: every branch."""
    from elman.data.files import write_file
    from elman.serve.store.keys import Keys
    from elman.serve.store.ownership import branches
    from elman.serve.store.responses import ResponseStore

    with open_store(database) as store, store.reading() as connection:
        owner = Keys(store).one(connection, name).id
        if feedback:
            rated = ResponseStore(store).feedback(connection, owner)
            lines = [json.dumps(each, ensure_ascii=False) + "\n" for each in rated]
        else:
            found = branches(store, connection, owner)
            lines = [conversation_line(branch.end, branch.path) for branch in found]
    if out is None:
        sys.stdout.write("".join(lines))
    else:
        write_file(out, "".join(lines))
        print(f"{out}: {len(lines):,} lines")


@app.command()
def transfer(
    old: Annotated[str, typer.Argument(help="A revoked key's name or id.")],
    new: Annotated[str, typer.Argument(help="The name or id of a key in use.")],
    database: DatabaseOption = None,
) -> None:
    """Hand what was said with a revoked key to one that is in use.

    Example: after `elman keys revoke phone` and `elman keys add phone`,
    `elman keys transfer phone phone`
    """
    from elman.serve.store.keys import Keys
    from elman.serve.store.ownership import transfer

    with open_store(database) as store, store.writing() as connection:
        keys = Keys(store)
        before = keys.one(connection, old, in_use=False)
        after = keys.one(connection, new, in_use=True)
        count = transfer(connection, before, after)
    print(plain(f"{count:,} conversations of {before.id} are now those of {after.id}"))


@app.command()
def delete(
    name: Annotated[str, typer.Argument(help="A revoked key's name or id.")],
    database: DatabaseOption = None,
) -> None:
    """Forget a revoked key, and all that was said with it."""
    from elman.serve.store.keys import Keys
    from elman.serve.store.ownership import erase

    with open_store(database) as store:
        keys = Keys(store)
        count = store.freeing(
            lambda connection: erase(connection, keys.one(connection, name, in_use=False))
        )
        left = keys.list()
    print(plain(f"{name} is forgotten, and {count:,} conversations with it"))
    if not left:
        print("There is no key any more: at this computer, elman serve asks for none.")
