"""Where conversations come from: a file, a folder or zip archive of files, or standard input.

Files may be compressed by gzip. Archives are read where they lie: nothing is unpacked to disk.
"""

import hashlib
import shutil
import sys
import tempfile
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import IO

from elman.data.document import Document
from elman.data.saved_datasets import without_bookkeeping
from elman.data.shards.index import is_built, read_index
from elman.data.unpacking import BOMB_BYTES, BOMB_RATIO, UnpackLimit
from elman.errors import ElmanError, missing_extra

BUILT_IN = "chitchat"
"""The conversations that come with Elman: the package `chitchat-dataset` (MIT)."""

LOCAL_HEADER_BYTES = 30
"""Of a member of a zip archive, at least, before its data."""

OFFICE = "[Content_Types].xml"
"""Is in every document of an office program, which is an archive as well."""


@dataclass(frozen=True)
class Source:
    """Where conversations are.

    Args:
        path: as somebody wrote it.
        encoding: of the files.
        documents: the files, folders and archives opened up.
    """

    path: str
    encoding: str
    documents: Sequence[Document]

    @classmethod
    def open(cls, path: str, encoding: str = "utf-8") -> "Source":
        """Look up what there is at a path; raises as `documents` does."""
        return cls(path, encoding, documents(path, encoding))

    @classmethod
    def joined(cls, paths: Sequence[str], encoding: str = "utf-8") -> "Source":
        """Look up what there is at several paths, one after another."""
        found = [each for path in paths for each in documents(path, encoding)]
        return cls(", ".join(paths), encoding, found)


def fingerprint(path: Path | str) -> str | None:
    """Make a digest that changes whenever files do, from their names, sizes and times.

    None where they are gone, or are a pipe or a device, which cannot be read again.
    """
    path = Path(path)
    if str(path) == BUILT_IN and not path.exists():
        return BUILT_IN
    if not (path.is_file() or path.is_dir()):
        return None
    facts = []
    for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
        if file.is_file():
            status = file.stat()
            facts.append(f"{file.relative_to(path)} {status.st_size} {status.st_mtime_ns}")
    return hashlib.sha256("\n".join(facts).encode(errors="surrogateescape")).hexdigest()


def documents(path: Path | str, encoding: str = "utf-8") -> list[Document]:
    """List the documents of a file, of all files below a folder, or of standard input (`-`).

    A zip archive stands for the files in it, wherever it lies. Hidden files and those that systems
    put beside ours (`__MACOSX`) are nobody's conversations and are passed over.

    A corpus that `elman data build` made stands for its sources, where these are still there.

    The name `chitchat`, where no such file exists, stands for the built-in conversations.
    Standard input is kept in a temporary file, since training reads its data more than once.

    Raises:
        ElmanError: where there is nothing of that name, the folder is empty, or an archive is
            damaged or not to be trusted.
    """
    if str(path) == "-":
        return _spooled(sys.stdin.buffer, "standard input", encoding)
    path = Path(path)
    if str(path) == BUILT_IN and not path.exists():
        try:
            import chitchat_dataset
        except ImportError:
            what = f"{BUILT_IN}, the built-in conversations,"
            raise missing_extra("train", what, ["chitchat-dataset"]) from None

        return [Document(BUILT_IN, Path(chitchat_dataset.__file__).with_name("dataset.json"))]
    if not path.exists():
        raise ElmanError(f"{path}: no such file or folder")
    if path.is_file():
        return _unpacked(Document(str(path), path, encoding))
    if is_built(path):
        return _sources_of(path, encoding)
    if not path.is_dir():  # a pipe, which can be read but once
        with path.open("rb") as stream:
            return _spooled(stream, str(path), encoding)
    every = sorted(
        file
        for file in path.rglob("*")
        if file.is_file() and not _is_hidden(file.relative_to(path).parts)
    )
    files = without_bookkeeping(every)
    if not files:
        raise ElmanError(f"{path}: an empty folder; expected files of conversations")
    found = [_unpacked(Document(str(file), file, encoding)) for file in files]
    return [document for some in found for document in some]


def _sources_of(folder: Path, encoding: str) -> list[Document]:
    index = read_index(folder)
    for source, made_of in zip(index.sources, index.fingerprints, strict=False):
        if (now := fingerprint(source)) != made_of:
            what = "is gone" if now is None else "has changed"
            raise ElmanError(
                f"{source}: {what}, and {folder} was built of it: the messages themselves are read "
                "there, since the corpus has only their tokens"
            )
    return [each for source in index.sources for each in documents(source, encoding)]


def _spooled(stream: IO[bytes], name: str, encoding: str) -> list[Document]:
    file = tempfile.NamedTemporaryFile(prefix="elman-stdin-")  # noqa: SIM115
    shutil.copyfileobj(stream, file)
    file.flush()
    return _unpacked(Document(name, Path(file.name), encoding, owner=file))


def _is_hidden(parts: tuple[str, ...]) -> bool:
    return any(part.startswith(".") or part == "__MACOSX" for part in parts)


def _unpacked(document: Document) -> list[Document]:
    """List the members of a zip archive; of anything else, the document itself."""
    try:
        with document.path.open("rb") as stream:
            if stream.read(4) not in (b"PK\x03\x04", b"PK\x05\x06"):
                limit = UnpackLimit(document.path.stat().st_size)
                return [replace(document, limit=limit)]
    except OSError as error:
        raise ElmanError(f"{document.name}: cannot be read: {error.strerror}") from None
    try:
        archive = zipfile.ZipFile(document.path)
        members = [info for info in archive.infolist() if not info.filename.endswith("/")]
    except (zipfile.BadZipFile, NotImplementedError, ValueError, OSError) as error:
        raise ElmanError(
            f"{document.name}: a damaged or truncated zip archive: {error}; export it again"
        ) from None
    if any(info.filename == OFFICE for info in members):
        archive.close()
        return [document]
    _check_archive(document, members)
    kept = sorted(
        (info for info in members if not _is_hidden(PurePosixPath(info.filename).parts)),
        key=lambda info: info.filename,
    )
    if not kept:
        raise ElmanError(f"{document.name}: an empty archive; expected files of conversations")
    limit = UnpackLimit(document.path.stat().st_size, "with all else in the archive it ")
    return [
        replace(
            document, name=f"{document.name}/{info.filename}", member=(archive, info), limit=limit
        )
        for info in kept
    ]


def _check_archive(document: Document, members: list[zipfile.ZipInfo]) -> None:
    """Refuse an archive that would fill the machine or points outside of itself."""
    for info in members:
        name = info.filename.replace("\\", "/")
        if ".." in name.split("/") or name.startswith("/") or name[1:2] == ":":
            raise ElmanError(
                f"{document.name}: refused: it holds {info.filename!r}, a path that leads out of it"
            )
    whole = document.path.stat().st_size
    end = 0
    for info in sorted(members, key=lambda info: info.header_offset):
        if info.header_offset < end:
            raise ElmanError(
                f"{document.name}: refused: {info.filename} overlaps another file of the archive"
            )
        end = info.header_offset + LOCAL_HEADER_BYTES + info.compress_size
        if end > whole:
            raise ElmanError(
                f"{document.name}: refused: {info.filename} would reach behind the archive's end"
            )
    # Unpacking stops at the size that an archive states, so what it states is enough.
    for name, size, packed in (
        *((info.filename, info.file_size, info.compress_size) for info in members),
        ("all of it", sum(info.file_size for info in members), whole),
    ):
        if size > BOMB_BYTES and size > BOMB_RATIO * packed:
            raise ElmanError(
                f"{document.name}: refused: {name} would unpack to {size:,} bytes, "
                f"{size // max(packed, 1):,} times what it takes in the archive"
            )
