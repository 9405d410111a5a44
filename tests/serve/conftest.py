"""A real server, over a tiny bot, in a thread of this process."""

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import httpx
import pytest

from elman.chat import MemoryStore
from elman.generate.bot import Bot
from elman.generate.replier import Replier
from elman.runtime.choose import load_bot
from elman.serve.http.access import AccessPolicy
from elman.serve.http.protocol import ConnectionLimits
from elman.serve.http.server import make_server
from elman.serve.models import Model
from elman.serve.run import listen
from elman.serve.service import Service
from elman.serve.store.keys import Keys
from elman.serve.store.state_keys import StateKeys


@dataclass(frozen=True)
class Served:
    """A server that answers.

    Args:
        url: where.
        service: what is behind it.
    """

    url: str
    service: Service

    def client(self, key: str | None = None) -> httpx.Client:
        headers = {} if key is None else {"Authorization": f"Bearer {key}"}
        return httpx.Client(base_url=self.url, headers=headers, timeout=60)

    def key(self, name: str, per_minute: int | None = None) -> str:
        return Keys(self.service.store).add(name, per_minute)[1]


@contextmanager
def running(
    bots: dict[str, Bot],
    place: Path | str,
    host: str = "127.0.0.1",
    batch_size: int = 8,
    max_waiting: int = 64,
    repliers: Mapping[str, Replier] = MappingProxyType({}),
    policy: AccessPolicy | None = None,
    limits: ConnectionLimits | None = None,
    state_keys: StateKeys | None = None,
) -> Iterator[Served]:
    with MemoryStore(place) as store, listen("127.0.0.1", 0) as listening:
        service = Service(bots, store, batch_size, max_waiting, repliers, state_keys)
        server = make_server(service, policy or AccessPolicy(host), limits)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            yield Served(f"http://127.0.0.1:{listening.getsockname()[1]}", service)
        finally:
            server.should_exit = True
            thread.join()


def forget_recent(model: Model) -> None:
    """Have no state of a bot at hand, so that each is looked up on disk."""
    recent = model.recent
    while recent._kept:
        recent._free.append(recent._kept.popitem()[1][:2])


@pytest.fixture(scope="session")
def bot(trained: Path) -> Bot:
    return load_bot(trained, "float32")


@pytest.fixture
def serving(bot: Bot, tmp_path: Path) -> Iterator[Callable[..., Served]]:
    """Starts servers; the tiny bot is called ann."""
    with ExitStack() as stack:

        def start(place: Path | None = None, **options: object) -> Served:
            where = place or tmp_path / "memory.db"
            return stack.enter_context(running({"ann": bot}, where, **options))  # type: ignore[arg-type]

        yield start


@pytest.fixture(scope="module")
def served(bot: Bot, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """One server for the tests of a file; the tiny bot is called ann."""
    with running({"ann": bot}, tmp_path_factory.mktemp("served") / "memory.db") as server:
        yield server
