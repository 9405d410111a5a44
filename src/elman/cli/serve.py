"""elman serve"""

import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from elman.cli.replying import (
    SAMPLES,
    Mutual,
    ReplyFrom,
    Samples,
    Unsure,
    Wrong,
    make_replier,
    make_sampling,
)
from elman.cli.store import Database, open_store
from elman.cli.trust import Trust
from elman.errors import ElmanError

NEEDED = ("fastapi", "uvicorn", "prometheus_client")


def serve(
    bots: Annotated[
        list[Path] | None,
        typer.Argument(help="Folders of bots.  [default: base, the one that comes with Elman]"),
    ] = None,
    host: Annotated[
        str,
        typer.Option(help="The address to listen at; another than this needs `elman keys add`."),
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes any that is free.")] = 8000,
    database: Database = None,
    precision: Annotated[
        str, typer.Option(help="Of the weights: float32, bfloat16 or int8 (least to read).")
    ] = "float32",
    samples: Samples = SAMPLES,
    mutual: Mutual = None,
    reply_from: ReplyFrom = "generate",
    unsure: Unsure = None,
    wrong: Wrong = None,
    trust: Trust = None,
) -> None:
    """Serve bots to a browser, and to clients of OpenAI's API.

    Example: `elman serve bots/ann bots/bob`, then open http://127.0.0.1:8000
    """
    missing = [name for name in NEEDED if find_spec(name) is None]
    if missing:
        raise ElmanError(
            f"the server needs {' and '.join(missing).replace('_', '-')}: "
            "pip install 'elman[serve]'"
        )
    from elman.serve.run import load, serve

    loaded = load(bots or [Path("base")], precision, trust or ())
    repliers = {
        name: make_replier(
            bot,
            make_sampling(),
            samples=samples,
            mutual=mutual,
            reply_from=reply_from,
            unsure=unsure,
            wrong=wrong,
        )
        for name, bot in loaded.items()
    }
    with open_store(database) as store:
        serve(
            loaded,
            store,
            host,
            port,
            lambda where: _tell(where, list(loaded)),
            repliers=repliers,
        )


def _tell(where: str, names: list[str]) -> None:
    print(
        f"Elman serves {', '.join(names)} at {where}  (API: {where}/v1; Ctrl-C stops)",
        file=sys.stderr,
        flush=True,
    )
