"""Deleting stored conversations with all their branches, so that nothing of them stays on disk."""

from collections.abc import Collection, Sequence
from typing import NamedTuple

from elman.chat.database import Connection, listed, scalars
from elman.chat.memory import MAX_QUERY_KEYS, MemoryStore


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
    owners, values = listed("name", sorted(names))
    wanted = [f"owner IN {owners}"]
    for number, text in enumerate(sorted(names)):
        # `substr` and not LIKE, in which % and _ of a name would stand for other letters.
        values |= {f"begin{number}": f"{text}: ", f"length{number}": len(text) + 2}
        wanted.append(f"lower(substr(text, 1, :length{number})) = lower(:begin{number})")
    for number, text in enumerate(sorted(texts)):
        values[f"text{number}"] = text
        # What is left without it is shorter: SQLite and PostgreSQL search by different names.
        wanted.append(f"replace(lower(text), lower(:text{number}), '') <> lower(text)")
    found = set(
        scalars(
            connection.execute(
                f"SELECT DISTINCT root FROM nodes WHERE {' OR '.join(wanted)}", values
            )
        )
    )
    asked = f"""SELECT head FROM sessions WHERE name IN {owners} OR owner IN {owners}
        UNION SELECT key FROM responses WHERE chat IN {owners} OR id IN {owners}"""
    heads = scalars(connection.execute(asked, listed("name", sorted(names))[1]))
    for some in _parts([key for key in heads if key is not None]):
        keys, values = listed("key", some)
        asked = f"SELECT DISTINCT root FROM nodes WHERE key IN {keys}"
        found |= set(scalars(connection.execute(asked, values)))
    return found


def count_conversations(connection: Connection, roots: Collection[bytes]) -> StoredCounts:
    """Count what is stored of some conversations."""
    whole = [0] * len(StoredCounts._fields)
    for some in _parts(sorted(roots)):
        inside, values = _inside(some)
        whole[0] += len(some)
        counted = [
            f"nodes WHERE key IN {inside}",
            f"sessions WHERE head IN {inside}",
            f"responses WHERE key IN {inside}",
            f"feedback WHERE response_id IN {_rated(inside)}",
        ]
        for at, what in enumerate(counted, 1):
            [number] = connection.execute(f"SELECT count(*) FROM {what}", values).fetchone()
            whole[at] += number
    return StoredCounts(*whole)


def delete_conversations(store: MemoryStore, roots: Collection[bytes]) -> None:
    """Delete some conversations, and overwrite where they were.

    Raises:
        ElmanError: where the store cannot be written.
    """

    def write(connection: Connection) -> None:
        for some in _parts(sorted(roots)):
            inside, values = _inside(some)
            # Nodes come last: what else is to go is found by them.
            doomed = [
                f"feedback WHERE response_id IN {_rated(inside)}",
                f"responses WHERE key IN {inside}",
                f"sessions WHERE head IN {inside}",
                f"holds WHERE key IN {inside}",
                f"states WHERE key IN {inside}",
                f"nodes WHERE key IN {inside}",
            ]
            for what in doomed:
                connection.execute(f"DELETE FROM {what}", values)

    if roots:
        store.database.wipe(write)


def _inside(roots: Sequence[bytes]) -> tuple[str, dict[str, bytes]]:
    """Return a query of the keys of all messages of some conversations, in brackets."""
    names, values = listed("root", roots)
    return f"(SELECT key FROM nodes WHERE root IN {names})", values


def _rated(inside: str) -> str:
    return f"(SELECT id FROM responses WHERE key IN {inside})"


def _parts(keys: Sequence[bytes]) -> list[Sequence[bytes]]:
    return [keys[n : n + MAX_QUERY_KEYS] for n in range(0, len(keys), MAX_QUERY_KEYS)]
