"""What a reply leaves behind: its state at hand, and a response on disk."""

import asyncio
import queue
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future

from sqlalchemy import Connection

from elman.bptt import State
from elman.chat import MemoryStore, Node
from elman.chat.recall import pack
from elman.errors import ElmanError
from elman.serve.prompts import Prompt

ROLE_AND_END_TOKENS = 2
"""Tokens of a message beside those of its text."""


def remember_asked(prompt: Prompt, state: State) -> None:
    """Have the state after the last message that was asked at hand."""
    prompt.model.recent.put(prompt.asked.key, state, prompt.tokens)


def remember_reply(prompt: Prompt, text: str, said: Sequence[int], state: State) -> Node:
    """Have the state after a reply at hand. This tokenizes: not for the event loop.

    Returns:
        The reply; the last message that was asked, where nothing was said.
    """
    if not said:
        return prompt.asked
    node = prompt.recall.after(prompt.asked, "bot", text, said)
    tokens = prompt.tokens + len(said) + ROLE_AND_END_TOKENS
    prompt.model.recent.put(node.key, state, tokens)
    return node


def kept_messages(
    prompt: Prompt, node: Node, asked: State | None, state: State
) -> list[tuple[Node, bytes | None]]:
    """Return the messages of a response, each with its packed state where that is known.

    Args:
        prompt: what it answers.
        node: the reply; the last message, where it was left before it began.
        asked: the state after the last message, if it was read.
        state: the state after the reply.
    """
    nodes, states = list(prompt.new), {prompt.asked.key: asked}
    if node.key not in states:
        nodes.append(node)
        states[node.key] = state
    fingerprint = prompt.model.fingerprint
    return [
        (each, None if (s := states.get(each.key)) is None else pack(s, fingerprint, each.key))
        for each in nodes
    ]


class Keeper:
    """Writes to the store in a thread of its own, whatever waits in one transaction.

    A disk syncs as fast for one reply as for thirty.

    Args:
        store: where to.
    """

    def __init__(self, store: MemoryStore) -> None:
        self._store = store
        self._queue: queue.SimpleQueue[_Writing | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="elman keeper", daemon=True)
        self._thread.start()

    async def write(self, write: Callable[[Connection], None]) -> None:
        """Wait until something is on disk.

        Raises:
            ElmanError: where it could not be written.
        """
        done: Future[None] = Future()
        self._queue.put((write, done))
        # What was begun is finished, even if whoever waits goes away.
        await asyncio.shield(asyncio.wrap_future(done))

    def close(self) -> None:
        """Write what waits, and end the thread."""
        self._queue.put(None)
        self._thread.join()

    def _run(self) -> None:
        while True:
            batch, closing = self._batch()
            if batch:
                self._write(batch)
            if closing:
                return

    def _batch(self) -> "tuple[list[_Writing], bool]":
        """Return all that waits, once something does, and whether it was the last."""
        batch = []
        item = self._queue.get()
        while item is not None:
            batch.append(item)
            try:
                item = self._queue.get_nowait()
            except queue.Empty:
                return batch, False
        return batch, True

    def _write(self, batch: "Sequence[_Writing]") -> None:
        try:
            with self._store.writing() as connection:
                for write, _ in batch:
                    write(connection)
        except Exception as error:
            if len(batch) > 1:  # one that cannot be written must not take the others with it
                for each in batch:
                    self._write([each])
                return
            known = isinstance(error, ElmanError)
            batch[0][1].set_exception(error if known else ElmanError(f"cannot be kept: {error}"))
            return
        for _, done in batch:
            done.set_result(None)


_Writing = tuple[Callable[[Connection], None], Future[None]]
