"""Continuous batching: one thread in which all conversations with a bot are read and said.

The states of the lanes that speak are the rows of a few tensors. Each round reads a bounded piece
of what waits to be read, and then says one token for every lane that speaks; so reading never
starves speaking. Whoever listens is handed what was said without being waited for.
"""

import logging
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from functools import cache

import numpy as np

from elman.bptt import State
from elman.generate.network import decoder_of
from elman.generate.replier import Chosen, Replier
from elman.generate.rerank import as_message
from elman.model.checkpoint import Bot
from elman.serve.accounts import Accounts
from elman.serve.isolation import step_rows
from elman.serve.jobs import Ended, Job, Lane, Read, Said
from elman.serve.queueing import FairQueue, FullError, has_room, has_share
from elman.serve.speaking import Speakers, Stated

__all__ = ["LANES", "WAITING", "Batcher", "FullError"]

LANES = 32
"""Replies that are said at once."""
WAITING = 96
"""Replies that may wait for a lane; more are refused."""
ROUND = 256
"""Tokens that are read in a round, while somebody speaks."""
MAX_RANKED_TOKENS = 200
"""Tokens of a reply that are chosen as a whole; what follows is drawn with everybody's."""


class Batcher:
    """Reads and says for one bot, in a thread of its own.

    Args:
        bot: packed.
        lanes: replies that are said at once.
        waiting: replies that may wait for that.
        replier: chooses replies; None: they are said as they are drawn.
    """

    def __init__(
        self,
        bot: Bot,
        lanes: int = LANES,
        waiting: int = WAITING,
        replier: Replier | None = None,
    ) -> None:
        self._replier = replier
        self.bot, self.lanes_at_most, self.waiting_at_most = bot, lanes, waiting
        self.decoder = decoder_of(bot)
        self._wake = threading.Condition()
        self._queue = FairQueue(lanes + waiting)
        self._closing = False
        self._reading: list[Job] = []
        self._accounts = Accounts(self._queue, self._wake)
        self._speakers = Speakers(self.decoder, self._accounts)
        self._thread = threading.Thread(target=self._run, name="elman batcher", daemon=True)
        self._thread.start()

    @property
    def speaking(self) -> int:
        return len(self._speakers.lanes)

    @property
    def tokens(self) -> int:
        """Said so far."""
        return self._speakers.tokens

    @property
    def open(self) -> int:
        """Replies that wait, are read for, or are said."""
        with self._wake:
            return self._queue.unfinished

    def has_room(self, owner: str, replies: int) -> bool:
        """Whether an owner's replies would be admitted now."""
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

    def cancel(self, job: Job) -> None:
        """End a job's replies as far as they came."""
        job.cancelled = True

    def close(self) -> None:
        """Finish what was asked for, and end the thread."""
        with self._wake:
            self._closing = True
            self._wake.notify()
        self._thread.join()

    def _run(self) -> None:
        while True:
            with self._wake:
                while not (self._queue or self._reading or self._speakers.lanes):
                    if self._closing:
                        return
                    self._wake.wait()
            try:
                self._admit()
                self._read()
                self._speakers.say()
            except Exception as error:
                # What concerns one reply fails alone; whatever else breaks must not end the server.
                logging.getLogger("elman").exception("a round of the batcher failed")
                for job in {*self._reading, *(lane.job for lane in self._speakers.lanes)}:
                    self._accounts.fail(job, error)
                self._forget_failed()
                self._speakers.sweep()

    def _admit(self) -> None:
        """Take jobs in, owner by owner, while there are lanes for their replies."""
        with self._wake:
            left = self._queue.take_cancelled()
        for job in left:
            self._accounts.cancel(job)
        taken = Counter(lane.job.owner for lane in self._speakers.lanes)
        for job in self._reading:
            taken[job.owner] += job.choices

        def fits(job: Job, passes: bool) -> bool:
            if not taken:
                return True
            # Nobody takes the lanes that one who waits longer needs, but for a share of their own.
            room = has_share if passes else has_room
            return room(taken, job.owner, job.choices, self.lanes_at_most)

        while True:
            with self._wake:
                taking = self._queue.take(fits)
            if taking is None:
                break
            taken[taking.owner] += taking.choices
            self._reading.append(taking)
            self._accounts.guarded(taking, taking.cut, self.decoder)
        self._forget_failed()

    def _forget_failed(self) -> None:
        """Read no further for jobs that failed."""
        self._reading = [job for job in self._reading if not job.failed]

    def _read(self) -> None:
        """Read some of what waits to be read, a piece of every job at a time."""
        budget = ROUND
        while self._reading and budget > 0:
            for job in [job for job in self._reading if job.cancelled]:
                self._reading.remove(job)
                self._accounts.cancel(job)
            unread = [job for job in self._reading if job.pieces]
            if unread:
                budget -= self._absorb(unread, budget // len(unread))
            self._begin([job for job in self._reading if not job.pieces])

    def _absorb(self, jobs: Sequence[Job], budget: int) -> int:
        """Read the next pieces of some jobs; how many tokens that were."""
        some = [self._some(job, budget) for job in jobs]

        def absorb(rows: Sequence[int]) -> State:
            state = self.decoder.join([jobs[row].state for row in rows])
            return self.decoder.read([some[row] for row in rows], state)

        stepped = step_rows(absorb, self.decoder.join, len(jobs))
        if stepped.result is not None:
            for number, row in enumerate(stepped.rows):
                jobs[row].state = self.decoder.select(stepped.result, [number])
        for row, error in stepped.failed.items():
            self._accounts.fail(jobs[row], error)
        self._forget_failed()
        return sum(len(piece) for own in some for piece in own)

    @staticmethod
    def _some(job: Job, budget: int) -> list[np.ndarray]:
        """The next pieces of a job: at least one, then as many as the budget allows."""
        assert job.pieces
        some = [job.pieces.popleft()]
        size = len(some[0])
        while job.pieces and size + len(job.pieces[0]) <= budget:
            some.append(job.pieces.popleft())
            size += len(some[-1])
        return some

    def _begin(self, jobs: Sequence[Job]) -> None:
        """Let jobs that were read begin to speak."""
        if not jobs:
            return

        def begin(rows: Sequence[int]) -> Stated:
            return self.decoder.begin_reply(self.decoder.join([jobs[row].state for row in rows]))

        alone = not self._speakers.lanes and len(self._reading) == 1
        stepped = step_rows(begin, self._speakers.join, len(jobs))
        for row, error in stepped.failed.items():
            self._accounts.fail(jobs[row], error)
        copies: list[int] = []
        begun: list[Lane] = []
        for number, row in enumerate(stepped.rows):
            lanes = self._accounts.guarded(jobs[row], self._lanes_of, jobs[row], alone) or []
            begun += lanes
            copies += [number] * len(lanes)
        if copies and stepped.result is not None:
            logits, state = stepped.result
            self._speakers.add(begun, logits[copies], self.decoder.select(state, copies))
        self._forget_failed()

    def _lanes_of(self, job: Job, alone: bool) -> list[Lane]:
        """Return the replies to a job that was read and that are yet to be drawn.

        Whoever listens is told that it was read. A reply that was chosen as a whole is told then.
        """
        chosen = self._chosen(job, alone)
        job.deliver(Read(job.state))
        self._reading.remove(job)
        if chosen is None:
            return [Lane(job, choice, self.bot) for choice in range(job.choices)]
        tokens, left = chosen.tokens, job.params.max_tokens
        if chosen.origin == "generate" and len(tokens) == MAX_RANKED_TOKENS < left:
            return [Lane(job, choice, self.bot, tokens) for choice in range(job.choices)]

        @cache
        def ended(said: tuple[int, ...]) -> State:
            if said == chosen.tokens and self._replier is not None:
                return self._replier.ended(chosen, job.state)
            return self.decoder.read([[as_message(said)]], job.state)

        for choice in range(job.choices):
            self._tell_whole(Lane(job, choice, self.bot), chosen, ended)
        return []

    def _tell_whole(
        self, lane: Lane, chosen: Chosen, ended: Callable[[tuple[int, ...]], State]
    ) -> None:
        """Tell a reply that was chosen, as far as its request lets it be said.

        Args:
            lane: the reply.
            chosen: what is said in it.
            ended: gives the state after what was said of that, and END.
        """
        job, sampler = lane.job, lane.sampler
        characters = self.bot.tokenizer.characters
        told = characters.beginning(chosen.tokens, sampler.left)
        if len(told) < len(chosen.tokens):
            sampler.left = len(told)
        if not told:
            lane.reason = "length"
        for token in told:
            if lane.reason == "stop" and sampler.is_whole:
                break
            text = lane.say(token)
            job.deliver(Said(lane.choice, token, text, len(sampler.said) == 1))
        said = tuple(sampler.said)
        told_end = Ended(
            lane.choice, lane.ended_by, lane.rest(), said, ended(said), origin=chosen.origin
        )
        self._accounts.finish(job, told_end)

    def _chosen(self, job: Job, alone: bool) -> Chosen | None:
        """Choose a reply as a whole, or how it begins; None: it is drawn.

        Replies of people are chosen for everybody; the best of several drawn ones for whoever is
        alone with the bot, so that nobody waits for the drawing, and leaves open how it is done.
        """
        params = job.params
        if self._replier is None or job.begins or job.cancelled or not params.max_tokens:
            return None
        if (fixed := self._replier.fixed(job.history)) is not None:
            return fixed
        if self._replier.reply_from == "generate":
            several = self._replier.ranking.samples > 1 and job.choices == 1
            if not (alone and several and params.is_open):
                return None
        most = min(params.max_tokens, MAX_RANKED_TOKENS)
        replier = self._replier.with_params(params.model_copy(update={"max_tokens": most}))
        generator = params.generator()
        return replier.choose(job.state, generator, job.recent, [job.history], keep_states=True)[0]
