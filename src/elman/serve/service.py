"""What stands behind the routes: bots, the memory of their conversations, and replies."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
from sqlalchemy import Connection

from elman.bptt import State
from elman.chat import Memory, MemoryStore, Node
from elman.chat.recall import pack
from elman.chat.replies import Replier
from elman.data.tokenizer import SPECIALS
from elman.errors import ElmanError
from elman.model.checkpoint import WEIGHTS, Bot, state_digest
from elman.serve.batching import LANES, WAITING, Batcher, Ended, Event, Failed, FullError, Job, Read
from elman.serve.errors import ApiError, cannot_be_kept, full, no_such, no_such_model
from elman.serve.keys import Keys
from elman.serve.metrics import Metrics
from elman.serve.recent import Recent, Remembered
from elman.serve.records import Keeper, Record, Records
from elman.serve.sampling import Wishes


@dataclass(frozen=True)
class Model:
    """A bot that is served."""

    name: str
    bot: Bot
    made_by: bytes
    created: int
    batcher: Batcher
    recent: Recent


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
        asked: the last message.
        new: the messages that the store may not have, the last of them `asked`.
        state: the nearest that is known.
        unread: the messages after it, as tokens.
        known: tokens before those.
        recent: the tokens of the bot's last reply.
        before: the response that this goes on from, if any.
    """

    model: Model
    memory: Memory
    asked: Node
    new: list[Node]
    state: State
    unread: list[np.ndarray]
    known: int
    recent: Sequence[int]
    before: Record | None = None

    @property
    def tokens(self) -> int:
        return self.known + sum(len(message) for message in self.unread)


@dataclass(eq=False)
class Reply:
    """Replies that are being made: their events, as they come."""

    prompt: Prompt
    job: Job
    started: float
    queue: "asyncio.Queue[Event]" = field(default_factory=asyncio.Queue)

    def cancel(self) -> None:
        self.job.cancelled = True

    async def events(self) -> AsyncIterator[Event]:
        """Every event until all replies have ended.

        Raises:
            ApiError: where they could not be made.
        """
        left = self.job.choices
        while left:
            event = await self.queue.get()
            if isinstance(event, Failed):
                raise ApiError(500, f"the reply could not be made: {event.error}")
            left -= isinstance(event, Ended)
            yield event


class Post:
    """Carries events from the batchers' threads to the loop: all that wait at once."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._lock = threading.Lock()
        self._waiting: list[tuple[asyncio.Queue[Event], Event]] = []

    def put(self, to: "asyncio.Queue[Event]", event: Event) -> None:
        with self._lock:
            self._waiting.append((to, event))
            first = len(self._waiting) == 1
        if first:
            self._loop.call_soon_threadsafe(self._deliver)

    def _deliver(self) -> None:
        with self._lock:
            waiting, self._waiting = self._waiting, []
        for to, event in waiting:
            to.put_nowait(event)


class Service:
    """Bots behind one store.

    Args:
        bots: by the names under which they are served.
        store: of all conversations.
        lanes: replies that each bot says at once.
        waiting: replies that may wait for each bot.
        repliers: by the same names, who chooses replies; without one, they are drawn.
    """

    def __init__(
        self,
        bots: dict[str, Bot],
        store: MemoryStore,
        lanes: int = LANES,
        waiting: int = WAITING,
        repliers: Mapping[str, Replier] = MappingProxyType({}),
    ) -> None:
        self.store, self.records, self.keys = store, Records(store), Keys(store)
        self.keeper = Keeper(store)
        self._posts: Post | None = None
        self.models = {
            name: Model(
                name,
                bot,
                state_digest(bot),
                _made(bot.path),
                Batcher(bot, lanes, waiting, repliers.get(name)),
                Recent(bot.chatbot),
            )
            for name, bot in bots.items()
        }
        self.metrics = Metrics(self.models)

    def close(self) -> None:
        """Finish what was asked for."""
        for model in self.models.values():
            model.batcher.close()
        self.keeper.close()

    def _post(self) -> "Post":
        if self._posts is None:
            self._posts = Post(asyncio.get_running_loop())
        return self._posts

    def model(self, name: str) -> Model:
        """Raises ApiError where there is no such model."""
        if name not in self.models:
            raise no_such_model(name)
        return self.models[name]

    def memory(self, model: Model, owner: str) -> Memory:
        return Memory(self.store, model.bot, owner, model.made_by)

    def from_history(self, model: Model, owner: str, turns: Sequence[Turn]) -> Prompt:
        """A conversation that the client tells from its beginning: only what is new is read."""
        memory = self.memory(model, owner)
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
        with self.store.reading() as connection:
            later = [node.key for node in nodes[number:]]
            known = self.store.known(connection, memory.owner, later)
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
        memory = self.memory(model, owner)
        with self.store.reading() as connection:
            record = self.records.get(connection, owner, before)
            if record is None:
                raise no_such("response", before)
            last = self.store.node(connection, owner, record.key)
            if last is None:
                raise no_such("response", before)
            old: list[Node] = []
            if record.made_by != model.made_by:
                old = memory.adopt(self.store.path(connection, owner, record.key))
                last = old[-1]
        if old:
            number, found = self._longest(model, memory, old)
            unread = old[number:]
        elif (at_hand := model.recent.get(last.key)) is not None:
            found, unread = at_hand, []
        else:
            with self.store.reading() as connection:
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

    def reply(
        self, prompt: Prompt, wishes: Wishes, choices: int = 1, begins: Sequence[int] = ()
    ) -> Reply:
        """Ask for replies.

        Raises:
            ApiError: where too many wait.
        """
        post = self._post()

        def deliver(event: Event) -> None:
            post.put(reply.queue, event)

        job = Job(
            prompt.state,
            prompt.unread,
            wishes,
            deliver,
            prompt.recent,
            choices,
            begins,
            self._answered(prompt),
        )
        reply = Reply(prompt, job, time.monotonic())
        try:
            prompt.model.batcher.submit(job)
        except FullError:
            raise full() from None
        self.metrics.read.labels(prompt.model.name).inc(sum(map(len, prompt.unread)))
        self.metrics.known.labels(prompt.model.name).inc(prompt.known)
        return reply

    def _answered(self, prompt: Prompt) -> list[tuple[int, ...]]:
        """The bot's last reply, and those to the same message: another one is wanted."""
        memory, said = prompt.memory, [tuple(prompt.recent)] if prompt.recent else []
        with self.store.reading() as connection:
            others = self.store.answers(connection, memory.owner, prompt.asked.key)
        return said + [tuple(memory.tokens(each)) for each in others if each.role == "bot"]

    def remember(self, prompt: Prompt, event: Read | Ended, text: str = "") -> Node:
        """Have a state at hand: of the last message, or of a reply to it."""
        if isinstance(event, Read):
            prompt.model.recent.put(prompt.asked.key, event.state, prompt.tokens)
            return prompt.asked
        if not event.said:
            return prompt.asked
        node = prompt.memory.after(prompt.asked, "bot", text, event.said)
        prompt.model.recent.put(node.key, event.state, prompt.tokens + len(event.said) + 2)
        return node

    async def keep(
        self, prompt: Prompt, record: Record, node: Node, asked: State | None, state: State
    ) -> None:
        """Put a response on disk.

        Raises:
            ApiError: where it cannot be.
        """

        def write(connection: Connection) -> None:
            made_by = prompt.model.made_by
            states = {prompt.asked.key: asked, node.key: state}
            nodes = [*prompt.new, *([node] if node is not prompt.asked else [])]
            messages = [
                (each, None if (s := states.get(each.key)) is None else pack(s, made_by, each.key))
                for each in nodes
            ]
            self.records.add(connection, prompt.memory.owner, record, messages)

        try:
            await self.keeper.write(write)
        except ElmanError as error:
            raise cannot_be_kept(error) from None


def encoded(model: Model, text: str) -> list[int]:
    return model.bot.tokenizer.encode(text.encode(errors="replace"))


def text_tokens(model: Model, tokens: Sequence[int]) -> list[int]:
    """Ids that a client gave.

    Raises:
        ApiError: where one is not of text.
    """
    size = model.bot.tokenizer.vocabulary_size
    for token in tokens:
        if not SPECIALS <= token < size:
            raise ApiError(400, f"token {token}: must be from {SPECIALS} to {size - 1}", "prompt")
    return list(tokens)


def _made(folder: Path) -> int:
    return int((folder / WEIGHTS).stat().st_mtime)
