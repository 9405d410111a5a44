"""uvicorn, with bounds on connections, and with an end that comes."""

import asyncio
import logging
import os
import socket
import sys
import threading
from collections.abc import Callable
from functools import partial
from types import FrameType
from typing import cast

import uvicorn

from elman.serve.http.access import AccessPolicy
from elman.serve.http.app import create_app
from elman.serve.http.logs import limit_logs
from elman.serve.http.protocol import (
    ACCEPT_BACKLOG,
    BoundedProtocol,
    ConnectionLimits,
    Connections,
)
from elman.serve.service import Service

FINISH_SECONDS = 4
"""A server that is told to stop lets replies go on for so long; then they end where they are."""

CLOSE_SECONDS = 6
"""After so long, requests that have not ended are broken off."""

EXIT_SECONDS = 8
"""After so long, the process ends, whatever still runs. What was acknowledged is on disk."""

LISTEN_BACKLOG = 1024
"""Connections that the system keeps until they are accepted."""


class Server(uvicorn.Server):
    """Serves an application until it is told to stop; a second time ends it at once.

    Args:
        ending: is set when replies are to end where they are.
    """

    def __init__(self, config: uvicorn.Config, ending: asyncio.Event) -> None:
        super().__init__(config)
        self._ending = ending
        self.on_started: Callable[[], None] = lambda: None
        """Called once it answers, and can be told to stop."""
        self.on_exit: Callable[[], None] = lambda: None
        """Called when it is told to stop."""

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        # uvicorn's own would raise the signal again after a clean end, and the exit code tell it.
        if self.should_exit:
            self.force_exit = True
            return
        self.should_exit = True
        self.on_exit()
        # Neither a thread that computes nor a client that does not read can hold this one up.
        ending = threading.Timer(EXIT_SECONDS, _exit_now)
        ending.daemon = True
        ending.start()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        for each in sockets or ():
            each.listen(LISTEN_BACKLOG)  # asyncio has set it to how many it accepts at a time
        self.on_started()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        asyncio.get_running_loop().call_later(FINISH_SECONDS, self._ending.set)
        await super().shutdown(sockets)


def make_server(
    service: Service, policy: AccessPolicy, limits: ConnectionLimits | None = None
) -> Server:
    """Return a server that is ready to run, and that closes the service when it ends."""
    limits = limits or ConnectionLimits()
    app = create_app(service, policy)
    connections = Connections(limits, service.metrics)
    config = uvicorn.Config(
        app,
        http=cast(type[asyncio.Protocol], partial(BoundedProtocol, connections)),
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        lifespan="on",
        backlog=ACCEPT_BACKLOG,
        timeout_graceful_shutdown=CLOSE_SECONDS,
        timeout_keep_alive=cast(int, limits.idle_seconds),
    )
    limit_logs()
    logging.getLogger("elman").setLevel(logging.INFO)
    server = Server(config, app.state.ending)
    server.on_exit = service.attributor.stop
    return server


def _exit_now() -> None:
    print("Elman stopped with work unfinished", file=sys.stderr, flush=True)
    os._exit(0)
