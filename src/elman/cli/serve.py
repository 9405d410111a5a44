"""elman serve"""

import os
import socket
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from elman.cli.doctor import usable_processors
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
from elman.cli.text import tell, telling_errors
from elman.errors import ElmanError, require

if TYPE_CHECKING:
    from elman.chat import MemoryStore
    from elman.generate.bot import Bot
    from elman.generate.replier import Replier
    from elman.serve.http.access import AccessPolicy


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
    workers: Annotated[
        int,
        typer.Option(min=1, max=256, help="Processes that answer; one that dies is replaced."),
    ] = 1,
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
    from elman.serve.http.access import AccessPolicy
    from elman.serve.run import listening_at

    policy = AccessPolicy(
        "localhost" if uds is not None else host, require_key, allow_host or (), allow_origin or ()
    )
    with listening_at(policy, port, uds) as (listening, where):
        asked = _Asked(
            bots or [Path("base")], where, policy, database, state_keys, weights, ranking, doubt,
            trust or [], workers,
        )  # fmt: skip
        if workers == 1:
            asked.serve(listening)
            return
        from elman.serve.supervisor import Supervisor

        threads = max(1, int(usable_processors()) // workers)
        os.environ.setdefault("OMP_NUM_THREADS", str(threads))
        if code := Supervisor(asked.serve, listening, workers).run():
            raise typer.Exit(code)


@dataclass(frozen=True)
class _Asked:
    """All that a process needs to know to serve; another process may be handed it."""

    bots: list[Path]
    where: str
    policy: "AccessPolicy"
    database: str | None
    state_keys: Path | None
    weights: str | None
    ranking: RankingOptions
    doubt: UnsureOptions
    trust: list[str]
    workers: int

    def serve(
        self,
        listening: socket.socket,
        is_first: bool = True,
        answers: Callable[[], None] = lambda: None,
    ) -> None:
        """Serve until told to stop; the first process says so."""
        with telling_errors():
            self._serve(listening, is_first, answers)

    def _serve(self, listening: socket.socket, is_first: bool, answers: Callable[[], None]) -> None:
        from elman.chat.sqlite import SqliteDatabase
        from elman.serve.run import load, serve

        loaded = load(self.bots, as_weights(self.weights), self.trust)
        repliers = {name: self._replier(bot) for name, bot in loaded.items()}
        with open_store(self.database) as store:
            if self.workers > 1 and not store.database.is_shared:
                raise ElmanError(
                    f"--workers {self.workers}: {store.database.where} belongs to one process: "
                    "name a database with --db"
                )

            def on_started() -> None:
                if is_first:
                    self._tell(loaded, store)
                answers()

            alone = self.workers == 1 and isinstance(store.database, SqliteDatabase)
            policy = replace(self.policy, shares_rates=not alone)
            serve(
                loaded, store, listening, policy, on_started, repliers, self._load_again,
                state_keys_of(self.state_keys),
            )  # fmt: skip

    def _tell(self, loaded: "dict[str, Bot]", store: "MemoryStore") -> None:
        from elman.serve.store.keys import Keys

        require_key, where = self.policy.require_key, self.where
        several = "" if self.workers == 1 else f"{self.workers} workers, "
        tell(
            f"Elman serves {', '.join(loaded)} at {where}  ({several}API: {where}/v1; Ctrl-C stops)"
        )
        for name, bot in loaded.items():
            tell(f"{name}: {bot.why}")
        if require_key or (require_key is None and bool(Keys(store).list())):
            tell("Every request needs a key of `elman keys add`.")
        elif require_key is False:
            tell(
                "WARNING: --no-key: whoever is at this computer reads what was said here "
                "without a key."
            )

    def _replier(self, bot: "Bot") -> "Replier":
        return self.ranking.replier(bot, make_params(bot), self.doubt)

    def _load_again(self, home: Path) -> "tuple[Bot, Replier]":
        from elman.runtime.choose import load_bot

        bot = load_bot(home, as_weights(self.weights), self.trust)
        return bot, self._replier(bot)
