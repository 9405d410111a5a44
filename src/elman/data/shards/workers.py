"""Processes that do one job on many items, with their results in order."""

import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import connection, get_all_start_methods, get_context, parent_process
from multiprocessing.context import ForkServerContext
from typing import Any, TypeVar

from elman.errors import ElmanError

Item = TypeVar("Item")
Made = TypeVar("Made")

_job: Callable[[Any], Any]
"""Of a working process: what it does, sent once and not with every item."""


def cores() -> int:
    """Count the cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def in_order(
    job: Callable[[Item], Made],
    items: Sequence[Item],
    workers: int,
    sizes: Sequence[int] | None = None,
) -> Iterator[Made]:
    """Yield what a job makes of each item, in the order of the items.

    Args:
        job: can be sent to another process.
        items: likewise; they are few against what they stand for.
        workers: processes; with one, this one does the work itself. They end with this one, however
            it ends.
        sizes: of the items; the largest is begun first. None: they are alike.

    Raises:
        ElmanError: as the job does, or where a process was killed.
    """
    if workers == 1 or len(items) <= 1:
        yield from map(job, items)
        return
    context = get_context("forkserver" if "forkserver" in get_all_start_methods() else "spawn")
    if isinstance(context, ForkServerContext):  # forks what has imported everything already
        context.set_forkserver_preload(["__main__", "elman.data.shards.work"])
    order = range(len(items))
    if sizes is not None:
        order = sorted(order, key=lambda number: -sizes[number])  # type: ignore[assignment]
    pool = ProcessPoolExecutor(min(workers, len(items)), context, _begin, (job,))
    try:
        futures: dict[int, Future[Made]] = {n: pool.submit(_do, items[n]) for n in order}
        for number in range(len(items)):
            yield futures.pop(number).result()
    except BrokenProcessPool:
        raise ElmanError(
            "a working process was killed, most likely because memory ran out; the same command "
            "with fewer --workers goes on"
        ) from None
    finally:
        pool.shutdown(cancel_futures=True)


def _begin(job: Callable[[Any], Any]) -> None:
    """Leave Ctrl-C to the process that began this one, and end when that one does."""
    global _job
    _job = job
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = parent_process()
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent.sentinel,), daemon=True).start()


def _end_with(sentinel: int) -> None:
    connection.wait([sentinel])
    os._exit(1)


def _do(item: Any) -> Any:
    return _job(item)
