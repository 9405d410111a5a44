"""The replies that are being said: their states are the rows of a few arrays."""

from collections import deque
from collections.abc import Callable, Sequence

import numpy as np

from elman.data.tokenizer import END
from elman.generate.bot import Bot
from elman.generate.decoder import Decoder, State
from elman.generate.replier import Chosen, Origin
from elman.generate.sampling import ReplySampler, choose
from elman.generate.stopping import StopMatcher
from elman.generate.token_draw import token_logprobs
from elman.serve.isolation import step_rows
from elman.serve.jobs import Ended, Job, Reason, Said

Stated = tuple[np.ndarray, State]
"""Logits, (rows, vocabulary_size), and the state."""


class Reply:
    """One reply as it is said.

    Args:
        job: what asked for it.
        choice: which of the job's replies it is.
        bot: who says it.
        begins: its first tokens, where they were chosen; None: as the job says.
    """

    def __init__(
        self, job: Job, choice: int, bot: Bot, begins: Sequence[int] | None = None
    ) -> None:
        self.job, self.choice = job, choice
        self._characters = bot.tokenizer.characters
        self.sampler = ReplySampler(job.params, job.recent, choice, self._characters)
        self.sampler.left += len(job.begins)
        self.token: int | None = None
        """What is said in this round; None: it is drawn."""
        self.reason: Reason | None = None if self.sampler.left else "length"
        """Why it ends, where something else than the bot's END decides that."""
        self.origin: Origin = "generate"
        self._begins = deque(job.begins if begins is None else begins)
        self._text = bot.tokenizer.decode_stream()
        self._stop = StopMatcher(job.stop_texts)
        self._end_likelihood: tuple[float, Sequence[tuple[int, float]]] | None = None

    def next(self) -> int | None:
        """Return the token that must be said, if any."""
        if self.job.cancelled and self.reason is None:
            self.reason = "cancelled"
        if self.reason is not None:
            begun = len(self.sampler.said) < len(self.job.begins)
            if begun or self.reason == "length" or self.sampler.is_whole:
                return END
            self.sampler.left = 0  # but for what the last character lacks
        return self._begins.popleft() if self._begins else None

    def say(self, token: int) -> str:
        """Take a token; return the text that can be told now, and never a stop text in part."""
        self.sampler.say(token)
        if self.sampler.left <= 0 and self.reason is None:
            self.reason = "length"
        text = self._text.say(token)
        # What a reply was told to begin with does not end it.
        if len(self.sampler.said) <= len(self.job.begins):
            return text
        if self._stop.found:
            return ""
        told = self._stop.feed(text)
        if self._stop.found:
            self.reason = "stop"
        return told

    def rest(self) -> str:
        """Return the text that was held back; of a character that is not whole, nothing."""
        return self._stop.rest()

    def tell(self, token: int, logits: np.ndarray | None = None) -> None:
        """Say a token to whoever listens.

        Args:
            logits: among which it was chosen, (vocabulary_size,); None: nobody asks how likely.
        """
        count = self.job.params.logprobs
        likely = None
        if count is not None and logits is not None:
            likely = token_logprobs(logits, token, count)
        if token == END:
            self._end_likelihood = likely if self.reason is None else None
            return
        text, first = self.say(token), len(self.sampler.said) == 1
        self.job.deliver(Said(self.choice, token, text, first, *likely or ()))

    def tell_whole(self, chosen: Chosen, state_after: Callable[[tuple[int, ...]], State]) -> None:
        """Tell a reply that was chosen, as far as its request lets it be said.

        Args:
            chosen: what is said in it.
            state_after: gives the state after what was said of them, and END.
        """
        self.origin = chosen.origin
        told = self._characters.beginning(chosen.tokens, self.sampler.left)
        if len(told) < len(chosen.tokens):
            self.sampler.left = len(told)
        if not told:
            self.reason = "length"
        for token in told:
            if self.reason == "stop" and self.sampler.is_whole:
                break
            self.tell(token)
        self.end(state_after(tuple(self.sampler.said)))

    def end(self, state: State) -> None:
        """Tell the end, and the state after it."""
        text, said = self.rest(), tuple(self.sampler.said)
        reason = self.reason or ("length" if self.sampler.cut else "stop")
        logprob, likeliest = self._end_likelihood or (None, ())
        self.job.finish(
            Ended(self.choice, reason, text, said, state, logprob, likeliest, self.origin)
        )


class ReplyBatch:
    """Says one token of every reply at a time."""

    def __init__(self, decoder: Decoder) -> None:
        self.replies: list[Reply] = []
        self.tokens = 0
        """Said so far."""
        self._decoder = decoder
        nothing = np.empty((0, decoder.vocabulary_size), np.float32)
        self._stated: Stated = nothing, decoder.initial_state(0)

    def add(self, replies: Sequence[Reply], stated: Stated) -> None:
        """Let some more replies be said, each from its row."""
        self.replies += replies
        self._stated = self._join([self._stated, stated])

    def select(self, stated: Stated, rows: Sequence[int]) -> Stated:
        """Return some rows, in that order."""
        return stated[0][list(rows)], self._decoder.select(stated[1], rows)

    def _join(self, parts: Sequence[Stated]) -> Stated:
        if len(parts) == 1:
            return parts[0]
        logits, states = zip(*parts, strict=True)
        return np.concatenate(logits), self._decoder.join(states)

    def say(self) -> None:
        """Say one token of every reply."""
        for reply in self.replies:
            reply.token = reply.job.guarded(reply.next)
        self._choose()
        for reply, logits in zip(self.replies, self._stated[0], strict=True):
            reply.job.guarded(reply.tell, reply.token, logits)
        self.drop_failed()
        if self.replies:
            self._step()

    def _fail(self, row: int, error: Exception) -> None:
        self.replies[row].job.fail(error)

    def _choose(self) -> None:
        """Draw the tokens of the replies whose next one is not known."""
        free = [row for row, reply in enumerate(self.replies) if reply.token is None]

        def draw(rows: Sequence[int]) -> list[int]:
            every = self._stated[0]
            logits = every if len(rows) == len(every) else every[list(rows)]
            return choose(logits, [self.replies[row].sampler for row in rows])

        for rows, tokens in step_rows(draw, free, self._fail):
            for row, token in zip(rows, tokens, strict=True):
                self.replies[row].token = token

    def _step(self) -> None:
        """Take every reply's token in; those whose token is END have ended."""
        replies, decoder, state = self.replies, self._decoder, self._stated[1]
        tokens = np.array([reply.token for reply in replies])
        ended = {row for row, reply in enumerate(replies) if reply.token == END}
        self.tokens += len(tokens) - len(ended)
        apart = set() if decoder.ends_by_step else ended
        stepping = [row for row in range(len(replies)) if row not in apart]

        def end(rows: Sequence[int]) -> State:
            return decoder.end_message(decoder.select(state, rows))

        def step(rows: Sequence[int]) -> Stated:
            own = state if len(rows) == len(replies) else decoder.select(state, rows)
            return decoder.step(tokens[list(rows)], own)

        last: dict[int, State] = {}
        for rows, after in step_rows(end, sorted(apart), self._fail):
            last |= {row: decoder.select(after, [at]) for at, row in enumerate(rows)}
        going, parts = [], []
        for rows, stated in step_rows(step, stepping, self._fail):
            own = [at for at, row in enumerate(rows) if row not in ended]
            for at in set(range(len(rows))).difference(own):
                last[rows[at]] = decoder.select(stated[1], [at])
            going += [replies[rows[at]] for at in own]
            parts.append(stated if len(own) == len(rows) else self.select(stated, own))
        self.replies = going
        self._stated = self._join(parts) if parts else self.select(self._stated, [])
        for row, after in last.items():
            replies[row].job.guarded(replies[row].end, after)
        self.drop_failed()

    def drop_failed(self) -> None:
        """Let the replies of failed jobs go."""
        good = [row for row, reply in enumerate(self.replies) if not reply.job.failed]
        if len(good) < len(self.replies):
            self.replies = [self.replies[row] for row in good]
            self._stated = self.select(self._stated, good)
