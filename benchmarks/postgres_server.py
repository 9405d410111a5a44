"""A real PostgreSQL, in a temporary folder, behind a Unix socket that nobody else finds."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg

DEBIAN = Path("/usr/lib/postgresql")
"""Where Debian's packages put the programs of each version."""

AS_NOBODY_SPECIAL = ("setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups")
"""PostgreSQL refuses to run as root."""


def programs() -> Path | None:
    """Return the folder with `initdb`; None: PostgreSQL is not installed."""
    found = shutil.which("initdb")
    if found is not None:
        return Path(found).parent
    versions = sorted(DEBIAN.glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    return versions[-1].parent if versions else None


class Postgres:
    """A server that can be stopped, killed and started again.

    Args:
        folder: of its own, with a short path: sockets have names of at most 107 bytes.
    """

    def __init__(self, folder: Path) -> None:
        self._folder, self._data = folder, folder / "data"
        self._databases = 0
        found = programs()
        assert found is not None
        self._programs = found
        self._as = AS_NOBODY_SPECIAL if os.getuid() == 0 else ()
        if self._as:
            shutil.chown(folder, "postgres", "postgres")
        self._run("initdb", "-D", self._data, "-U", "elman", "-A", "trust", "-E", "UTF8",
                  "--no-sync", "--no-locale")  # fmt: skip
        self.start()

    def _run(self, program: str, *arguments: object) -> str:
        command = [*self._as, str(self._programs / program), *map(str, arguments)]
        # The server that pg_ctl leaves behind would keep a pipe open.
        said = self._folder / "said"
        with said.open("w+") as file:
            ran = subprocess.run(
                command, cwd=self._folder, stdin=subprocess.DEVNULL, stdout=file, stderr=file,
                check=False,
            )  # fmt: skip
        assert ran.returncode == 0, said.read_text()
        return said.read_text()

    def start(self) -> None:
        options = f"-c listen_addresses='' -c unix_socket_directories='{self._folder}'"
        log = self._folder / "log"
        self._run("pg_ctl", "-D", self._data, "-l", log, "-w", "-o", options, "start")

    def stop(self) -> None:
        """Stop it, and break off all connections."""
        self._run("pg_ctl", "-D", self._data, "-m", "fast", "-w", "stop")

    def kill(self) -> None:
        """Kill it as a machine that loses its power would."""
        self._run("pg_ctl", "-D", self._data, "-m", "immediate", "-w", "stop")

    @property
    def is_running(self) -> bool:
        return (self._data / "postmaster.pid").exists()

    def execute(self, sql: str) -> None:
        """Run a statement as the administrator."""
        where = f"host={self._folder} user=elman dbname=postgres"
        with psycopg.connect(where, autocommit=True) as connection:
            connection.execute(sql.encode())

    def database(self) -> str:
        """Make a database with nothing in it; return its URL."""
        self._databases += 1
        self.execute(f"CREATE DATABASE test{self._databases}")
        return self.url()

    def url(self) -> str:
        """Return the URL of the database that was made last."""
        return f"postgresql://elman@/test{self._databases}?host={self._folder}"

    def files(self) -> bytes:
        """Return the contents of the database's files, as they are on disk now."""
        self.execute("CHECKPOINT")
        where = f"host={self._folder} user=elman dbname=test{self._databases}"
        asked = "SELECT oid FROM pg_database WHERE datname = current_database()"
        with psycopg.connect(where) as connection:
            [oid] = connection.execute(asked).fetchone() or [None]
        return b"".join(path.read_bytes() for path in (self._data / f"base/{oid}").iterdir())


@contextmanager
def running_postgres() -> Iterator[Postgres]:
    """Start one, and leave nothing of it behind."""
    folder = Path(tempfile.mkdtemp(prefix="elman-pg-", dir="/tmp"))
    server = None
    try:
        server = Postgres(folder)
        yield server
    finally:
        if server is not None and server.is_running:
            server.kill()
        shutil.rmtree(folder)
