"""Everything that would hold the event loop up: looking things up, and tokenizing."""

import asyncio
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from elman.serve.http.errors import full

T = TypeVar("T")

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
