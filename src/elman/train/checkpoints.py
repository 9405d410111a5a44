"""A run's checkpoints: written whole, with a checksum each; the last few and the best are kept."""

import re
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from elman.data.files import remove_unfinished
from elman.data.untrusted import validated
from elman.errors import ElmanError
from elman.model.array_files import ArrayHeader, opened
from elman.model.checkpoint import check_weights
from elman.model.tensor_files import check_finite, read_tensors, write_tensors
from elman.train.config import Config
from elman.train.resuming import RESUME, CheckpointFacts, with_new_facts

CHECKPOINTS = "checkpoints"
"""The folder in a bot's folder where they lie."""

NAME = re.compile(r"step-(\d{8,15})\.safetensors")

WEIGHTS_PREFIX = "model."
"""What the names of weights begin with in a checkpoint."""

Checkpoint = tuple[dict[str, Tensor], dict[str, Any]]
"""Tensors and facts, all that the next step depends on."""


def checkpoint_path(folder: Path, step: int) -> Path:
    """Return where the checkpoint after a step lies."""
    return folder / CHECKPOINTS / f"step-{step:08d}.safetensors"


def checkpoints(folder: Path) -> list[Path]:
    """Return the checkpoints of a run, the newest first."""
    found = [p for p in (folder / CHECKPOINTS).glob("*") if NAME.fullmatch(p.name)]
    earlier = folder / RESUME  # what the last release wrote
    return sorted(found, key=_step, reverse=True) + [earlier] * earlier.exists()


def last_checkpoint(folder: Path) -> Path | None:
    """Return the newest checkpoint of a run, if there is one."""
    return next(iter(checkpoints(folder)), None)


def corpus_of_run(folder: Path) -> str | None:
    """Return the digest of what a run learns from; None: it has no checkpoint.

    Raises:
        ElmanError: where the newest one is damaged.
    """
    path = last_checkpoint(folder)
    if path is None:
        return None
    with opened(path, "np") as (_, facts):
        return facts.get("corpus")


def remove_checkpoints(folder: Path) -> None:
    """Delete all checkpoints of a run, and the folder in which they lie."""
    (folder / RESUME).unlink(missing_ok=True)
    if _is_link(folder):
        (folder / CHECKPOINTS).unlink()
    elif (folder / CHECKPOINTS).exists():
        shutil.rmtree(folder / CHECKPOINTS)


def write_checkpoint(
    folder: Path,
    tensors: Mapping[str, Tensor],
    facts: Mapping[str, Any],
    *,
    keep: int,
    best: int | None,
) -> None:
    """Write a checkpoint, and remove older ones when it is whole.

    Args:
        folder: the run directory.
        tensors, facts: what it holds.
        keep: how many of the last ones stay.
        best: the step whose weights were best; its checkpoint stays, too.

    Raises:
        ElmanError: where it cannot be written; all that were there still are.
    """
    step = facts["trainer"]["steps"]
    path = checkpoint_path(folder, step)
    if _is_link(folder):
        raise ElmanError(f"{path.parent}: is a link; checkpoints are written into a folder only")
    try:
        path.parent.mkdir(exist_ok=True)
        write_tensors(path, tensors, facts)
    except (ElmanError, OSError) as error:
        why = error if isinstance(error, ElmanError) else f"{path}: {error.strerror}"
        last = last_checkpoint(folder)
        if last is None:
            raise ElmanError(f"{why}; nothing is kept of this run") from None
        raise ElmanError(
            f"{why}; the last checkpoint is {last.name}, and elman train --resume {folder} goes on "
            "from it"
        ) from None
    remove_others(folder, step, keep=keep, best=best)


def remove_others(folder: Path, step: int, *, keep: int, best: int | None) -> None:
    """Remove checkpoints that are kept no more, once that of a step is whole.

    A later one is of a future that did not come: it was damaged when the run went on.

    Args:
        folder: the run directory.
        step: of the newest one.
        keep, best: as for `write_checkpoint`.
    """
    newest = checkpoint_path(folder, step)
    earlier = [path for path in checkpoints(folder) if _step(path) < step]
    kept = {newest, *earlier[: keep - 1]}
    if best is not None:
        kept.add(checkpoint_path(folder, best))
    for path in checkpoints(folder):
        if newest.exists() and path not in kept:
            path.unlink(missing_ok=True)
    remove_unfinished(newest.parent)


def read_last_checkpoint(
    folder: Path, config: Config, vocabulary_size: int, note: Callable[[str], None]
) -> Checkpoint:
    """Read the newest checkpoint that is whole.

    Args:
        folder: the run directory.
        config, vocabulary_size: what its weights are held to.
        note: told of each newer one that is not whole, and why.

    Raises:
        ElmanError: where there is none.
    """
    found = checkpoints(folder)
    if not found:
        raise ElmanError(
            f"{folder / CHECKPOINTS}: no checkpoint of this run is there; if they were deleted, it "
            f"cannot go on, but a new run can start from its weights: --base {folder}"
        )
    for number, path in enumerate(found, 1):
        try:
            return read_checkpoint(path, config, vocabulary_size)
        except ElmanError as error:
            if number == len(found):
                also = f"; nor is one of {number - 1} newer ones whole" if number > 1 else ""
                raise ElmanError(f"{error}{also}") from None
            note(f"{error}; going on from the one before, {found[number].name}")
    raise AssertionError


def read_checkpoint(path: Path, config: Config, vocabulary_size: int) -> Checkpoint:
    """Read a checkpoint; its weights are checked before anything is allocated.

    Raises:
        ElmanError: where it is missing, damaged, or of another network than the configuration's.
    """

    def check(header: ArrayHeader, facts: dict[str, Any]) -> None:
        with_new_facts(facts)
        validated(CheckpointFacts, facts, path)
        known = ("model", "optimizer", "state", "rng")
        if strange := [name for name in header if name.partition(".")[0] not in known]:
            raise ElmanError(f"{path}: {strange[0]!r} is nothing that a run goes on from")
        check_weights(path, weights_in(header), config.model, vocabulary_size)

    tensors, facts = read_tensors(path, check)
    check_finite(path, tensors)
    # The file may be removed while these are used, and products ask for aligned memory.
    return {name: tensor.clone() for name, tensor in tensors.items()}, facts


def weights_in(tensors: Mapping[str, Any]) -> dict[str, Any]:
    """Return the weights of a checkpoint by their names in the network."""
    return {
        name.removeprefix(WEIGHTS_PREFIX): each
        for name, each in tensors.items()
        if name.startswith(WEIGHTS_PREFIX)
    }


def _is_link(folder: Path) -> bool:
    """Tell whether the folder of checkpoints could be anybody's."""
    return (folder / CHECKPOINTS).is_symlink()


def _step(path: Path) -> int:
    found = NAME.fullmatch(path.name)
    return -1 if found is None else int(found[1])
