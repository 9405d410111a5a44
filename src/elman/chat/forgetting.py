"""Deleting stored conversations with all their branches, so that nothing of them stays on disk."""

from collections.abc import Collection, Sequence
from typing import NamedTuple

from sqlalchemy import ColumnElement, Connection, column, delete, func, inspect, or_, select, table

from elman.chat.database import Database
from elman.chat.memory import MAX_QUERY_KEYS, holds, nodes, sessions, states

responses = table("responses", column("id"), column("key"), column("chat"), column("owner"))
feedback = table("feedback", column("response_id"), column("owner"))
"""What a server keeps beside the messages (`serve/store/`), where one has used this store."""


class StoredCounts(NamedTuple):
    """How much of a store belongs to some conversations."""

    conversations: int = 0
    messages: int = 0
    sessions: int = 0
    responses: int = 0
    feedback: int = 0


def roots_with(
    connection: Connection, names: Collection[str], texts: Collection[str]
) -> set[bytes]:
    """Find stored conversations by who is in them and by what is said in them.

    Args:
        connection: to the store.
        names: of owners (the keys of a server), of sessions, of chats, and of people who are
            called so in the messages ("Ann: hello").
        texts: that stand in a message.

    Returns:
        The keys of their first messages.
    """
    wanted: list[ColumnElement[bool]] = [nodes.c.owner.in_(names)]
    wanted += [nodes.c.text.startswith(f"{name}: ", autoescape=True) for name in names]
    wanted += [nodes.c.text.contains(text, autoescape=True) for text in texts]
    found = set(connection.scalars(select(nodes.c.root).where(or_(*wanted)).distinct()))
    named = select(sessions.c.head).where(
        or_(sessions.c.name.in_(names), sessions.c.owner.in_(names))
    )
    keys = set(connection.scalars(named))
    if _has_responses(connection):
        asked = or_(responses.c.chat.in_(names), responses.c.id.in_(names))
        keys |= set(connection.scalars(select(responses.c.key).where(asked)))
    for some in _parts(sorted(key for key in keys if key is not None)):
        found |= set(connection.scalars(select(nodes.c.root).where(nodes.c.key.in_(some))))
    return found


def count_conversations(connection: Connection, roots: Collection[bytes]) -> StoredCounts:
    """Count what is stored of some conversations."""
    whole = [0] * len(StoredCounts._fields)
    for some in _parts(sorted(roots)):
        keys = select(nodes.c.key).where(nodes.c.root.in_(some))
        whole[0] += len(some)
        columns: list[ColumnElement[bytes]] = [nodes.c.key, sessions.c.head]
        columns += [responses.c.key] if _has_responses(connection) else []
        for at, key in enumerate(columns, 1):
            number = select(func.count()).where(key.in_(keys))
            whole[at] += connection.scalar(number) or 0
        if _has_responses(connection):
            rated = select(responses.c.id).where(responses.c.key.in_(keys))
            number = select(func.count()).where(feedback.c.response_id.in_(rated))
            whole[4] += connection.scalar(number) or 0
    return StoredCounts(*whole)


def delete_conversations(store: Database, roots: Collection[bytes]) -> None:
    """Delete some conversations, and overwrite where they were.

    Raises:
        ElmanError: where the store cannot be written.
    """

    def write(connection: Connection) -> None:
        connection.exec_driver_sql("PRAGMA secure_delete=ON")
        for some in _parts(sorted(roots)):
            keys = select(nodes.c.key).where(nodes.c.root.in_(some))
            if _has_responses(connection):
                rated = select(responses.c.id).where(responses.c.key.in_(keys))
                connection.execute(delete(feedback).where(feedback.c.response_id.in_(rated)))
                connection.execute(delete(responses).where(responses.c.key.in_(keys)))
            connection.execute(delete(sessions).where(sessions.c.head.in_(keys)))
            connection.execute(delete(holds).where(holds.c.key.in_(keys)))
            connection.execute(delete(states).where(states.c.root.in_(some)))
            connection.execute(delete(nodes).where(nodes.c.root.in_(some)))

    if roots:
        store.freeing(write)
        store.vacuum()


def _has_responses(connection: Connection) -> bool:
    return inspect(connection).has_table("responses")


def _parts(keys: Sequence[bytes]) -> list[Sequence[bytes]]:
    return [keys[n : n + MAX_QUERY_KEYS] for n in range(0, len(keys), MAX_QUERY_KEYS)]
