"""Databases in which everything is written wholly or not at all, and what they share."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol, Self, TypeVar

from elman.errors import ElmanError

BUSY_SECONDS = 10.0
"""How long one who writes waits for another."""

T = TypeVar("T")


class NoRoomError(ElmanError):
    """Something could not be written, maybe because the disk is full."""


class UnavailableError(ElmanError):
    """The database does not answer now; it may soon."""


class Cursor(Protocol):
    """What a statement found, or how many rows it changed."""

    @property
    def rowcount(self) -> int: ...
    def fetchone(self) -> Any: ...
    def fetchall(self) -> list[Any]: ...
    def __iter__(self) -> Iterator[Any]: ...


class Connection(Protocol):
    """A transaction.

    Statements are those that SQLite and PostgreSQL share, with `:name` for each value.
    """

    def execute(self, sql: str, values: Mapping[str, Any] = ..., /) -> Cursor: ...


def scalars(rows: Cursor) -> list[Any]:
    """Return the first column."""
    return [row[0] for row in rows]


def listed(name: str, values: Sequence[Any]) -> tuple[str, dict[str, Any]]:
    """Return the names of some values in a statement, in brackets, and the values by them."""
    named = {f"{name}{number}": value for number, value in enumerate(values)}
    # PostgreSQL has no empty list, and nothing equals NULL.
    return f"({', '.join(f':{each}' for each in named) or 'NULL'})", named


class Database(ABC):
    """Where it is, its transactions, and what deletes for good.

    Args:
        where: it is, in words and without a password.
        is_shared: whether several processes may have it open.
    """

    where: str
    is_shared: bool = True

    @abstractmethod
    def close(self) -> None:
        """Let go of all connections."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @abstractmethod
    def reading(self) -> AbstractContextManager[Connection]:
        """Open a view of the store that does not change while it is looked at.

        Raises:
            ElmanError: where it cannot be read.
        """

    @abstractmethod
    def writing(self) -> AbstractContextManager[Connection]:
        """Open a transaction: when it is left, all of it is on disk, or none of it.

        Those who write take turns, so that nothing changes between what one reads and writes.

        Raises:
            ElmanError: where it cannot be written, such as on a full disk.
        """

    @abstractmethod
    def freeing(self, write: Callable[[Connection], T]) -> T:
        """Write what has to be possible on a full disk too: to delete, to revoke, to open.

        Args:
            write: may be called once more, where there was no room.

        Raises:
            ElmanError: where there is no room all the same.
        """

    @abstractmethod
    def wipe(self, write: Callable[[Connection], None]) -> None:
        """Delete something, and write the tables anew, so that nothing of it stays in their files.

        Raises:
            ElmanError: where it is deleted but still in a file, or not deleted.
        """


def open_database(place: str | Path) -> Database:
    """Open a database, and bring it to this version of Elman.

    Args:
        place: a path, sqlite:///PATH (none: memory), or postgresql://USER@HOST/NAME.

    Raises:
        ElmanError: where it cannot be opened, or a later version of Elman made it.
    """
    if str(place).startswith(("postgresql://", "postgres://")):
        from elman.chat.postgres import PostgresDatabase

        return PostgresDatabase(str(place))
    from elman.chat.sqlite import SqliteDatabase

    return SqliteDatabase(place)
