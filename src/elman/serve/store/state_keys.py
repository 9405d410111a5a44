"""Keys that sign the states that clients carry, in a file that nobody else may read."""

import os
import secrets
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from elman.data.untrusted import parse_json, read_text, validated
from elman.errors import ElmanError

MAX_KEY_FILE_BYTES = 1 << 20

MAX_GRACE_DAYS = 3650


class StateKey(BaseModel):
    """A key that signs states.

    Args:
        id: 8 bytes in hexadecimal, which every state names.
        secret: 32 bytes in hexadecimal.
        until: when its states are refused, in seconds since 1970; None: it signs.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str = Field(pattern="^[0-9a-f]{16}$")
    secret: str = Field(pattern="^[0-9a-f]{64}$", repr=False)
    until: float | None = Field(None, allow_inf_nan=False)


class _KeyFile(BaseModel):
    model_config = ConfigDict(extra="forbid")

    keys: list[StateKey]


class StateKeys:
    """The keys of a file, which is read again when it changes.

    The first state that is signed makes the file. All servers that are to accept each other's
    states need the same one.

    Args:
        path: of the file; None: the keys are in memory, and end with the process.

    Raises:
        ElmanError: where a file is there that cannot be used, or that others may read.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._keys: list[StateKey] = []
        self._seen: tuple[int, ...] | None = None
        self._lock = threading.Lock()
        self._look()

    def current(self) -> StateKey:
        """Return the key that signs; make one where there is none.

        Raises:
            ElmanError: where the file cannot be read, or made.
        """
        with self._lock:
            self._look()
            if not self._keys:
                self._write([_new_key()], is_first=True)
            return self._keys[0]

    def find(self, key_id: str) -> StateKey | None:
        """Return a key whose states are accepted.

        Raises:
            ElmanError: where the file cannot be read.
        """
        with self._lock:
            self._look()
            return next((key for key in self._keys if key.id == key_id and _is_valid(key)), None)

    def rotate(self, grace_days: float) -> StateKey:
        """Sign with a new key from now on.

        Args:
            grace_days: for which states are accepted that the key before it signed.

        Raises:
            ElmanError: where that is no number of days, or the file cannot be read or written.
        """
        if not 0 <= grace_days <= MAX_GRACE_DAYS:
            raise ElmanError(f"--grace-days {grace_days:g}: expected 0 to {MAX_GRACE_DAYS:,}")
        until = time.time() + grace_days * 86_400
        with self._lock:
            self._look()
            old = [key if key.until else key.model_copy(update={"until": until})
                   for key in self._keys]  # fmt: skip
            self._write([_new_key(), *filter(_is_valid, old)])
            return self._keys[0]

    def _look(self) -> None:
        """Read the file, if it is another one than was read before."""
        if self._path is None:
            return
        try:
            found = self._path.stat()
        except FileNotFoundError:
            self._keys, self._seen = [], None
            return
        except OSError as error:
            raise ElmanError(f"{self._path}: cannot be read: {error.strerror}") from None
        seen = (found.st_ino, found.st_mtime_ns, found.st_size)
        if seen == self._seen:
            return
        if os.name == "posix" and found.st_mode & 0o077:
            raise ElmanError(
                f"{self._path}: others may read it, and could sign states: chmod 600 it, and then "
                "elman keys rotate --grace-days 0"
            )
        content = parse_json(read_text(self._path, MAX_KEY_FILE_BYTES), self._path)
        keys = validated(_KeyFile, content, self._path).keys
        if [key.until is None for key in keys].count(True) != 1 or keys[0].until is not None:
            raise ElmanError(f"{self._path}: damaged: the first key signs, and no other one")
        self._keys, self._seen = keys, seen

    def _write(self, keys: list[StateKey], is_first: bool = False) -> None:
        """Have these keys in the file; where another process has just made the first, that one."""
        if self._path is None:
            self._keys = keys
            return
        temporary = None
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            # Such a file has mode 0600 from its beginning.
            with tempfile.NamedTemporaryFile(
                dir=self._path.parent, prefix=".elman-", delete=False
            ) as file:
                temporary = Path(file.name)
                file.write(_KeyFile(keys=keys).model_dump_json(indent=1).encode())
                file.flush()
                os.fsync(file.fileno())
            if is_first:
                with suppress(FileExistsError):
                    os.link(temporary, self._path)
            else:
                temporary.replace(self._path)
        except OSError as error:
            raise ElmanError(f"{self._path}: cannot be written: {error.strerror}") from None
        finally:
            if temporary is not None:
                temporary.unlink(missing_ok=True)
        self._look()


def _new_key() -> StateKey:
    return StateKey(id=secrets.token_hex(8), secret=secrets.token_hex(32))


def _is_valid(key: StateKey) -> bool:
    return key.until is None or time.time() < key.until
