"""A file of SQLite in which everything is written wholly or not at all."""

import os
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import TypeVar

from elman.chat.database import BUSY_SECONDS, Connection, Database, NoRoomError
from elman.chat.schema import TABLES
from elman.errors import ElmanError

STORE_FORMAT = 1
"""Grows whenever a store that was written before can no longer be read."""

RESERVE_BYTES = 4 << 20
"""Kept beside the database, for what must be written when the disk is full: SQLite needs room to
delete, too."""

T = TypeVar("T")

NO_ROOM_CODES = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN)
"""What SQLite may say on a full disk, or past a quota."""


class SqliteDatabase(Database):
    """A database of SQLite, in a file or in memory.

    Args:
        place: a path, or sqlite:///PATH. By default, memory.

    Raises:
        ElmanError: where it cannot be opened, or another version of Elman made it.
    """

    def __init__(self, place: str | Path = "sqlite://") -> None:
        self.file = _path(place)
        self.where, self.is_shared = str(self.file or "the memory"), self.file is not None
        self._idle: list[sqlite3.Connection] = []
        self._open = True
        # A memory has one connection, and so one transaction at a time.
        self._alone = threading.Lock() if self.file is None else None
        if self.file is not None:
            _make(self.file)
        try:
            found = self.freeing(_prepare)
        except BaseException:
            self.close()
            raise
        if found != str(STORE_FORMAT):
            self.close()
            raise ElmanError(
                f"{self.where}: of format {found}; this Elman reads format {STORE_FORMAT}: use "
                "the version that made it, or another --db"
            )

    def close(self) -> None:
        self._open = False
        self._close_idle()

    def _close_idle(self) -> None:
        while self._idle:
            self._idle.pop().close()

    def reading(self) -> AbstractContextManager[Connection]:
        return self._connection(write=False)

    def writing(self) -> AbstractContextManager[Connection]:
        return self._connection(write=True)

    def freeing(self, write: Callable[[Connection], T]) -> T:
        try:
            with self.writing() as connection:
                found = write(connection)
        except NoRoomError:
            if not self._give_up_reserve():
                raise
            found = self._write_sparingly(write)
        self._keep_reserve()
        return found

    def wipe(self, write: Callable[[Connection], None]) -> None:
        def overwrite(connection: Connection) -> None:
            connection.execute("PRAGMA secure_delete=ON")
            write(connection)

        self.freeing(overwrite)
        try:
            with self._taken() as raw:
                for setting in ("VACUUM", "PRAGMA wal_checkpoint(TRUNCATE)"):
                    raw.execute(setting)
        except sqlite3.Error as error:
            raise ElmanError(
                f"{self.where}: what was deleted is no longer read, but cannot be wiped from the "
                f"file: {error}; try again"
            ) from None

    def _write_sparingly(self, write: Callable[[Connection], T]) -> T:
        """Write as little as can be, and give back what the log of the writing took."""
        with self.writing() as connection:
            # Forgotten pages are overwritten when they are used again, and not now.
            [before] = connection.execute("PRAGMA secure_delete").fetchone()
            connection.execute("PRAGMA secure_delete=FAST")
            try:
                found = write(connection)
            finally:
                connection.execute(f"PRAGMA secure_delete={before}")
        with self._taken() as raw:
            raw.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return found

    @property
    def _reserve(self) -> Path | None:
        return None if self.file is None else self.file.with_name(f"{self.file.name}-reserve")

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
            with self._taken() as raw:
                try:
                    # A reader that begins to write would be refused while another writes, instead
                    # of waiting.
                    raw.execute("BEGIN IMMEDIATE" if write else "BEGIN")
                    yield raw
                    raw.execute("COMMIT")
                finally:
                    if raw.in_transaction:
                        raw.execute("ROLLBACK")
        except sqlite3.Error as error:
            done = "written" if write else "read"
            code = getattr(error, "sqlite_errorcode", 0) & 0xFF
            kind = NoRoomError if code in NO_ROOM_CODES else ElmanError
            raise kind(f"{self.where}: cannot be {done}: {error}") from None

    @contextmanager
    def _taken(self) -> Iterator[sqlite3.Connection]:
        """Take a connection that nobody uses, or open one; any thread may use it."""
        if self._alone is not None and not self._alone.acquire(timeout=BUSY_SECONDS):
            raise ElmanError(f"{self.where}: is in use")
        raw: sqlite3.Connection | None = None
        try:
            with suppress(IndexError):
                raw = self._idle.pop()
            raw = raw or self._connect()
            yield raw
        finally:
            if raw is not None:
                if self._open and not raw.in_transaction:
                    self._idle.append(raw)
                else:
                    raw.close()
            if self._alone is not None:
                self._alone.release()

    def _connect(self) -> sqlite3.Connection:
        place = ":memory:" if self.file is None else self.file
        raw = sqlite3.connect(
            place, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False
        )
        try:
            for setting in ("journal_mode=WAL", "synchronous=FULL"):
                raw.execute(f"PRAGMA {setting}")
        except BaseException:
            raw.close()
            raise
        return raw


def _prepare(connection: Connection) -> str | None:
    """Make the tables where there are none; return the format of what is there."""
    for statement in TABLES:
        connection.execute(statement)
    connection.execute(
        "INSERT INTO about (name, value) VALUES ('format', :format) ON CONFLICT DO NOTHING",
        {"format": str(STORE_FORMAT)},
    )
    [found] = connection.execute("SELECT value FROM about WHERE name = 'format'").fetchone()
    assert found is None or isinstance(found, str)
    return found


def _path(place: str | Path) -> Path | None:
    """Return where the file is; None: in memory."""
    if isinstance(place, Path) or ":" not in place:
        return Path(place).expanduser().resolve()
    kind, separator, name = place.partition("://")
    if not separator:
        raise ElmanError(f"{place}: not a database: give a path, or sqlite:///PATH")
    if kind != "sqlite":
        raise ElmanError(
            f"{kind}://: not a database that Elman knows: give a path, sqlite:///PATH, or "
            "postgresql://USER@HOST/NAME"
        )
    if name and (name[0] != "/" or "?" in name):
        raise ElmanError(f"{place}: not a database: sqlite:///PATH, and nothing else")
    return None if name in ("", "/", "/:memory:") else Path(name[1:]).resolve()


def _make(path: Path) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # What people say is theirs: nobody else on the computer may read it.
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
    except OSError as error:
        raise ElmanError(f"{path}: cannot be opened: {error.strerror}") from None
