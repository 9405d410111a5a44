"""A file of SQLite in which everything is written wholly or not at all."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

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

FORMAT = 1
"""Raised whenever a store written before can no longer be read."""

TABLES = MetaData()
"""Of whoever keeps something there."""

about = Table("about", TABLES, Column("name", String, primary_key=True), Column("value", String))


class Database:
    """Where tables are.

    Args:
        place: a path, a URL of SQLAlchemy's for SQLite, or nothing: in memory, until it is closed.

    Raises:
        ElmanError: where it cannot be opened, or another version of Elman made it.
    """

    def __init__(self, place: str | Path = "sqlite://") -> None:
        self.url = _url(place)
        self._engine = _engine(self.url)
        try:
            with self.writing() as connection:
                TABLES.create_all(connection, checkfirst=True)
                connection.execute(
                    insert(about).values(name="format", value=str(FORMAT)).on_conflict_do_nothing()
                )
                found = connection.scalar(select(about.c.value).where(about.c.name == "format"))
        except BaseException:
            self.close()
            raise
        if found != str(FORMAT):
            self.close()
            raise ElmanError(
                f"{self._where}: of format {found}; this Elman reads format {FORMAT}: use the "
                "version that made it, or another --db"
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

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A view of the store that does not change while it is looked at."""
        with self._connection(write=False) as connection:
            yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """All of what is written here is on disk when this is left, or none of it.

        Raises:
            ElmanError: where it cannot be written, such as on a full disk.
        """
        with self._connection(write=True) as connection:
            yield connection

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
            raise ElmanError(f"{self._where}: cannot be {done}: {why}") from None


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
