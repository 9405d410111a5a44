"""A file of SQLite in which everything is written wholly or not at all."""

import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager, suppress
from pathlib import Path
from typing import Self, TypeVar

from sqlalchemy import (
    Column,
    Connection,
    Engine,
    MetaData,
    String,
    Table,
    create_engine,
    event,
    select,
)
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError
from sqlalchemy.pool import StaticPool

from elman.errors import ElmanError

STORE_FORMAT = 1
"""Grows whenever a store that was written before can no longer be read."""

RESERVE_BYTES = 4 << 20
"""Kept beside the database, for what must be written when the disk is full: SQLite needs room to
delete, too."""

T = TypeVar("T")

TABLES = MetaData()
"""All tables: a module that keeps something declares its own here."""

about = Table("about", TABLES, Column("name", String, primary_key=True), Column("value", String))

NO_ROOM_CODES = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN)
"""What SQLite may say on a full disk, or past a quota."""


class NoRoomError(ElmanError):
    """Something could not be written, maybe because the disk is full."""


class Database:
    """A database of SQLite, in a file or in memory.

    Args:
        place: a path, or a URL of SQLAlchemy's for SQLite. By default, memory.

    Raises:
        ElmanError: where it cannot be opened, or another version of Elman made it.
    """

    def __init__(self, place: str | Path = "sqlite://") -> None:
        self.url = _url(place)
        self._engine = _engine(self.url)
        try:
            found = self.freeing(_prepare)
        except BaseException:
            self.close()
            raise
        if found != str(STORE_FORMAT):
            self.close()
            raise ElmanError(
                f"{self._where}: of format {found}; this Elman reads format {STORE_FORMAT}: use "
                "the version that made it, or another --db"
            )

    def close(self) -> None:
        self._engine.dispose()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def _where(self) -> str:
        return self.url.database or "the memory"

    def reading(self) -> AbstractContextManager[Connection]:
        """Open a view of the store that does not change while it is looked at."""
        return self._connection(write=False)

    def writing(self) -> AbstractContextManager[Connection]:
        """Open a transaction: when it is left, all of it is on disk, or none of it.

        Raises:
            ElmanError: where it cannot be written, such as on a full disk.
        """
        return self._connection(write=True)

    def freeing(self, write: Callable[[Connection], T]) -> T:
        """Write what has to be possible on a full disk too: to delete, to revoke, to open.

        Args:
            write: is called once more with the reserve given up, where there was no room.

        Raises:
            ElmanError: where there is no room all the same.
        """
        try:
            with self.writing() as connection:
                found = write(connection)
        except NoRoomError:
            if not self._give_up_reserve():
                raise
            found = self._write_sparingly(write)
        self._keep_reserve()
        return found

    def vacuum(self) -> None:
        """Write the database anew without what was deleted, and empty its log.

        Raises:
            ElmanError: where there is no room for it, or somebody else is reading.
        """
        try:
            with closing(self._engine.raw_connection()) as raw:
                for setting in ("VACUUM", "PRAGMA wal_checkpoint(TRUNCATE)"):
                    raw.cursor().execute(setting)
        except (SQLAlchemyError, sqlite3.Error) as error:
            raise ElmanError(
                f"{self._where}: what was deleted is no longer read, but cannot be wiped from the "
                f"file: {error}; try again"
            ) from None

    def _write_sparingly(self, write: Callable[[Connection], T]) -> T:
        """Write as little as can be, and give back what the log of the writing took."""
        with self.writing() as connection:
            # Forgotten pages are overwritten when they are used again, and not now.
            before = connection.exec_driver_sql("PRAGMA secure_delete").scalar()
            connection.exec_driver_sql("PRAGMA secure_delete=FAST")
            try:
                found = write(connection)
            finally:
                connection.exec_driver_sql(f"PRAGMA secure_delete={before}")
        with closing(self._engine.raw_connection()) as raw:
            raw.cursor().execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return found

    @property
    def _reserve(self) -> Path | None:
        name = self.url.database
        return None if name in (None, "", ":memory:") else Path(f"{name}-reserve")

    def _give_up_reserve(self) -> bool:
        """Make the room of the reserve free; False: there was none."""
        with suppress(OSError):
            if self._reserve is not None:
                self._reserve.unlink()
                return True
        return False

    def _keep_reserve(self) -> None:
        """Take room for the reserve, where there is any."""
        path = self._reserve
        if path is None or path.exists():
            return
        try:
            path.touch(0o600, exist_ok=False)
            path.write_bytes(os.urandom(RESERVE_BYTES))  # what a disk can compress takes no room
        except OSError:  # the disk is full now; the next time there may be room
            path.unlink(missing_ok=True)

    @contextmanager
    def _connection(self, write: bool) -> Iterator[Connection]:
        try:
            with (
                self._engine.connect().execution_options(write=write) as connection,
                connection.begin(),
            ):
                yield connection
        except SQLAlchemyError as error:
            why = getattr(error, "orig", None) or error
            done = "written" if write else "read"
            code = getattr(why, "sqlite_errorcode", 0) & 0xFF
            kind = NoRoomError if code in NO_ROOM_CODES else ElmanError
            raise kind(f"{self._where}: cannot be {done}: {why}") from None


def _prepare(connection: Connection) -> str | None:
    """Make the tables where there are none; return the format of what is there."""
    TABLES.create_all(connection, checkfirst=True)
    connection.execute(
        insert(about).values(name="format", value=str(STORE_FORMAT)).on_conflict_do_nothing()
    )
    return connection.scalar(select(about.c.value).where(about.c.name == "format"))


def _url(place: str | Path) -> URL:
    if isinstance(place, Path) or ":" not in place:
        return URL.create("sqlite", database=str(Path(place).expanduser().resolve()))
    try:
        url = make_url(place)
    except (ArgumentError, ValueError) as error:
        raise ElmanError(f"{place}: not a database: {error}") from None
    if url.get_backend_name() != "sqlite":
        raise ElmanError(f"{place}: Elman keeps its memory in SQLite: sqlite:///PATH, or a path")
    return url


def _engine(url: URL) -> Engine:
    if url.database in (None, "", ":memory:"):
        engine = create_engine(url, poolclass=StaticPool, connect_args={"check_same_thread": False})
    else:
        path = Path(url.database)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            # What people say is theirs: nobody else on the computer may read it.
            os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
        except OSError as error:
            raise ElmanError(f"{path}: cannot be opened: {error.strerror}") from None
        engine = create_engine(url)

    @event.listens_for(engine, "connect")
    def connect(connection: Connection, _: object) -> None:
        connection.isolation_level = None  # type: ignore[attr-defined]  # transactions are ours
        for setting in ("busy_timeout=10000", "journal_mode=WAL", "synchronous=FULL"):
            connection.execute(f"PRAGMA {setting}")  # type: ignore[call-overload]

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        # A reader that begins to write would be refused while another writes, instead of waiting.
        writes = connection.get_execution_options().get("write")
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine
