"""What `elman train` and `elman demo` share: a run with its progress and its Ctrl-C."""

import signal
from collections.abc import Callable, Collection, Mapping
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any, Self

import elman.train
from elman.cli.progress import say, shown
from elman.data.untrusted import parse_json, validated
from elman.errors import ElmanError
from elman.lens.watcher import GradientWatcher
from elman.model.config import ModelConfig
from elman.model.folder import CONFIG, require_trust
from elman.train import Config, Result
from elman.train.config import AUTO, BUDGETS, assigned, layered
from elman.train.joining import goes_on, leads_here
from elman.train.runlog import Observer


def asked_settings(
    toml: Path | None, flags: Mapping[str, Any], assignments: list[str], trust: Collection[str] = ()
) -> dict[str, Any]:
    """Read what is asked of a new run.

    A cell from outside Elman that is named on the command line is trusted by that; one that a
    file of settings names must be in `trust`.

    Raises:
        ElmanError: where it is not, or for a setting that cannot be understood.
    """
    values = layered(toml, flags, assignments, say)
    if toml is not None:
        model = validated(ModelConfig, values.get("model", {}), toml, "model")
        require_trust(model, {*trust, *map(str, assigned(flags, assignments).values())}, toml)
    return values


def begin(
    values: Mapping[str, Any],
    out: Path,
    *,
    overwrite: bool,
    as_json: bool,
    started: float,
    observers: tuple[Observer, ...] = (),
    trust: Collection[str] = (),
) -> Result:
    """Train a new bot into a folder.

    Raises:
        ElmanError: where the folder holds something already, or for anything that `train` refuses.
    """
    config = Config.make(values)
    if config.train.base not in (None, AUTO) and Path(config.train.base).resolve() == out.resolve():
        raise ElmanError(f"{out}: cannot start from itself; name another --out")
    if out.exists() and not out.is_dir():
        raise ElmanError(f"{out}: a file is there; name another --out")
    mine = overwrite or goes_on(out) or not leads_here()  # who follows writes nothing
    if (out / CONFIG).exists() and not mine:
        raise ElmanError(
            f"{out}: a bot is there already; go on with it (--resume {out}), replace it "
            "(--overwrite), or name another --out"
        )
    run = partial(elman.train.train, config, out, started=started, trust=trust)
    return _shown_run(run, out, as_json, observers)


def resume(
    out: Path,
    flags: Mapping[str, Any],
    assignments: list[str],
    as_json: bool,
    started: float,
    trust: Collection[str] = (),
) -> Result:
    """Go on with a run; only its budget can be changed, and where its data lies."""
    given = assigned(flags, assignments, say)
    data_path = given.pop("data.path", None)
    budget = {name: given.pop(f"train.{name}") for name in BUDGETS if f"train.{name}" in given}
    if given:
        raise ElmanError(
            f"--resume goes on with the settings of {out}; only its budget and the place of its "
            f"conversations can change, not {', '.join(given)}"
        )
    moved = partial(elman.train.resume, out, budget=budget, data_path=data_path)
    return _shown_run(partial(moved, started=started, trust=trust), out, as_json)


def _shown_run(
    run: Callable[..., Result], out: Path, as_json: bool, observers: tuple[Observer, ...] = ()
) -> Result:
    """Show a run, and stop it on Ctrl-C; say how to go on with one that was stopped.

    A process that follows another shows nothing, and ends when that one does.
    """
    if not leads_here():
        return run(observers=(_leave_signals,))
    with shown(as_json) as progress, _Interrupt() as interrupt:
        result = run(
            observers=(progress, interrupt.watch, *observers),
            watcher=GradientWatcher,
            stop=lambda: interrupt.asked,
        )
    if result.reason == "interrupted" and not as_json:
        say(f"saved; go on with: elman train --resume {out}{trusting(out)}")
    return result


def _leave_signals(kind: str, facts: dict[str, Any]) -> None:
    """Leave Ctrl-C to the process that leads, which saves the rows of all."""
    for number in _SIGNALS:
        signal.signal(number, signal.SIG_IGN)


def trusting(out: Path) -> str:
    """Return what must be added to a command that loads the bot that was trained just now."""
    model = ModelConfig.model_validate(parse_json((out / CONFIG).read_text("utf-8"), out)["model"])
    return "".join(f" --trust {name}" for name in model.outside_cells)


class _Interrupt:
    """Catch Ctrl-C: once saves and ends the run, twice ends it at once with its last checkpoint.

    Before the first step there is nothing to save, and all ends at once.
    """

    def __init__(self) -> None:
        self.asked = False
        self._training = False

    def __enter__(self) -> Self:
        self._before = {number: signal.signal(number, self._handle) for number in _SIGNALS}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def watch(self, kind: str, facts: dict[str, Any]) -> None:
        if kind == "start":
            self._training = True

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.asked or not self._training:
            raise KeyboardInterrupt
        self.asked = True


_SIGNALS = (signal.SIGINT, signal.SIGTERM)
