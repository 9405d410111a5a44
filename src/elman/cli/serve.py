"""elman serve"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from elman.cli.options import (
    DatabaseOption,
    RankingOptions,
    StateKeysOption,
    TrustOption,
    UnsureOptions,
    WeightsOption,
    as_weights,
    make_params,
    open_store,
    state_keys_of,
    with_groups,
)
from elman.cli.text import tell
from elman.errors import require

if TYPE_CHECKING:
    from elman.generate.bot import Bot
    from elman.generate.replier import Replier


@with_groups
def serve(
    *,
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
    state_keys: StateKeysOption = None,
    weights: WeightsOption = None,
    ranking: RankingOptions,
    doubt: UnsureOptions,
    trust: TrustOption = None,
) -> None:
    """Serve bots to a browser, and to clients of OpenAI's API.

    Example: `elman serve bots/ann bots/bob`, then open http://127.0.0.1:8000
    """
    require("serve", "the server")
    from elman.runtime.choose import load_bot
    from elman.serve.http.access import AccessPolicy
    from elman.serve.run import load, serve
    from elman.serve.store.keys import Keys

    loaded = load(bots or [Path("base")], as_weights(weights), trust or ())
    repliers = {name: ranking.replier(bot, make_params(bot), doubt) for name, bot in loaded.items()}
    policy = AccessPolicy(
        "localhost" if uds is not None else host, require_key, allow_host or (), allow_origin or ()
    )
    with open_store(database) as store:
        keyed = require_key or (require_key is None and bool(Keys(store).list()))

        def tell_where(where: str) -> None:
            tell(f"Elman serves {', '.join(loaded)} at {where}  (API: {where}/v1; Ctrl-C stops)")
            for name, bot in loaded.items():
                tell(f"{name}: {bot.why}")
            if keyed:
                tell("Every request needs a key of `elman keys add`.")
            elif require_key is False:
                tell(
                    "WARNING: --no-key: whoever is at this computer reads what was said here "
                    "without a key."
                )

        def load_again(home: Path) -> "tuple[Bot, Replier]":
            bot = load_bot(home, as_weights(weights), trust or ())
            return bot, ranking.replier(bot, make_params(bot), doubt)

        signing = state_keys_of(state_keys)
        serve(loaded, store, policy, port, uds, tell_where, repliers, load_again, signing)
