"""Continuous batching: one thread in which all conversations with a bot are read and said.

The states of the lanes that speak are the rows of a few tensors. Each round reads a bounded piece
of what waits to be read, and then says one token for every lane that speaks; so reading never
starves speaking. Whoever listens is handed what was said without being waited for.
"""

import logging
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from elman.bptt import State
from elman.chat.replies import Replier
from elman.data.tokenizer import END
from elman.model.checkpoint import Bot
from elman.serve.isolation import step_rows
from elman.serve.jobs import Ended, Failed, Job, Lane, Read, Said
from elman.serve.queueing import FairQueue, FullError, has_room, has_share
from elman.serve.sampling import choose, likelihoods

__all__ = ["LANES", "WAITING", "Batcher", "FullError"]

T = TypeVar("T")

LANES = 32
"""Replies that are said at once."""
WAITING = 96
"""Replies that may wait for a lane; more are refused."""
ROUND = 256
"""Tokens that are read in a round, while somebody speaks."""
MAX_RANKED_TOKENS = 200
"""Of a reply, those that are chosen as a whole; what follows is drawn with everybody's."""


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
        self.tokens = 0
        self._chatbot = bot.chatbot
        self._wake = threading.Condition()
        self._queue = FairQueue(lanes + waiting)
        self._closing = False
        self._reading: list[Job] = []
        self._lanes: list[Lane] = []
        self._state: State = bot.chatbot.initial_state(0)
        self._logits = torch.empty(0, bot.chatbot.vocabulary_size)
        self._thread = threading.Thread(target=self._run, name="elman batcher", daemon=True)
        self._thread.start()

    @property
    def speaking(self) -> int:
        return len(self._lanes)

    @property
    def open(self) -> int:
        """Replies that wait, are read for, or are said."""
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
                while not (self._queue or self._reading or self._lanes):
                    if self._closing:
                        return
                    self._wake.wait()
            try:
                with torch.no_grad():
                    self._admit()
                    self._read()
                    self._say()
            except Exception as error:
                # What concerns one reply fails alone; whatever else breaks must not end the server.
                logging.getLogger("elman").exception("a round of the batcher failed")
                for job in {*self._reading, *(lane.job for lane in self._lanes)}:
                    self._fail(job, error)
                self._sweep()

    def _admit(self) -> None:
        """Take jobs in, owner by owner, while there are lanes for their replies."""
        with self._wake:
            left = self._queue.take_cancelled()
        for job in left:
            self._cancelled(job)
        taken = Counter(lane.job.owner for lane in self._lanes)
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
                job = self._queue.take(fits)
            if job is None:
                return
            taken[job.owner] += job.choices
            self._reading.append(job)
            self._guarded(job, job.cut, self._chatbot)

    def _read(self) -> None:
        """Read some of what waits to be read, a piece of every job at a time."""
        budget = ROUND
        while self._reading and budget > 0:
            for job in [job for job in self._reading if job.cancelled]:
                self._reading.remove(job)
                self._cancelled(job)
            unread = [job for job in self._reading if job.pieces]
            if unread:
                budget -= self._absorb(unread, budget // len(unread))
            self._begin([job for job in self._reading if not job.pieces])

    def _absorb(self, jobs: Sequence[Job], budget: int) -> int:
        """Read the next pieces of some jobs; how many tokens that were."""
        some = [self._some(job, budget) for job in jobs]

        def absorb(rows: Sequence[int]) -> State:
            state = zip(*(jobs[row].state for row in rows), strict=True)
            return self._chatbot.absorb([some[row] for row in rows], tuple(map(torch.cat, state)))

        stepped = step_rows(absorb, len(jobs))
        for number, row in enumerate(stepped.rows):
            jobs[row].state = tuple(each[number : number + 1].clone() for each in stepped.tensors)
        for row, error in stepped.failed.items():
            self._fail(jobs[row], error)
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

        def begin(rows: Sequence[int]) -> tuple[Tensor, ...]:
            state = zip(*(jobs[row].state for row in rows), strict=True)
            logits, after = self._chatbot.begin_reply(tuple(map(torch.cat, state)))
            return logits, *after

        alone = not self._lanes and len(self._reading) == 1
        stepped = step_rows(begin, len(jobs))
        for row, error in stepped.failed.items():
            self._fail(jobs[row], error)
        copies = []
        for number, row in enumerate(stepped.rows):
            lanes = self._guarded(jobs[row], self._lanes_of, jobs[row], alone) or []
            self._lanes += lanes
            copies += [number] * len(lanes)
        if copies:
            logits, *state = (tensor[copies] for tensor in stepped.tensors)
            self._logits = torch.cat([self._logits, logits])
            self._state = tuple(map(torch.cat, zip(self._state, state, strict=True)))

    def _lanes_of(self, job: Job, alone: bool) -> list[Lane]:
        """The replies to a job that was read; whoever listens is told so."""
        script = self._chosen(job, alone)
        lanes = [Lane(job, choice, self.bot, script) for choice in range(job.choices)]
        job.deliver(Read(job.state))
        self._reading.remove(job)
        return lanes

    def _chosen(self, job: Job, alone: bool) -> Sequence[int] | None:
        """The reply, where it is chosen as a whole, or how it begins; None: it is drawn.

        Replies of people are chosen for everybody; the best of several drawn ones for whoever is
        alone with the bot, so that nobody waits for the drawing, and leaves open how it is done.
        """
        wishes = job.wishes
        if self._replier is None or job.begins or job.cancelled or not wishes.longest:
            return None
        if self._replier.reply_from == "generate":
            several = self._replier.ranking.samples > 1 and job.choices == 1
            if not (alone and several and wishes.open):
                return None
        sampling = wishes.sampling
        longest = min(sampling.longest, wishes.longest, MAX_RANKED_TOKENS)
        replier = self._replier.like(sampling.model_copy(update={"longest": longest}))
        generator = sampling.generator()
        chosen = replier.choose(job.state, generator, job.recent, job.avoid)[0]
        is_cut = chosen.origin == "generate" and longest == len(chosen.tokens) < wishes.longest
        return chosen.tokens if is_cut else (*chosen.tokens, END)

    def _say(self) -> None:
        """One token of every lane."""
        for lane in self._lanes:
            lane.token = self._guarded(lane.job, lane.next)
        self._choose()
        for lane, logits in zip(self._lanes, self._logits, strict=True):
            self._guarded(lane.job, self._tell, lane, logits)
        self._sweep()
        if self._lanes:
            self._step()

    def _choose(self) -> None:
        """Draw the tokens of the lanes whose next one is not known."""
        free = [row for row, lane in enumerate(self._lanes) if lane.token is None]
        points = [self._lanes[row].chooser.point() for row in free]

        def draw(rows: Sequence[int]) -> tuple[Tensor]:
            own = [free[row] for row in rows]
            logits = self._logits if len(own) == len(self._lanes) else self._logits[own]
            choosers = [self._lanes[row].chooser for row in own]
            return (torch.tensor(choose(logits, choosers, [points[row] for row in rows])),)

        stepped = step_rows(draw, len(free))
        for row, error in stepped.failed.items():
            self._fail(self._lanes[free[row]].job, error)
        if stepped.rows:
            for row, token in zip(stepped.rows, stepped.tensors[0].tolist(), strict=True):
                self._lanes[free[row]].token = token

    def _tell(self, lane: Lane, logits: Tensor) -> None:
        """Tell a lane's token to whoever listens."""
        token, count = lane.token, lane.job.wishes.logprobs
        assert token is not None
        if token == END:
            if count is not None and lane.reason is None:
                lane.end_likelihood = likelihoods(logits, END, count)
            return
        text = lane.say(token)
        likely = () if count is None else likelihoods(logits, token, count)
        lane.job.deliver(Said(lane.choice, token, text, len(lane.chooser.said) == 1, *likely))

    def _step(self) -> None:
        """Take every lane's token in; those whose token is END have ended."""
        tokens = torch.tensor([lane.token for lane in self._lanes])
        ended = [row for row, lane in enumerate(self._lanes) if lane.token == END]
        going = [row for row, lane in enumerate(self._lanes) if lane.token != END]
        self.tokens += len(going)
        apart = ended if not self._chatbot.ends_by_step else []
        stepping = [row for row in range(len(self._lanes)) if row not in set(apart)]

        def step(rows: Sequence[int]) -> tuple[Tensor, ...]:
            own = [stepping[row] for row in rows]
            state = self._state if len(own) == len(tokens) else _rows(self._state, own)
            logits, after = self._chatbot.step(tokens[own], state)
            return logits, *after

        def end(rows: Sequence[int]) -> State:
            return self._chatbot.end_message(_rows(self._state, [apart[row] for row in rows]))

        last, stepped = step_rows(end, len(apart)), step_rows(step, len(stepping))
        after: dict[int, State] = {}
        for number, row in enumerate(last.rows):
            after[apart[row]] = _rows(last.tensors, [number])
        there = [stepping[row] for row in stepped.rows]
        for number, row in enumerate(there):
            if row in set(ended):
                after[row] = _rows(stepped.tensors[1:], [number])
        failed = {apart[row]: error for row, error in last.failed.items()}
        failed |= {stepping[row]: error for row, error in stepped.failed.items()}
        lanes = self._lanes
        self._keep(there, going, stepped.tensors)
        for row, error in failed.items():
            self._fail(lanes[row].job, error)
        for row, state in after.items():
            self._guarded(lanes[row].job, self._end, lanes[row], state)
        self._sweep()

    def _keep(self, there: list[int], going: list[int], tensors: tuple[Tensor, ...]) -> None:
        """Go on with the lanes that go on, where the others' rows are left out.

        Args:
            there: the lanes of the rows that were stepped.
            going: the lanes that have not ended.
            tensors: the logits and the state of those rows.
        """
        own = [number for number, row in enumerate(there) if row in set(going)]
        self._lanes = [self._lanes[there[number]] for number in own]
        if not own:
            self._logits, self._state = self._logits[:0], _rows(self._state, [])
            return
        if len(own) < len(there):
            tensors = _rows(tensors, own)
        self._logits, self._state = tensors[0], tensors[1:]

    def _end(self, lane: Lane, state: State) -> None:
        """Tell the end of a lane."""
        text = lane.rest()
        said, likely = tuple(lane.chooser.said), lane.end_likelihood or ()
        self._finish(
            lane.job, Ended(lane.choice, lane.reason or "stop", text, said, state, *likely)
        )

    def _cancelled(self, job: Job) -> None:
        """Tell that a job's replies have ended before they began."""
        for choice in range(job.choices):
            ended = Ended(choice, "cancelled", "", (), job.state)
            self._guarded(job, self._finish, job, ended)

    def _finish(self, job: Job, event: Ended) -> None:
        with self._wake:
            self._queue.finish(job.owner, 1)
        job.ended += 1
        job.deliver(event)

    def _guarded(self, job: Job, work: Callable[..., T], *args: Any) -> T | None:
        """Do something for one job; if that fails, the job fails and no other."""
        if job.failed:
            return None
        try:
            return work(*args)
        except Exception as error:
            self._fail(job, error)
            return None

    def _fail(self, job: Job, error: Exception) -> None:
        """End what is left of a job, and tell why."""
        if job.failed:
            return
        logging.getLogger("elman").error("a reply failed", exc_info=error)
        job.failed = True
        if job in self._reading:
            self._reading.remove(job)
        with self._wake:
            self._queue.finish(job.owner, job.choices - job.ended)
        try:
            job.deliver(Failed(f"{type(error).__name__} while replying"))
        except Exception:
            logging.getLogger("elman").exception("nobody could be told that a reply failed")

    def _sweep(self) -> None:
        """Let the lanes of failed jobs go."""
        good = [row for row, lane in enumerate(self._lanes) if not lane.job.failed]
        if len(good) < len(self._lanes):
            self._lanes = [self._lanes[row] for row in good]
            self._logits, self._state = self._logits[good], _rows(self._state, good)


def _rows(state: State, rows: Sequence[int]) -> State:
    return tuple(tensor[list(rows)] for tensor in state)
