"""Continuous batching: one thread in which all conversations with a bot are read and said.

The states of the replies that are being said are the rows of a few arrays. Each round reads a
bounded part of what waits to be read, and then says one token of every reply; so reading never
starves saying. Whoever listens is handed what was said without being waited for.
"""

import logging
import threading
from collections.abc import Sequence
from functools import cache

import numpy as np

from elman.generate.bot import Bot
from elman.generate.decoder import State
from elman.generate.likelihood import as_message
from elman.generate.replier import Chosen, Replier
from elman.serve.isolation import step_rows
from elman.serve.jobs import Job, Read
from elman.serve.queueing import FairQueue, FullError, has_room, has_share, unfinished_of
from elman.serve.speaking import Reply, ReplyBatch, Stated

REPLY_BATCH_SIZE = 32
"""Replies that are said at once."""
MAX_WAITING_REPLIES = 96
"""Replies that may wait until others have ended; more are refused."""
MAX_ROUND_TOKENS = 256
"""Tokens that are read in a round, while somebody speaks."""
MAX_RANKED_TOKENS = 200
"""Tokens of a reply that are chosen as a whole; what follows is drawn with everybody's."""


class Batcher:
    """Reads and says for one bot, in a thread of its own.

    Args:
        bot: who reads and replies.
        batch_size: replies that are said at once.
        max_waiting: replies that may wait for that.
        replier: chooses replies; None: they are said as they are drawn.
    """

    def __init__(
        self,
        bot: Bot,
        batch_size: int = REPLY_BATCH_SIZE,
        max_waiting: int = MAX_WAITING_REPLIES,
        replier: Replier | None = None,
    ) -> None:
        self._bot, self._replier, self._batch_size = bot, replier, batch_size
        self._decoder = bot.decoder
        self._wake = threading.Condition()
        self._queue = FairQueue(batch_size + max_waiting)
        self._closing = False
        self._reading: list[Job] = []
        self._batch = ReplyBatch(self._decoder)
        self._thread = threading.Thread(target=self._run, name="elman batcher", daemon=True)
        self._thread.start()

    @property
    def speaking(self) -> int:
        """Replies that are being said."""
        return len(self._batch.replies)

    @property
    def tokens(self) -> int:
        """Said so far."""
        return self._batch.tokens

    @property
    def open(self) -> int:
        """Replies that wait, are read for, or are said."""
        with self._wake:
            return self._queue.unfinished

    def has_room(self, owner: str, replies: int) -> bool:
        """Return whether some replies to an owner would be admitted now."""
        with self._wake:
            return not self._closing and self._queue.has_room(owner, replies)

    def submit(self, job: Job) -> None:
        """Ask for replies.

        Raises:
            FullError: where too many wait, or the batcher is closed.
        """
        with self._wake:
            if self._closing:
                raise FullError
            self._queue.put(job)
            self._wake.notify()

    def close(self) -> None:
        """Finish what was asked for, and end the thread."""
        with self._wake:
            self._closing = True
            self._wake.notify()
        self._thread.join()

    def _run(self) -> None:
        while True:
            with self._wake:
                while not (self._queue or self._reading or self._batch.replies):
                    if self._closing:
                        return
                    self._wake.wait()
            try:
                self._admit()
                self._read()
                self._batch.say()
            except Exception as error:
                # What concerns one reply fails alone; whatever else breaks must not end the server.
                logging.getLogger("elman").exception("a round of the batcher failed")
                for job in self._taken():
                    job.fail(error)
                self._drop_failed()
                self._batch.drop_failed()

    def _taken(self) -> set[Job]:
        """Return the jobs that are read for, or said."""
        return {*self._reading, *(reply.job for reply in self._batch.replies)}

    def _admit(self) -> None:
        """Take jobs in, owner by owner, while there is room for their replies."""
        with self._wake:
            left = self._queue.take_cancelled()
        for job in left:
            job.end_unbegun()
        taken = unfinished_of(self._taken())

        def fits(job: Job, passes: bool) -> bool:
            # Nobody takes the rows that one who waits longer needs, but for a share of their own.
            room = has_share if passes else has_room
            return not taken or room(taken, job.owner, job.choices, self._batch_size)

        while True:
            with self._wake:
                taking = self._queue.take(fits)
            if taking is None:
                break
            taken[taking.owner] += taking.choices
            self._reading.append(taking)
            taking.guarded(taking.cut, self._decoder)
        self._drop_failed()

    def _drop_failed(self) -> None:
        """Read no further for jobs that failed."""
        self._reading = [job for job in self._reading if not job.failed]

    def _read(self) -> None:
        """Read some of what waits to be read, a part of every job at a time."""
        budget = MAX_ROUND_TOKENS
        while self._reading and budget > 0:
            for job in [job for job in self._reading if job.cancelled]:
                self._reading.remove(job)
                job.end_unbegun()
            unread = [job for job in self._reading if job.parts]
            if unread:
                budget -= self._absorb(unread, budget // len(unread))
            self._begin([job for job in self._reading if not job.parts])

    def _absorb(self, jobs: Sequence[Job], budget: int) -> int:
        """Read the next parts of some jobs; return how many tokens that were."""
        parts = {job: self._next_parts(job, budget) for job in jobs}

        def read(some: Sequence[Job]) -> State:
            state = self._decoder.join([job.state for job in some])
            return self._decoder.read([parts[job] for job in some], state)

        for some, state in step_rows(read, jobs, Job.fail):
            for row, job in enumerate(some):
                job.state = self._decoder.select(state, [row])
        self._drop_failed()
        return sum(len(part) for own in parts.values() for part in own)

    @staticmethod
    def _next_parts(job: Job, budget: int) -> list[np.ndarray]:
        """Take the next parts of a job: at least one, then as many as the budget allows."""
        assert job.parts
        some = [job.parts.popleft()]
        size = len(some[0])
        while job.parts and size + len(job.parts[0]) <= budget:
            some.append(job.parts.popleft())
            size += len(some[-1])
        return some

    def _begin(self, jobs: Sequence[Job]) -> None:
        """Let the replies to jobs that were read begin."""

        def begin(some: Sequence[Job]) -> Stated:
            return self._decoder.begin_reply(self._decoder.join([job.state for job in some]))

        alone = not self._batch.replies and len(self._reading) == 1
        for some, stated in step_rows(begin, jobs, Job.fail):
            replies: list[Reply] = []
            rows: list[int] = []
            for row, job in enumerate(some):
                own = job.guarded(self._replies_to, job, alone) or []
                replies += own
                rows += [row] * len(own)
            if replies:
                self._batch.add(replies, self._batch.select(stated, rows))
        self._drop_failed()

    def _replies_to(self, job: Job, alone: bool) -> list[Reply]:
        """Return the replies to a job that was read and that are yet to be drawn.

        Whoever listens is told that it was read. A reply that was chosen as a whole is told then.
        """
        chosen = self._chosen(job, alone)
        job.deliver(Read(job.state))
        self._reading.remove(job)
        if chosen is None:
            return [Reply(job, choice, self._bot) for choice in range(job.choices)]
        tokens, left = chosen.tokens, job.params.max_tokens
        if chosen.origin == "generate" and len(tokens) == MAX_RANKED_TOKENS < left:
            return [Reply(job, choice, self._bot, tokens) for choice in range(job.choices)]

        @cache
        def state_after(said: tuple[int, ...]) -> State:
            if said == tokens and self._replier is not None:
                return self._replier.ended(chosen, job.state)
            return self._decoder.read([[as_message(said)]], job.state)

        for choice in range(job.choices):
            Reply(job, choice, self._bot).tell_whole(chosen, state_after)
        return []

    def _chosen(self, job: Job, alone: bool) -> Chosen | None:
        """Choose a reply as a whole, or how it begins; None: it is drawn.

        Replies of people are chosen for everybody; the best of several drawn ones for whoever is
        alone with the bot, so that nobody waits for the drawing, and leaves open how it is done.
        """
        params = job.params
        if self._replier is None or job.begins or job.cancelled or not params.max_tokens:
            return None
        fixed = self._replier.fixed(job.history)
        # Who asks for several replies wants to see others than the one that is always given.
        if fixed is not None and (job.choices == 1 or fixed.origin == "rule"):
            return fixed
        if self._replier.reply_from == "generate":
            several = self._replier.ranking.samples > 1 and job.choices == 1
            if not (alone and several and params.is_open):
                if job.choices > 1:
                    return None
                # It is found in a moment, unless the net is asked about it too. Who gives a seed
                # shall get the same, however busy the bot is.
                by_net = alone or not params.is_open
                return self._replier.written(job.state, [job.history], by_net)[0]
        most = min(params.max_tokens, MAX_RANKED_TOKENS)
        replier = self._replier.with_params(params.model_copy(update={"max_tokens": most}))
        generator = params.generator()
        return replier.choose(job.state, generator, job.recent, [job.history], keep_states=True)[0]
