"""What a batcher is asked for, what it tells, and one reply as it is said."""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from elman.bptt import State
from elman.data.tokenizer import END
from elman.model.checkpoint import Bot
from elman.serve.sampling import Chooser, Wishes

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
    """The end of a reply: why, its last text, all of its tokens, and the state after it."""

    choice: int
    reason: Reason
    text: str
    said: tuple[int, ...]
    state: State


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
        wishes: how to reply.
        deliver: is called with each event, in the batcher's thread; it must not block.
        recent: tokens under the repetition penalty.
        choices: how many replies.
        begins: tokens with which each reply begins, and which are told like its own.
        avoid: replies that are chosen only where no other is about as good.
    """

    state: State
    unread: Sequence[np.ndarray]
    wishes: Wishes
    deliver: Callable[[Event], None]
    recent: Sequence[int] = ()
    choices: int = 1
    begins: Sequence[int] = ()
    avoid: Sequence[tuple[int, ...]] = ()
    cancelled: bool = field(default=False, init=False)
    pieces: deque[np.ndarray] = field(default_factory=deque, init=False)


class Lane:
    """One reply being said.

    Args:
        job: what asked for it.
        choice: which of the job's replies it is.
        bot: who says it.
        script: all of its tokens, where it was chosen as a whole; None: they are drawn.
    """

    def __init__(
        self, job: Job, choice: int, bot: Bot, script: Sequence[int] | None = None
    ) -> None:
        self.job, self.choice = job, choice
        characters = bot.tokenizer.characters
        self.chooser = Chooser(job.wishes, job.recent, choice, characters)
        self.chooser.left += len(job.begins)
        self._begins = deque(job.begins)
        if script is not None:
            told = characters.beginning(script, self.chooser.left)
            self._begins = deque((*told, END))
            if len(told) < len(script):
                self.chooser.left = len(told)
        self.reason: Reason | None = None if self.chooser.left else "length"
        self._telling = bot.tokenizer.telling()
        self._held = ""

    def next(self) -> int | None:
        """The token that must be said, if any."""
        if self.job.cancelled and self.reason is None:
            self.reason = "cancelled"
        if self.reason is not None:
            begun = len(self.chooser.said) < len(self.job.begins)
            if begun or self.reason == "length" or self.chooser.is_whole:
                return END
            self.chooser.left = 0  # but for what the last character lacks
        return self._begins.popleft() if self._begins else None

    def say(self, token: int) -> str:
        """Take a token; the text that can be told now. A stop text is never told in part."""
        self.chooser.say(token)
        if self.chooser.left <= 0 and self.reason is None:
            self.reason = "length"
        return self._told(self._telling.say(token))

    @property
    def ended_by(self) -> Reason:
        """Why the reply has ended."""
        return self.reason or ("length" if self.chooser.cut else "stop")

    def rest(self) -> str:
        """The text that was held back, at the end; of a character that is not whole, nothing."""
        held, self._held = self._held, ""
        return held

    def _told(self, text: str) -> str:
        stop = self.job.wishes.stop
        if self.reason == "stop":
            return ""
        if not stop:
            return text
        text = self._held + text
        found = [at for each in stop if (at := text.find(each)) >= 0]
        if found:
            self.reason, self._held = "stop", ""
            return text[: min(found)]
        begun = max(
            (n for each in stop for n in range(1, len(each)) if text.endswith(each[:n])), default=0
        )
        self._held = text[len(text) - begun :]
        return text[: len(text) - begun]
