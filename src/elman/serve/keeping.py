"""What a reply leaves behind: its state at hand, and a response on disk."""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

from sqlalchemy import Connection

from elman.bptt import State
from elman.chat import MemoryStore, Node
from elman.chat.recall import pack
from elman.errors import ElmanError
from elman.serve.prompts import Prompt

Write = tuple[Callable[[Connection], None], Future[None]]
"""What writes, and what is told when that is on disk."""

ROLE_AND_END_TOKENS = 2
"""Tokens of a message beside those of its text."""


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
    """

    def __init__(self, store: MemoryStore) -> None:
        self._store = store
        self._waiting: deque[Write] = deque()
        self._thread = ThreadPoolExecutor(1, "elman keeper")

    async def write(self, write: Callable[[Connection], None]) -> None:
        """Wait until something is on disk.

        Raises:
            ElmanError: where it could not be written.
        """
        done: Future[None] = Future()
        self._waiting.append((write, done))
        self._thread.submit(self._write_waiting)
        # What was begun is finished, even if whoever waits goes away.
        await asyncio.shield(asyncio.wrap_future(done))

    def close(self) -> None:
        """Write what waits, and end the thread."""
        self._thread.shutdown()

    def _write_waiting(self) -> None:
        batch = [self._waiting.popleft() for _ in range(len(self._waiting))]
        if batch:
            self._write(batch)

    def _write(self, batch: Sequence[Write]) -> None:
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
