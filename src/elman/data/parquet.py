"""Parquet and Arrow read as text, a line of JSON for each row: readers of JSON Lines read it too.

pyarrow (the extra `elman[parquet]`) does the work, a few rows at a time. It does so in a process
of its own, with little memory: a damaged file can make it abort, and a hostile one could make it
fill the machine. Columns of bytes, such as pictures, are not read.

Source: the description of the format, apache/parquet-format.
"""

import io
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from typing import IO, Any

from elman.data.unpacking import BOMB_BYTES, BOMB_RATIO
from elman.errors import ElmanError, require

ROWS_AT_ONCE = 64
PAGE_BUFFER_BYTES = 1 << 16
"""What is read of a column at once; without it, a whole row group would be."""
MAX_MEMORY_BYTES = 4 << 30
"""Of the process that reads, where the system can limit it."""


def rows_as_json_lines(packed: io.BufferedReader, name: str) -> io.BufferedReader:
    """Open the rows of a Parquet or Arrow file as UTF-8 text; closing it closes the file.

    Args:
        packed: the file. Where it is not a plain file, a temporary copy is made, since Parquet is
            read from its end.
        name: what to call the file in messages to people.

    Raises:
        ElmanError: where pyarrow is missing; from reads, where the file is damaged or a bomb.
    """
    with packed:
        kind = "Parquet" if packed.peek(3)[:3] == b"PAR" else "Arrow"
        extra = "parquet" if kind == "Parquet" else "datasets"
        require(extra, f"{name}: {'a' if kind == 'Parquet' else 'an'} {kind} file, which")
        if isinstance(packed.raw, io.FileIO):
            return io.BufferedReader(_Rows(packed, name, kind), 1 << 16)
        with tempfile.TemporaryFile(prefix="elman-parquet-") as copy:
            shutil.copyfileobj(packed, copy)
            return io.BufferedReader(_Rows(copy, name, kind), 1 << 16)


class _Rows(io.RawIOBase):
    """What another process, running `main`, makes of a file."""

    def __init__(self, file: IO[bytes], name: str, kind: str) -> None:
        file.seek(0)
        self._name, self._kind = name, kind
        # -P: nothing is imported from the folder that we happen to be in.
        self._process = subprocess.Popen(  # noqa: S603
            [sys.executable, "-P", "-m", __name__],
            stdin=file,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        assert self._process.stdout is not None
        data = self._process.stdout.read1(len(buffer))  # type: ignore[attr-defined]
        buffer[: len(data)] = data
        if not data:
            self._check_end()
        return len(data)

    def _check_end(self) -> None:
        _, problem = self._process.communicate()
        if self._process.returncode:
            lines = problem.decode("utf-8", "replace").strip().splitlines()
            raise ElmanError(
                f"{self._name}: damaged or hostile {self._kind} data: "
                f"{lines[-1].strip()[:200] if lines else 'it cannot be read'}"
            )

    def close(self) -> None:
        if not self.closed:
            self._process.kill()
            self._process.communicate()
        super().close()


def main() -> None:
    """Write the rows of the table that is standard input to standard output."""
    import pyarrow

    _limit_memory()
    problem = ""
    try:
        for line in _lines(sys.stdin.buffer):
            sys.stdout.buffer.write(line)
        sys.stdout.flush()
    except (pyarrow.ArrowException, OSError, ValueError, KeyError, MemoryError) as error:
        problem = " ".join(str(error).split()) or type(error).__name__
        sys.stderr.write(problem)
        sys.stderr.flush()
    # At an ordinary end, pyarrow's threads may still begin, and then it aborts.
    os._exit(1 if problem else 0)


def _lines(file: IO[bytes]) -> Iterator[bytes]:
    max_bytes = max(BOMB_BYTES, BOMB_RATIO * file.seek(0, io.SEEK_END))
    file.seek(0)
    magic = file.read(4)
    file.seek(0)
    size, batches = (_parquet if magic[:3] == b"PAR" else _arrow)(file, magic)
    for batch in batches:
        if size > max_bytes:
            break
        for row in batch.to_pylist():
            fields = {name: _as_list(value) for name, value in row.items()}
            line = json.dumps(fields, default=str).encode() + b"\n"
            size += len(line)
            yield line
    if size > max_bytes:
        raise ValueError(
            f"it unpacks to more than {max_bytes:,} bytes, {BOMB_RATIO} times what it takes"
        )


def _parquet(file: IO[bytes], magic: bytes) -> tuple[int, Iterator[Any]]:
    """Return what a Parquet file says that it unpacks to, and its rows, some at a time."""
    from pyarrow import parquet

    # Without extension types, nothing in the file chooses which code reads it.
    rows = parquet.ParquetFile(file, buffer_size=PAGE_BUFFER_BYTES, arrow_extensions_enabled=False)
    columns = _readable(rows.schema_arrow)
    batches = rows.iter_batches(ROWS_AT_ONCE, columns=columns, use_threads=False)
    return _stated_size(rows.metadata), batches


def _arrow(file: IO[bytes], magic: bytes) -> tuple[int, Iterator[Any]]:
    """Return the rows of an Arrow file or stream, some at a time; it says no size."""
    from pyarrow import ipc

    if magic == b"ARRO":
        reader = ipc.open_file(file)
        batches = map(reader.get_batch, range(reader.num_record_batches))
    else:
        reader = batches = ipc.open_stream(file)
    columns = _readable(reader.schema)
    parts = (
        batch.select(columns).slice(begin, ROWS_AT_ONCE)
        for batch in batches
        for begin in range(0, batch.num_rows, ROWS_AT_ONCE)
    )
    return 0, parts


def _readable(schema: Any) -> list[str]:
    """Name the columns that are not bytes."""
    return [field.name for field in schema if "binary" not in str(field.type)]


def _as_list(value: Any) -> Any:
    """Return a list of objects, where the library `datasets` has made it an object of lists."""
    lists = list(value.values()) if isinstance(value, dict) else []
    if not lists or not all(
        isinstance(each, list) and len(each) == len(lists[0]) for each in lists
    ):
        return value
    return [dict(zip(value, items, strict=True)) for items in zip(*lists, strict=True)]


def _stated_size(metadata: Any) -> int:
    """Bytes or values, whichever are more, that all columns unpack to, as the file itself says."""
    groups = map(metadata.row_group, range(metadata.num_row_groups))
    chunks = (group.column(number) for group in groups for number in range(group.num_columns))
    return sum(max(chunk.total_uncompressed_size, chunk.num_values) for chunk in chunks)


def _limit_memory() -> None:
    try:
        import resource
    except ImportError:  # Windows
        return
    _, most = resource.getrlimit(resource.RLIMIT_AS)
    limit = MAX_MEMORY_BYTES if most == resource.RLIM_INFINITY else min(MAX_MEMORY_BYTES, most)
    resource.setrlimit(resource.RLIMIT_AS, (limit, most))


if __name__ == "__main__":
    main()
