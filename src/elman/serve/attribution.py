"""Attribution by message over HTTP: computed when somebody asks, never before.

It takes gradients, and so torch, which nothing else of the server needs: both torch and the network
are loaded when somebody asks first. It is computed in a thread of its own, so that whoever talks
meanwhile does not wait for it.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from threading import Event
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from elman.chat import Node
from elman.chat.recall import Recall
from elman.errors import ElmanError, missing_extra
from elman.generate.decoder import State
from elman.serve.http.errors import ApiError
from elman.serve.models import Model
from elman.serve.store.responses import StoredResponse

if TYPE_CHECKING:
    from elman.generate.network import NetworkBot
    from elman.lens.attribution import Attribution

MAX_REQUEST_MESSAGES = 20
"""Messages before the reply that are looked at, the last ones."""

MAX_ATTRIBUTION_STEPS = 40_000
"""Steps of all rows that one answer takes, about ten seconds of the base bot on two slow cores."""

MAX_ATTRIBUTED_TOKENS = 2048
"""Of those messages and the reply: they are differentiated in one pass, which nothing ends."""

MAX_TOKENS_READ_BEFORE = 4096
"""Tokens before those messages that are read, where no state is kept."""

MAX_ATTRIBUTION_SECONDS = 20.0
"""After which an answer is given up."""

MAX_WAITING_QUESTIONS = 8
"""Questions that are answered or wait; more are refused."""


class Attributions(NamedTuple):
    """What each message did that was looked at, by its number in the conversation.

    `cut` says what was not looked at, and why; None: everything was.
    """

    messages: "list[Attribution]"
    cut: str | None = None


class Attributor:
    """Answers why, one question at a time, within the bounds above."""

    def __init__(
        self,
        max_waiting: int = MAX_WAITING_QUESTIONS,
        max_work: int = MAX_ATTRIBUTION_STEPS,
        max_seconds: float = MAX_ATTRIBUTION_SECONDS,
    ) -> None:
        self._max_waiting, self._max_work, self._max_seconds = max_waiting, max_work, max_seconds
        self._waiting = 0
        self._stopped = Event()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="why")
        self._networks: dict[str, NetworkBot] = {}

    def stop(self) -> None:
        """Give up what is being answered, and take no more questions."""
        self._stopped.set()

    def close(self) -> None:
        """Stop, and end the thread."""
        self.stop()
        self._thread.shutdown(cancel_futures=True)

    async def explain(
        self, model: Model, recall: Recall, response: StoredResponse, left: Event
    ) -> Attributions | None:
        """Say what each message did for a response. To be called in the server's event loop.

        Args:
            model: that replied.
            recall: of the conversations of the response's owner.
            left: set when nobody waits for the answer any more.

        Returns:
            None where another bot has taken the name of the one that replied, or nobody waits.

        Raises:
            ApiError: where torch is not installed, too many wait, it takes too long, the server
                stops, or a part of the conversation cannot be read again.
        """
        if response.fingerprint != model.fingerprint:
            return None
        if self._waiting >= self._max_waiting:
            raise ApiError(
                429, "too many ask why at once: try again soon", "why", "overloaded", retry_after=5
            )
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(
                self._thread, self._answer, model, recall, response, left
            )
        except asyncio.CancelledError:
            left.set()
            raise
        except _LeftError:
            return None
        except ApiError:
            raise
        except ElmanError as error:
            raise ApiError(400, str(error), "why") from None
        finally:
            self._waiting -= 1

    def _check(self, left: Event) -> Callable[[], None]:
        """Return what is called again and again while an answer is made, and ends it."""
        end = time.monotonic() + self._max_seconds

        def check() -> None:
            if left.is_set():
                raise _LeftError
            if self._stopped.is_set():
                raise ApiError(503, "the server is being stopped", "why", "stopping")
            if time.monotonic() > end:
                raise ApiError(503, f"this takes more than {self._max_seconds:g} seconds", "why")

        return check

    def _answer(
        self, model: Model, recall: Recall, response: StoredResponse, left: Event
    ) -> Attributions:
        try:
            from elman.lens.attribution import attribute
        except ImportError:
            error = missing_extra("train", "attribution", ["torch"])
            raise ApiError(501, str(error), "why", "not_installed") from None
        check = self._check(left)
        check()
        with recall.store.reading() as connection:
            path = recall.store.path(connection, recall.owner, response.key)
        *asked, reply = [recall.ids(node) for node in path]
        most = self._most(asked, reply)
        if not most:
            size = len(asked[-1]) + len(reply)
            why = f"the last message and the reply are too long ({size:,} tokens)"
            return Attributions([], why)
        start, unread = self._before(recall, path, asked, len(asked) - most)
        network = self._network(model)
        if start is not None:
            start = network.decoder.from_arrays(model.bot.decoder.to_arrays(start))
        found = attribute(network, asked[unread:], reply, start, most, check=check)
        # Instructions are read as a message, and are none of the conversation's.
        numbers = [n for n, node in enumerate(path) if node.role != "system"]
        told = [
            replace(each, message=numbers.index(each.message + unread))
            for each in found
            if each.message + unread in numbers
        ]
        return Attributions(told, _cut(len(asked), most, unread if start is None else 0))

    def _most(self, asked: Sequence[np.ndarray], reply: np.ndarray) -> int:
        """Return how many of the last messages can be looked at."""
        from elman.lens.attribution import attribution_steps

        for most in range(min(MAX_REQUEST_MESSAGES, len(asked)), 0, -1):
            last = asked[-most:]
            tokens = sum(map(len, last)) + len(reply)
            if tokens <= MAX_ATTRIBUTED_TOKENS and attribution_steps(last, reply) <= self._max_work:
                return most
        return 0

    def _before(
        self, recall: Recall, path: Sequence[Node], asked: Sequence[np.ndarray], first: int
    ) -> tuple[State | None, int]:
        """Return the nearest state before the first message that is looked at, or None.

        With it comes the number of the first message to be read after it.
        """
        begin = 0
        state: State | None = None
        if first:
            with recall.store.reading() as connection:
                state, unread = recall.find(connection, path[first - 1].key)
            begin = first - len(unread)
        size = sum(map(len, asked[begin:first]))
        while size > MAX_TOKENS_READ_BEFORE:
            state = None
            size -= len(asked[begin])
            begin += 1
        return state, begin

    def _network(self, model: Model) -> "NetworkBot":
        """Return a bot of the same weights in modules of its own, loaded when asked for first.

        Raises:
            ElmanError: where the weights in its folder are others by now.
        """
        from elman.generate.network import in_torch
        from elman.lens.chain import apart

        if model.name not in self._networks:
            found = in_torch(model.bot)
            self._networks[model.name] = replace(found, chatbot=apart(found.chatbot))
        return self._networks[model.name]


class _LeftError(Exception):
    """Nobody waits for the answer any more."""


def _cut(messages: int, most: int, unread: int) -> str | None:
    """Say what was not looked at."""
    if most >= messages:
        return None
    said = f"looked at are the last {most} of {messages:,} messages"
    return said + (f"; the first {unread:,} are not read" if unread else "")
