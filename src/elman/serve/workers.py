"""Everything that would hold the event loop up: looking things up, and tokenizing."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TypeVar

from elman.serve.http.errors import full

T = TypeVar("T")

WORKERS = 8
"""Threads. They are not those in which keys are looked up, since those know no owner yet."""

MAX_WORKERS_OF_OWNER = 2
"""Threads that work for one owner, so that the others are left to others."""

MAX_WAITING_OF_OWNER = 128
"""Requests of one owner that wait for a thread; more are refused."""


@dataclass
class _Share:
    free: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(MAX_WORKERS_OF_OWNER))
    open: int = 0


class Workers:
    """Threads that everybody has a share of."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(WORKERS, "elman worker")
        self._shares: dict[str, _Share] = {}

    async def do(self, owner: str, work: Callable[[], T], is_continuation: bool = False) -> T:
        """Wait for some work that is done in one of the threads.

        Args:
            owner: whose threads do it.
            work: to be done.
            is_continuation: whether it belongs to a request that was admitted, and so is done
                however much waits.

        Raises:
            ApiError: where too much of this owner's waits.
        """
        share = self._shares.setdefault(owner, _Share())
        most = MAX_WORKERS_OF_OWNER + MAX_WAITING_OF_OWNER
        if share.open >= most and not is_continuation:
            raise full()
        share.open += 1
        try:
            async with share.free:
                return await asyncio.get_running_loop().run_in_executor(self._pool, work)
        finally:
            share.open -= 1
            if not share.open:
                del self._shares[owner]

    def close(self) -> None:
        """Finish what was begun."""
        self._pool.shutdown()
