"""What stands behind the routes: bots, the store of their conversations, and threads."""

from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType
from typing import Annotated, TypeVar

from fastapi import Depends, Request

from elman.chat import MemoryStore
from elman.chat.database import Connection
from elman.generate.bot import Bot
from elman.generate.replier import Replier
from elman.model.folder import WEIGHTS
from elman.serve.attribution import Attributor
from elman.serve.batching import MAX_WAITING_REPLIES, REPLY_BATCH_SIZE, Batcher
from elman.serve.carried import CARRY, CarriedState, check_size, read_carried
from elman.serve.http.errors import full, no_such_model
from elman.serve.jobs import Job
from elman.serve.metrics import Metrics
from elman.serve.models import Model, RecentStates
from elman.serve.prompts import Prompts
from elman.serve.store.keys import Keys
from elman.serve.store.responses import ResponseStore
from elman.serve.store.state_keys import StateKeys
from elman.serve.submission import Deliver, Mailbox, Submission
from elman.serve.workers import Keeper, Workers

T = TypeVar("T")


class Service:
    """Bots behind one store.

    Args:
        bots: by the names under which they are served.
        store: of all conversations.
        batch_size: replies that each bot says at once.
        max_waiting: replies that may wait for each bot.
        repliers: by the bots' names, who chooses replies; without one, they are drawn.
        state_keys: sign the states that clients carry; None: such that end with the process.
    """

    def __init__(
        self,
        bots: dict[str, Bot],
        store: MemoryStore,
        batch_size: int = REPLY_BATCH_SIZE,
        max_waiting: int = MAX_WAITING_REPLIES,
        repliers: Mapping[str, Replier] = MappingProxyType({}),
        state_keys: StateKeys | None = None,
    ) -> None:
        self.store, self.responses, self.keys = store, ResponseStore(store), Keys(store)
        self.state_keys = state_keys or StateKeys()
        self.prompts, self.keeper = Prompts(store, self.responses), Keeper(store)
        self.workers, self._mailbox = Workers(), Mailbox()
        self._limits = batch_size, max_waiting
        self.models: dict[str, Model] = {}
        self._retired: list[Model] = []
        for name, bot in bots.items():
            self.renew(name, bot, repliers.get(name))
        self.metrics = Metrics(self.models)
        self.attributor = Attributor()

    def renew(self, name: str, bot: Bot, replier: Replier | None = None) -> None:
        """Serve a bot under a name from now on.

        What was asked of the one before is still answered by that one.
        """
        model = Model(
            name,
            bot,
            bot.state_digest,
            int((bot.path / WEIGHTS).stat().st_mtime),
            Batcher(bot, *self._limits, replier),
            RecentStates(bot.decoder),
            replier,
        )
        if name in self.models:
            self._retired.append(self.models[name])
        self.models[name] = model

    def let_go(self) -> None:
        """End the bots that were renewed, but for those that still reply.

        For when nobody has been about to ask them for a while.
        """
        for model in [each for each in self._retired if not each.batcher.open]:
            self._retired.remove(model)
            model.batcher.close()

    def close(self) -> None:
        """Finish what was asked for, but explain nothing more."""
        self.attributor.close()
        for model in (*self.models.values(), *self._retired):
            model.batcher.close()
        self.keeper.close()
        self.workers.close()

    def model(self, name: str) -> Model:
        """Return a bot by its name.

        Raises:
            ApiError: where there is none.
        """
        if name not in self.models:
            raise no_such_model(name)
        return self.models[name]

    def model_with_room(self, name: str, owner: str, replies: int) -> Model:
        """Return a bot; refuse a request before it is looked at, where it would be refused after.

        Raises:
            ApiError: where there is no such bot, or too many replies of its owner's wait.
        """
        model = self.model(name)
        if not model.batcher.has_room(owner, replies):
            raise full()
        return model

    def carried(self, model: Model, owner: str, text: str | None) -> CarriedState | None:
        """Return the state that a request brings; None: it brings none.

        Raises:
            ApiError: where it cannot be used, or this bot's are too large to be carried.
        """
        if text is None:
            return None
        spec = model.bot.decoder.state_spec
        check_size(spec)
        if text == CARRY:
            return None
        return read_carried(text, self.state_keys, owner, model.fingerprint, spec)

    def prepare(
        self, model: Model, ask: Callable[[Deliver], Job], known_tokens: int = 0
    ) -> Submission:
        """Prepare replies; nothing is asked for yet. The arguments are those of `Submission`."""
        return Submission(model, self._mailbox, self.metrics, ask, known_tokens)

    async def read(self, owner: str, look_up: Callable[[Connection], T]) -> T:
        """Look something up in the store, off the event loop."""

        def work() -> T:
            with self.store.reading() as connection:
                return look_up(connection)

        return await self.workers.do(owner, work)

    async def free(self, owner: str, write: Callable[[Connection], T]) -> T:
        """Write what has to be possible on a full disk, too, off the event loop."""
        return await self.workers.do(owner, partial(self.store.freeing, write))


async def _service(request: Request) -> Service:
    return request.app.state.service  # type: ignore[no-any-return]


Served = Annotated[Service, Depends(_service)]
"""The service behind a route, as FastAPI hands it in."""
