"""Files and folders that are never half written."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from elman.errors import ElmanError

CONFIG, LOG, CANARIES = "config.json", "log.jsonl", "canaries.json"
"""Files of a bot's folder that are read without its network."""


@contextmanager
def replacing(
    path: Path, *, parents: bool = False, follow_link: bool = True
) -> Iterator[IO[bytes]]:
    """Open a file that takes the place of another at once, when all of it is on disk.

    Args:
        path: of the file.
        parents: make the folders that it lacks.
        follow_link: where a link is there, replace what it points to. In a folder that came from
            elsewhere it could point at any file, so there the link itself is replaced.

    Raises:
        ElmanError: where it cannot be written, such as on a full disk; the old file stays.
    """
    path = path.resolve() if follow_link else path.parent.resolve() / path.name
    temporary = None
    try:
        if parents:
            path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".elman-", delete=False) as file:
            temporary = Path(file.name)
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(0o666 & ~umask())
        temporary.replace(path)
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise ElmanError(
            f"{path}: cannot be written: {why}; what was there before is still there"
        ) from None
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def umask() -> int:
    """Return what new files of this process are not allowed to be; asking means setting it."""
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


def write_file(
    path: Path, content: bytes | str, *, parents: bool = False, follow_link: bool = True
) -> None:
    """Replace a file at once: after a crash it holds either the old content or the new.

    Raises:
        ElmanError: as `replacing` does.
    """
    with replacing(path, parents=parents, follow_link=follow_link) as file:
        file.write(content.encode() if isinstance(content, str) else content)


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Make a folder that is there at once, when all of its files are.

    Args:
        path: of the folder; nothing, or an empty folder, is there.

    Yields:
        A temporary folder, for its files.

    Raises:
        ElmanError: where something is there already, or it cannot be written.
    """
    if path.is_symlink() or (path.exists() and not (path.is_dir() and not any(path.iterdir()))):
        raise ElmanError(f"{path}: is there already; name a new folder")
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(dir=path.parent, prefix=".elman-"))
        yield temporary
        temporary.chmod(0o777 & ~umask())
        if path.exists():
            path.rmdir()
        temporary.rename(path)
    except OSError as error:
        raise ElmanError(f"{path}: cannot be written: {error.strerror or error}") from None
    finally:
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)
