"""elman serve"""

import sys
from pathlib import Path
from typing import Annotated

import typer

from elman.cli.reply_options import (
    MmiWeightOption,
    ReplyFromOption,
    SamplesOption,
    UnsureOption,
    WrongOption,
    make_params,
    make_replier,
)
from elman.cli.store import DatabaseOption, open_store
from elman.cli.trust import Trust
from elman.errors import require


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
    uds: Annotated[
        Path | None,
        typer.Option(help="A Unix socket to listen at, for you alone, in the place of a port."),
    ] = None,
    require_key: Annotated[
        bool | None,
        typer.Option(
            "--require-key/--no-key",
            help="Whether somebody at this computer needs a key.  "
            "[default: once `elman keys add` has made one]",
            show_default=False,
        ),
    ] = None,
    allow_host: Annotated[
        list[str] | None,
        typer.Option(help="A name by which a proxy reaches this server; may be repeated."),
    ] = None,
    allow_origin: Annotated[
        list[str] | None,
        typer.Option(help="A site whose pages may ask, https://NAME; may be repeated."),
    ] = None,
    database: DatabaseOption = None,
    precision: Annotated[
        str, typer.Option(help="Of the weights: float32, bfloat16 or int8 (least to read).")
    ] = "float32",
    samples: SamplesOption = None,
    mmi_weight: MmiWeightOption = None,
    reply_from: ReplyFromOption = "generate",
    unsure: UnsureOption = None,
    wrong: WrongOption = None,
    trust: Trust = None,
) -> None:
    """Serve bots to a browser, and to clients of OpenAI's API.

    Example: `elman serve bots/ann bots/bob`, then open http://127.0.0.1:8000
    """
    require("serve", "the server")
    from elman.serve.http.access import AccessPolicy
    from elman.serve.run import load, serve
    from elman.serve.store.keys import Keys

    loaded = load(bots or [Path("base")], precision, trust or ())
    repliers = {
        name: make_replier(
            bot,
            make_params(bot),
            samples=samples,
            mmi_weight=mmi_weight,
            reply_from=reply_from,
            unsure=unsure,
            wrong=wrong,
        )
        for name, bot in loaded.items()
    }
    policy = AccessPolicy(
        "localhost" if uds is not None else host, require_key, allow_host or (), allow_origin or ()
    )
    with open_store(database) as store:
        keyed = require_key or (require_key is None and bool(Keys(store).list()))

        def tell(where: str) -> None:
            _say(f"Elman serves {', '.join(loaded)} at {where}  (API: {where}/v1; Ctrl-C stops)")
            if keyed:
                _say("Every request needs a key of `elman keys add`.")
            elif require_key is False:
                _say(
                    "WARNING: --no-key: whoever is at this computer reads what was said here "
                    "without a key."
                )

        serve(loaded, store, policy, port, uds, tell, repliers=repliers)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
