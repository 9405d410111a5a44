"""Resolves a conversation that is asked about to the nearest known state and what follows it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from elman.chat import MemoryStore, Node, Recall
from elman.chat.memory import next_key
from elman.data.conversation import Turn
from elman.generate.decoder import State
from elman.generate.penalties import History
from elman.generate.sampling import SamplingParams
from elman.serve.carried import CarriedState, SaidMessage
from elman.serve.http.errors import ApiError, no_such
from elman.serve.jobs import Event, Job
from elman.serve.limits import MAX_UNCUT_TOKENS
from elman.serve.models import Model, RecentState
from elman.serve.store.responses import ResponseStore, StoredResponse

MAX_AVOIDED_REPLIES = 64
"""Earlier replies to a message that are given again only where no other is about as good."""

ROLE_AND_END_TOKENS = 2
"""Tokens of a message beside those of its text."""


@dataclass
class Prompt:
    """All that a reply answers, and what it leaves behind.

    Args:
        asked: the last message.
        new: the messages that the store may not have, the last of them `asked`.
        state: the nearest that is known.
        unread: the messages after it, as tokens.
        known: tokens before those.
        path: the last messages, as far as they had to be looked at, the last of them `asked`.
        before: the response that this goes on from, if any.
        carries: whether its client carries the state, so that nothing of it is kept here.
    """

    model: Model
    recall: Recall
    asked: Node
    new: list[Node]
    state: State
    unread: list[np.ndarray]
    known: int
    path: Sequence[Node]
    before: StoredResponse | None = None
    carries: bool = False

    @property
    def tokens(self) -> int:
        """Tokens of the whole conversation."""
        return self.known + sum(len(message) for message in self.unread)

    def job(self, params: SamplingParams, choices: int, deliver: Callable[[Event], None]) -> Job:
        """Prepare replies for a batcher.

        Raises:
            ApiError: where a message is too long for a bot that reads each in one piece.
        """
        history = self._history()
        recent = history.said[0] if history.said else ()
        job = Job(
            self.state, self.unread, params, deliver, recent, choices,
            history=history.also(*self._given_before()), owner=self.recall.owner,
        )  # fmt: skip
        job.cut(self.model.bot.decoder)
        longest = max(map(len, job.parts or ()), default=0)
        if longest > MAX_UNCUT_TOKENS:
            raise ApiError(
                400, f"a message has {longest:,} tokens, and this bot reads at most "
                f"{MAX_UNCUT_TOKENS:,} at once: say it in parts",
            )  # fmt: skip
        return job

    def _history(self) -> History:
        with self.recall.store.reading() as connection:
            return self.recall.history(connection, self.path)

    def _given_before(self) -> list[tuple[int, ...]]:
        """Return the bot's replies to the same message: another one is wanted."""
        store, owner = self.recall.store, self.recall.owner
        with store.reading() as connection:
            others = store.answers(connection, owner, self.asked.key, MAX_AVOIDED_REPLIES)
        return [tuple(self.recall.tokens(each)) for each in others if each.role == "bot"]

    def remember_reply(self, text: str, said: Sequence[int], state: State) -> Node:
        """Have the state after a reply at hand, unless its client carries it.

        This tokenizes: not for the event loop.

        Returns:
            The reply; the last message that was asked, where nothing was said.
        """
        if not said:
            return self.asked
        node = self.recall.after(self.asked, "bot", text, said)
        if not self.carries:
            self.model.recent.put(node.key, state, self.tokens_with(said))
        return node

    def tokens_with(self, said: Sequence[int]) -> int:
        """Count the tokens of the conversation with a reply; nothing said is no message."""
        return self.tokens + (len(said) + ROLE_AND_END_TOKENS if said else 0)

    def carried(self, node: Node, said: Sequence[int], state: State) -> CarriedState:
        """Return what the client is to carry after a reply."""
        path = [*self.path, node] if said else self.path
        with self.recall.store.reading() as connection:
            latest = self.recall.latest(connection, path)
        return CarriedState(
            self.model.bot.decoder.to_arrays(state),
            node.depth,
            self.tokens_with(said),
            [
                SaidMessage(
                    each.role, each.text, None if each.tokens is None else self.recall.tokens(each)
                )
                for each in latest
                if each.role != "state"
            ],
        )

    def kept_messages(
        self, node: Node, asked: State | None, state: State
    ) -> list[tuple[Node, State | None]]:
        """Return the messages of a response, each with the state after it where that is known.

        Args:
            node: the reply; the last message, where it was left before it began.
            asked: the state after the last message, if it was read.
            state: the state after the reply.
        """
        nodes, states = list(self.new), {self.asked.key: asked}
        if node.key not in states:
            nodes.append(node)
            states[node.key] = state
        return [(each, states.get(each.key)) for each in nodes]


class Prompts:
    """Finds what conversations have in common with those that are kept."""

    def __init__(self, store: MemoryStore, responses: ResponseStore) -> None:
        self._store, self._responses = store, responses

    def from_history(self, model: Model, owner: str, turns: Sequence[Turn]) -> Prompt:
        """Resolve a conversation that the client tells from its beginning."""
        recall = model.recall(self._store, owner)
        nodes = recall.chain(None, turns)
        number, found = self._longest_known(model, recall, nodes)
        return self._prompt(model, recall, nodes, nodes, found, nodes[number:])

    def from_response(
        self, model: Model, owner: str, before: str | None, turns: Sequence[Turn]
    ) -> Prompt:
        """Resolve a conversation that goes on from a response, or begins.

        Raises:
            ApiError: where the owner has no such response.
        """
        if before is None:
            return self.from_history(model, owner, turns)
        recall = model.recall(self._store, owner)
        old: list[Node] = []
        with self._store.reading() as connection:
            response = self._responses.get(connection, owner, before)
            last = self._store.node(connection, owner, response.key)
            if last is None:
                raise no_such("response", before)
            if response.fingerprint != model.fingerprint:
                old = recall.adopt(self._store.path(connection, owner, response.key))
                last = old[-1]
        if old:
            number, found = self._longest_known(model, recall, old)
            unread = old[number:]
        elif (at_hand := model.recent.get(last.key)) is not None:
            found, unread = at_hand, []
        else:
            with self._store.reading() as connection:
                state, unread = recall.find(connection, last.key)
            later = sum(len(recall.ids(node)) for node in unread)
            found = RecentState(state, max(0, response.read + response.said - later))
        new = recall.chain(last, turns)
        prompt = self._prompt(model, recall, [*old, *new], [last, *new], found, [*unread, *new])
        prompt.before = response
        return prompt

    def from_carried(
        self, model: Model, owner: str, carried: CarriedState, turns: Sequence[Turn]
    ) -> Prompt:
        """Resolve a conversation that goes on from a state that its client brought."""
        recall = model.recall(self._store, owner)
        path: list[Node] = []
        if forgotten := carried.messages - len(carried.said):
            key = next_key(recall.start, "state", b"".join(map(bytes, carried.arrays)).hex())
            first = recall.after(None, "state", "")
            path.append(first._replace(key=key, root=key, depth=forgotten))
        for each in carried.said:
            path.append(recall.after(path[-1] if path else None, *each))
        new = recall.chain(path[-1], turns)
        found = RecentState(model.bot.decoder.from_arrays(carried.arrays), carried.tokens)
        prompt = self._prompt(model, recall, new, [*path, *new], found, new)
        prompt.carries = True
        return prompt

    @staticmethod
    def _prompt(
        model: Model,
        recall: Recall,
        new: list[Node],
        path: Sequence[Node],
        found: RecentState,
        unread: Sequence[Node],
    ) -> Prompt:
        return Prompt(
            model, recall, new[-1], new, found.state, [recall.ids(node) for node in unread],
            found.tokens, path,
        )  # fmt: skip

    def _longest_known(
        self, model: Model, recall: Recall, nodes: Sequence[Node]
    ) -> tuple[int, RecentState]:
        """Return how many messages from the beginning have a known state, and that state."""
        for number in range(len(nodes), 0, -1):
            if found := model.recent.get(nodes[number - 1].key):
                break
        else:
            number, found = 0, RecentState(recall.bot.decoder.initial_state(1), 0)
        with self._store.reading() as connection:
            later = [node.key for node in nodes[number:]]
            known = self._store.known(connection, recall.owner, later)
            for longer in range(len(nodes), number, -1):
                if nodes[longer - 1].key not in known:
                    continue
                state, unread = recall.find(connection, nodes[longer - 1].key)
                if not unread:
                    tokens = sum(len(recall.ids(node)) for node in nodes[:longer])
                    return longer, RecentState(state, tokens)
        return number, found
