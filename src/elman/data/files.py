"""Files that are never half written."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from elman.errors import ElmanError


@contextmanager
def replacing(path: Path) -> Iterator[IO[bytes]]:
    """A file to write that takes the place of another at once, when all of it is on disk.

    Raises:
        ElmanError: where it cannot be written, such as on a full disk; the old file stays.
    """
    temporary = None
    try:
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".elman-", delete=False) as file:
            temporary = Path(file.name)
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(0o644)
        temporary.replace(path)
    except OSError as error:
        raise ElmanError(
            f"{path}: cannot be written: {error.strerror}; what was there before is still there"
        ) from None
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def write_file(path: Path, content: bytes | str) -> None:
    """Replace a file at once: after a crash it holds either the old content or the new.

    Raises:
        ElmanError: as `replacing` does.
    """
    with replacing(path) as file:
        file.write(content.encode() if isinstance(content, str) else content)
