"""A database of PostgreSQL, which the workers of many machines may share."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, TypeVar

from elman.chat.database import (
    BUSY_SECONDS,
    Connection,
    Cursor,
    Database,
    NoRoomError,
    UnavailableError,
)
from elman.errors import ElmanError, require

T = TypeVar("T")

MIGRATIONS = Path(__file__).with_name("migrations")

POOL_CONNECTIONS = 8
"""To the database from each process, at most."""

CONNECT_SECONDS = 5
"""For which a connection is waited for."""

UNANSWERED_MILLISECONDS = 10_000
"""After which a connection whose other end is silent is given up."""

WRITERS_LOCK = 0x656C6D616E
"""Of PostgreSQL's advisory locks, the one that whoever writes to a store holds."""

# One round trip; all of it holds for this transaction alone, also behind a pool of connections. A
# machine that goes away in the middle of one does not hold up the others.
TAKE_TURN = f"""SELECT set_config('lock_timeout', '{BUSY_SECONDS:.0f}s', true),
    set_config('idle_in_transaction_session_timeout', '{3 * BUSY_SECONDS:.0f}s', true),
    pg_advisory_xact_lock({WRITERS_LOCK})"""

DISK_FULL, READ_ONLY = "53100", "25006"
"""Codes of errors. A server that can only be read has become a standby."""


class PostgresDatabase(Database):
    """A database of PostgreSQL.

    Its connections are made anew where they broke, so it may go away and come back.

    Args:
        url: postgresql://USER:PASSWORD@HOST:PORT/NAME, of which libpq finds what is left out.

    Raises:
        ElmanError: where it cannot be opened, or a later version of Elman made its tables.
    """

    def __init__(self, url: str) -> None:
        require("postgres", "a PostgreSQL database")
        from sqlalchemy import create_engine
        from sqlalchemy.engine import make_url
        from sqlalchemy.exc import ArgumentError

        try:
            place = make_url(url).set(drivername="postgresql+psycopg")
        except (ArgumentError, ValueError):  # it may hold a password, and is not shown
            raise ElmanError("--db: expected postgresql://USER@HOST:PORT/NAME") from None
        self.where = place.set(drivername="postgresql").render_as_string(hide_password=True)
        self._engine = create_engine(
            place,
            pool_size=POOL_CONNECTIONS,
            max_overflow=0,
            pool_timeout=BUSY_SECONDS,
            pool_pre_ping=True,
            connect_args={
                "connect_timeout": CONNECT_SECONDS,
                "tcp_user_timeout": UNANSWERED_MILLISECONDS,
            },
        )
        self._snapshots = self._engine.execution_options(
            isolation_level="REPEATABLE READ", postgresql_readonly=True
        )
        try:
            with self._transaction("opened", write=True) as raw:
                _migrate(raw, self.where)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        self._engine.dispose()

    def reading(self) -> AbstractContextManager[Connection]:
        return self._connection(write=False)

    def writing(self) -> AbstractContextManager[Connection]:
        return self._connection(write=True)

    def freeing(self, write: Callable[[Connection], T]) -> T:
        with self.writing() as connection:  # its disk is its administrator's
            return write(connection)

    def wipe(self, write: Callable[[Connection], None]) -> None:
        self.freeing(write)
        anew = self._engine.execution_options(isolation_level="AUTOCOMMIT")
        with self._telling("wiped from its files"), anew.connect() as raw:
            for table in ("nodes", "states", "holds", "sessions", "responses", "feedback"):
                raw.exec_driver_sql(f"VACUUM FULL {table}")

    @contextmanager
    def _connection(self, write: bool) -> Iterator[Connection]:
        with self._transaction("written" if write else "read", write) as raw:
            yield _Transaction(raw)

    @contextmanager
    def _transaction(self, done: str, write: bool) -> Iterator[Any]:
        engine = self._engine if write else self._snapshots
        with self._telling(done), engine.begin() as raw:
            if write:
                raw.exec_driver_sql(TAKE_TURN)
            yield raw

    @contextmanager
    def _telling(self, done: str) -> Iterator[None]:
        """Raise what SQLAlchemy says as an ElmanError."""
        from sqlalchemy import exc

        try:
            yield
        except exc.SQLAlchemyError as error:
            said = getattr(error, "orig", None) or error
            code = getattr(said, "sqlstate", None)
            gone = isinstance(error, exc.OperationalError | exc.InterfaceError | exc.TimeoutError)
            kind = ElmanError
            if code == DISK_FULL:
                kind = NoRoomError
            elif gone or code == READ_ONLY:
                kind = UnavailableError
            why = " ".join(str(said).split())
            raise kind(f"{self.where}: cannot be {done}: {why}") from None


class _Transaction:
    """A connection of SQLAlchemy's as a `Connection`."""

    def __init__(self, raw: Any) -> None:
        self._raw = raw

    def execute(self, sql: str, values: Mapping[str, Any] | None = None, /) -> Cursor:
        from sqlalchemy import text

        # A text of PostgreSQL's has no character 0.
        kept = {
            name: value.replace("\0", "\ufffd") if isinstance(value, str) else value
            for name, value in (values or {}).items()
        }
        found: Cursor = self._raw.execute(text(sql), kept)
        return found


def _migrate(raw: Any, where: str) -> None:
    """Bring the tables to the newest revision, in the transaction of a connection.

    Raises:
        ElmanError: where they are of a revision that this Elman does not know.
    """
    from alembic import command
    from alembic.config import Config
    from alembic.runtime.migration import MigrationContext
    from alembic.script import ScriptDirectory

    config = Config(attributes={"connection": raw})
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    known = {each.revision for each in ScriptDirectory.from_config(config).walk_revisions()}
    found = set(MigrationContext.configure(raw).get_current_heads())
    if later := found - known:
        raise ElmanError(
            f"{where}: a later version of Elman made its tables (revision {', '.join(later)}); "
            f"this one knows up to {max(known, key=int)}: install that version, or name another "
            "--db"
        )
    command.upgrade(config, "head")
