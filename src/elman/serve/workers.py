"""Threads for all that would hold the event loop up: to look up, to tokenize, to write."""

import asyncio
from collections import Counter, deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from elman.chat import MemoryStore
from elman.chat.database import Connection, UnavailableError
from elman.errors import ElmanError
from elman.serve.http.errors import full

T = TypeVar("T")

Write = tuple[Callable[[Connection], None], Future[None]]
"""What writes, and what is told when that is on disk."""

WORKERS = 8
"""Threads. They are not those in which keys are looked up, since those know no owner yet."""

MAX_WORKERS_OF_OWNER = 2
"""Threads that work for one owner, so that the others are left to others."""

MAX_WAITING_OF_OWNER = 128
"""Requests of one owner that wait for a thread; more are refused."""


class Workers:
    """Threads that everybody has a share of."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(WORKERS, "elman worker")
        self._shares: dict[str, asyncio.Semaphore] = {}
        self._open: Counter[str] = Counter()

    async def do(self, owner: str, work: Callable[[], T], is_continuation: bool = False) -> T:
        """Wait for some work that is done in one of the threads.

        Args:
            is_continuation: whether it belongs to a request that was admitted, and so is done
                however much waits.

        Raises:
            ApiError: where too much of this owner's waits.
        """
        most = MAX_WORKERS_OF_OWNER + MAX_WAITING_OF_OWNER
        if self._open[owner] >= most and not is_continuation:
            raise full()
        self._open[owner] += 1
        try:
            async with self._shares.setdefault(owner, asyncio.Semaphore(MAX_WORKERS_OF_OWNER)):
                return await asyncio.get_running_loop().run_in_executor(self._pool, work)
        finally:
            self._open[owner] -= 1
            if not self._open[owner]:
                del self._open[owner], self._shares[owner]

    def close(self) -> None:
        """Finish what was begun."""
        self._pool.shutdown()


class Keeper:
    """Writes to the store in a thread of its own, whatever waits in one transaction.

    A disk syncs as fast for one reply as for thirty.
    """

    def __init__(self, store: MemoryStore) -> None:
        self._store = store
        self._waiting: deque[Write] = deque()
        self._thread = ThreadPoolExecutor(1, "elman keeper")

    async def write(self, write: Callable[[Connection], None]) -> None:
        """Wait until something is on disk.

        Raises:
            ElmanError: where it could not be written.
        """
        done: Future[None] = Future()
        self._waiting.append((write, done))
        self._thread.submit(self._write_waiting)
        # What was begun is finished, even if whoever waits goes away.
        await asyncio.shield(asyncio.wrap_future(done))

    def close(self) -> None:
        """Write what waits, and end the thread."""
        self._thread.shutdown()

    def _write_waiting(self) -> None:
        batch = [self._waiting.popleft() for _ in range(len(self._waiting))]
        if batch:
            self._write(batch)

    def _write(self, batch: Sequence[Write]) -> None:
        try:
            with self._store.writing() as connection:
                for write, _ in batch:
                    write(connection)
        except Exception as error:
            if len(batch) > 1 and not isinstance(error, UnavailableError):
                for each in batch:  # one that cannot be written must not take the others with it
                    self._write([each])
                return
            known = isinstance(error, ElmanError)
            why = error if known else ElmanError(f"cannot be kept: {error}")
            for _, done in batch:
                done.set_exception(why)
            return
        for _, done in batch:
            done.set_result(None)
