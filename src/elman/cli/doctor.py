"""elman doctor"""

import json
import os
import platform
import shutil
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, requires, version
from importlib.util import find_spec
from pathlib import Path
from time import perf_counter
from typing import Literal

import typer

from elman import __version__
from elman.cli.options import DatabaseOption, JsonOption, database_of, open_store
from elman.cli.text import console, plain
from elman.errors import ElmanError

Soundness = Literal["fine", "note", "broken"]
SIGNS = {"fine": "[green]✓[/]", "note": "[yellow]![/]", "broken": "[red]✗[/]"}

TRAINING_BYTES = 2 << 30
"""Memory that a training of the default size may take."""

FREE_DISK_BYTES = 1 << 30


@dataclass(frozen=True)
class Finding:
    """What was found of one part of the installation.

    Args:
        part: which.
        health: "fine", "note" (something is missing or slow) or "broken".
        found: in words.
        remedy: what to do; empty where nothing is to be done.
    """

    part: str
    health: Soundness
    found: str
    remedy: str = ""


def doctor(database: DatabaseOption = None, as_json: JsonOption = False) -> None:
    """Tell what of Elman works here, what is slow, and what to do about it.

    The exit code is 1 where something is broken.

    Example: `elman doctor`
    """
    found = list(_examined(database))
    if as_json:
        print(json.dumps([asdict(each) for each in found], indent=2))
    else:
        _show(found)
    if any(each.health == "broken" for each in found):
        raise typer.Exit(1)


def _show(found: list[Finding]) -> None:
    from rich.markup import escape
    from rich.table import Table

    table = Table.grid(padding=(0, 2))
    for each in found:
        remedy = f"\n[dim]{escape(plain(each.remedy))}[/]" if each.remedy else ""
        table.add_row(SIGNS[each.health], each.part, escape(plain(each.found)) + remedy)
    console().print(table)


def _examined(database: str | None) -> Iterator[Finding]:
    """Examine each part in turn; a part that cannot be examined is broken."""
    parts: dict[str, Callable[[], Finding]] = {
        "elman": _elman,
        "compiled library": _library,
        "base bot": _base,
        "processors": _processors,
        "memory": _memory,
        "disk": _disk,
        "conversations": lambda: _conversations(database),
        "torch": _torch,
        "serve": lambda: _extra("serve", "a page and an API for bots"),
        "parquet": lambda: _extra("parquet", "reading Parquet files"),
        "evaluate": lambda: _extra("evaluate", "BLEU in `elman eval`"),
        "chromium": _chromium,
    }
    for part, examine in parts.items():
        try:
            yield examine()
        except (ElmanError, OSError, ImportError) as error:
            yield Finding(part, "broken", f"{error}")


def _elman() -> Finding:
    python = f"Python {platform.python_version()} on {platform.system()} {platform.machine()}"
    return Finding("elman", "fine", f"{__version__}, {python}, in {Path(__file__).parents[1]}")


def _library() -> Finding:
    from elman.native.library import load

    library, why = load()
    if library is not None:
        return Finding("compiled library", "fine", why)
    return Finding(
        "compiled library",
        "note",
        f"not used: {why}. numpy and Python do its work, several times slower",
        "With a C++ compiler here: pip install --force-reinstall --no-deps elman",
    )


def _base() -> Finding:
    begin = perf_counter()
    from elman.runtime.choose import load_bot

    bot = load_bot("base")
    return Finding("base bot", "fine", f"loaded in {perf_counter() - begin:.1f} s ({bot.why})")


def usable_processors() -> float:
    """Count the processors that this process may use, by its affinity and its control group."""
    affinity = getattr(os, "sched_getaffinity", None)
    count = len(affinity(0)) if affinity else os.cpu_count() or 1
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text("ascii").split()
        return count if quota == "max" else min(count, int(quota) / int(period))
    except (OSError, ValueError):  # no Linux, or an older one: the affinity is all that is known
        return count


def _processors() -> Finding:
    usable, there = usable_processors(), os.cpu_count() or 1
    threads = os.environ.get("OMP_NUM_THREADS")
    found = f"{usable:g} of {there} can be used"
    if threads is not None:
        found += f", OMP_NUM_THREADS={threads}"
    if usable < there and threads is None:
        remedy = (
            f"More threads than processors wait for each other: OMP_NUM_THREADS={int(usable) or 1}"
        )
        return Finding("processors", "note", found, remedy)
    return Finding("processors", "fine", found)


def free_bytes() -> int | None:
    """Return the memory that is free, by the system and this control group; None: not known."""
    found = []
    try:
        lines = Path("/proc/meminfo").read_text("ascii").splitlines()
        kilobytes = {line.split(":")[0]: line.split()[1] for line in lines}
        found.append(1024 * int(kilobytes["MemAvailable"]))
        group = Path("/sys/fs/cgroup")
        most = (group / "memory.max").read_text("ascii").strip()
        if most != "max":
            used = (group / "memory.current").read_text("ascii")
            found.append(int(most) - int(used))
    except (OSError, ValueError, KeyError):
        pass  # what was found before the file that is not there still counts
    return min(found) if found else None


def _memory() -> Finding:
    free = free_bytes()
    if free is None:
        return Finding("memory", "fine", "this system does not say how much is free")
    found = f"{free / 2**30:.1f} GB are free"
    if free < TRAINING_BYTES:
        return Finding("memory", "note", f"{found}: enough to talk, little to train with")
    return Finding("memory", "fine", found)


def _disk() -> Finding:
    free = shutil.disk_usage(Path.cwd()).free
    found = f"{free / 2**30:.1f} GB are free in {Path.cwd()}"
    if free < FREE_DISK_BYTES:
        return Finding("disk", "note", found, "A bot with its checkpoints takes up to 0.5 GB")
    return Finding("disk", "fine", found)


def _conversations(database: str | None) -> Finding:
    from elman.chat.memory import LOCAL

    place = database_of(database)
    if isinstance(place, Path) and not place.exists():
        return Finding("conversations", "fine", f"none yet; they will be kept in {place}")
    with open_store(database) as store, store.reading() as connection:
        kept, where = len(store.sessions(connection, LOCAL)), store.database.where
    return Finding("conversations", "fine", f"{kept} kept in {where}")


def _torch() -> Finding:
    if find_spec("torch") is None:
        return Finding(
            "torch",
            "note",
            "not installed. Talking and serving work; training, eval, lens and check need it",
            "pip install torch --index-url https://download.pytorch.org/whl/cpu, then "
            "pip install 'elman[train]'",
        )
    from elman.bptt.kernels.native import load

    library, why = load()
    if library is None:
        why = f"its layers are not accelerated: {why}"
        return Finding("torch", "note", f"{version('torch')}; {why}")
    return Finding("torch", "fine", f"{version('torch')}, with compiled loops ({why})")


def _extra(name: str, purpose: str) -> Finding:
    wanted = [
        line.split(";")[0].strip()
        for line in requires("elman") or []
        if f'extra == "{name}"' in line or f"extra == '{name}'" in line
    ]
    missing = [each for each in wanted if not _installed(each)]
    if missing:
        found = f"not installed ({', '.join(missing)}): {purpose}"
        return Finding(name, "note", found, f"pip install 'elman[{name}]'")
    return Finding(name, "fine", f"installed: {purpose}")


def _installed(requirement: str) -> bool:
    name = "".join(c if c.isalnum() or c in "-_." else " " for c in requirement).split()[0]
    try:
        version(name)
    except PackageNotFoundError:
        return False
    return True


def _chromium() -> Finding:
    path = shutil.which("chromium")
    if path is None:
        return Finding("chromium", "fine", "not installed; only tests of the pages need it")
    return Finding("chromium", "fine", f"{path}, for tests of the pages")
