"""What the processes of a run do that do not lead it: read the same data, and make the same steps.

They are given the configuration and the tokenizer, so that everything is chosen once. Each reads
the conversations where they lie on its own machine.
"""

from collections.abc import Collection, Mapping
from typing import Any

from elman.data.tokenizer import Tokenizer
from elman.errors import ElmanError
from elman.model.folder import require_trust
from elman.train.config import Config
from elman.train.determinism import determined
from elman.train.distributed import World
from elman.train.loop import Result
from elman.train.prepare import Data, prepare_again
from elman.train.resuming import contents
from elman.train.runlog import Observer, Tell
from elman.train.trainer import Trainer


def share(world: World, config: Config, tokenizer: Tokenizer) -> None:
    """Give the other processes what the one that leads has chosen.

    Raises:
        ElmanError: where they could not read the conversations.
    """
    if world.size == 1:
        return
    if config.data.path == "-":
        raise ElmanError("standard input reaches one process only: name a file of conversations")
    settings = config.model_dump(mode="json")
    world.broadcast_json({"config": settings, "tokenizer": tokenizer.to_json()})


def check_data(world: World, data: Data, tell: Tell) -> None:
    """Check that all processes have read the same conversations, and say who has nothing to do."""
    if world.size == 1:
        return
    world.agree("data", contents(data.train, data.dev))
    if (idle := world.size - data.config.train.batch_size) > 0:
        tell.note(
            f"{idle:,} of {world.size:,} processes have nothing to do: more of them need more "
            "conversations side by side (train.batch_size)"
        )


def dealt_anew(facts: Mapping[str, Any], world: World, config: Config) -> str:
    """Say what another number of processes than a checkpoint's changes."""
    now = "1 process goes" if world.size == 1 else f"{world.size:,} processes go"
    learn = "it learns" if world.size == 1 else "they share"
    dropout = ", and dropout is drawn anew" if config.model.dropout else ""
    return (
        f"{now} on where {facts.get('processes', 1):,} were: {learn} the same "
        f"{config.train.batch_size:,} rows of the batch, so no message is left out or learned "
        f"twice; sums are rounded in another order{dropout}"
    )


def follow(
    world: World, path: str | None, observers: tuple[Observer, ...], trust: Collection[str]
) -> Result:
    """Make each step that process 0 makes, with this process's rows, and write nothing.

    Args:
        world: of which this process does not lead.
        path: of the conversations here; None: as process 0 names it.
        observers: told one thing, of the kind "follow", before the first step.
        trust: cells from outside Elman that process 0 may name.
    """
    try:
        return _follow(world, path, observers, trust)
    except ElmanError as error:
        if str(error).startswith("process "):
            raise
        raise ElmanError(f"process {world.rank}: {error}") from None


def _follow(
    world: World, path: str | None, observers: tuple[Observer, ...], trust: Collection[str]
) -> Result:
    given = world.broadcast_json()
    config = Config.make(given["config"])
    require_trust(config.model, trust, "process 0")
    if path is not None:
        config = config.changed(data={"path": path})
    tell = Tell(())
    data = prepare_again(config, Tokenizer.from_json(given["tokenizer"]), tell)
    check_data(world, data, tell)
    with determined(config.train.deterministic):
        trainer = Trainer.of(config, data, world)
        Tell(observers)("follow", rank=world.rank, processes=world.size)
        trainer.follow()
    return Result("followed", trainer.steps, 0.0, None)
