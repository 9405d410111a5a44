"""The replies that are being said: their states are the rows of a few tensors."""

from collections.abc import Sequence
from itertools import chain

import numpy as np

from elman.bptt import State
from elman.data.tokenizer import END
from elman.generate.decoder import Decoder
from elman.generate.sampling import choose, token_logprobs
from elman.serve.accounts import Accounts
from elman.serve.isolation import step_rows
from elman.serve.jobs import Ended, Lane, Said

Stated = tuple[np.ndarray, State]
"""Logits, (rows, vocabulary_size), and the state."""


class Speakers:
    """Says one token of every reply at a time.

    Args:
        decoder: who says them.
        accounts: of their jobs.
    """

    def __init__(self, decoder: Decoder, accounts: Accounts) -> None:
        self.lanes: list[Lane] = []
        self.tokens = 0
        """Said so far."""
        self._decoder, self._accounts = decoder, accounts
        self._state: State = decoder.initial_state(0)
        self._logits = np.empty((0, decoder.vocabulary_size), np.float32)

    def add(self, lanes: Sequence[Lane], logits: np.ndarray, state: State) -> None:
        """Let some more lanes speak, each from its row."""
        self.lanes += lanes
        self._logits, self._state = self.join([(self._logits, self._state), (logits, state)])

    def join(self, parts: Sequence[Stated]) -> Stated:
        """Put the rows of several below one another."""
        logits, states = zip(*parts, strict=True)
        return np.concatenate(logits), self._decoder.join(states)

    def _rows(self, stated: Stated, rows: Sequence[int]) -> Stated:
        return stated[0][list(rows)], self._decoder.select(stated[1], rows)

    def say(self) -> None:
        """One token of every lane."""
        for lane in self.lanes:
            lane.token = self._accounts.guarded(lane.job, lane.next)
        self._choose()
        for lane, logits in zip(self.lanes, self._logits, strict=True):
            self._accounts.guarded(lane.job, self._tell, lane, logits)
        self.sweep()
        if self.lanes:
            self._step()

    def _choose(self) -> None:
        """Draw the tokens of the lanes whose next one is not known."""
        free = [row for row, lane in enumerate(self.lanes) if lane.token is None]
        points = [self.lanes[row].sampler.point() for row in free]

        def draw(rows: Sequence[int]) -> list[int]:
            own = [free[row] for row in rows]
            logits = self._logits if len(own) == len(self.lanes) else self._logits[own]
            samplers = [self.lanes[row].sampler for row in own]
            return choose(logits, samplers, [points[row] for row in rows])

        stepped = step_rows(draw, lambda parts: list(chain(*parts)), len(free))
        for row, error in stepped.failed.items():
            self._accounts.fail(self.lanes[free[row]].job, error)
        for row, token in zip(stepped.rows, stepped.result or (), strict=True):
            self.lanes[free[row]].token = token

    def _tell(self, lane: Lane, logits: np.ndarray) -> None:
        """Tell a lane's token to whoever listens."""
        token, count = lane.token, lane.job.params.logprobs
        assert token is not None
        if token == END:
            if count is not None and lane.reason is None:
                lane.end_likelihood = token_logprobs(logits, END, count)
            return
        text = lane.say(token)
        likely = () if count is None else token_logprobs(logits, token, count)
        lane.job.deliver(Said(lane.choice, token, text, len(lane.sampler.said) == 1, *likely))

    def _step(self) -> None:
        """Take every lane's token in; those whose token is END have ended."""
        tokens = np.array([lane.token for lane in self.lanes])
        ended = {row for row, lane in enumerate(self.lanes) if lane.token == END}
        self.tokens += len(tokens) - len(ended)
        apart = sorted(ended) if not self._decoder.ends_by_step else []
        stepping = sorted(set(range(len(tokens))).difference(apart))

        def step(rows: Sequence[int]) -> Stated:
            own = [stepping[row] for row in rows]
            every = len(own) == len(tokens)
            state = self._state if every else self._decoder.select(self._state, own)
            return self._decoder.step(tokens[own], state)

        def end(rows: Sequence[int]) -> State:
            own = [apart[row] for row in rows]
            return self._decoder.end_message(self._decoder.select(self._state, own))

        last = step_rows(end, self._decoder.join, len(apart))
        stepped = step_rows(step, self.join, len(stepping))
        failed = {apart[row]: error for row, error in last.failed.items()}
        failed |= {stepping[row]: error for row, error in stepped.failed.items()}
        after: dict[int, State] = {}
        if last.result is not None:
            for number, row in enumerate(last.rows):
                after[apart[row]] = self._decoder.select(last.result, [number])
        there = [stepping[row] for row in stepped.rows]
        if stepped.result is not None:
            for number, row in enumerate(there):
                if row in ended:
                    after[row] = self._decoder.select(stepped.result[1], [number])
        lanes = self.lanes
        self._keep(there, ended, stepped.result)
        for row, error in failed.items():
            self._accounts.fail(lanes[row].job, error)
        for row, state in after.items():
            self._accounts.guarded(lanes[row].job, self._end, lanes[row], state)
        self.sweep()

    def _keep(self, there: list[int], ended: set[int], stated: Stated | None) -> None:
        """Go on with the lanes that go on, where the others' rows are left out.

        Args:
            there: the lanes of the rows that were stepped.
            ended: the lanes that have ended.
            stated: of those rows; None: there are none.
        """
        own = [number for number, row in enumerate(there) if row not in ended]
        self.lanes = [self.lanes[there[number]] for number in own]
        if stated is None:
            stated = self._rows((self._logits, self._state), [])
        elif len(own) < len(there):
            stated = self._rows(stated, own)
        self._logits, self._state = stated

    def _end(self, lane: Lane, state: State) -> None:
        """Tell the end of a lane."""
        text = lane.rest()
        said, likely = tuple(lane.sampler.said), lane.end_likelihood or ()
        self._accounts.finish(
            lane.job, Ended(lane.choice, lane.ended_by, text, said, state, *likely)
        )

    def sweep(self) -> None:
        """Let the lanes of failed jobs go."""
        good = [row for row, lane in enumerate(self.lanes) if not lane.job.failed]
        if len(good) < len(self.lanes):
            self.lanes = [self.lanes[row] for row in good]
            self._logits, self._state = self._rows((self._logits, self._state), good)
