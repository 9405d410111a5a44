"""The versions of a bot: whole and never changed, each named by the digest of what it is made of.

    BOT/                        what training wrote: the first version
    BOT/versions/<id>/          the files of one version, and version.json: where it came from
    BOT/versions/current.json   names the version that the bot is

A version is made in a temporary folder, and renamed when all of it is on disk; the bot becomes it
when `current.json` is replaced. A crash before that leaves the bot as it was.
"""

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from elman.data.files import umask, write_file
from elman.data.locks import only_one
from elman.data.untrusted import parse_json, read_text
from elman.errors import ElmanError
from elman.model.folder import (
    COMMON,
    CONFIG,
    CURRENT,
    INT8_WEIGHTS,
    MANNERS,
    MATCH,
    MAX_JSON_BYTES,
    REPLAY,
    REPLIES,
    SMALL_TALK,
    TOKENIZER,
    VERSION_ID,
    VERSIONS,
    WEIGHTS,
    WRITTEN,
    current_id,
    no_weights,
)

FACTS = "version.json"

DIGESTED_FILES = (CONFIG, TOKENIZER, WEIGHTS, SMALL_TALK)
"""What a version is."""

MADE_FILES = (INT8_WEIGHTS, REPLIES, REPLAY, MATCH, MANNERS, COMMON, WRITTEN)
"""What is kept beside: made of that and of conversations."""

LINKED_FILES = (WEIGHTS, *MADE_FILES)
"""Large files, which are replaced and never changed: versions share them where they can."""

ID_CHARS = 16
MIN_PREFIX_CHARS = 4
"""Of an id, by which a version can be named where only one begins so."""

DRAFT = ".new-"
"""What the name of a folder begins with in which a version is being made."""


@dataclass(frozen=True)
class Version:
    """One state of a bot that is kept.

    Args:
        id: the beginning of its digest.
        folder: of its files, which can be loaded as a bot.
        parent: the version that it came from; None: training made it.
        made: when, as ISO 8601.
        by: "train", or what made it of its parent, such as "learn".
        report: what was measured when it was made.
    """

    id: str
    folder: Path
    parent: str | None
    made: str
    by: str
    report: Mapping[str, Any]


def digest_of(folder: Path) -> str:
    """Return the id of what lies in a folder: a digest of the files that make its replies."""
    whole = hashlib.sha256()
    for name in DIGESTED_FILES:
        path = folder / name
        if not path.exists():
            continue
        with path.open("rb") as file:
            whole.update(f"{name} {hashlib.file_digest(file, 'sha256').hexdigest()}\n".encode())
    return whole.hexdigest()[:ID_CHARS]


def versions(home: Path) -> list[Version]:
    """Return the versions of a bot that are kept, the oldest first.

    Raises:
        ElmanError: where the facts about one are damaged.
    """
    folders = [path for path in (home / VERSIONS).glob("*") if VERSION_ID.fullmatch(path.name)]
    return sorted(map(_read, folders), key=lambda version: (version.made, version.id))


def current(home: Path) -> Version | None:
    """Return the version that a bot is; None where it is what training wrote, of which no version
    is kept yet.

    Raises:
        ElmanError: where that version is gone or damaged.
    """
    version = current_id(home)
    return None if version is None else _read(home / VERSIONS / version)


def find(home: Path, name: str) -> Version:
    """Return a version by its id, or by the beginning of it.

    Raises:
        ElmanError: where none, or more than one, begins so.
    """
    every = versions(home)
    found = [each for each in every if each.id.startswith(name)]
    if len(found) == 1 and len(name) >= MIN_PREFIX_CHARS:
        return found[0]
    listed = ", ".join(each.id for each in every) or "none yet"
    why = "is the beginning of several" if len(found) > 1 else "there is no such version"
    if found and len(name) < MIN_PREFIX_CHARS:
        why = f"name at least {MIN_PREFIX_CHARS} characters of it"
    raise ElmanError(f"{home}: version {name}: {why}; there are: {listed}")


def keep_first(home: Path) -> Version:
    """Return the version that a bot is; what training wrote is kept as one first.

    For whoever holds the folder (`only_one`).

    Raises:
        ElmanError: where there is no bot, or it cannot be written.
    """
    if (version := current(home)) is not None:
        return version
    if not (home / WEIGHTS).exists():
        raise ElmanError(no_weights(home))
    with draft(home) as folder:
        _fill(folder, home)
        written = datetime.fromtimestamp((home / WEIGHTS).stat().st_mtime, UTC)
        kept = keep(home, folder, by="train", parent=None, made=written)
    make_current(home, kept)
    return kept


@contextmanager
def draft(home: Path, of: Version | None = None) -> Iterator[Path]:
    """Make a folder for the files of a new version; it is gone in the end, unless `keep` took it.

    What a crash left of earlier ones goes first. For whoever holds the bot's folder.

    Args:
        home: the bot's folder.
        of: a version whose files it begins with.

    Raises:
        ElmanError: where it cannot be written, such as on a full disk.
    """
    try:
        (home / VERSIONS).mkdir(exist_ok=True)
        for left in (home / VERSIONS).glob(".*"):
            shutil.rmtree(left) if left.is_dir() else left.unlink()
        folder = Path(tempfile.mkdtemp(prefix=DRAFT, dir=home / VERSIONS))
        try:
            if of is not None:
                _fill(folder, of.folder)
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    except OSError as error:
        raise ElmanError(
            f"{home}: no version can be written: {error.strerror or error}; the bot is as it was"
        ) from None


def keep(
    home: Path,
    folder: Path,
    *,
    by: str,
    parent: Version | None,
    report: Mapping[str, Any] | None = None,
    made: datetime | None = None,
) -> Version:
    """Keep a draft as a version, which is never changed from now on. The bot is not it yet.

    Where the same version is kept already, that one is returned.

    Args:
        home: the bot's folder.
        folder: as `draft` made it, with all files of the version.
        by, parent, report: as `Version` has them.
        made: None: now.
    """
    version, made = digest_of(folder), made or datetime.now(UTC)
    final = home / VERSIONS / version
    if final.exists():
        return _read(final)
    facts = {
        "version": version,
        "parent": None if parent is None else parent.id,
        "made": made.isoformat(timespec="microseconds"),
        "by": by,
        "report": dict(report or {}),
    }
    write_file(folder / FACTS, json.dumps(facts, indent=2) + "\n")
    for path in folder.iterdir():
        _sync(path)
    _sync(folder)
    folder.chmod(0o777 & ~umask())
    folder.rename(final)
    _sync(final.parent)
    return _read(final)


def make_current(home: Path, version: Version) -> None:
    """Make a bot be one of its versions, at once."""
    write_file(home / VERSIONS / CURRENT, json.dumps({"version": version.id}) + "\n")
    _sync(home / VERSIONS)


def rollback(home: Path, name: str | None, warn: Callable[[str], None]) -> Version:
    """Make a bot an earlier version of itself again, bit by bit.

    Args:
        home: its folder.
        name: of the version, as `find` takes it; None: the one that the current version came from.
        warn: as `only_one` takes it.

    Raises:
        ElmanError: where there is none, it was changed, or something is being learned just now.
    """
    with only_one(home, warn):
        if name is None:
            now = current(home)
            if now is None or now.parent is None:
                raise ElmanError(f"{home}: is its first version; there is none before it")
            name = now.parent
        version = find(home, name)
        if digest_of(version.folder) != version.id:
            raise ElmanError(f"{version.folder}: was changed or damaged; the bot is as it was")
        make_current(home, version)
        return version


def forget_current(home: Path) -> None:
    """Make a bot what training writes into its folder; its versions stay kept."""
    (home / VERSIONS / CURRENT).unlink(missing_ok=True)


def remove(home: Path, version: Version) -> None:
    """Delete a version that the bot is not. For whoever holds the folder.

    What training wrote goes too, where it is that version.

    Raises:
        ElmanError: where the bot is that version.
    """
    if current_id(home) in (None, version.id):
        raise ElmanError(f"{home}: is version {version.id} now; take another one first")
    if (home / WEIGHTS).exists() and digest_of(home) == version.id:
        for name in (*DIGESTED_FILES, *MADE_FILES):
            (home / name).unlink(missing_ok=True)
    shutil.rmtree(version.folder)


def _read(folder: Path) -> Version:
    path = folder / FACTS
    if not path.is_file():
        raise ElmanError(f"{folder}: its version is gone, or half of it; delete that folder")
    facts = parse_json(read_text(path, MAX_JSON_BYTES), path)
    try:
        parent, report = facts["parent"], facts["report"]
        sound = isinstance(parent, str | None) and isinstance(report, dict)
        made, by = str(facts["made"]), str(facts["by"])
        if not sound or facts["version"] != folder.name:
            raise ValueError
    except (KeyError, TypeError, ValueError):
        raise ElmanError(f"{path}: not the facts of a version") from None
    return Version(folder.name, folder, parent, made, by, report)


def _fill(folder: Path, source: Path) -> None:
    """Put the files of a version into another folder."""
    for name in (*DIGESTED_FILES, *MADE_FILES):
        path = (source / name).resolve()
        if not path.exists():
            continue
        if name in LINKED_FILES:
            try:
                (folder / name).hardlink_to(path)
                continue
            except OSError:  # a file system without links: a copy is as good
                (folder / name).unlink(missing_ok=True)
        shutil.copyfile(path, folder / name)


def _sync(path: Path) -> None:
    """Have a file or a folder on disk. Windows cannot open folders, and renames safely without."""
    if os.name == "nt":
        return
    opened = os.open(path, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
