"""Where conversations come from: a file, a folder of files, or standard input; plain or gzip."""

import codecs
import gzip
import io
import shutil
import sys
import tempfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any, TypeVar

from elman.errors import ElmanError

BUILT_IN = "chitchat"
"""The conversations that come with Elman: the package `chitchat-dataset` (MIT)."""

HEAD_BYTES = 65536

T = TypeVar("T")


@dataclass
class Notes:
    """What was left out or changed while reading, counted by reason, and where it began."""

    counts: Counter[str] = field(default_factory=Counter)
    first: dict[str, str] = field(default_factory=dict)

    def add(self, reason: str, where: str) -> None:
        self.counts[reason] += 1
        self.first.setdefault(reason, where)

    def lines(self) -> list[str]:
        """One sentence for each reason."""
        return [
            f"{number:,} {reason} (first: {self.first[reason]})"
            for reason, number in self.counts.items()
        ]


@dataclass(frozen=True)
class Document:
    """One file of conversations, read as text line by line.

    Args:
        name: what to call it in messages to people.
        path: where its bytes are.
        encoding: of its text.
        owner: kept alive as long as the document, such as the temporary file behind `path`.
    """

    name: str
    path: Path
    encoding: str = "utf-8"
    owner: Any = None

    def head(self) -> str:
        """The beginning of the text, from which its format is recognised; may end mid-character."""
        with self._bytes() as stream:
            data = self._checked(stream.read, HEAD_BYTES)
        return data.decode(self._codec(), errors="replace")

    def lines(self) -> Iterator[tuple[int, str]]:
        """Line numbers from 1, and lines without their ends.

        Raises:
            ElmanError: where a byte does not belong to the encoding, or the gzip data is damaged.
        """
        codec = self._codec()
        if codec in ("utf-8", "utf-8-sig"):
            return self._lines_of_utf8()
        return self._lines_of(codec)

    def text(self) -> str:
        """All of it at once, with every line end as a newline."""
        return "\n".join(line for _, line in self.lines())

    def _lines_of(self, codec: str) -> Iterator[tuple[int, str]]:
        with self._bytes() as stream, io.TextIOWrapper(stream, codec, newline=None) as text:
            for number in count(1):
                try:
                    line = self._checked(text.readline)
                except UnicodeError as error:
                    raise ElmanError(
                        f"{self.name}: about line {number}: not {self.encoding}: {error}; "
                        "name the right encoding with --encoding"
                    ) from None
                if not line:
                    return
                yield number, (line.removeprefix("\ufeff") if number == 1 else line).rstrip("\n")

    def _lines_of_utf8(self) -> Iterator[tuple[int, str]]:
        """Lines of UTF-8, decoded one at a time so that an error can name its byte."""
        offset = 0
        with self._bytes() as stream:
            for number in count(1):
                data: bytes = self._checked(stream.readline)
                if not data:
                    return
                try:
                    line = data.decode("utf-8")
                except UnicodeDecodeError as error:
                    raise ElmanError(
                        f"{self.name}: line {number}, byte {offset + error.start} "
                        f"(0x{data[error.start]:02x}) is not valid UTF-8; name the file's "
                        "encoding, for example --encoding latin-1"
                    ) from None
                offset += len(data)
                if number == 1:
                    line = line.removeprefix("\ufeff")
                yield number, line.rstrip("\r\n")

    def _codec(self) -> str:
        try:
            b"x".decode(self.encoding, "replace")  # refuses what is a codec but not of text
            return codecs.lookup(self.encoding).name
        except (LookupError, ValueError):
            raise ElmanError(
                f"--encoding {self.encoding}: no such encoding; utf-8, utf-16, cp1252 and latin-1 "
                "are common ones"
            ) from None

    def _bytes(self) -> io.BufferedReader:
        try:
            stream = self.path.open("rb")
        except OSError as error:
            raise ElmanError(f"{self.name}: cannot be read: {error.strerror}") from None
        if stream.peek(2)[:2] == b"\x1f\x8b":
            stream.close()  # a GzipFile closes only what it has opened itself
            return io.BufferedReader(gzip.GzipFile(self.path))
        return stream

    def _checked(self, read: Callable[..., T], *args: int) -> T:
        try:
            return read(*args)
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise ElmanError(f"{self.name}: damaged gzip data: {error}") from None


def documents(path: Path | str, encoding: str = "utf-8") -> list[Document]:
    """The documents of a file, of a folder (every file below it), or of standard input (`-`).

    The name `chitchat`, where no such file exists, stands for the built-in conversations.
    Standard input is kept in a temporary file, since training reads its data more than once.

    Raises:
        ElmanError: where there is nothing of that name, or the folder is empty.
    """
    if str(path) == "-":
        file = tempfile.NamedTemporaryFile(prefix="elman-stdin-")  # noqa: SIM115
        shutil.copyfileobj(sys.stdin.buffer, file)
        file.flush()
        return [Document("standard input", Path(file.name), encoding, owner=file)]
    path = Path(path)
    if str(path) == BUILT_IN and not path.exists():
        import chitchat_dataset

        return [Document(BUILT_IN, Path(chitchat_dataset.__file__).with_name("dataset.json"))]
    if not path.exists():
        raise ElmanError(f"{path}: no such file or folder")
    if not path.is_dir():
        return [Document(str(path), path, encoding)]
    files = sorted(
        file
        for file in path.rglob("*")
        if file.is_file() and not any(part.startswith(".") for part in file.relative_to(path).parts)
    )
    if not files:
        raise ElmanError(f"{path}: an empty folder; expected files of conversations")
    return [Document(str(file), file, encoding) for file in files]
