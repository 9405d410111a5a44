"""From bots and a store to a server that runs."""

import logging
import signal
import socket
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType, MappingProxyType
from typing import cast, get_args

import uvicorn

from elman.bptt.decode import Precision
from elman.chat import MemoryStore
from elman.chat.replies import Replier
from elman.errors import ElmanError
from elman.model.checkpoint import Bot, load_bot
from elman.serve.access import is_loopback
from elman.serve.app import create_app
from elman.serve.batching import LANES, WAITING
from elman.serve.keys import Keys
from elman.serve.service import Service

PATIENCE = 30
"""Seconds that a server which is told to stop gives the replies that are being made."""


def load(
    folders: Sequence[Path], precision: str = "float32", trust: Collection[str] = ()
) -> dict[str, Bot]:
    """Bots by the names of their folders; `trust` is that of `load_bot`.

    Raises:
        ElmanError: where one cannot be loaded, or two have one name.
    """
    if precision not in get_args(Precision):
        raise ElmanError(f"--precision {precision}: {', '.join(get_args(Precision))}")
    bots: dict[str, Bot] = {}
    for folder in folders:
        bot = load_bot(folder, cast(Precision, precision), trust)
        name = bot.path.resolve().name
        if name in bots:
            raise ElmanError(f"two bots are called {name}: {bots[name].path} and {folder}")
        bots[name] = bot
    return bots


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens.

    Raises:
        ElmanError: where the port is in use, or the address is not this computer's.
    """
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        found = socket.socket(family, socket.SOCK_STREAM)
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            found.bind((host, port))
            found.listen(1024)
        except OSError:
            found.close()
            raise
    except (OSError, OverflowError) as error:
        why = getattr(error, "strerror", None) or error
        raise ElmanError(f"{host} port {port}: {why}; choose another with --port") from None
    return found


def serve(
    bots: dict[str, Bot],
    store: MemoryStore,
    host: str = "127.0.0.1",
    port: int = 8000,
    tell: Callable[[str], None] = print,
    lanes: int = LANES,
    waiting: int = WAITING,
    repliers: Mapping[str, Replier] = MappingProxyType({}),
) -> None:
    """Serve until told to stop; then finish what is being said.

    Args:
        bots: by the names under which they are served.
        store: of all conversations.
        host: the address to listen at.
        port: 0 takes any.
        tell: is told where the server is.
        lanes: replies that each bot says at once.
        waiting: replies that may wait for each bot.
        repliers: by the bots' names, who chooses their replies; without one, they are drawn.

    Raises:
        ElmanError: where it cannot listen there, or others could reach it without a key.
    """
    if not is_loopback(host) and not Keys(store).any():
        raise ElmanError(
            f"--host {host}: others could reach this address, and there is no key yet; "
            "elman keys add NAME makes one"
        )
    with listen(host, port) as listening:
        service = Service(bots, store, lanes, waiting, repliers)
        config = uvicorn.Config(
            create_app(service, host),
            log_config=None,
            access_log=False,
            server_header=False,
            lifespan="on",
            timeout_graceful_shutdown=PATIENCE,
            timeout_keep_alive=30,
        )
        logging.getLogger("elman").setLevel(logging.INFO)
        name = f"[{host}]" if ":" in host else host
        tell(f"http://{name}:{listening.getsockname()[1]}")
        _Server(config, service.explainer.stop).run(sockets=[listening])


class _Server(uvicorn.Server):
    """Ends quietly when it is told to, once what was being said is said.

    Args:
        config: of uvicorn.
        stopping: is called when it is told to end.
    """

    def __init__(self, config: uvicorn.Config, stopping: Callable[[], None]) -> None:
        super().__init__(config)
        self._stopping = stopping

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self._stopping()
        super().handle_exit(sig, frame)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        handled = [signal.SIGINT, signal.SIGTERM]
        before = [signal.signal(each, self.handle_exit) for each in handled]
        try:
            yield
        finally:
            for each, handler in zip(handled, before, strict=True):
                signal.signal(each, handler)
