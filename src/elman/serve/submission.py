"""Replies that are asked of a batcher, and how their events reach the event loop."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable, Sequence

from elman.serve.http.errors import ApiError, full
from elman.serve.jobs import Ended, Event, Failed, Job, Read, Said
from elman.serve.metrics import Metrics
from elman.serve.models import Model
from elman.serve.queueing import FullError

Deliver = Callable[[Event], None]


class Mailbox:
    """Carries events from the batchers' threads to the event loop, all that wait at once."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._lock = threading.Lock()
        self._waiting: list[tuple[asyncio.Queue[Event], Event]] = []

    def open(self) -> None:
        """Deliver in the loop that runs now."""
        self._loop = asyncio.get_running_loop()

    def put(self, to: "asyncio.Queue[Event]", event: Event) -> None:
        """Send an event to a queue of the loop, from any thread."""
        assert self._loop is not None
        with self._lock:
            self._waiting.append((to, event))
            is_first = len(self._waiting) == 1
        if is_first:
            self._loop.call_soon_threadsafe(self._deliver)

    def _deliver(self) -> None:
        with self._lock:
            waiting, self._waiting = self._waiting, []
        for to, event in waiting:
            to.put_nowait(event)


class Submission:
    """One or more replies to the same, from when they are asked for to their last event.

    Args:
        ask: makes the job, which is to deliver its events to what it is given.
        known_tokens: that a kept state saves from being read again.
    """

    def __init__(
        self,
        model: Model,
        mailbox: Mailbox,
        metrics: Metrics,
        ask: Callable[[Deliver], Job],
        known_tokens: int = 0,
    ) -> None:
        self.model, self._mailbox, self._metrics = model, mailbox, metrics
        self._known_tokens = known_tokens
        self._events: asyncio.Queue[Event] = asyncio.Queue()
        self.job = ask(lambda event: mailbox.put(self._events, event))
        self._submitted = 0.0

    def submit(self) -> None:
        """Ask for the replies.

        Raises:
            ApiError: where too many wait.
        """
        self._mailbox.open()
        self._submitted = time.monotonic()
        try:
            self.model.batcher.submit(self.job)
        except FullError:
            raise full() from None
        name = self.model.name
        self._metrics.read.labels(name).inc(sum(map(len, self.job.unread)))
        self._metrics.known.labels(name).inc(self._known_tokens)

    def cancel(self) -> None:
        """End the replies as far as they came."""
        self.job.cancelled = True

    async def events(self) -> AsyncIterator[Read | Said | Ended]:
        """Yield every event until all replies have ended.

        Raises:
            ApiError: where they could not be made.
        """
        left, has_begun = self.job.choices, False
        while left:
            event = await self._events.get()
            if isinstance(event, Failed):
                raise ApiError(500, f"the reply could not be made: {event.error}")
            if not has_begun and not isinstance(event, Read):
                has_begun = True
                self._metrics.first_token(self.model.name, self._submitted)
            left -= isinstance(event, Ended)
            yield event


class Submissions:
    """Replies to the prompts of one request, of which only `at_once` are open at a time."""

    def __init__(self, each: Sequence[Submission], at_once: int) -> None:
        self._each, self._at_once = each, at_once

    def submit(self) -> None:
        """Ask for the first ones.

        Raises:
            ApiError: where too many wait.
        """
        try:
            for submission in self._each[: self._at_once]:
                submission.submit()
        except ApiError:
            self.cancel()
            raise

    def cancel(self) -> None:
        """End the replies as far as they came."""
        for submission in self._each:
            submission.cancel()

    async def events(self) -> AsyncIterator[tuple[int, Said | Ended]]:
        """Yield every event with the number of its prompt; ask for one more as each has ended.

        Raises:
            ApiError: where a reply could not be made, or asked for.
        """
        for number, submission in enumerate(self._each):
            async for event in submission.events():
                if not isinstance(event, Read):
                    yield number, event
            if number + self._at_once < len(self._each):
                self._each[number + self._at_once].submit()
