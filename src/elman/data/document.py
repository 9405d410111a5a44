"""A file of conversations, read as text whatever it is packed in."""

import codecs
import gzip
import io
import stat
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import count
from pathlib import Path, PurePosixPath
from typing import IO, Any, TypeVar, cast

from elman.data.file_span import FileSpan
from elman.data.unpacking import UnpackLimit, limited_gzip, measure
from elman.errors import ElmanError

HEAD_BYTES = 65536
LONG_HEAD_BYTES = 1 << 22
"""Of JSON whose first object is longer than a head."""

MAX_LINE_BYTES = 1 << 28
"""Bytes. Text has no such lines, and one would have to fit into memory."""

UNBOUNDED = (zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)
"""Of these Python unpacks a whole block at once, whatever comes out of it."""

UTF8 = ("utf-8", "utf-8-sig")
GZIP = b"\x1f\x8b"
TABLE_STARTS = (b"PAR1", b"PARE", b"ARRO", b"\xff\xff\xff\xff")
"""How Parquet begins, and encrypted Parquet; how Arrow does, as a file and as a stream."""

T = TypeVar("T")


@dataclass(frozen=True)
class Document:
    """One file of conversations, read as text line by line. It can be sent to another process.

    Args:
        name: what to call it in messages to people; its folder is that of the name.
        path: where its bytes are.
        encoding: of its text. A byte order mark of UTF-16 or UTF-8 says more.
        owner: kept alive as long as the document, such as the temporary file behind `path`.
        member: of an open archive, where `path` is one.
        limit: what compressed files may unpack to, all of one archive together.
        span: the part of a plain file in UTF-8 that is read; None: all. Its head is the file's.
    """

    name: str
    path: Path
    encoding: str = "utf-8"
    owner: Any = None
    member: tuple[zipfile.ZipFile, zipfile.ZipInfo] | None = None
    limit: UnpackLimit | None = None
    span: FileSpan | None = None

    def __getstate__(self) -> dict[str, Any]:
        # An open archive stays here; what owns a file here keeps it while others read it.
        member = None if self.member is None else self.member[1]
        return {**self.__dict__, "owner": None, "member": member}

    def __setstate__(self, state: dict[str, Any]) -> None:
        info = state["member"]
        if info is not None:
            state["member"] = (_opened_archive(state["path"]), info)
        self.__dict__.update(state)

    @property
    def folder(self) -> str:
        """The name of the folder that it lies in."""
        return str(PurePosixPath(self.name).parent)

    @property
    def filename(self) -> str:
        """The last part of its name."""
        return PurePosixPath(self.name).name

    @property
    def is_link(self) -> bool:
        """Whether it is a member of an archive that only says where something else would lie."""
        return self.member is not None and stat.S_ISLNK(self.member[1].external_attr >> 16)

    def head(self, size: int = HEAD_BYTES) -> str:
        """Return the first bytes as text, which may end mid-character; they tell the format."""
        whole = self if self.span is None else replace(self, span=None)
        with whole._bytes() as stream:
            codec = self._codec(stream)
            data = self._checked(stream.read, size)
        return data.decode(codec, errors="replace")

    @property
    def can_be_cut(self) -> bool:
        """Whether it is a plain file in UTF-8, of which a `span` can be read."""
        if self.member is not None or self.encoding.lower() not in UTF8:
            return False
        with self.path.open("rb") as stream:
            begin = stream.read(4)
        packed = begin[:2] == GZIP or begin in TABLE_STARTS
        return not packed and begin[:2] not in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)

    def lines(self) -> Iterator[tuple[int, str]]:
        """Line numbers from 1, and lines without their ends.

        Raises:
            ElmanError: where a byte does not belong to the encoding, or the gzip data is damaged.
        """
        with self._bytes() as stream:
            codec = self._codec(stream)
            lines = self._lines_of_utf8 if codec in UTF8 else self._lines_of
            yield from lines(stream, codec)

    def text(self) -> str:
        """Return all of it at once, with every line end as a newline."""
        return "\n".join(line for _, line in self.lines())

    @contextmanager
    def stream(self) -> Iterator[IO[bytes]]:
        """Open the text as UTF-8 bytes without a byte order mark, for parsers that take a file.

        Raises:
            ElmanError: from its `read`, where the gzip data or the archive is damaged, or text in
                another encoding than UTF-8 does not belong to it.
        """
        with self._bytes() as raw:
            codec = self._codec(raw)
            if codec in UTF8 and self._checked(raw.peek, 3)[:3] == codecs.BOM_UTF8:
                raw.read(3)
            yield cast(IO[bytes], _Utf8(self, raw, codec))

    def chunks(self, size: int = 1 << 20) -> Iterator[str]:
        """Yield the text in pieces of about `size` bytes, each up to the end of a line.

        Faster than `lines` by far, for readers that search a whole piece at once. Line ends are as
        they were, and a byte order mark is not left out.

        Raises:
            ElmanError: as `lines` does; without the number of the line.
        """
        with self._bytes() as stream:
            codec = self._codec(stream)
            decoder = codecs.getincrementaldecoder(codec)()
            pieces: list[str] = []  # of a line whose end has not been read
            length, end = 0, False
            while not end:
                data = self._checked(stream.read, size)
                end = not data
                try:
                    text = decoder.decode(data, final=end)
                except UnicodeError as error:
                    raise self._undecodable(error, stream.tell() - len(data)) from None
                whole = text.rfind("\n") + 1
                if whole or end:
                    pieces.append(text[:whole] if whole else text)
                    if chunk := "".join(pieces):
                        yield chunk
                    pieces, text, length = [], text[whole:] if whole else "", 0
                pieces.append(text)
                length += len(text)
                self._check_length(length)

    def _check_length(self, length: int) -> None:
        if length > MAX_LINE_BYTES:
            raise ElmanError(
                f"{self.name}: a line of more than {MAX_LINE_BYTES >> 20} MB; this is no text of "
                "conversations"
            )

    def _undecodable(self, error: UnicodeError, offset: int) -> ElmanError:
        place = f"about byte {offset + getattr(error, 'start', 0)}"
        return ElmanError(
            f"{self.name}: {place}: not {self.encoding}: {error}; name the file's encoding, for "
            "example --encoding cp1252"
        )

    def _lines_of(self, stream: IO[bytes], codec: str) -> Iterator[tuple[int, str]]:
        with io.TextIOWrapper(stream, codec, newline=None) as text:
            for number in count(1):
                try:
                    line = self._checked(text.readline, MAX_LINE_BYTES + 1)
                except UnicodeError as error:
                    raise ElmanError(
                        f"{self.name}: about line {number}: not {self.encoding}: {error}; "
                        "name the right encoding with --encoding"
                    ) from None
                if not line:
                    return
                self._check_length(len(line))
                yield number, (line.removeprefix("\ufeff") if number == 1 else line).rstrip("\n")

    def _lines_of_utf8(self, stream: IO[bytes], codec: str) -> Iterator[tuple[int, str]]:
        """Lines of UTF-8, decoded one at a time so that an error can name its byte."""
        span = self.span or FileSpan(0, 0, 1)
        offset = span.begin
        for number in count(span.first_line):
            data: bytes = self._checked(stream.readline, MAX_LINE_BYTES + 1)
            if not data:
                return
            self._check_length(len(data))
            try:
                line = data.decode("utf-8")
            except UnicodeDecodeError as error:
                raise ElmanError(
                    f"{self.name}: line {number}, byte {offset + error.start} "
                    f"(0x{data[error.start]:02x}) is not valid UTF-8; name the file's "
                    "encoding, for example --encoding cp1252 (Excel's), or export it again if "
                    "it was cut short"
                ) from None
            offset += len(data)
            if number == 1:
                line = line.removeprefix("\ufeff")
            yield number, line.rstrip("\r\n")

    def _codec(self, stream: io.BufferedReader) -> str:
        """Return the name of the codec; that of UTF-16 where the text begins with its mark."""
        try:
            b"x".decode(self.encoding, "replace")  # refuses what is a codec but not of text
            codec = codecs.lookup(self.encoding).name
            if codec in UTF8 and self._checked(stream.peek, 2)[:2] in (b"\xff\xfe", b"\xfe\xff"):
                return "utf-16"
            return codec
        except (LookupError, ValueError):
            raise ElmanError(
                f"--encoding {self.encoding}: no such encoding; utf-8, utf-16, cp1252 and latin-1 "
                "are common ones"
            ) from None

    def _bytes(self) -> io.BufferedReader:
        if self.span is not None:
            return self.span.open(self.path)
        stream = self._unpacked_bytes()
        if self._checked(stream.peek, 4)[:4] not in TABLE_STARTS:
            return stream
        from elman.data.parquet import rows_as_json_lines

        return self._checked(rows_as_json_lines, stream, self.name)

    def _unpacked_bytes(self) -> io.BufferedReader:
        stream, packed = self._packed()
        if packed is None:
            return stream
        limit = self.limit
        if limit is not None and self.name not in limit.measured:
            measure(stream)
            limit.measured.add(self.name)
            stream, _ = self._packed()
        return stream

    def _packed(self) -> tuple[io.BufferedReader, int | None]:
        """Open what it holds, unpacked; return also how many bytes of gzip it is, if any."""
        if self.member is not None:
            stream = self._member(*self.member)
            if self._checked(stream.peek, 2)[:2] == GZIP:
                size = self.member[1].compress_size
                opened = gzip.GzipFile(fileobj=stream)
                return limited_gzip(opened, self.name, size, self.limit), size
            return stream, None
        try:
            stream = self.path.open("rb")
        except OSError as error:
            raise ElmanError(f"{self.name}: cannot be read: {error.strerror}") from None
        if stream.peek(2)[:2] == GZIP:
            stream.close()  # a GzipFile closes only what it has opened itself
            size = self.path.stat().st_size
            return limited_gzip(gzip.GzipFile(self.path), self.name, size), size
        return stream, None

    def _member(self, archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> io.BufferedReader:
        if info.compress_type in UNBOUNDED:
            raise ElmanError(
                f"{self.name}: cannot be unpacked: its kind of compression ({info.compress_type}) "
                "is not read from archives; unpack the archive and give the folder"
            )
        try:
            return io.BufferedReader(cast(io.RawIOBase, archive.open(info)))
        except (zipfile.BadZipFile, NotImplementedError, ValueError, EOFError, OSError) as error:
            raise ElmanError(
                f"{self.name}: cannot be unpacked: {error}; unpack the archive and give the folder"
            ) from None
        except RuntimeError:
            raise ElmanError(
                f"{self.name}: is encrypted; unpack the archive with its password and give the "
                "folder"
            ) from None

    def _checked(self, read: Callable[..., T], *args: Any) -> T:
        try:
            return read(*args)
        except (EOFError, zlib.error, OSError, zipfile.BadZipFile) as error:
            if self.member is None and not isinstance(
                error, (EOFError, zlib.error, gzip.BadGzipFile)
            ):
                raise
            kind = "gzip" if self.member is None else "zip"
            raise ElmanError(f"{self.name}: damaged {kind} data: {error}") from None


@lru_cache(maxsize=16)
def _opened_archive(path: Path) -> zipfile.ZipFile:
    return zipfile.ZipFile(path)


class _Utf8:
    """A file of text in any encoding, read as UTF-8."""

    def __init__(self, document: Document, stream: io.BufferedReader, codec: str) -> None:
        self._document, self._stream = document, stream
        self._decoder = None if codec in UTF8 else codecs.getincrementaldecoder(codec)()
        self._begun = False

    def read(self, size: int = -1) -> bytes:
        raw = self._document._checked(self._stream.read, size)
        if self._decoder is None or size == 0:
            return raw
        text = self._decoded(raw)
        while raw and not text:  # a part of a character, or a mark: nothing here is not the end
            raw = self._document._checked(self._stream.read, size)
            text = self._decoded(raw)
        return text.encode("utf-8", "replace")

    def _decoded(self, raw: bytes) -> str:
        assert self._decoder is not None
        try:
            text = self._decoder.decode(raw, final=not raw)
        except UnicodeError as error:
            raise self._document._undecodable(error, self._stream.tell()) from None
        if text and not self._begun:
            self._begun, text = True, text.removeprefix("\ufeff")
        return text
