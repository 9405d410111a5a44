"""What stands behind the routes: bots, the memory of their conversations, and replies."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

from sqlalchemy import Connection

from elman.bptt import State
from elman.chat import MemoryStore, Node
from elman.chat.recall import pack
from elman.errors import ElmanError
from elman.generate.replier import Replier
from elman.generate.sampling import SamplingParams
from elman.model.checkpoint import WEIGHTS, Bot, state_digest
from elman.serve.attribution import Attributor
from elman.serve.batching import LANES, WAITING, Batcher, FullError
from elman.serve.errors import ApiError, cannot_be_kept, full, no_such_model
from elman.serve.jobs import Ended, Event, Failed, Job, Read
from elman.serve.keys import Keys
from elman.serve.limits import MAX_WHOLE_TOKENS
from elman.serve.metrics import Metrics
from elman.serve.prompts import Model, Prompt, Prompts
from elman.serve.recent import Recent
from elman.serve.records import Keeper, Record, Records
from elman.serve.workers import Workers

MAX_AVOIDED = 64
"""Earlier replies to a message that are given again only where no other is about as good."""


@dataclass(eq=False)
class Reply:
    """Replies that are asked for: their events, as they come."""

    prompt: Prompt
    job: Job
    started: float = 0.0
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
        self.prompts, self.keeper = Prompts(store, self.records), Keeper(store)
        self.workers = Workers()
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
        self.attributor = Attributor()

    def close(self) -> None:
        """Finish what was asked for, but explain nothing more."""
        self.attributor.close()
        for model in self.models.values():
            model.batcher.close()
        self.keeper.close()
        self.workers.close()

    def _post(self) -> "Post":
        if self._posts is None:
            self._posts = Post(asyncio.get_running_loop())
        return self._posts

    def model(self, name: str) -> Model:
        """Raises ApiError where there is no such model."""
        if name not in self.models:
            raise no_such_model(name)
        return self.models[name]

    def check_room(self, model: Model, owner: str, replies: int) -> None:
        """Refuse a request before it is looked at, where it would be refused after.

        Raises:
            ApiError: where too many of its owner's wait.
        """
        if not model.batcher.has_room(owner, replies):
            raise full()

    def reply(
        self,
        prompt: Prompt,
        params: SamplingParams,
        choices: int = 1,
        begins: Sequence[int] = (),
        is_continuation: bool = False,
    ) -> Reply:
        """Prepare replies; nothing is asked for yet.

        Args:
            prompt: what they answer.
            params: how.
            choices: how many.
            begins: tokens with which each begins.
            is_continuation: whether this goes on with a request that was admitted.

        Raises:
            ApiError: where a message is too long for a bot that reads each in one piece.
        """

        def deliver(event: Event) -> None:
            self._post().put(reply.queue, event)

        job = Job(
            prompt.state,
            prompt.unread,
            params,
            deliver,
            prompt.recent,
            choices,
            begins,
            self._answered(prompt),
            prompt.memory.owner,
            is_continuation,
        )
        job.cut(prompt.model.batcher.decoder)
        longest = max(map(len, job.pieces or ()), default=0)
        if longest > MAX_WHOLE_TOKENS:
            raise ApiError(
                400, f"a message has {longest:,} tokens, and this bot reads at most "
                f"{MAX_WHOLE_TOKENS:,} at once: say it in parts",
            )  # fmt: skip
        reply = Reply(prompt, job)
        return reply

    def submit(self, reply: Reply) -> None:
        """Ask for replies.

        Raises:
            ApiError: where too many wait.
        """
        self._post()
        reply.started = time.monotonic()
        prompt = reply.prompt
        try:
            prompt.model.batcher.submit(reply.job)
        except FullError:
            raise full() from None
        self.metrics.read.labels(prompt.model.name).inc(sum(map(len, prompt.unread)))
        self.metrics.known.labels(prompt.model.name).inc(prompt.known)

    def _answered(self, prompt: Prompt) -> list[tuple[int, ...]]:
        """The bot's last reply, and those to the same message: another one is wanted."""
        if prompt.asked is None:
            return []
        memory, said = prompt.memory, [tuple(prompt.recent)] if prompt.recent else []
        with self.store.reading() as connection:
            others = self.store.answers(connection, memory.owner, prompt.asked.key, MAX_AVOIDED)
        return said + [tuple(memory.tokens(each)) for each in others if each.role == "bot"]

    def remember(self, prompt: Prompt, event: Read | Ended, text: str = "") -> Node | None:
        """Have a state at hand: of the last message, or of a reply to it.

        Returns:
            The reply, or the last message where nothing was said; None where nothing was asked.
        """
        if prompt.asked is None:
            return None
        if isinstance(event, Read):
            prompt.model.recent.put(prompt.asked.key, event.state, prompt.tokens)
            return prompt.asked
        if not event.said:
            return prompt.asked
        node = prompt.memory.after(prompt.asked, "bot", text, event.said)
        prompt.model.recent.put(node.key, event.state, prompt.tokens + len(event.said) + 2)
        return node

    def kept_messages(
        self, prompt: Prompt, node: Node, asked: State | None, state: State
    ) -> list[tuple[Node, bytes | None]]:
        """The messages of a response, each with the state after it where that is known.

        Args:
            prompt: what it answers.
            node: the reply; the last message, where it was left before it began.
            asked: the state after the last message, if it was read.
            state: the state after the reply.
        """
        nodes, states = list(prompt.new), {prompt.new[-1].key: asked}
        if node.key not in states:
            nodes.append(node)
            states[node.key] = state
        made_by = prompt.model.made_by
        return [
            (each, None if (s := states.get(each.key)) is None else pack(s, made_by, each.key))
            for each in nodes
        ]

    async def keep(
        self, prompt: Prompt, record: Record, node: Node, asked: State | None, state: State
    ) -> None:
        """Put a response on disk.

        Raises:
            ApiError: where it cannot be.
        """

        def write(connection: Connection) -> None:
            messages = self.kept_messages(prompt, node, asked, state)
            self.records.add(connection, prompt.memory.owner, record, messages)

        try:
            await self.keeper.write(write)
        except ElmanError as error:
            raise cannot_be_kept(error) from None


def _made(folder: Path) -> int:
    return int((folder / WEIGHTS).stat().st_mtime)
