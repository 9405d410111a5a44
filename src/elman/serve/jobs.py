"""What a batcher is asked for, what it tells, and one reply as it is said."""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

import numpy as np

from elman.bptt import State
from elman.data.tokenizer import END
from elman.generate.decoder import Decoder
from elman.generate.penalties import History
from elman.generate.replier import Origin
from elman.generate.sampling import ReplySampler, SamplingParams
from elman.generate.stopping import StopMatcher, StopTexts
from elman.model.checkpoint import Bot

Reason = Literal["stop", "length", "cancelled"]


@dataclass(frozen=True)
class Read:
    """All that came before the reply was read."""

    state: State


@dataclass(frozen=True)
class Said:
    """A token of a reply, and the text that it completed.

    Args:
        choice: of which of the request's replies.
        token: its id.
        text: may be empty.
        first: whether the reply begins with it.
        logprob: of the token, where it was asked for.
        likeliest: the likeliest tokens and theirs.
    """

    choice: int
    token: int
    text: str
    first: bool
    logprob: float | None = None
    likeliest: Sequence[tuple[int, float]] = ()


@dataclass(frozen=True)
class Ended:
    """The end of a reply.

    Args:
        choice: of which of the request's replies.
        reason: why.
        text: its last.
        said: all of its tokens.
        state: after it, and END.
        logprob: of END, where the bot chose it and it was asked for.
        likeliest: the likeliest tokens there and theirs.
        origin: where the reply came from.
    """

    choice: int
    reason: Reason
    text: str
    said: tuple[int, ...]
    state: State
    logprob: float | None = None
    likeliest: Sequence[tuple[int, float]] = ()
    origin: Origin = "generate"


@dataclass(frozen=True)
class Failed:
    """The replies could not be made."""

    error: str


Event = Read | Said | Ended | Failed


@dataclass(eq=False)
class Job:
    """A request for one or more replies.

    Args:
        state: of one lane, before what is unread.
        unread: messages, each from its role to its END.
        params: how to reply.
        deliver: is called with each event, in the batcher's thread; it must not block.
        recent: tokens under the repetition penalty.
        choices: how many replies.
        begins: tokens with which each reply begins, and which are told like its own.
        history: what was said before, with which replies are compared.
        owner: who asks.
        is_continuation: whether it goes on with a request that was admitted already.
    """

    state: State
    unread: Sequence[np.ndarray]
    params: SamplingParams
    deliver: Callable[[Event], None]
    recent: Sequence[int] = ()
    choices: int = 1
    begins: Sequence[int] = ()
    history: History = field(default_factory=History)
    owner: str = ""
    is_continuation: bool = False
    cancelled: bool = field(default=False, init=False)
    failed: bool = field(default=False, init=False)
    ended: int = field(default=0, init=False)
    """Replies that have ended."""
    pieces: deque[np.ndarray] | None = field(default=None, init=False)
    """What is left to read, in parts; None until it was cut."""

    def cut(self, decoder: Decoder) -> None:
        """Cut what is unread into parts that may be read at different times."""
        if self.pieces is None:
            self.pieces = deque(p for message in self.unread for p in decoder.parts(message))

    @cached_property
    def stop_texts(self) -> StopTexts:
        """What ends the replies, prepared once for all of them."""
        return StopTexts(self.params.stop)


class Lane:
    """One reply being said.

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
        characters = bot.tokenizer.characters
        self.sampler = ReplySampler(job.params, job.recent, choice, characters)
        self.sampler.left += len(job.begins)
        self.token: int | None = None
        """What is said in this round; None: it is drawn."""
        self.end_likelihood: tuple[float, Sequence[tuple[int, float]]] | None = None
        self._begins = deque(job.begins if begins is None else begins)
        self.reason: Reason | None = None if self.sampler.left else "length"
        self._telling = bot.tokenizer.decode_stream()
        self._stop = StopMatcher(job.stop_texts) if job.params.stop else None

    def next(self) -> int | None:
        """The token that must be said, if any."""
        if self.job.cancelled and self.reason is None:
            self.reason = "cancelled"
        if self.reason is not None:
            begun = len(self.sampler.said) < len(self.job.begins)
            if begun or self.reason == "length" or self.sampler.is_whole:
                return END
            self.sampler.left = 0  # but for what the last character lacks
        return self._begins.popleft() if self._begins else None

    def say(self, token: int) -> str:
        """Take a token; the text that can be told now. A stop text is never told in part."""
        self.sampler.say(token)
        if self.sampler.left <= 0 and self.reason is None:
            self.reason = "length"
        text = self._telling.say(token)
        # What a reply was told to begin with does not end it.
        return text if len(self.sampler.said) <= len(self.job.begins) else self._told(text)

    @property
    def ended_by(self) -> Reason:
        """Why the reply has ended."""
        return self.reason or ("length" if self.sampler.cut else "stop")

    def rest(self) -> str:
        """The text that was held back, at the end; of a character that is not whole, nothing."""
        return "" if self._stop is None else self._stop.rest()

    def _told(self, text: str) -> str:
        if self._stop is None:
            return text
        if self._stop.found:
            return ""
        told = self._stop.feed(text)
        if self._stop.found:
            self.reason = "stop"
        return told
