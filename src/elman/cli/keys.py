"""elman keys"""

from datetime import datetime
from typing import Annotated

import typer

from elman.cli.store import Database, open_store
from elman.cli.text import plain

app = typer.Typer(
    name="keys", no_args_is_help=True, help="Keys for those who may ask `elman serve`."
)


@app.command()
def add(
    name: Annotated[str, typer.Argument(help="Who or what will use it.")],
    per_minute: Annotated[
        int | None, typer.Option(min=1, help="Requests a minute, at most.  [default: no limit]")
    ] = None,
    database: Database = None,
) -> None:
    """Make a key. It is shown once: only its hash is kept."""
    from elman.serve.keys import Keys

    with open_store(database) as store:
        _, secret = Keys(store).add(name, per_minute)
    print(secret)


@app.command()
def revoke(
    name: Annotated[str, typer.Argument(help="The key's name or id.")], database: Database = None
) -> None:
    """Let nobody in with a key any more; what was said with it stays."""
    from elman.serve.keys import Keys

    with open_store(database) as store:
        key = Keys(store).revoke(name)
    print(plain(f"{key.name} ({key.id}) is revoked"))


@app.command("list")
def list_(database: Database = None) -> None:
    """List the keys, without their secrets."""
    from elman.serve.keys import Keys

    with open_store(database) as store:
        keys = Keys(store).list()
    if not keys:
        print("There are no keys yet; elman keys add NAME makes one.")
    for key in keys:
        made = datetime.fromtimestamp(key.created).astimezone()
        limit = "no limit" if key.per_minute is None else f"{key.per_minute} a minute"
        state = "in use" if key.revoked is None else "revoked"
        print(plain(f"{key.id}  {key.name}  {made:%Y-%m-%d %H:%M}  {limit}  {state}"))
