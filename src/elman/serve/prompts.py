"""What a reply answers: how much of it was read before, and what is new."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from elman.bptt import State
from elman.chat import Memory, MemoryStore, Node
from elman.model.checkpoint import Bot
from elman.serve.batching import Batcher
from elman.serve.errors import no_such
from elman.serve.recent import Recent, Remembered
from elman.serve.records import Record, Records


@dataclass(frozen=True)
class Model:
    """A bot that is served."""

    name: str
    bot: Bot
    made_by: bytes
    created: int
    batcher: Batcher
    recent: Recent

    def memory(self, store: MemoryStore, owner: str) -> Memory:
        return Memory(store, self.bot, owner, self.made_by)


class Turn(NamedTuple):
    """A message of a request: its role here, and its text."""

    role: str
    text: str


@dataclass
class Prompt:
    """All that a reply answers.

    Args:
        model: who replies.
        memory: of its owner.
        asked: the last message; None: nothing was said.
        new: the messages that the store may not have, the last of them `asked`.
        state: the nearest that is known.
        unread: the messages after it, as tokens.
        known: tokens before those.
        recent: the tokens of the bot's last reply.
        before: the response that this goes on from, if any.
    """

    model: Model
    memory: Memory
    asked: Node | None
    new: list[Node]
    state: State
    unread: list[np.ndarray]
    known: int
    recent: Sequence[int]
    before: Record | None = None

    @property
    def tokens(self) -> int:
        return self.known + sum(len(message) for message in self.unread)


class Prompts:
    """Finds what conversations have in common with those in the memory.

    Args:
        store: of all conversations.
        records: of the responses in it.
    """

    def __init__(self, store: MemoryStore, records: Records) -> None:
        self._store, self._records = store, records

    def from_history(self, model: Model, owner: str, turns: Sequence[Turn]) -> Prompt:
        """A conversation that the client tells from its beginning: only what is new is read."""
        memory = model.memory(self._store, owner)
        nodes: list[Node] = []
        for turn in turns:
            nodes.append(memory.after(nodes[-1] if nodes else None, turn.role, turn.text))
        number, found = self._longest(model, memory, nodes)
        unread = [memory.ids(node) for node in nodes[number:]]
        return Prompt(
            model, memory, nodes[-1], nodes, found.state, unread, found.tokens,
            self._said_last(memory, nodes),
        )  # fmt: skip

    def _longest(
        self, model: Model, memory: Memory, nodes: Sequence[Node]
    ) -> tuple[int, Remembered]:
        """The longest beginning of a conversation that is known: its length, and what is known."""
        for number in range(len(nodes), 0, -1):
            if found := model.recent.get(nodes[number - 1].key):
                break
        else:
            number, found = 0, Remembered(memory.bot.chatbot.initial_state(1), 0)
        with self._store.reading() as connection:
            later = [node.key for node in nodes[number:]]
            known = self._store.known(connection, memory.owner, later)
            for longer in range(len(nodes), number, -1):
                if nodes[longer - 1].key not in known:
                    continue
                state, unread = memory.find(connection, nodes[longer - 1].key)
                if not unread:
                    tokens = sum(len(memory.ids(node)) for node in nodes[:longer])
                    return longer, Remembered(state, tokens)
        return number, found

    def from_response(
        self, model: Model, owner: str, before: str | None, turns: Sequence[Turn]
    ) -> Prompt:
        """A conversation that goes on from a response, or begins.

        Raises:
            ApiError: where the owner has no such response.
        """
        if before is None:
            return self.from_history(model, owner, turns)
        memory = model.memory(self._store, owner)
        with self._store.reading() as connection:
            record = self._records.get(connection, owner, before)
            if record is None:
                raise no_such("response", before)
            last = self._store.node(connection, owner, record.key)
            if last is None:
                raise no_such("response", before)
            old: list[Node] = []
            if record.made_by != model.made_by:
                old = memory.adopt(self._store.path(connection, owner, record.key))
                last = old[-1]
        if old:
            number, found = self._longest(model, memory, old)
            unread = old[number:]
        elif (at_hand := model.recent.get(last.key)) is not None:
            found, unread = at_hand, []
        else:
            with self._store.reading() as connection:
                state, unread = memory.find(connection, last.key)
            later = sum(len(memory.ids(node)) for node in unread)
            found = Remembered(state, max(0, record.read + record.said - later))
        new: list[Node] = []
        for turn in turns:
            new.append(memory.after(new[-1] if new else last, turn.role, turn.text))
        return Prompt(
            model, memory, new[-1], [*old, *new], found.state,
            [memory.ids(node) for node in [*unread, *new]], found.tokens,
            self._said_last(memory, [last, *new]), record,
        )  # fmt: skip

    @staticmethod
    def _said_last(memory: Memory, nodes: Sequence[Node]) -> Sequence[int]:
        """The tokens of the last message of the bot's."""
        said = next((node for node in reversed(nodes[-3:]) if node.role == "bot"), None)
        return () if said is None else memory.tokens(said)
