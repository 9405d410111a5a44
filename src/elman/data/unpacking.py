"""Compressed data from outside: unpacked only as far as any text could be."""

import gzip
import io
import zipfile
import zlib
from contextlib import suppress
from typing import Any

from elman.errors import ElmanError

BOMB_BYTES, BOMB_RATIO = 1 << 26, 200
"""What unpacks to more than both say (bytes, and times its own size) is refused. Text is
compressed to a tenth, machine-made JSON to a fiftieth."""


class UnpackLimit:
    """What compressed data may unpack to: one file's, or that of all files in an archive together.

    Args:
        packed: bytes that it takes.
        what: it is, in words.
    """

    def __init__(self, packed: int, what: str = "") -> None:
        self._most = max(BOMB_BYTES, BOMB_RATIO * packed)
        self._what = what
        self._sizes: dict[str, int] = {}
        self._sum = 0
        self.measured: set[str] = set()
        """Files that were unpacked to their end, or to their damage."""

    def reached(self, name: str, size: int) -> None:
        """Count what a file has unpacked to so far; one that is read again counts once.

        Raises:
            ElmanError: where that is too much.
        """
        before = self._sizes.get(name, 0)
        if size > before:
            self._sizes[name] = size
            self._sum += size - before
        if self._sum > self._most:
            raise ElmanError(
                f"{name}: refused: {self._what}unpacks to more than {self._most:,} bytes, "
                f"{BOMB_RATIO} times what it takes"
            )


class LimitedGzip(io.RawIOBase):
    """Unpacks gzip, and refuses to go on where it is a bomb."""

    def __init__(self, unpacked: gzip.GzipFile, name: str, limits: list[UnpackLimit]) -> None:
        self._unpacked, self._name, self._limits = unpacked, name, limits
        self._size = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        count = self._unpacked.readinto(buffer)
        self._size += count
        for limit in self._limits:
            limit.reached(self._name, self._size)
        return count

    def close(self) -> None:
        self._unpacked.close()
        super().close()


def measure(unpacked: io.BufferedReader) -> None:
    """Unpack a file once and forget it: a bomb is refused before anything looks for text in it.

    Raises:
        ElmanError: where it is one. Damage is left to be told, with its place, to whoever reads.
    """
    with unpacked, suppress(EOFError, zlib.error, OSError, zipfile.BadZipFile):
        while unpacked.read(1 << 20):
            pass


def limited_gzip(
    unpacked: gzip.GzipFile, name: str, packed: int, whole: UnpackLimit | None = None
) -> io.BufferedReader:
    """Open a gzip file, bounded by its own size and by what else is in its archive.

    Args:
        unpacked: the file.
        name: to call it in messages.
        packed: bytes that it takes where it lies, compressed once or twice.
        whole: the limit of all files of its archive.
    """
    limits = [UnpackLimit(packed), *([] if whole is None else [whole])]
    return io.BufferedReader(LimitedGzip(unpacked, name, limits), 1 << 16)
