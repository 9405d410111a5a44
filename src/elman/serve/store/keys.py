"""API keys: who somebody is. Only their hashes are kept."""

import hashlib
import secrets
import time
from typing import NamedTuple

from elman.chat.database import Connection
from elman.chat.memory import MemoryStore
from elman.errors import ElmanError


class Key(NamedTuple):
    """A key without its secret: what owns conversations is its id."""

    id: str
    name: str
    per_minute: int | None
    created: float
    revoked: float | None


_KEY = ", ".join(Key._fields)


class Keys:
    """The keys of a store."""

    def __init__(self, store: MemoryStore) -> None:
        self._store = store

    def add(self, name: str, per_minute: int | None = None) -> tuple[Key, str]:
        """Make a key: what is kept of it, and its secret, which nobody can be told again.

        Raises:
            ElmanError: where a key of that name is in use.
        """
        secret = f"elman-{secrets.token_urlsafe(32)}"
        key = Key(f"key_{secrets.token_hex(6)}", name, per_minute, time.time(), None)
        with self._store.writing() as connection:
            values = key._asdict() | {"hash": _hash(secret)}
            used = "SELECT id FROM keys WHERE name = :name AND revoked IS NULL"
            if connection.execute(used, values).fetchone() is not None:
                raise ElmanError(f"there is a key {name!r} already: revoke it first")
            connection.execute(
                """INSERT INTO keys (id, name, hash, per_minute, created, revoked)
                VALUES (:id, :name, :hash, :per_minute, :created, :revoked)""",
                values,
            )
        return key, secret

    def revoke(self, name: str) -> Key:
        """Let nobody in with a key any more, by its name or id; what was said stays.

        Raises:
            ElmanError: where there is none in use.
        """

        def write(connection: Connection) -> Key:
            key = self.one(connection, name, in_use=True)._replace(revoked=time.time())
            values = {"id": key.id, "revoked": key.revoked}
            connection.execute("UPDATE keys SET revoked = :revoked WHERE id = :id", values)
            return key

        return self._store.freeing(write)

    def one(self, connection: Connection, name: str, in_use: bool | None = None) -> Key:
        """Return the key of a name or an id.

        Args:
            name: or id; one name may stand for a key in use and for several revoked ones.
            in_use: whether it has to be in use, or revoked; None: either.

        Raises:
            ElmanError: where there is none, or more than one.
        """
        query = f"SELECT {_KEY} FROM keys WHERE name = :name OR id = :name"
        found = [Key(*row) for row in connection.execute(query, {"name": name})]
        kind = {True: " in use", False: " that is revoked", None: ""}[in_use]
        fits = [key for key in found if in_use is None or (key.revoked is None) == in_use]
        if len(fits) > 1:
            ids = ", ".join(key.id for key in fits)
            raise ElmanError(f"{name!r} is the name of several keys{kind}: name one of {ids}")
        if fits:
            return fits[0]
        if found and in_use is False:
            raise ElmanError(f"the key {name!r} is in use: elman keys revoke it first")
        raise ElmanError(f"there is no key {name!r}{kind}; elman keys list shows them")

    def list(self) -> "list[Key]":
        with self._store.reading() as connection:
            rows = connection.execute(f"SELECT {_KEY} FROM keys ORDER BY rowid")
            return [Key(*row) for row in rows]

    def any(self) -> bool:
        """Return whether some key is in use."""
        return any(key.revoked is None for key in self.list())

    def find(self, secret: str) -> Key | None:
        """Return the key of a secret, also where it was revoked."""
        with self._store.reading() as connection:
            query = f"SELECT {_KEY} FROM keys WHERE hash = :hash"
            found = connection.execute(query, {"hash": _hash(secret)}).fetchone()
        return None if found is None else Key(*found)

    def take(self, key: Key, now: float) -> float:
        """Count one request of a key with all processes that serve this store.

        Args:
            now: in seconds since 1970.

        Returns:
            For how many seconds it has to wait; 0: it was counted.
        """
        assert key.per_minute is not None
        with self._store.writing() as connection:
            asked = "SELECT tokens, at FROM rates WHERE id = :id"
            found = connection.execute(asked, {"id": key.id}).fetchone()
            left, wait = take_one(key.per_minute, found, now)
            if not wait:
                connection.execute(
                    """INSERT INTO rates (id, tokens, at) VALUES (:id, :left, :now)
                    ON CONFLICT (id) DO UPDATE SET tokens = :left, at = :now""",
                    {"id": key.id, "left": left, "now": now},
                )
        return wait


def take_one(
    per_minute: int, bucket: tuple[float, float] | None, now: float
) -> tuple[float, float]:
    """Take a request from a bucket, which fills evenly.

    Args:
        bucket: how many it held, and when; None: it is full.

    Returns:
        How many are left, and for how many seconds to wait where there was none.
    """
    held, then = bucket or (per_minute, now)
    left = min(per_minute, held + max(0.0, now - then) * per_minute / 60)
    return (left - 1, 0.0) if left >= 1 else (left, (1 - left) * 60 / per_minute)


def _hash(secret: str) -> bytes:
    # A secret of 256 random bits cannot be guessed from its hash, however fast that is made.
    return hashlib.sha256(secret.encode(errors="surrogatepass")).digest()
