"""How the processes that torchrun started meet, and how it goes on with what it had begun."""

import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import torch.distributed as dist

from elman.data.files import write_file
from elman.errors import ElmanError
from elman.train.distributed import ALONE, World, reason

if TYPE_CHECKING:
    from torch.distributed.distributed_c10d import Store

JOIN_SECONDS = 300.0
"""Seconds in which all processes must have come."""

COLLECTIVE_MINUTES = 60
"""Minutes for which a process waits for the others, such as for process 0's validation. One that
ends is noticed at once."""

COMPARED_PACKAGES = ("elman", "torch", "numpy")
"""Packages whose versions must be equal in all processes."""

LAUNCH = ".training.launch"
"""Lies in the folder while a run goes on that torchrun started, and names that start of it."""


@contextmanager
def joined() -> Iterator[World]:
    """Meet the other processes that torchrun started, or whoever sets the same variables.

    Those are RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT. Without them, or with a size of 1,
    nothing is done.

    Raises:
        ElmanError: where one does not come, cannot be reached, or has other versions.
    """
    size = _number("WORLD_SIZE", 1)
    if size == 1:
        yield ALONE
        return
    world = World(_number("RANK", -1), size)
    if not 0 <= world.rank < size or not dist.is_available():
        raise ElmanError(f"WORLD_SIZE is {size}, and RANK {world.rank}: start elman by torchrun")
    from torch.distributed.distributed_c10d import PrefixStore
    from torch.distributed.rendezvous import rendezvous

    timeout = timedelta(minutes=COLLECTIVE_MINUTES)
    try:
        everyones = next(rendezvous("env://", timeout=timedelta(seconds=JOIN_SECONDS)))[0]
        # The store may outlive processes that were killed: theirs are addresses of nobody.
        start = f"elman/{restarts()}"
        times = everyones.add(f"{start}/{world.rank}", 1)
        store = PrefixStore(f"{start}/{times}", everyones)
        _meet(world, store)
        # Elman's tensors lie in main memory, also on a machine with GPUs: gloo, and not NCCL.
        dist.init_process_group(
            "gloo", store=store, rank=world.rank, world_size=size, timeout=timeout
        )
    except (RuntimeError, ValueError) as error:
        where = f"{os.environ.get('MASTER_ADDR')}:{os.environ.get('MASTER_PORT')}"
        raise ElmanError(
            f"process {world.rank} of {size} could not meet the others at {where}: see that all "
            "were started, that each reaches it, and that no other program has the port "
            f"(torchrun --master-port names another): {reason(error)}"
        ) from None
    try:
        world.agree("versions", {name: version(name) for name in COMPARED_PACKAGES})
        yield world
    finally:
        dist.destroy_process_group()


def _meet(world: World, store: "Store") -> None:
    """Wait until all have come: in Python, so that signals of torchrun end it."""
    store.set(str(world.rank), "here")
    until = time.monotonic() + JOIN_SECONDS
    while missing := [rank for rank in range(world.size) if not store.check([str(rank)])]:
        if time.monotonic() > until:
            names = ", ".join(map(str, missing))
            raise RuntimeError(f"after {JOIN_SECONDS:.0f} seconds missing are processes {names}")
        time.sleep(0.02)


def leads_here() -> bool:
    """Tell whether this process will be process 0, before it has met the others."""
    return _number("WORLD_SIZE", 1) == 1 or _number("RANK", 0) == 0


def restarts() -> int:
    """Count how often torchrun has started all processes again."""
    return _number("TORCHELASTIC_RESTART_COUNT", 0)


def goes_on(folder: Path) -> bool:
    """Tell whether torchrun starts again what it had begun in a folder."""
    mark = folder / LAUNCH
    return restarts() > 0 and mark.is_file() and mark.read_text("utf-8") == _launch()


@contextmanager
def marked(folder: Path) -> Iterator[None]:
    """Mark a folder, until its run ends well, as one that torchrun may go on with."""
    if not _launch():
        yield
        return
    write_file(folder / LAUNCH, _launch().encode(), follow_link=False)
    yield
    (folder / LAUNCH).unlink(missing_ok=True)


def _launch() -> str:
    """Name one start of torchrun, the same in all its restarts; "" without torchrun."""
    name = os.environ.get("TORCHELASTIC_RUN_ID", "")
    # Without --rdzv-id, all are called "none".
    return f"process {os.getppid()} on {socket.gethostname()}" if name == "none" else name


def _number(variable: str, default: int) -> int:
    value = os.environ.get(variable, "")
    if not value:
        return default
    try:
        return int(value)
    except ValueError:
        raise ElmanError(f"the variable {variable} is {value!r}, and should be a number") from None
