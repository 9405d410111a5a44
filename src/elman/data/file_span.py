"""A part of a plain file, so that several processes can read one file."""

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

READ_BYTES = 1 << 20


@dataclass(frozen=True)
class FileSpan:
    """A part of a plain file, cut where a reader says that it may be.

    Args:
        begin, end: bytes.
        first_line: the number of its first line, from 1.
    """

    begin: int
    end: int
    first_line: int

    def open(self, path: Path) -> io.BufferedReader:
        """Open the bytes of this part of a file."""
        return io.BufferedReader(_Part(path, self), 1 << 16)


class _Part(io.RawIOBase):
    def __init__(self, path: Path, span: FileSpan) -> None:
        self._file = path.open("rb", buffering=0)
        self._file.seek(span.begin)
        self._left = span.end - span.begin

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        size = self._file.readinto(memoryview(buffer)[: self._left]) or 0
        self._left -= size
        return size

    def close(self) -> None:
        self._file.close()
        super().close()


def spans(path: Path, separator: bytes, size: int) -> list[FileSpan]:
    """Cut a file into parts of at least so many bytes, each up to a separator and with it."""
    found: list[FileSpan] = []
    begin, first_line = 0, 1
    at, lines = 0, 0  # bytes, and ends of lines, before what is at hand
    with path.open("rb") as file:
        kept = b""  # a separator may lie across two readings
        while data := file.read(READ_BYTES):
            whole, counted = kept + data, len(kept)
            at -= len(kept)
            while True:
                least = max(0, begin + size - len(separator) - at)
                place = whole.find(separator, least)
                if place < 0:
                    break
                end = place + len(separator)
                lines += whole.count(b"\n", counted, end)
                counted = max(counted, end)
                found.append(FileSpan(begin, at + end, first_line))
                begin, first_line = at + end, lines + 1
            lines += whole.count(b"\n", counted)
            at += len(whole)
            kept = whole[max(0, len(whole) - len(separator) + 1) :]
    if at > begin:
        found.append(FileSpan(begin, at, first_line))
    return found
