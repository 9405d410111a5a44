"""Continuous batching: one thread in which all conversations with a bot are read and said.

The states of the lanes that speak are the rows of a few tensors. Each round reads a bounded piece
of what waits to be read, and then says one token for every lane that speaks; so reading never
starves speaking. Whoever listens is handed what was said without being waited for.
"""

import logging
import threading
from collections import deque
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from elman.bptt import State
from elman.chat.replies import Replier
from elman.data.tokenizer import END
from elman.model.checkpoint import Bot
from elman.serve.jobs import Ended, Failed, Job, Lane, Read, Said
from elman.serve.sampling import choose, likelihoods

LANES = 32
"""Replies that are said at once."""
WAITING = 96
"""Replies that may wait for a lane; more are refused."""
ROUND = 256
"""Tokens that are read in a round, while somebody speaks."""


class FullError(Exception):
    """So many replies wait that one more is refused."""


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
        self._waiting: deque[Job] = deque()
        self._open = 0
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
        return self._open

    def submit(self, job: Job) -> None:
        """Ask for replies.

        Raises:
            FullError: where too many wait, or the batcher is closed.
        """
        with self._wake:
            if (
                self._closing
                or self._open + job.choices > self.lanes_at_most + self.waiting_at_most
            ):
                raise FullError
            self._open += job.choices
            self._waiting.append(job)
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
                while not (self._waiting or self._reading or self._lanes):
                    if self._closing:
                        return
                    self._wake.wait()
            try:
                with torch.no_grad():
                    self._admit()
                    self._read()
                    self._say()
            except Exception as error:
                # One bad round must not end the server: whoever took part is told.
                logging.getLogger("elman").exception("a round of the batcher failed")
                self._fail(f"{type(error).__name__} while replying")

    def _admit(self) -> None:
        """Take jobs in the order in which they came, while there are lanes for their replies."""
        taken = len(self._lanes) + sum(job.choices for job in self._reading)
        while True:
            with self._wake:
                if not self._waiting:
                    return
                job = self._waiting[0]
                if not job.cancelled and taken and taken + job.choices > self.lanes_at_most:
                    return
                self._waiting.popleft()
            job.pieces.extend(p for m in job.unread for p in self._chatbot.pieces(m))
            self._reading.append(job)
            taken += job.choices

    def _read(self) -> None:
        """Read some of what waits to be read, a piece of every job at a time."""
        budget = ROUND
        while self._reading and budget > 0:
            for job in [job for job in self._reading if job.cancelled]:
                self._reading.remove(job)
                for choice in range(job.choices):
                    self._finish(job, Ended(choice, "cancelled", "", (), job.state))
            unread = [job for job in self._reading if job.pieces]
            if unread:
                some = [self._some(job, budget // len(unread)) for job in unread]
                state = tuple(
                    torch.cat(rows) for rows in zip(*(j.state for j in unread), strict=True)
                )
                state = self._chatbot.absorb(some, state)
                for row, job in enumerate(unread):
                    job.state = tuple(tensor[row : row + 1].clone() for tensor in state)
                budget -= sum(len(piece) for lane in some for piece in lane)
            self._begin([job for job in self._reading if not job.pieces])

    @staticmethod
    def _some(job: Job, budget: int) -> list[np.ndarray]:
        """The next pieces of a job: at least one, then as many as the budget allows."""
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
        rows = [torch.cat(tensors) for tensors in zip(*(job.state for job in jobs), strict=True)]
        logits, state = self._chatbot.begin_reply(tuple(rows))
        copies = [row for row, job in enumerate(jobs) for _ in range(job.choices)]
        self._logits = torch.cat([self._logits, logits[copies]])
        self._state = tuple(
            torch.cat([mine, new[copies]]) for mine, new in zip(self._state, state, strict=True)
        )
        alone = not self._lanes and len(self._reading) == 1
        for job in jobs:
            script = self._chosen(job, alone)
            self._reading.remove(job)
            self._lanes += [Lane(job, choice, self.bot, script) for choice in range(job.choices)]
            job.deliver(Read(job.state))

    def _chosen(self, job: Job, alone: bool) -> Sequence[int] | None:
        """The reply, where it is chosen as a whole; None: it is drawn.

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
        shorter = min(sampling.longest, wishes.longest)
        replier = self._replier.like(sampling.model_copy(update={"longest": shorter}))
        generator = sampling.generator()
        return replier.choose(job.state, generator, job.recent, job.avoid)[0].tokens

    def _say(self) -> None:
        """One token of every lane."""
        if not self._lanes:
            return
        forced = [lane.next() for lane in self._lanes]
        tokens = [END if token is None else token for token in forced]
        free = [row for row, token in enumerate(forced) if token is None]
        if free:
            rows = self._logits if len(free) == len(tokens) else self._logits[free]
            chosen = choose(rows, [self._lanes[row].chooser for row in free])
            for row, token in zip(free, chosen, strict=True):
                tokens[row] = token
        for row, token in enumerate(tokens):
            if token != END:
                self._tell(self._lanes[row], token, self._logits[row])
        going = [row for row, token in enumerate(tokens) if token != END]
        ended = [row for row, token in enumerate(tokens) if token == END]
        self.tokens += len(going)
        if not ended:
            self._logits, self._state = self._chatbot.step(torch.tensor(tokens), self._state)
            return
        if self._chatbot.ends_by_step:
            logits, state = self._chatbot.step(torch.tensor(tokens), self._state)
            after = _rows(state, ended)
            self._logits, self._state = logits[going], _rows(state, going)
        else:
            after = self._chatbot.end_message(_rows(self._state, ended))
            self._state = _rows(self._state, going)
            if going:
                said = torch.tensor([tokens[row] for row in going])
                self._logits, self._state = self._chatbot.step(said, self._state)
            else:
                self._logits = self._logits[:0]
        lanes, self._lanes = self._lanes, [self._lanes[row] for row in going]
        for number, row in enumerate(ended):
            lane, own = lanes[row], _rows(after, [number])
            text = lane.rest()
            end = Ended(lane.choice, lane.ended_by, text, tuple(lane.chooser.said), own)
            self._finish(lane.job, end)

    def _tell(self, lane: Lane, token: int, logits: Tensor) -> None:
        text = lane.say(token)
        count = lane.job.wishes.logprobs
        likely = () if count is None else likelihoods(logits, token, count)
        first = len(lane.chooser.said) == 1
        lane.job.deliver(Said(lane.choice, token, text, first, *likely))

    def _finish(self, job: Job, event: Ended) -> None:
        with self._wake:
            self._open -= 1
        job.deliver(event)

    def _fail(self, error: str) -> None:
        jobs = {lane.job: 0 for lane in self._lanes} | {job: job.choices for job in self._reading}
        for lane in self._lanes:
            jobs[lane.job] += 1
        self._lanes, self._reading = [], []
        self._state = self._chatbot.initial_state(0)
        self._logits = self._logits[:0]
        for job, replies in jobs.items():
            with self._wake:
                self._open -= replies
            job.deliver(Failed(error))


def _rows(state: State, rows: Sequence[int]) -> State:
    return tuple(tensor[list(rows)] for tensor in state)
