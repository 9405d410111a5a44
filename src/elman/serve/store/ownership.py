"""All that was said with a key: listed, exported, handed to another key, deleted."""

from collections.abc import Iterator
from typing import NamedTuple

from sqlalchemy import Connection, delete, func, select, update

from elman.chat.memory import MemoryStore, Node, holds, nodes, sessions, states
from elman.serve.store.keys import Key, keys
from elman.serve.store.responses import ResponseStore, feedback, responses

OWNED = (nodes, holds, sessions, responses, feedback)
"""Every table whose rows have an owner."""


class Branch(NamedTuple):
    """What was said up to one end of a conversation, and the id of the response that is it."""

    end: str
    path: list[Node]


def count_chats(connection: Connection, owner: str) -> int:
    """Return how many conversations somebody has."""
    mine = select(func.count(responses.c.chat.distinct())).where(responses.c.owner == owner)
    return connection.scalar(mine) or 0


def branches(store: MemoryStore, connection: Connection, owner: str) -> Iterator[Branch]:
    """Yield every branch of every conversation, the first conversation first."""
    kept = ResponseStore(store)
    first = func.min(responses.c.created_at)
    mine = select(responses.c.chat).where(responses.c.owner == owner)
    for chat in connection.scalars(mine.group_by(responses.c.chat).order_by(first)).all():
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
        connection.execute(update(table).where(table.c.owner == old.id).values(owner=new.id))
    return count


def erase(connection: Connection, key: Key) -> int:
    """Forget a key and all that it owns; return how many conversations that were."""
    count = count_chats(connection, key.id)
    mine = select(nodes.c.key).where(nodes.c.owner == key.id)
    connection.execute(delete(states).where(states.c.key.in_(mine)))
    for table in OWNED:
        connection.execute(delete(table).where(table.c.owner == key.id))
    connection.execute(delete(keys).where(keys.c.id == key.id))
    return count
