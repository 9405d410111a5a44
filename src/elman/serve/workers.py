"""Work that takes time, beside the event loop: reading big requests, and looking things up."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TypeVar

from elman.serve.errors import full

T = TypeVar("T")

WORKERS = 8
"""Threads. They are not those in which keys are looked up."""

MAX_WORKERS_OF_OWNER = 2
"""Threads that work for one owner, so that the others are left to others."""

MAX_WAITING_OF_OWNER = 128
"""Requests of one owner that wait for a thread; more are refused."""


@dataclass
class _Turns:
    free: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(MAX_WORKERS_OF_OWNER))
    open: int = 0


class Workers:
    """Threads that everybody has a share of."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(WORKERS, "elman worker")
        self._turns: dict[str, _Turns] = {}

    async def do(self, owner: str, work: Callable[[], T]) -> T:
        """Wait for some work that is done in one of the threads.

        Raises:
            ApiError: where too much of this owner's waits.
        """
        turns = self._turns.setdefault(owner, _Turns())
        if turns.open >= MAX_WORKERS_OF_OWNER + MAX_WAITING_OF_OWNER:
            raise full()
        turns.open += 1
        try:
            async with turns.free:
                return await asyncio.get_running_loop().run_in_executor(self._pool, work)
        finally:
            turns.open -= 1
            if not turns.open:
                del self._turns[owner]

    def close(self) -> None:
        """Finish what was begun."""
        self._pool.shutdown()
