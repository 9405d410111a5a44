"""A conversation with a bot, whose memory is a state that can be kept, undone and inspected."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from elman.chat.memory import LOCAL, MemoryStore, Node, next_key
from elman.chat.recall import Recall
from elman.data.conversation import named
from elman.data.tokenizer import END
from elman.errors import ElmanError
from elman.generate.bot import Bot, load_state, save_state
from elman.generate.decoder import State
from elman.generate.likelihood import as_message
from elman.generate.replier import Replier
from elman.generate.sampling import SamplingParams

MAX_MESSAGE_BYTES = 200_000
"""Bytes of a message, of which a bot may read less (`unread_tokens`)."""


class StateFacts(NamedTuple):
    """What is told of a state: its size, how many messages it has read, and its norm."""

    bytes: int
    messages: int
    norm: float


class Session:
    """Say something, get a reply, in time that does not grow with the conversation.

    Every message is kept with the state after it, so that going back, another reply, a changed
    message and a fork are look-ups.

    Args:
        bot: who replies.
        params: how replies are drawn.
        speaker: who speaks with it, for a bot that knows people by their names.
        store: where the conversation is kept; None: in memory.
        name: of the session; one that the store knows goes on where it was.
        replier: chooses the replies, by its own parameters; None: the best of some that are drawn.

    Raises:
        ElmanError: for a speaker, where the bot knows nobody by name.
    """

    def __init__(
        self,
        bot: Bot,
        params: SamplingParams | None = None,
        speaker: str | None = None,
        store: MemoryStore | None = None,
        name: str = "",
        replier: Replier | None = None,
    ) -> None:
        if speaker is not None and not bot.knows_names:
            raise ElmanError("this bot knows nobody by name: leave out who is speaking")
        self._bot, self._speaker = bot, speaker
        self.replier = replier or Replier(bot, params)
        self._decoder = self.replier.decoder
        self._generator = self.replier.params.generator()
        self._store = store or MemoryStore()
        self._recall = Recall(self._store, bot)
        self.name = name
        self._described = name, str(bot.home), self._recall.fingerprint
        self.unread_tokens = 0
        """Of the last message: how many at its beginning were passed over, for it is too long."""
        self._head: Node | None = None
        self.state: State = self._decoder.initial_state(1)
        """The memory of everything said so far, of one row."""
        self.read_anew = False
        """Whether what was said before was read again, since other weights made its states."""
        with self._store.reading() as connection:
            kept = self._store.session(connection, LOCAL, name)
        if kept is not None and kept.head is not None:
            self._resume(kept.head, kept.fingerprint == self._recall.fingerprint)

    @property
    def start(self) -> State:
        """The memory before the first of the turns: of a loaded state, or none."""
        path = self.path
        if path and path[0].role == "state":
            return self._recall.state(path[0].key)
        return self._decoder.initial_state(1)

    @property
    def turns(self) -> list[np.ndarray]:
        """What was said here, both sides, each message from its role to its END."""
        return [self._recall.ids(node) for node in self.path if node.role != "state"]

    @property
    def facts(self) -> StateFacts:
        return StateFacts(
            bytes=sum(array.nbytes for array in self.state),
            messages=0 if self._head is None else self._head.depth,
            norm=float(np.linalg.norm(self._decoder.vectors(self.state))),
        )

    @property
    def path(self) -> list[Node]:
        """The messages so far, the first one first."""
        if self._head is None:
            return []
        with self._store.reading() as connection:
            return self._store.path(connection, LOCAL, self._head.key)

    @property
    def unanswered(self) -> bool:
        """Whether the last message is the user's: its reply was left before it began."""
        return self._head is not None and self._head.role == "user"

    def say(self, text: str) -> Iterator[str]:
        """Reply to a message, in pieces of text as they are made.

        A reply that is left before its end counts as said as far as it came.

        Raises:
            ElmanError: where there is nothing in the message.
        """
        self._read("user", self._heard(text))
        return self._reply()

    def again(self) -> Iterator[str]:
        """Give another reply to the last message.

        Raises:
            ElmanError: where nothing was said yet.
        """
        last = self._head
        if last is None or last.role == "state":
            raise ElmanError("there is nothing to answer again yet")
        if last.role == "bot":
            self._go(last.parent)
        return self._reply(last)

    def undo(self, count: int = 1) -> None:
        """Forget the last messages and their replies.

        Raises:
            ElmanError: where so much was not said yet.
        """
        asked = [node for node in self.path if node.role == "user"]
        if not asked:
            raise ElmanError("there is nothing to undo yet")
        if not 1 <= count <= len(asked):
            raise ElmanError(f"{count} cannot be undone: from 1 to {len(asked):,} can")
        self._go(asked[-count].parent)

    def edit(self, number: int, text: str) -> Iterator[str]:
        """Go back to a message and say something else in its place; what was said stays a branch.

        Args:
            number: of the message, from 1, as `tree` counts.
            text: the user's, which is replied to; or the bot's, which then has said so.

        Raises:
            ElmanError: where there is no such message, or nothing in the text.
        """
        found = [node for node in self.path if node.depth == number and node.role != "state"]
        if not found:
            raise ElmanError(f"there is no message {number}")
        [node] = found
        text = self._heard(text) if node.role == "user" else text
        if not text.strip():
            raise ElmanError("there is nothing in the message")
        self._go(node.parent)
        self._read(node.role, text)
        return self._reply() if node.role == "user" else iter(())

    def teach(self, text: str) -> None:
        """Teach what should have been answered to the last message, which now was answered so.

        The same message gets that answer from now on, in every conversation with this bot.

        Raises:
            ElmanError: where nothing was said yet, the text is empty, or it cannot be kept.
        """
        asked = self._asked()
        self.replier.taught.teach(asked.text, text)
        if self._head is not asked:
            self._go(asked.key)
        self._read("bot", text)

    def candidates(self) -> list[str]:
        """Draw other answers to the last message, the best first.

        Raises:
            ElmanError: where nothing was said yet.
        """
        asked = self._asked()
        state = self._recall.state(asked.key)
        with self._store.reading() as connection:
            history = self._recall.history(connection, [asked])
        recent = history.said[0] if history.said else ()
        found = self.replier.candidates(state, self._generator, recent)
        return [self._bot.tokenizer.decode(tokens) for tokens in found]

    def _asked(self) -> Node:
        """Return the last message of the user's."""
        last = self._head
        if last is not None and last.role == "bot":
            with self._store.reading() as connection:
                last = self._store.node(connection, LOCAL, last.parent)
        if last is None or last.role != "user":
            raise ElmanError("there is nothing to answer yet: say something first")
        return last

    def fork(self, name: str) -> "Session":
        """Return another session that begins with all that was said here.

        Raises:
            ElmanError: where the store has a session of that name.
        """
        with self._store.writing() as connection:
            if self._store.session(connection, LOCAL, name) is not None:
                raise ElmanError(f"there is a session {name!r} already")
            head = None if self._head is None else self._head.key
            self._store.move(connection, LOCAL, (name, *self._described[1:]), head)
        return Session(self._bot, None, self._speaker, self._store, name, self.replier)

    def tree(self) -> list[Node]:
        """Return the messages of all branches that were said here, parents before children."""
        with self._store.reading() as connection:
            return self._store.tree(connection, LOCAL, f"session {self.name}")

    def reset(self) -> None:
        """Forget everything."""
        with self._store.writing() as connection:
            self._store.delete_session(connection, LOCAL, self.name)
            self._store.move(connection, LOCAL, self._described, None)
        self._head, self.state = None, self._decoder.initial_state(1)

    def save(self, path: Path) -> None:
        """Keep the state in a file.

        Raises:
            ElmanError: where it cannot be written.
        """
        save_state(path, self._bot, self.state, {"messages": self.facts.messages})

    def load(self, path: Path) -> None:
        """Go on from a kept state; what was said here before is forgotten.

        Raises:
            ElmanError: where it is damaged or belongs to other weights; nothing is forgotten then.
        """
        state, facts = load_state(path, self._bot)
        self.reset()
        numbers = b"".join(array.tobytes() for array in self._decoder.to_arrays(state))
        key = next_key(self._recall.start, "state", numbers.hex())
        first = self._recall.after(None, "state", path.name)
        depth = int(facts.get("messages", 0))
        self._keep(first._replace(key=key, root=key, depth=depth), state)

    def _heard(self, text: str) -> str:
        """Return a message of the user's as the bot reads it."""
        if not text.strip():
            raise ElmanError("there is nothing in the message")
        if (size := len(text.encode(errors="replace"))) > MAX_MESSAGE_BYTES:
            raise ElmanError(
                f"this message has {size:,} bytes, and at most {MAX_MESSAGE_BYTES:,} are read at "
                "once: say it in parts"
            )
        return text if self._speaker is None else named(self._speaker, text)

    def _read(self, role: str, text: str) -> None:
        node = self._recall.after(self._head, role, text)
        ids = self._recall.ids(node)
        self.unread_tokens = len(ids) - sum(map(len, self._decoder.parts(ids)))
        self._keep(node, self._recall.read([node], self.state))

    def _reply(self, last: Node | None = None) -> Iterator[str]:
        """Say a reply, and keep it; where it is left before it began, `last` stays said."""
        assert self._head is not None
        with self._store.reading() as connection:
            history = self._recall.history(connection, [self._head])
        recent = history.said[0] if history.said else ()
        if last is not None:
            history = history.also(tuple(self._recall.tokens(last)))
        tokens = self.replier(self.state, self._generator, recent, history)
        text = self._bot.tokenizer.decode_stream()
        said: list[int] = []
        whole = 0
        state: State | None = None
        finished = False
        try:
            for token, reached in tokens:
                if token == END:
                    finished, whole, state = True, len(said), reached
                    break
                said.append(token)
                if self._bot.tokenizer.characters.are_whole(said):
                    whole, state = len(said), reached
                if piece := text.say(token):
                    yield piece
            if rest := text.rest():
                yield rest
        finally:
            said = said[:whole]  # a reply that is left ends before a character that is not whole
            if said:
                if state is None:  # left before the end of a reply that was chosen as a whole
                    state = self._decoder.read([[as_message(said)]], self.state)
                elif not finished:
                    state = self._decoder.end_message(state)
                text_said = self._bot.tokenizer.decode(said)
                self._keep(self._recall.after(self._head, "bot", text_said, said), state)
            elif last is not None:
                self._go(last.key)

    def _keep(self, node: Node, state: State) -> None:
        """Add a message after the last one; on disk when this returns."""
        passed = None if self._head is None else self._head.key
        with self._store.writing() as connection:
            self._recall.put(connection, node, state)
            self._store.move(connection, LOCAL, self._described, node.key, passed)
        self._head, self.state = node, state

    def _go(self, key: bytes) -> None:
        """Go on from another message; none of what was said is lost."""
        state = self._recall.state(key)
        with self._store.writing() as connection:
            head = self._store.node(connection, LOCAL, key)
            self._store.move(connection, LOCAL, self._described, None if head is None else key)
        self._head, self.state = head, state

    def _resume(self, head: bytes, same_weights: bool) -> None:
        """Go on where the session was; read anew what was said to other weights."""
        if same_weights:
            self.state = self._recall.state(head)
            with self._store.reading() as connection:
                self._head = self._store.node(connection, LOCAL, head)
            return
        with self._store.reading() as connection:
            *path, last = self._recall.adopt(self._store.path(connection, LOCAL, head))
        self.read_anew = True
        self._head, self.state = last, self._recall.read([*path, last], self.state)
        with self._store.writing() as connection:
            for node in path:
                self._recall.put(connection, node)
            self._recall.put(connection, last, self.state)
            self._store.move(connection, LOCAL, self._described, last.key)
