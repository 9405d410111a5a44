"""Who waits for a reply, and whose turn it is."""

from collections import Counter, deque
from collections.abc import Callable, Iterable

from elman.serve.jobs import Job


class FullError(Exception):
    """So many replies wait that one more is refused."""


def unfinished_of(jobs: Iterable[Job]) -> Counter[str]:
    """Count the unfinished replies of each owner."""
    taken: Counter[str] = Counter()
    for job in jobs:
        taken[job.owner] += job.unfinished
    return +taken  # of nobody who has none


def has_share(taken: Counter[str], owner: str, replies: int, limit: int) -> bool:
    """Return whether some more replies are still within an owner's fair share of the places.

    An owner who comes later gets that share even when all places are taken. Up to twice as many
    replies are then unfinished, until those who had more have finished some.

    Args:
        taken: how many replies each owner has.
        limit: how many places there are.
    """
    owners = len(taken.keys() | {owner})
    return taken[owner] + replies <= limit // owners and taken.total() + replies <= 2 * limit


def has_room(taken: Counter[str], owner: str, replies: int, limit: int) -> bool:
    """Return whether an owner may have some more replies: all fit, or they are within a share."""
    return taken.total() + replies <= limit or has_share(taken, owner, replies, limit)


class FairQueue:
    """Jobs that wait, in the order in which they came for each owner, and round robin by owner.

    Args:
        limit: replies that may be unfinished, also of jobs that were taken out.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._admitted: list[Job] = []
        self._waiting: dict[str, deque[Job]] = {}

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def _unfinished(self) -> Counter[str]:
        self._admitted = [job for job in self._admitted if job.unfinished]
        return unfinished_of(self._admitted)

    @property
    def unfinished(self) -> int:
        """Replies that wait, are read for, or are said."""
        return self._unfinished().total()

    def has_room(self, owner: str, replies: int) -> bool:
        """Return whether some replies to an owner would be admitted now."""
        return has_room(self._unfinished(), owner, replies, self._limit)

    def put(self, job: Job) -> None:
        """Add a job.

        Raises:
            FullError: where there is no room for it, unless it is a part of one that was admitted.
        """
        if not job.is_continuation and not self.has_room(job.owner, job.choices):
            raise FullError
        self._admitted.append(job)
        self._waiting.setdefault(job.owner, deque()).append(job)

    def take(self, fits: Callable[[Job, bool], bool]) -> Job | None:
        """Take the next job out, if any fits; its owner's next one comes after all others'.

        Args:
            fits: whether there is room for a job, and whether one that waits longer is passed.
        """
        passes = False
        for owner, jobs in self._waiting.items():
            if not fits(jobs[0], passes):
                passes = True
                continue
            job = jobs.popleft()
            del self._waiting[owner]
            if jobs:
                self._waiting[owner] = jobs
            return job
        return None

    def take_cancelled(self) -> list[Job]:
        """Take out the jobs that nobody waits for any more."""
        found = [job for jobs in self._waiting.values() for job in jobs if job.cancelled]
        for job in found:
            jobs = self._waiting[job.owner]
            jobs.remove(job)
            if not jobs:
                del self._waiting[job.owner]
        return found
