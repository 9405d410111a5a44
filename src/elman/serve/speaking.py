"""The replies that are being said: their states are the rows of a few tensors."""

from collections.abc import Sequence

import torch
from torch import Tensor

from elman.bptt import State
from elman.data.tokenizer import END
from elman.model.chatbot import Chatbot
from elman.serve.accounts import Accounts
from elman.serve.isolation import step_rows
from elman.serve.jobs import Ended, Lane, Said
from elman.serve.sampling import choose, likelihoods


class Speakers:
    """Says one token of every reply at a time.

    Args:
        chatbot: who says them.
        accounts: of their jobs.
    """

    def __init__(self, chatbot: Chatbot, accounts: Accounts) -> None:
        self.lanes: list[Lane] = []
        self.tokens = 0
        """Said so far."""
        self._chatbot, self._accounts = chatbot, accounts
        self._state: State = chatbot.initial_state(0)
        self._logits = torch.empty(0, chatbot.vocabulary_size)

    def add(self, lanes: Sequence[Lane], logits: Tensor, state: State) -> None:
        """Let some more lanes speak, each from its row."""
        self.lanes += lanes
        self._logits = torch.cat([self._logits, logits])
        self._state = tuple(map(torch.cat, zip(self._state, state, strict=True)))

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
        points = [self.lanes[row].chooser.point() for row in free]

        def draw(rows: Sequence[int]) -> tuple[Tensor]:
            own = [free[row] for row in rows]
            logits = self._logits if len(own) == len(self.lanes) else self._logits[own]
            choosers = [self.lanes[row].chooser for row in own]
            return (torch.tensor(choose(logits, choosers, [points[row] for row in rows])),)

        stepped = step_rows(draw, len(free))
        for row, error in stepped.failed.items():
            self._accounts.fail(self.lanes[free[row]].job, error)
        if stepped.rows:
            for row, token in zip(stepped.rows, stepped.tensors[0].tolist(), strict=True):
                self.lanes[free[row]].token = token

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
        tokens = torch.tensor([lane.token for lane in self.lanes])
        ended = [row for row, lane in enumerate(self.lanes) if lane.token == END]
        going = [row for row, lane in enumerate(self.lanes) if lane.token != END]
        self.tokens += len(going)
        apart = ended if not self._chatbot.ends_by_step else []
        stepping = [row for row in range(len(self.lanes)) if row not in set(apart)]

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
        lanes = self.lanes
        self._keep(there, going, stepped.tensors)
        for row, error in failed.items():
            self._accounts.fail(lanes[row].job, error)
        for row, state in after.items():
            self._accounts.guarded(lanes[row].job, self._end, lanes[row], state)
        self.sweep()

    def _keep(self, there: list[int], going: list[int], tensors: tuple[Tensor, ...]) -> None:
        """Go on with the lanes that go on, where the others' rows are left out.

        Args:
            there: the lanes of the rows that were stepped.
            going: the lanes that have not ended.
            tensors: the logits and the state of those rows.
        """
        own = [number for number, row in enumerate(there) if row in set(going)]
        self.lanes = [self.lanes[there[number]] for number in own]
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
        self._accounts.finish(
            lane.job, Ended(lane.choice, lane.ended_by, text, said, state, *likely)
        )

    def sweep(self) -> None:
        """Let the lanes of failed jobs go."""
        good = [row for row, lane in enumerate(self.lanes) if not lane.job.failed]
        if len(good) < len(self.lanes):
            self.lanes = [self.lanes[row] for row in good]
            self._logits, self._state = self._logits[good], _rows(self._state, good)


def _rows(state: State, rows: Sequence[int]) -> State:
    return tuple(tensor[list(rows)] for tensor in state)
