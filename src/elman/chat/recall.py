"""What a bot can recall of a conversation: a state that was kept, or the transcript read anew."""

import hashlib
import struct
import time
import zlib
from collections.abc import Sequence

import numpy as np

from elman.chat.database import Connection
from elman.chat.memory import LOCAL, MemoryStore, Node, next_key, start_key
from elman.data.conversation import Turn
from elman.data.tokenizer import END, ROLES
from elman.errors import ElmanError
from elman.generate.bot import Bot
from elman.generate.decoder import State, StatePart
from elman.generate.penalties import HISTORY_MESSAGES, History

STATE_MAGIC = b"ELMS"
STATE_VERSION = 1
STATE_HEAD = struct.Struct("<4sBB16s16s")
"""Magic, version, how many tensors, the digest of what made the state, the key of its message."""
CHECKSUM_BYTES = 16
"""At the end of a state's bytes."""

EARLIER_MESSAGES = 110
"""Messages, of both sides, before the latest: in them is sought what the user told."""

MAX_PIECES_AT_ONCE = 64
"""Pieces of a transcript that are read in one call: bounds the memory that reading takes."""


def state_to_bytes(state: Sequence[np.ndarray], fingerprint: bytes, key: bytes) -> bytes:
    """Write a state of one conversation as bytes: head, sizes, tensors (zlib), checksum.

    Args:
        state: (1, size) arrays.
        fingerprint: the digest of what made it.
        key: of the message that it comes after.
    """
    head = STATE_HEAD.pack(STATE_MAGIC, STATE_VERSION, len(state), fingerprint, key)
    sizes = struct.pack(f"<{len(state)}I", *(array.shape[1] for array in state))
    numbers = b"".join(array.tobytes() for array in state)
    content = head + sizes + zlib.compress(numbers, 1)
    return content + _check(content)


def state_from_bytes(
    kept: bytes, spec: Sequence[StatePart], fingerprint: bytes, key: bytes
) -> list[np.ndarray] | None:
    """Read such bytes; None where they are damaged, of another message, or of other weights."""
    content, check = kept[:-CHECKSUM_BYTES], kept[-CHECKSUM_BYTES:]
    head = STATE_HEAD.pack(STATE_MAGIC, STATE_VERSION, len(spec), fingerprint, key)
    head += struct.pack(f"<{len(spec)}I", *(part.size for part in spec))
    if not content.startswith(head) or _check(content) != check:
        return None
    lengths = [part.size * np.dtype(part.dtype).itemsize for part in spec]
    numbers = zlib.decompressobj().decompress(content[len(head) :], sum(lengths) + 1)
    if len(numbers) != sum(lengths):
        return None
    ends = np.cumsum(lengths)
    return [
        np.frombuffer(bytearray(numbers[end - length : end]), part.dtype)[None]
        for part, length, end in zip(spec, lengths, ends, strict=True)
    ]


def _check(content: bytes) -> bytes:
    return hashlib.blake2b(content, digest_size=CHECKSUM_BYTES).digest()


class Recall:
    """Finds, reads and keeps what one owner and one bot said to each other.

    Args:
        fingerprint: the bot's `state_digest`, where it is known already.
    """

    def __init__(
        self, store: MemoryStore, bot: Bot, owner: str = LOCAL, fingerprint: bytes | None = None
    ) -> None:
        self.store, self.bot, self.owner = store, bot, owner
        self.fingerprint = fingerprint or bot.state_digest
        self.start = start_key(owner, self.fingerprint)

    def after(
        self, parent: Node | None, role: str, text: str, tokens: Sequence[int] | None = None
    ) -> Node:
        """Make the node of one more message; nothing is kept yet.

        The same text gives the same key, and the key finds the state. Some tokens spell other bytes
        than those of the text: half a character, or what was not told. Then the tokens are a part
        of the key.

        Args:
            parent: the message before it, None where it is the first.
            tokens: how the bot cut the text, where it said it; None: as the tokenizer does.
        """
        # No store keeps half of a character, and PostgreSQL no character 0.
        text = text.encode(errors="replace").decode().replace("\0", "\ufffd")
        before = self.start if parent is None else parent.key
        key = next_key(before, role, text)
        own = None
        if tokens is not None and list(tokens) != self.bot.tokenizer.encode(text):
            own = np.array(tokens, "<u2").tobytes()
            if self.bot.tokenizer.decode_bytes(tokens) != text.encode():
                key = next_key(key, "tokens", own.hex())
        return Node(
            key=key,
            parent=before,
            root=key if parent is None else parent.root,
            depth=1 if parent is None else parent.depth + 1,
            role=role,  # type: ignore[arg-type]
            text=text,
            tokens=own,
            time=time.time(),
        )

    def chain(self, last: Node | None, turns: Sequence[Turn]) -> list[Node]:
        """Make the nodes of some more messages, each after the one before it."""
        found: list[Node] = []
        for turn in turns:
            found.append(self.after(found[-1] if found else last, turn.role, turn.text))
        return found

    def tokens(self, node: Node) -> list[int]:
        """Return the tokens of a message's text."""
        if node.tokens is not None:
            return [int(token) for token in np.frombuffer(node.tokens, "<u2")]
        return self.bot.tokenizer.encode(node.text)

    def ids(self, node: Node) -> np.ndarray:
        """Return the tokens of a message from its role to its END.

        Raises:
            ElmanError: for a conversation of which only the state was known.
        """
        if node.role == "state":
            raise ElmanError(
                "this conversation began with a state from a file, which is damaged or was made "
                "by other weights; without it, what was said later cannot be understood"
            )
        return np.array([ROLES[node.role], *self.tokens(node), END], np.uint16)

    def latest(self, connection: Connection, path: Sequence[Node]) -> list[Node]:
        """Return the last messages of a conversation, as many as a reply is compared with.

        Args:
            connection: to the store, which is asked for what came before.
            path: the last messages that are known, at least one.
        """
        nodes = list(path[-HISTORY_MESSAGES:])
        while len(nodes) < HISTORY_MESSAGES and nodes[0].parent != self.start:
            before = self.store.node(connection, self.owner, nodes[0].parent)
            if before is None:
                break
            nodes.insert(0, before)
        return nodes

    def history(self, connection: Connection, path: Sequence[Node]) -> History:
        """Return what was said last in a conversation, up to a message that is to be answered.

        The arguments are those of `latest`.
        """
        nodes = self.latest(connection, path)
        # The path may hold messages that the store has not got yet.
        known = list(path[: max(0, len(path) - len(nodes))][-EARLIER_MESSAGES:])
        first = (known or nodes)[0]
        if (missing := EARLIER_MESSAGES - len(known)) and first.parent != self.start:
            known = self.store.before(connection, self.owner, first.parent, missing) + known
        everything = [*known, *nodes]
        return History(
            [node.text for node in reversed(nodes) if node.role == "user"],
            [tuple(self.tokens(node)) for node in reversed(nodes) if node.role == "bot"],
            nodes[-1].text if nodes[-1].role == "user" else None,
            everything[0].parent == self.start and all(n.role != "state" for n in everything),
            [node.text for node in reversed(known) if node.role == "user"],
        )

    def find(self, connection: Connection, key: bytes) -> tuple[State, list[Node]]:
        """Return the nearest state that can be trusted, and the messages to be read after it.

        Raises:
            ElmanError: where this owner has no such message.
        """
        decoder = self.bot.decoder
        unread: list[Node] = []
        while key != self.start:
            found = self.store.to_a_state(connection, self.owner, key)
            if not found:
                raise ElmanError("there is no such message")
            for node, kept in found:
                state = None
                if kept is not None:
                    state = state_from_bytes(kept, decoder.state_spec, self.fingerprint, node.key)
                if state is not None:
                    return decoder.from_arrays(state), unread[::-1]
                unread.append(node)
            key = unread[-1].parent
        return decoder.initial_state(1), unread[::-1]

    def state(self, key: bytes) -> State:
        """Return the state after a message, read on from the nearest that is kept.

        Raises:
            ElmanError: where this owner has no such message.
        """
        with self.store.reading() as connection:
            state, unread = self.find(connection, key)
        return self.read(unread, state)

    def read(self, unread: Sequence[Node], state: State) -> State:
        """Read some more messages; return the state after them."""
        decoder = self.bot.decoder
        pieces = [piece for node in unread for piece in decoder.parts(self.ids(node))]
        for begin in range(0, len(pieces), MAX_PIECES_AT_ONCE):
            state = decoder.read([pieces[begin : begin + MAX_PIECES_AT_ONCE]], state)
        return state

    def put(self, connection: Connection, node: Node, state: State | None = None) -> None:
        """Keep a message, and the state after it."""
        kept = None
        if state is not None:
            kept = state_to_bytes(self.bot.decoder.to_arrays(state), self.fingerprint, node.key)
        self.store.put(connection, self.owner, node, kept)

    def adopt(self, path: Sequence[Node]) -> list[Node]:
        """Put a transcript of other weights under the keys of these.

        Raises:
            ElmanError: where it began with a state, which these cannot read.
        """
        found: list[Node] = []
        for node in path:
            if node.role == "state":
                self.ids(node)  # says why not
            last = found[-1] if found else None
            found.append(self.after(last, node.role, node.text)._replace(time=node.time))
        return found
