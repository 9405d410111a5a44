"""A training run from top to bottom: conversations in, a bot's folder out."""

import math
import time
from collections.abc import Callable, Collection, Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

from elman.data.files import CANARIES, remove_unfinished, write_file
from elman.data.locks import only_one
from elman.data.source import fingerprint
from elman.data.untrusted import validated
from elman.errors import ElmanError
from elman.model.blocks import cell_class
from elman.model.folder import (
    COMMON,
    CONFIG,
    INT8_WEIGHTS,
    REPLAY,
    REPLIES,
    TOKENIZER,
    WEIGHTS,
    read_config,
    read_tokenizer,
)
from elman.model.versions import forget_current
from elman.train.checkpoints import read_last_checkpoint, remove_checkpoints
from elman.train.config import AUTO, BUDGETS, Config, write_config
from elman.train.determinism import determined, fixed
from elman.train.distributed import World
from elman.train.following import check_data, dealt_anew, follow, share
from elman.train.joining import goes_on, joined, marked
from elman.train.loop import Result, TrainingLoop
from elman.train.prepare import prepare, prepare_again
from elman.train.runlog import LOG, Observer, Tell, Watcher, has_ended

RUN_FILES = (CONFIG, LOG, WEIGHTS, INT8_WEIGHTS, REPLIES, REPLAY, COMMON, CANARIES)
"""What a run writes into a bot's folder beside its checkpoints and the tokenizer."""


def train(
    config: Config,
    out: Path,
    *,
    observers: tuple[Observer, ...] = (),
    watcher: Watcher | None = None,
    stop: Callable[[], bool] = lambda: False,
    started: float | None = None,
    trust: Collection[str] = (),
) -> Result:
    """Train a new bot into a folder; what a run before left there is replaced.

    Args:
        config: of the run.
        out: the run directory.
        observers: told of everything (see `runlog.Observer`).
        watcher: looks at every step before its update; what it sees is told, too.
        stop: asked after every step; True saves and ends the run.
        started: when the clock of a budget in minutes began, as of `time.monotonic()`.
        trust: cells from outside Elman that the base may name; those of `config` are its maker's.

    Of the processes that torchrun starts, process 0 does all this. The others need neither the
    folder nor `stop`, and their observers are told one thing, of the kind "follow".

    Raises:
        ElmanError: for anything wrong with the data, the configuration or the folder.
    """
    began = time.monotonic() if started is None else started
    tell = Tell(observers)
    for name in ("cell", "encoder_cell", "conversation_cell", "decoder_cell"):
        if cell := getattr(config.model, name):
            cell_class(cell)
    config = fixed(config)
    with ExitStack() as held:
        world = held.enter_context(joined())
        world.agree("settings", config.model_dump(mode="json", exclude={"data": {"path"}}))
        if not world.leads:
            trusted = {*trust, *config.model.outside_cells}
            return follow(world, config.data.path, observers, trusted)
        if goes_on(out) and (out / CONFIG).exists():
            return _resume(world, out, tell, watcher, stop, began, trust)
        held.enter_context(determined(config.train.deterministic))
        if out.is_dir():  # else it is made, and held, when there is something to learn
            held.enter_context(only_one(out, tell.note))
        data = prepare(_located(config), tell, trust, partial(share, world))
        check_data(world, data, tell)
        if not out.is_dir():
            _make(out)
            held.enter_context(only_one(out, tell.note))
        _clear(out)
        write_file(out / TOKENIZER, data.tokenizer.to_json(), follow_link=False)
        held.enter_context(marked(out))
        run = TrainingLoop(data.config, out, data, tell, began, world)
        run.begin()
        write_config(out, data.config)  # last: where it is, there is a run to go on with
        run.watch(watcher)
        return run.loop(stop)


def resume(
    out: Path,
    *,
    budget: Mapping[str, float] | None = None,
    data_path: str | None = None,
    observers: tuple[Observer, ...] = (),
    watcher: Watcher | None = None,
    stop: Callable[[], bool] = lambda: False,
    started: float | None = None,
    trust: Collection[str] = (),
) -> Result:
    """Go on with a run from its last checkpoint, exactly.

    Args:
        out: the run directory.
        budget: a new one, as {"minutes" or "epochs" or "steps": number}.
        data_path: where its conversations lie now; None: where they were.
        observers, watcher, stop, started: as for `train`.
        trust: cells from outside Elman that the run may name; who began it is not remembered.

    Raises:
        ElmanError: where nothing is left to do, the data changed, or a file is damaged.
    """
    began = time.monotonic() if started is None else started
    with joined() as world:
        world.agree("settings", {"budget": budget and dict(budget)})
        if not world.leads:
            return follow(world, data_path, observers, trust)
        tell = Tell(observers)
        return _resume(world, out, tell, watcher, stop, began, trust, budget, data_path)


def _resume(
    world: World,
    out: Path,
    tell: Tell,
    watcher: Watcher | None,
    stop: Callable[[], bool],
    began: float,
    trust: Collection[str],
    budget: Mapping[str, float] | None = None,
    data_path: str | None = None,
) -> Result:
    """Go on with a run, as the process that leads."""
    saved = read_config(out, trust)
    again = goes_on(out)  # its budget may be spent, and is no new one
    with ExitStack() as held:
        held.enter_context(only_one(out, tell.note))
        held.enter_context(marked(out))
        config = fixed(_config_again(out, saved, budget, data_path))
        tokenizer = read_tokenizer(out)
        _remove_unfinished(out)
        tensors, facts = read_last_checkpoint(out, config, tokenizer.vocabulary_size, tell.note)
        threads = facts.get("conditions", {}).get("threads")
        held.enter_context(determined(config.train.deterministic, threads))
        steps = facts["trainer"]["steps"]
        if again and not facts["ended"]:
            budget = None
        if facts["ended"] and not budget and has_ended(out / LOG, steps):
            raise ElmanError(
                f"{out}: this run is finished; to train it further, name a larger budget, for "
                f"example --set train.steps={2 * steps}"
            )
        if budget and (config.train.steps or math.inf) <= steps:
            raise ElmanError(
                f"{out}: {steps:,} steps are done already; name more of them with --set train.steps"
            )
        if again:
            tell.note(f"torchrun has started all processes again: step {steps:,} was the last")
        if facts.get("processes", 1) != world.size:
            tell.note(dealt_anew(facts, world, config))
        share(world, config, tokenizer)
        try:
            prepared = prepare_again(config, tokenizer, tell)
        except ElmanError as error:
            if data_path is None or not (data_path == "-" or fingerprint(data_path)):
                raise
            raise ElmanError(
                f"{data_path}: not the conversations that {out} was trained on: {error}"
            ) from None
        check_data(world, prepared, tell)
        run = TrainingLoop(config, out, prepared, tell, began, world)
        if budget:
            facts.pop("cycle", None)
            facts.pop("cycle_began", None)
            facts["ended"] = None
        run.restore((tensors, facts))
        if budget or data_path is not None:
            write_config(out, config)
        forget_current(out)
        run.watch(watcher)
        return run.loop(stop)


def _config_again(
    out: Path, saved: dict[str, Any], budget: Mapping[str, float] | None, data_path: str | None
) -> Config:
    """Check the configuration of a run that goes on, with its new budget and place of its data."""
    config = validated(Config, saved, out / CONFIG)
    if budget:
        config = config.changed(train={**dict.fromkeys((*BUDGETS, "cycle_epochs")), **budget})
    if data_path is not None:
        config = _located(config.changed(data={"path": data_path}))
    config = validated(Config, config.model_dump(exclude_unset=True, warnings=False), out / CONFIG)
    if data_path is None and fingerprint(config.data.path) is None:
        where = "standard input" if config.data.path == "-" else config.data.path
        raise ElmanError(
            f"{where}: is gone, and {out} was trained on it; if its conversations lie somewhere "
            f"else now, name that place too: elman train PATH --resume {out}"
        )
    if not any(getattr(config.train, name) for name in BUDGETS):
        raise ElmanError(
            f"{out / CONFIG}: does not say how long its run is; name --set train.steps"
        )
    chosen = {"lr", "unit", "unfold", "batch_size"}
    if chosen - config.train.model_fields_set or config.train.precision == AUTO:
        raise ElmanError(
            f"{out / CONFIG}: does not say which lr and which precision its run chose, so it "
            "cannot go on exactly; begin a new run"
        )
    return config


def _located(config: Config) -> Config:
    """Make the path of the conversations absolute, since a run is resumed from anywhere."""
    path = config.data.path
    if path == "-" or not Path(path).exists():
        return config
    return config.changed(data={"path": str(Path(path).resolve())})


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ElmanError(f"{folder}: cannot be written: {error.strerror}") from None


def _clear(out: Path) -> None:
    """Remove what an earlier run left: it would not fit. Its configuration goes first."""
    try:
        for name in RUN_FILES:
            (out / name).unlink(missing_ok=True)
        remove_checkpoints(out)
        forget_current(out)
    except OSError as error:
        raise ElmanError(f"{out}: cannot be written: {error.strerror}") from None
    _remove_unfinished(out)


def _remove_unfinished(out: Path) -> None:
    """Remove what a crash left of files that only training writes."""
    remove_unfinished(out, *RUN_FILES, TOKENIZER)
