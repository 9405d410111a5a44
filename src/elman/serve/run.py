"""From bots and a store to a server that runs."""

import ctypes
import os
import re
import socket
import sys
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType

from elman.chat import MemoryStore
from elman.errors import ElmanError
from elman.generate.bot import Bot
from elman.generate.replier import Replier
from elman.runtime.choose import load_bot
from elman.runtime.compiled import WeightPrecision
from elman.serve.http.access import AccessPolicy
from elman.serve.http.server import LISTEN_BACKLOG, make_server
from elman.serve.renewal import Load, VersionWatcher
from elman.serve.service import Service
from elman.serve.store.keys import Keys
from elman.serve.store.state_keys import StateKeys


def load(
    folders: Sequence[Path], precision: WeightPrecision | None = None, trust: Collection[str] = ()
) -> dict[str, Bot]:
    """Load bots, and name each by its folder.

    Args:
        precision, trust: as `load_bot` takes them.

    Raises:
        ElmanError: where a bot cannot be loaded, or two have one name.
    """
    bots: dict[str, Bot] = {}
    for folder in folders:
        bot = load_bot(folder, precision, trust)
        name = bot.home.resolve().name
        if name in bots:
            raise ElmanError(f"two bots are called {name}: {bots[name].home} and {folder}")
        bots[name] = bot
    return bots


def release_memory() -> None:
    """Give the system back what was needed only to load bots; glibc keeps it otherwise."""
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:  # other C libraries have none
            trim(0)


def listen(host: str, port: int) -> socket.socket:
    """Open a socket that listens at an address.

    Raises:
        ElmanError: where the port is in use, or the address is not this computer's.
    """
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        found = socket.socket(family, socket.SOCK_STREAM)
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            found.bind((host, port))
            found.listen(LISTEN_BACKLOG)
        except OSError:
            found.close()
            raise
    except (OSError, OverflowError) as error:
        why = getattr(error, "strerror", None) or error
        raise ElmanError(f"{host} port {port}: {why}; choose another with --port") from None
    return found


def listen_unix(path: Path) -> socket.socket:
    """Open a Unix socket that listens, and that only this user may connect to.

    Raises:
        ElmanError: where the path is taken, or the socket cannot be made.
    """
    if not hasattr(socket, "AF_UNIX"):
        raise ElmanError("--uds: this system has no Unix sockets; use --host and --port")
    found = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        if path.is_socket():
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as other:
                if other.connect_ex(str(path)) == 0:
                    raise ElmanError(f"{path}: another server listens there; choose another --uds")
            path.unlink()  # a server that was killed left it
        before = os.umask(0o177)
        try:
            found.bind(str(path))
        finally:
            os.umask(before)
        found.listen(LISTEN_BACKLOG)
        return found
    except (OSError, ElmanError) as error:
        found.close()
        if isinstance(error, ElmanError):
            raise
        raise ElmanError(f"--uds {path}: {error.strerror or error}") from None


def check_policy(policy: AccessPolicy, keys: Keys) -> None:
    """Check that strangers could not ask as the owner, and that somebody could ask at all.

    Raises:
        ElmanError: where it is not so, or a name is one that nobody could send.
    """
    for name in policy.allow_hosts:
        if name != "*" and re.fullmatch(r"[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\]", name) is None:
            raise ElmanError(
                f"--allow-host {name!r}: expected a name without scheme, port or path, such as "
                "chat.example.org"
            )
    for origin in policy.allow_origins:
        if re.fullmatch(r"\*|null|[a-z][a-z0-9+.-]*://[^/\sA-Z]+", origin) is None:
            raise ElmanError(
                f"--allow-origin {origin!r}: expected SCHEME://HOST as browsers write it, in small "
                "letters and without a / at its end, such as https://client.example.org"
            )
    if policy.require_key is False and policy.is_published:
        raise ElmanError(
            "--no-key: others could reach this server; it goes without --host and --allow-host"
        )
    if "*" in policy.allow_origins and not policy.require_key:
        raise ElmanError("--allow-origin '*' lets every site's pages ask: add --require-key")
    if (policy.require_key or policy.is_published) and not keys.any():
        if policy.require_key:
            asked = "--require-key"
        elif policy.is_local:
            asked = f"--allow-host {policy.allow_hosts[0]}"
        else:
            asked = f"--host {policy.host}"
        raise ElmanError(
            f"{asked}: others could reach this address, and there is no key yet; "
            "elman keys add NAME makes one"
        )


@contextmanager
def listening_at(
    policy: AccessPolicy, port: int = 8000, uds: Path | None = None
) -> Iterator[tuple[socket.socket, str]]:
    """Listen at an address; yield the socket, and where that is.

    Args:
        policy: its host is the address.
        port: 0 takes any.
        uds: a Unix socket to listen at instead, which is removed in the end.

    Raises:
        ElmanError: where it cannot be listened at.
    """
    with listen(policy.host, port) if uds is None else listen_unix(uds) as listening:
        if uds is None:
            name = f"[{policy.host}]" if ":" in policy.host else policy.host
            where = f"http://{name}:{listening.getsockname()[1]}"
        else:
            where = f"unix:{uds}"
        try:
            yield listening, where
        finally:
            if uds is not None:
                uds.unlink(missing_ok=True)


def serve(
    bots: dict[str, Bot],
    store: MemoryStore,
    listening: socket.socket,
    policy: AccessPolicy | None = None,
    on_started: Callable[[], None] = lambda: None,
    repliers: Mapping[str, Replier] = MappingProxyType({}),
    load_again: Load | None = None,
    state_keys: StateKeys | None = None,
) -> None:
    """Serve until told to stop. Replies that are being said then have a few seconds to end.

    Args:
        bots: by the names under which they are served.
        store: of all conversations.
        listening: where.
        policy: who may ask.
        on_started: called once the server answers.
        repliers: who chooses the replies, by the bots' names; without one, replies are drawn.
        load_again: loads a bot of which there is a new version; None: that waits for a restart.
        state_keys: sign the states that clients carry; None: such that end with the process.

    Raises:
        ElmanError: where `check_policy` refuses.
    """
    policy = policy or AccessPolicy()
    check_policy(policy, Keys(store))
    service = Service(bots, store, repliers=repliers, state_keys=state_keys)
    server = make_server(service, policy)
    server.on_started = on_started
    watcher = None if load_again is None else VersionWatcher(service, load_again)
    release_memory()
    try:
        if watcher is not None:
            watcher.start()
        server.run(sockets=[listening])
    finally:
        if watcher is not None:
            watcher.close()
