"""The store of conversations: each message is a node under a hash of all that was said up to it.

A state is kept for each message, and those of old messages are thinned: the state after message d
stays until the conversation is 16 · 2^k messages longer, where 2^k is the largest power of two that
divides d. So whoever goes back x messages reads at most x / 7 of them anew, a conversation of n
messages holds about 16 + 8 log2(n / 16) states, and the end of every branch is always kept.
"""

import hashlib
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple, Self

from elman.chat.database import Connection, listed, open_database, scalars
from elman.data.conversation import Role

LOCAL = "local"
"""Who owns what is said at this computer, without a key."""

MIN_KEPT_MESSAGES = 16
"""A state is kept until the conversation is at least so many messages longer."""

MAX_QUERY_KEYS = 500
"""Keys that are named in one query: SQLite bounds how many."""

CLOCK_TICK_SECONDS = 1e-6
"""Between two answers to one message, at least, so that their order is that of their times."""


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


class MemoryStore:
    """Nodes, states and sessions in a database. A look-up names an owner, and finds only theirs.

    Args:
        place: as `open_database` takes it. By default, memory.

    Raises:
        ElmanError: as `open_database` does.
    """

    def __init__(self, place: str | Path = "sqlite://") -> None:
        self.database = open_database(place)
        self.reading, self.writing = self.database.reading, self.database.writing
        self.freeing, self.close = self.database.freeing, self.database.close

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def put(
        self, connection: Connection, owner: str, node: Node, state: bytes | None = None
    ) -> None:
        """Add a message, and the state after it; of one that is there, the state is put anew.

        Where the clock went back, the message still comes after those to the same one before it.
        """
        values = node._asdict() | {"owner": owner, "tick": CLOCK_TICK_SECONDS, "state": state}
        adding = """
            INSERT INTO nodes (key, owner, parent, root, depth, role, text, tokens, time)
            VALUES (:key, :owner, :parent, :root, :depth, :role, :text, :tokens, (
                SELECT max(time) FROM (
                    SELECT :time AS time
                    UNION ALL SELECT max(time) + :tick FROM nodes WHERE parent = :parent
                ) AS times
            ))
            ON CONFLICT (key) DO """
        if state is None:
            connection.execute(adding + "NOTHING", values)
            return
        connection.execute(adding + "UPDATE SET tokens = :tokens", values)
        connection.execute(
            "INSERT INTO states (key, root, depth, state) VALUES (:key, :root, :depth, :state) "
            "ON CONFLICT (key) DO UPDATE SET state = :state",
            values,
        )
        if old := expiring(node.depth):
            self._thin(connection, node.root, old)

    def _thin(self, connection: Connection, root: bytes, depths: list[int]) -> None:
        """Drop the states at some depths, but for the ends of branches, and files' states."""
        names, values = listed("depth", depths)
        connection.execute(
            f"""DELETE FROM states WHERE root = :root AND depth IN {names}
            AND EXISTS (SELECT 1 FROM nodes WHERE nodes.parent = states.key)
            AND NOT EXISTS (SELECT 1 FROM nodes WHERE nodes.key = states.key AND role = 'state')""",
            values | {"root": root},
        )

    def node(self, connection: Connection, owner: str, key: bytes) -> Node | None:
        found = connection.execute(
            f"SELECT {_NODE} FROM nodes WHERE key = :key AND owner = :owner",
            {"key": key, "owner": owner},
        ).fetchone()
        return None if found is None else Node(*found)

    def answers(self, connection: Connection, owner: str, key: bytes, limit: int) -> list[Node]:
        """Return what was said after a message, in all branches; of many, the last ones."""
        found = connection.execute(
            f"""SELECT {_NODE} FROM nodes WHERE parent = :key AND owner = :owner
            ORDER BY time DESC LIMIT :limit""",
            {"key": key, "owner": owner, "limit": limit},
        )
        return [Node(*row) for row in found]

    def said_by_bots(self, connection: Connection) -> set[str]:
        """Return what bots said to anybody, word for word, whoever owns it."""
        found = connection.execute("SELECT DISTINCT text FROM nodes WHERE role = 'bot'")
        return set(scalars(found))

    def to_a_state(
        self, connection: Connection, owner: str, key: bytes
    ) -> list[tuple[Node, bytes | None]]:
        """Return a message and those before it, back to the nearest whose state is kept.

        Each comes with its state; only the last one of the list has one.
        """
        with_state = f"""SELECT {_NODE_OF_NODES}, states.state FROM nodes
            LEFT JOIN states ON states.key = nodes.key"""
        found = connection.execute(
            f"""WITH RECURSIVE up AS (
                {with_state} WHERE nodes.key = :key AND nodes.owner = :owner
                UNION ALL {with_state} JOIN up ON nodes.key = up.parent WHERE up.state IS NULL
            ) SELECT {_NODE}, state FROM up ORDER BY depth DESC""",
            {"key": key, "owner": owner},
        )
        return [(Node(*row[:-1]), row[-1]) for row in found]

    def path(self, connection: Connection, owner: str, key: bytes) -> list[Node]:
        """Return all messages up to a key, the first one first."""
        return self._up(connection, owner, [key])

    def before(self, connection: Connection, owner: str, key: bytes, limit: int) -> list[Node]:
        """Return the last messages up to a key, so many, the first one first."""
        found = connection.execute(
            f"""WITH RECURSIVE up AS (
                SELECT {_NODE}, 1 AS number FROM nodes WHERE key = :key AND owner = :owner
                UNION ALL SELECT {_NODE_OF_NODES}, up.number + 1
                FROM nodes JOIN up ON nodes.key = up.parent WHERE up.number < :limit
            ) SELECT {_NODE} FROM up ORDER BY depth""",
            {"key": key, "owner": owner, "limit": limit},
        )
        return [Node(*row) for row in found]

    def tree(self, connection: Connection, owner: str, holder: str) -> list[Node]:
        """Return all messages of all branches that a holder holds, parents before children."""
        return self._up(connection, owner, self.held(connection, owner, holder))

    def _up(self, connection: Connection, owner: str, keys: Sequence[bytes]) -> list[Node]:
        names, values = listed("key", keys)
        found = connection.execute(
            f"""WITH RECURSIVE up AS (
                SELECT {_NODE} FROM nodes WHERE key IN {names} AND owner = :owner
                UNION SELECT {_NODE_OF_NODES} FROM nodes JOIN up ON nodes.key = up.parent
            ) SELECT {_NODE} FROM up ORDER BY depth, time""",
            values | {"owner": owner},
        )
        return [Node(*row) for row in found]

    def known(self, connection: Connection, owner: str, keys: Sequence[bytes]) -> set[bytes]:
        """Return those of some keys that have a state."""
        found: set[bytes] = set()
        for begin in range(0, len(keys), MAX_QUERY_KEYS):
            names, values = listed("key", keys[begin : begin + MAX_QUERY_KEYS])
            mine = connection.execute(
                f"""SELECT nodes.key FROM nodes JOIN states ON states.key = nodes.key
                WHERE nodes.owner = :owner AND nodes.key IN {names}""",
                values | {"owner": owner},
            )
            found.update(scalars(mine))
        return found

    def hold(self, connection: Connection, owner: str, holder: str, key: bytes) -> None:
        """Keep a message, and all before it, until the holder lets go."""
        connection.execute(
            "INSERT INTO holds (owner, holder, key) VALUES (:owner, :holder, :key) "
            "ON CONFLICT DO NOTHING",
            {"owner": owner, "holder": holder, "key": key},
        )

    def held(self, connection: Connection, owner: str, holder: str) -> list[bytes]:
        return scalars(
            connection.execute(
                "SELECT key FROM holds WHERE owner = :owner AND holder = :holder",
                {"owner": owner, "holder": holder},
            )
        )

    def let_go(
        self, connection: Connection, owner: str, holder: str, key: bytes | None = None
    ) -> None:
        """Let go of one key or of all, and forget every message that nobody holds any more."""
        for each in self.held(connection, owner, holder) if key is None else [key]:
            connection.execute(
                "DELETE FROM holds WHERE owner = :owner AND holder = :holder AND key = :key",
                {"owner": owner, "holder": holder, "key": each},
            )
            self._forget(connection, each)

    def _forget(self, connection: Connection, key: bytes) -> None:
        """Remove a message without holder or child, and those before it that only led to it."""
        free = "NOT EXISTS (SELECT 1 FROM holds WHERE holds.key = nodes.key)"
        children = "(SELECT count(*) FROM nodes AS child WHERE child.parent = nodes.key)"
        rows = connection.execute(
            f"""WITH RECURSIVE up AS (
                SELECT key, parent FROM nodes WHERE key = :key AND {free} AND {children} = 0
                UNION ALL SELECT nodes.key, nodes.parent FROM nodes JOIN up ON nodes.key = up.parent
                WHERE {free} AND {children} = 1
            ) SELECT key FROM up""",
            {"key": key},
        )
        keys = scalars(rows)
        for begin in range(0, len(keys), MAX_QUERY_KEYS):
            names, values = listed("key", keys[begin : begin + MAX_QUERY_KEYS])
            for table in ("nodes", "states"):
                connection.execute(f"DELETE FROM {table} WHERE key IN {names}", values)

    def session(self, connection: Connection, owner: str, name: str) -> StoredSession | None:
        found = connection.execute(
            f"SELECT {_SESSION} FROM sessions WHERE owner = :owner AND name = :name",
            {"owner": owner, "name": name},
        ).fetchone()
        return None if found is None else StoredSession(*found)

    def sessions(self, connection: Connection, owner: str) -> list[StoredSession]:
        """Return all sessions of an owner, the latest first."""
        found = connection.execute(
            f"SELECT {_SESSION} FROM sessions WHERE owner = :owner ORDER BY updated DESC",
            {"owner": owner},
        )
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
        connection.execute(
            """INSERT INTO sessions (owner, name, bot, made_by, head, created, updated)
            VALUES (:owner, :name, :bot, :made_by, :head, :now, :now) ON CONFLICT (owner, name)
            DO UPDATE SET bot = :bot, made_by = :made_by, head = :head, updated = :now""",
            {
                "owner": owner, "name": name, "bot": bot, "made_by": fingerprint, "head": head,
                "now": time.time(),
            },
        )  # fmt: skip
        if head is not None:
            self.hold(connection, owner, holder(name), head)
        if passed is not None:
            self.let_go(connection, owner, holder(name), passed)

    def delete_session(self, connection: Connection, owner: str, name: str) -> bool:
        """Forget a session, and what nobody else holds of it; False: there was none."""
        self.let_go(connection, owner, holder(name))
        deleted = connection.execute(
            "DELETE FROM sessions WHERE owner = :owner AND name = :name",
            {"owner": owner, "name": name},
        )
        return deleted.rowcount > 0


def holder(session: str) -> str:
    """Return the name under which a session holds its branches."""
    return f"session {session}"


_NODE = ", ".join(Node._fields)
_NODE_OF_NODES = ", ".join(f"nodes.{name}" for name in Node._fields)
_SESSION = "name, bot, made_by, head, created, updated"
