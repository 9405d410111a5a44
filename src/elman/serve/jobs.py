"""Requests for replies as a batcher takes them, and the events that it tells."""

import logging
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, TypeVar

import numpy as np

from elman.generate.decoder import Decoder, State
from elman.generate.penalties import History
from elman.generate.replier import Origin
from elman.generate.sampling import SamplingParams
from elman.generate.stopping import StopTexts

Reason = Literal["stop", "length", "cancelled"]
T = TypeVar("T")


@dataclass(frozen=True)
class Read:
    """All that came before the reply was read."""

    state: State


@dataclass(frozen=True)
class Said:
    """A token of a reply, and the text that it completed, which may be empty.

    Args:
        choice: which of the request's replies.
        first: whether the reply begins with it.
        logprob: of the token, where it was asked for.
        likeliest: the likeliest tokens, each with its log p.
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
        choice: which of the request's replies.
        text: its last.
        said: all of its tokens.
        state: after it, and END.
        logprob: of END, where the bot chose it and it was asked for.
        likeliest: the likeliest tokens there, each with its log p.
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
        state: of one conversation, before what is unread.
        unread: messages, each from its role to its END.
        deliver: is called with each event, in the batcher's thread; it must not block.
        recent: tokens under the repetition penalty.
        choices: how many replies.
        begins: tokens with which each reply begins, and which are told like its own.
        history: what was said before, with which replies are compared.
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
    """May be set from any thread: the replies then end as far as they came."""
    failed: bool = field(default=False, init=False)
    ended: int = field(default=0, init=False)
    """Replies that have ended."""
    parts: deque[np.ndarray] | None = field(default=None, init=False)
    """What is left to read, as it may be read at different times; None until it was cut."""

    @property
    def unfinished(self) -> int:
        """Replies that wait, are read for, or are said."""
        return 0 if self.failed else self.choices - self.ended

    @cached_property
    def stop_texts(self) -> StopTexts:
        """What ends the replies, prepared once for all of them."""
        return StopTexts(self.params.stop)

    def cut(self, decoder: Decoder) -> None:
        """Cut what is unread into parts."""
        if self.parts is None:
            self.parts = deque(p for message in self.unread for p in decoder.parts(message))

    def guarded(self, work: Callable[..., T], *args: Any) -> T | None:
        """Do something for this job; if that fails, this job fails and no other."""
        if self.failed:
            return None
        try:
            return work(*args)
        except Exception as error:
            self.fail(error)
            return None

    def finish(self, event: Ended) -> None:
        """Tell the end of a reply."""
        self.ended += 1
        self.deliver(event)

    def end_unbegun(self) -> None:
        """Tell that the replies were cancelled before they began."""
        for choice in range(self.choices):
            self.guarded(self.finish, Ended(choice, "cancelled", "", (), self.state))

    def fail(self, error: Exception) -> None:
        """End what is left of the replies, and tell why."""
        if self.failed:
            return
        logging.getLogger("elman").error("a reply failed", exc_info=error)
        self.failed = True
        try:
            self.deliver(Failed(f"{type(error).__name__} while replying"))
        except Exception:
            logging.getLogger("elman").exception("nobody could be told that a reply failed")
