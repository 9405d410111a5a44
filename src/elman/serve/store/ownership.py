"""All that was said with a key: listed, exported, handed to another key, deleted."""

from collections.abc import Iterator
from typing import NamedTuple

from elman.chat.database import Connection, scalars
from elman.chat.memory import MemoryStore, Node
from elman.serve.store.keys import Key
from elman.serve.store.responses import ResponseStore

OWNED = ("nodes", "holds", "sessions", "responses", "feedback")
"""Every table whose rows have an owner."""


class Branch(NamedTuple):
    """What was said up to one end of a conversation, and the id of the response that is it."""

    end: str
    path: list[Node]


def count_chats(connection: Connection, owner: str) -> int:
    """Return how many conversations somebody has."""
    query = "SELECT count(DISTINCT chat) FROM responses WHERE owner = :owner"
    [count] = connection.execute(query, {"owner": owner}).fetchone()
    assert isinstance(count, int)
    return count


def branches(store: MemoryStore, connection: Connection, owner: str) -> Iterator[Branch]:
    """Yield every branch of every conversation, the first conversation first."""
    kept = ResponseStore(store)
    query = """SELECT chat FROM responses WHERE owner = :owner
        GROUP BY chat ORDER BY min(created_at)"""
    for chat in scalars(connection.execute(query, {"owner": owner})):
        responded = kept.chat(connection, owner, chat)
        gone_on_from = {response.previous for response in responded}
        for response in responded:
            if response.id not in gone_on_from:
                yield Branch(response.id, store.path(connection, owner, response.key))


def transfer(connection: Connection, old: Key, new: Key) -> int:
    """Make all that one key owns another's; return how many conversations that were.

    A message keeps the key that was hashed with its first owner in it: conversations go on from
    their ids as before, and only the same words told anew are not recognised.
    """
    count = count_chats(connection, old.id)
    for table in OWNED:
        connection.execute(
            f"UPDATE {table} SET owner = :new WHERE owner = :old", {"old": old.id, "new": new.id}
        )
    return count


def erase(connection: Connection, key: Key) -> int:
    """Forget a key and all that it owns; return how many conversations that were."""
    count = count_chats(connection, key.id)
    mine = {"owner": key.id}
    connection.execute(
        "DELETE FROM states WHERE key IN (SELECT key FROM nodes WHERE owner = :owner)", mine
    )
    for table in OWNED:
        connection.execute(f"DELETE FROM {table} WHERE owner = :owner", mine)
    for table in ("rates", "keys"):
        connection.execute(f"DELETE FROM {table} WHERE id = :owner", mine)
    return count
