"""The store of conversations: each message is a node under a hash of all that was said up to it.

A state is kept for each message, and those of old messages are thinned: the state after message d
stays until the conversation is 16 · 2^k messages longer, where 2^k is the largest power of two that
divides d. So whoever goes back x messages reads at most x / 7 of them anew, a conversation of n
messages holds about 16 + 8 log2(n / 16) states, and the end of every branch is always kept.
"""

import hashlib
import time
from collections.abc import Sequence
from typing import Literal, NamedTuple

from sqlalchemy import (
    Column,
    Connection,
    Float,
    Index,
    Integer,
    LargeBinary,
    String,
    Table,
    Text,
    delete,
    exists,
    func,
    select,
)
from sqlalchemy.dialects.sqlite import insert

from elman.chat.database import TABLES, Database
from elman.data.conversation import Role

LOCAL = "local"
"""Who owns what is said at this computer, without a key."""

MIN_KEPT_MESSAGES = 16
"""A state is kept until the conversation is at least so many messages longer."""

MAX_QUERY_KEYS = 500
"""Keys that are named in one query: SQLite bounds how many."""

CLOCK_TICK_SECONDS = 1e-6
"""Between two answers to one message, at least, so that their order is that of their times."""

nodes = Table(
    "nodes",
    TABLES,
    Column("key", LargeBinary, primary_key=True),
    Column("owner", String, nullable=False),
    Column("parent", LargeBinary, nullable=False),
    Column("root", LargeBinary, nullable=False),
    Column("depth", Integer, nullable=False),
    Column("role", String, nullable=False),
    Column("text", Text, nullable=False),
    Column("tokens", LargeBinary),
    Column("time", Float, nullable=False),
    Index("children", "parent"),
    sqlite_with_rowid=False,
)

states = Table(
    "states",
    TABLES,
    Column("key", LargeBinary, primary_key=True),
    Column("root", LargeBinary, nullable=False),
    Column("depth", Integer, nullable=False),
    Column("state", LargeBinary, nullable=False),
    Index("to_be_thinned", "root", "depth"),
)

holds = Table(
    "holds",
    TABLES,
    Column("owner", String, primary_key=True),
    Column("holder", String, primary_key=True),
    Column("key", LargeBinary, primary_key=True),
    Index("held", "key"),
    sqlite_with_rowid=False,
)

sessions = Table(
    "sessions",
    TABLES,
    Column("owner", String, primary_key=True),
    Column("name", String, primary_key=True),
    Column("bot", String, nullable=False),
    # Stores of earlier releases have a column of this name, and are opened as they are.
    Column("made_by", LargeBinary, key="fingerprint", nullable=False),
    Column("head", LargeBinary),
    Column("created", Float, nullable=False),
    Column("updated", Float, nullable=False),
)


class Node(NamedTuple):
    """One message, after all those before it.

    Args:
        key: the hash of whose conversation it is, what made its states, and everything said.
        parent: the key before it.
        root: the key of the conversation's first message.
        depth: how many messages were read up to it.
        role: "state" stands for a conversation of which only the state is known.
        tokens: ids as little-endian uint16, where the tokenizer would cut the text otherwise.
        time: in seconds since 1970.
    """

    key: bytes
    parent: bytes
    root: bytes
    depth: int
    role: Role | Literal["state"]
    text: str
    tokens: bytes | None
    time: float


class StoredSession(NamedTuple):
    """A session as the store has it. Times are in seconds since 1970.

    Args:
        bot: the path of its folder.
        fingerprint: the digest of what made its states.
        head: the key of its last message; None: nothing was said.
    """

    name: str
    bot: str
    fingerprint: bytes
    head: bytes | None
    created: float
    updated: float


def start_key(owner: str, fingerprint: bytes) -> bytes:
    """Return the key before anything was said."""
    return _hash(b"start", owner.encode(), fingerprint)


def next_key(key: bytes, role: str, text: str) -> bytes:
    """Return the key after one more message."""
    return _hash(key, role.encode(), text.encode())


def _hash(*parts: bytes) -> bytes:
    digest = hashlib.blake2b(digest_size=16)
    for part in parts:
        digest.update(len(part).to_bytes(8, "little") + part)
    return digest.digest()


def expiring(depth: int) -> list[int]:
    """Return the depths whose states are dropped when a message of this depth is put."""
    found, power = [], 1
    while (old := depth - MIN_KEPT_MESSAGES * power) > 0:
        if old % (2 * power) == power:
            found.append(old)
        power *= 2
    return found


class MemoryStore(Database):
    """Nodes, states and sessions in a database. A look-up names an owner, and finds only theirs."""

    def put(
        self, connection: Connection, owner: str, node: Node, state: bytes | None = None
    ) -> None:
        """Add a message, and the state after it; of one that is there, the state is put anew.

        Where the clock went back, the message still comes after those to the same one before it.
        """
        before = select(func.max(nodes.c.time)).where(nodes.c.parent == node.parent)
        later = func.coalesce(before.scalar_subquery() + CLOCK_TICK_SECONDS, node.time)
        values = node._asdict() | {"owner": owner, "time": func.max(node.time, later)}
        adding = insert(nodes).values(values)
        if state is None:
            connection.execute(adding.on_conflict_do_nothing())
            return
        connection.execute(adding.on_conflict_do_update(set_={"tokens": node.tokens}))
        kept = {"key": node.key, "root": node.root, "depth": node.depth, "state": state}
        connection.execute(insert(states).values(kept).on_conflict_do_update(set_={"state": state}))
        if old := expiring(node.depth):
            self._thin(connection, node.root, old)

    def _thin(self, connection: Connection, root: bytes, depths: list[int]) -> None:
        """Drop the states at some depths, but for the ends of branches, and files' states."""
        child = nodes.alias()
        connection.execute(
            delete(states).where(
                states.c.root == root,
                states.c.depth.in_(depths),
                exists().where(child.c.parent == states.c.key),
                ~exists().where(nodes.c.key == states.c.key, nodes.c.role == "state"),
            )
        )

    def node(self, connection: Connection, owner: str, key: bytes) -> Node | None:
        mine = (nodes.c.key == key) & (nodes.c.owner == owner)
        found = connection.execute(select(*_NODE).where(mine)).first()
        return None if found is None else Node(*found)

    def answers(self, connection: Connection, owner: str, key: bytes, limit: int) -> list[Node]:
        """Return what was said after a message, in all branches; of many, the last ones."""
        after = select(*_NODE).where(nodes.c.parent == key, nodes.c.owner == owner)
        last = after.order_by(nodes.c.time.desc()).limit(limit)
        return [Node(*row) for row in connection.execute(last)]

    def to_a_state(
        self, connection: Connection, owner: str, key: bytes
    ) -> list[tuple[Node, bytes | None]]:
        """Return a message and those before it, back to the nearest whose state is kept.

        Each comes with its state; only the last one of the list has one.
        """
        with_state = select(*_NODE, states.c.state).outerjoin(states, states.c.key == nodes.c.key)
        up = with_state.where(nodes.c.key == key, nodes.c.owner == owner).cte(recursive=True)
        up = up.union_all(
            with_state.join(up, nodes.c.key == up.c.parent).where(up.c.state.is_(None))
        )
        found = connection.execute(select(up).order_by(up.c.depth.desc()))
        return [(Node(*row[:-1]), row[-1]) for row in found]

    def path(self, connection: Connection, owner: str, key: bytes) -> list[Node]:
        """Return all messages up to a key, the first one first."""
        return self._up(connection, owner, [key])

    def tree(self, connection: Connection, owner: str, holder: str) -> list[Node]:
        """Return all messages of all branches that a holder holds, parents before children."""
        return self._up(connection, owner, self.held(connection, owner, holder))

    def _up(self, connection: Connection, owner: str, keys: Sequence[bytes]) -> list[Node]:
        whole = select(*_NODE)
        up = whole.where(nodes.c.key.in_(keys), nodes.c.owner == owner).cte(recursive=True)
        up = up.union(whole.join(up, nodes.c.key == up.c.parent))
        found = connection.execute(select(up).order_by(up.c.depth, up.c.time))
        return [Node(*row) for row in found]

    def known(self, connection: Connection, owner: str, keys: Sequence[bytes]) -> set[bytes]:
        """Return those of some keys that have a state."""
        found: set[bytes] = set()
        mine = select(nodes.c.key).join(states, states.c.key == nodes.c.key)
        mine = mine.where(nodes.c.owner == owner)
        for begin in range(0, len(keys), MAX_QUERY_KEYS):
            some = nodes.c.key.in_(keys[begin : begin + MAX_QUERY_KEYS])
            found.update(connection.scalars(mine.where(some)))
        return found

    def hold(self, connection: Connection, owner: str, holder: str, key: bytes) -> None:
        """Keep a message, and all before it, until the holder lets go."""
        values = {"owner": owner, "holder": holder, "key": key}
        connection.execute(insert(holds).values(values).on_conflict_do_nothing())

    def held(self, connection: Connection, owner: str, holder: str) -> list[bytes]:
        mine = (holds.c.owner == owner) & (holds.c.holder == holder)
        return list(connection.scalars(select(holds.c.key).where(mine)))

    def let_go(
        self, connection: Connection, owner: str, holder: str, key: bytes | None = None
    ) -> None:
        """Let go of one key or of all, and forget every message that nobody holds any more."""
        mine = (holds.c.owner == owner) & (holds.c.holder == holder)
        for each in self.held(connection, owner, holder) if key is None else [key]:
            connection.execute(delete(holds).where(mine, holds.c.key == each))
            self._forget(connection, each)

    def _forget(self, connection: Connection, key: bytes) -> None:
        """Remove a message without holder or child, and those before it that only led to it."""
        child = nodes.alias()
        children = select(func.count()).where(child.c.parent == nodes.c.key).scalar_subquery()
        free = select(nodes.c.key, nodes.c.parent).where(
            ~exists().where(holds.c.key == nodes.c.key)
        )
        up = free.where(nodes.c.key == key, children == 0).cte(recursive=True)
        up = up.union_all(free.join(up, nodes.c.key == up.c.parent).where(children == 1))
        keys = list(connection.scalars(select(up.c.key)))
        for begin in range(0, len(keys), MAX_QUERY_KEYS):
            for table in (nodes, states):
                some = table.c.key.in_(keys[begin : begin + MAX_QUERY_KEYS])
                connection.execute(delete(table).where(some))

    def session(self, connection: Connection, owner: str, name: str) -> StoredSession | None:
        mine = (sessions.c.owner == owner) & (sessions.c.name == name)
        found = connection.execute(select(*_SESSION).where(mine)).first()
        return None if found is None else StoredSession(*found)

    def sessions(self, connection: Connection, owner: str) -> list[StoredSession]:
        """Return all sessions of an owner, the latest first."""
        mine = select(*_SESSION).where(sessions.c.owner == owner)
        found = connection.execute(mine.order_by(sessions.c.updated.desc()))
        return [StoredSession(*row) for row in found]

    def move(
        self,
        connection: Connection,
        owner: str,
        session: tuple[str, str, bytes],
        head: bytes | None,
        passed: bytes | None = None,
    ) -> None:
        """Set where a session stands; make it, if need be.

        Args:
            session: its name, its bot, and what made its states.
            head: the last message, None where nothing was said.
            passed: what was its end, and is now on the way to its head.
        """
        name, bot, fingerprint = session
        now = time.time()
        values = {"bot": bot, "fingerprint": fingerprint, "head": head, "updated": now}
        connection.execute(
            insert(sessions)
            .values(owner=owner, name=name, created=now, **values)
            .on_conflict_do_update(index_elements=["owner", "name"], set_=values)
        )
        if head is not None:
            self.hold(connection, owner, holder(name), head)
        if passed is not None:
            self.let_go(connection, owner, holder(name), passed)

    def delete_session(self, connection: Connection, owner: str, name: str) -> bool:
        """Forget a session, and what nobody else holds of it; False: there was none."""
        self.let_go(connection, owner, holder(name))
        mine = (sessions.c.owner == owner) & (sessions.c.name == name)
        return connection.execute(delete(sessions).where(mine)).rowcount > 0


def holder(session: str) -> str:
    """Return the name under which a session holds its branches."""
    return f"session {session}"


_NODE = [nodes.c[name] for name in Node._fields]
_SESSION = [sessions.c[name] for name in StoredSession._fields]
