"""What becomes of jobs: who listens is told, and places are given back."""

import logging
from collections.abc import Callable
from threading import Condition
from typing import Any, TypeVar

from elman.serve.jobs import Ended, Failed, Job
from elman.serve.queueing import FairQueue

T = TypeVar("T")


class Accounts:
    """Ends jobs, each by itself.

    Args:
        queue: where their places are.
        lock: of the queue.
    """

    def __init__(self, queue: FairQueue, lock: Condition) -> None:
        self._queue, self._lock = queue, lock

    def cancel(self, job: Job) -> None:
        """Tell that a job's replies have ended before they began."""
        for choice in range(job.choices):
            ended = Ended(choice, "cancelled", "", (), job.state)
            self.guarded(job, self.finish, job, ended)

    def finish(self, job: Job, event: Ended) -> None:
        """Tell the end of a reply."""
        with self._lock:
            self._queue.finish(job.owner, 1)
        job.ended += 1
        job.deliver(event)

    def guarded(self, job: Job, work: Callable[..., T], *args: Any) -> T | None:
        """Do something for one job; if that fails, the job fails and no other."""
        if job.failed:
            return None
        try:
            return work(*args)
        except Exception as error:
            self.fail(job, error)
            return None

    def fail(self, job: Job, error: Exception) -> None:
        """End what is left of a job, and tell why."""
        if job.failed:
            return
        logging.getLogger("elman").error("a reply failed", exc_info=error)
        job.failed = True
        with self._lock:
            self._queue.finish(job.owner, job.choices - job.ended)
        try:
            job.deliver(Failed(f"{type(error).__name__} while replying"))
        except Exception:
            logging.getLogger("elman").exception("nobody could be told that a reply failed")
