"""One process at a time works on a folder: a lock that ends with the process that holds it."""

import errno
import os
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from elman.errors import ElmanError

LOCK = ".training.lock"
"""Lies in the folder while somebody trains there, and says who."""

MAX_HOLDER_BYTES = 200

HELD = (errno.EAGAIN, errno.EACCES, errno.EDEADLK)
"""Errors that say that somebody else holds it."""

LOCKED_BYTE = 1 << 20
"""Of the file, on Windows, where nobody can read what is locked: far behind what it says."""

if sys.platform == "win32":
    import msvcrt

    def _lock(file: IO[bytes]) -> None:
        file.seek(LOCKED_BYTE)
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
else:
    import fcntl

    def _lock(file: IO[bytes]) -> None:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


@contextmanager
def only_one(folder: Path, warn: Callable[[str], None], done: str = "trained") -> Iterator[None]:
    """Hold a folder, which exists, while something is trained in it.

    A crash leaves the file but not the lock. Reading a folder needs none: its files are replaced at
    once.

    Args:
        folder: to hold.
        warn: told where the file system has no locks, so that nothing is held.
        done: what is done with it.

    Raises:
        ElmanError: where somebody else holds it, who is named, or it cannot be written.
    """
    path = folder / LOCK
    with _held(path, warn, done) as file:
        try:
            file.write(f"process {os.getpid()} on {socket.gethostname()}".encode())
            file.flush()
            yield
        finally:
            if sys.platform == "win32":
                file.close()  # an open file cannot be removed there
            with suppress(FileNotFoundError, PermissionError):  # removed, or held by the next
                path.unlink()


@contextmanager
def _held(path: Path, warn: Callable[[str], None], done: str) -> Iterator[IO[bytes]]:
    """Return the file, locked; a new one where its last holder has removed it just now."""
    while True:
        file = _opened(path)
        with file:
            try:
                _lock(file)
            except OSError as error:
                if error.errno in HELD:
                    raise _refused(path, done) from None
                warn(
                    f"{path.parent}: this file system has no locks ({error.strerror}): see to it "
                    "that nobody else trains there meanwhile"
                )
                yield file
                return
            if path.exists() and os.path.samestat(os.fstat(file.fileno()), path.stat()):
                file.seek(0)
                file.truncate()
                yield file
                return


def _opened(path: Path) -> IO[bytes]:
    flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
    try:
        return os.fdopen(os.open(path, flags, 0o666), "r+b")
    except OSError as error:
        raise ElmanError(f"{path.parent}: cannot be written: {error.strerror}") from None


def _refused(path: Path, done: str) -> ElmanError:
    with path.open("rb") as file:
        who = file.read(MAX_HOLDER_BYTES).decode("utf-8", "replace")
    return ElmanError(
        f"{path.parent}: is being {done} by {who or 'another process'}: wait until that has "
        "ended, or name another folder"
    )
