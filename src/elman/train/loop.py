"""The loop of a training run: cycles of the learning rate, steps, validations and checkpoints."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from elman.bptt import State
from elman.data.corpus import scored
from elman.data.layout import Batch
from elman.errors import ElmanError
from elman.generate.network import NetworkDecoder
from elman.generate.scoring import bits_per_byte
from elman.model.checkpoint import save_weights
from elman.model.embeddings import begin_with
from elman.model.folder import CONFIG, WEIGHTS
from elman.model.tensor_files import write_tensors
from elman.train.canaries import write_canaries
from elman.train.config import Config
from elman.train.distributed import ALONE, World
from elman.train.finishing import learn_to_reply, tokens_read
from elman.train.prepare import Data
from elman.train.resuming import RESUME as RESUME
from elman.train.resuming import changes, contents
from elman.train.runlog import LOG, RunLog, Tell, Watcher
from elman.train.samples import Samples
from elman.train.schedule import Budget, rate
from elman.train.trainer import Trainer

MIN_CYCLE_GAIN = 0.01
"""The share of its bits per byte that a cycle must gain for another one to follow."""

MAX_VALIDATING_SHARE = 0.05
"""The share of a budget in minutes that validations take at most: in short ones there are fewer."""

MAX_REPLYING_SHARE = 0.15
"""The share of a budget in minutes that is reserved at most for learning to reply at the end."""


@dataclass(frozen=True)
class Result:
    """How a run ended.

    Args:
        reason: "finished", "early stop" or "interrupted"; "followed" in a process that follows.
        steps: made in all.
        seconds: spent in all, everything included.
        bits_per_byte: of held-out conversations at the best checkpoint; None without any.
    """

    reason: str
    steps: int
    seconds: float
    bits_per_byte: float | None


class TrainingLoop:
    """Train, and remember what is needed to go on exactly.

    Args:
        config: with nothing left to choose.
        out: the run directory.
        data: what is learned and held out.
        tell: told of everything.
        began: when the clock of a budget in minutes began, as of `time.monotonic()`.
        world: the processes that learn together, of which this one leads.
    """

    def __init__(
        self,
        config: Config,
        out: Path,
        data: Data,
        tell: Tell,
        began: float,
        world: World = ALONE,
    ) -> None:
        self._config, self._out, self._data, self._tell = config, out, data, tell
        self._began = began
        self._budget = Budget(config.train)
        self._validated, self._worse = 0, 0  # validations of this cycle, and since the best one
        self._checked, self._cycle_began = 0.0, 0.0  # seconds
        self._keeping = 0.0  # seconds, for people's replies at the end
        self._best: float | None = None
        self._before: float | None = None  # the best before this cycle; None in the first
        self._contents = contents(data.train, data.dev)
        self._samples = Samples(data.dev or data.train, data.tokenizer, config.data.learn_from)
        self._world = world
        self.trainer = Trainer.of(config, data, world)

    def begin(self) -> None:
        """Start a new run from a base's weights, or from what counting tells of the tokens."""
        chatbot, base = self.trainer.chatbot, self._data.base
        if base is None:
            self._tell("stage", text="counting which tokens stand together")
            begin_with(chatbot, self._data.learned.ids, self._config.train.seed)
        else:
            chatbot.begin_from(base.chatbot)
        ids = self._data.learned.ids
        chatbot.count(ids, scored(ids, self._config.data.learn_from))
        if self._world.size > 1:
            self.trainer.load_state_dict(*self.trainer.state_dict())  # in all processes
        self._begin_cycle()  # the learning rate starts here, whatever is spent

    def watch(self, watcher: Watcher | None) -> None:
        """Let somebody look at every step."""
        if watcher is None:
            return
        data, settings = self._data, self._config.model_dump(mode="json")
        look = watcher(self.trainer.chatbot, data.tokenizer, data.dev or data.train, settings)

        def told(batch: Batch, state: State | None, norm: float) -> None:
            for kind, facts in look(batch, state, norm):
                self._tell(kind, step=self.trainer.steps + 1, **facts)

        self.trainer.look = told

    def loop(self, stop: Callable[[], bool]) -> Result:
        """Train until the budget is spent, nothing more is gained, or `stop` says so."""
        if not (self._out / WEIGHTS).exists():  # so that there is a bot to load from the first step
            self._save_weights()
        log = RunLog(self._out / LOG, self.trainer.steps)
        self._tell.observers.append(log)
        try:
            reason = self._cycles(stop)
            self.trainer.dismiss()
            if reason != "interrupted":
                learn_to_reply(self._config, self._out, self._data, self._tell)
            self._list_canaries()
            result = Result(reason, self.trainer.steps, self._seconds(), self._best)
            self._tell("end", **vars(result))
            return result
        finally:
            log.close()

    def _list_canaries(self) -> None:
        canaries, passes = self._data.canaries, self.trainer.batches.epochs
        if not canaries:
            return
        write_canaries(self._out, canaries, self._config.data.canary_seed, passes)
        if passes < 1:
            self._tell.note(
                f"only {passes:.0%} of the conversations were read, so some of the "
                f"{len(canaries):,} canaries were not: an audit will find less than there may be"
            )

    def _cycles(self, stop: Callable[[], bool]) -> str:
        """Train in cycles as long as they gain; return why the last one ended."""
        self._tell(
            "start",
            parameters=sum(p.numel() for p in self.trainer.chatbot.parameters()),
            tokens=len(self._data.train.ids),
            conversations=len(self._data.train),
            held_out=len(self._data.dev or ()),
            config=self._config.model_dump(mode="json"),
        )
        reason = self._cycle(stop)
        if reason == "finished" and not self.trainer.steps:
            seconds = round(self._seconds())
            self._tell.note(
                f"nothing is learned: reading alone took {seconds:,} seconds; give it more "
                "--minutes"
            )
        while reason == "finished":
            self._checkpoint(finished=True)
            if not self._again():
                break
            reason = self._cycle(stop)
        if reason == "interrupted" and self._best is None:
            self._save_weights()
        if reason != "finished":
            self._save(finished=reason == "early stop")
        return reason

    def _cycle(self, stop: Callable[[], bool]) -> str:
        """Train from a high learning rate to a low one; return why it ended."""
        while (spent := self._spent()) < 1:
            if stop():
                return "interrupted"
            self._step(spent)
            if self._is_due():
                self._checkpoint(finished=False)
                if self._impatient():
                    return "early stop"
        return "finished"

    def _impatient(self) -> bool:
        """Tell whether nothing has been gained for too long.

        A cycle of limited passes goes to its end: it is often in the last of them, at a low rate,
        that what is held out gains.
        """
        settings = self._config.train
        return settings.cycle_epochs is None and self._worse >= settings.patience

    def _is_due(self) -> bool:
        """Tell whether held-out conversations are to be scored now, within a cycle."""
        spent = self._spent()
        if spent >= 1 or self._parts_of(spent) <= self._validated:
            return False
        waited = self._seconds() - self._checked
        validating = self._budget.reserve - self._keeping
        return self._config.train.minutes is None or waited > validating / MAX_VALIDATING_SHARE

    def _parts_of(self, spent: float) -> int:
        """Count the validations that are due once that share of a cycle is spent."""
        return int(spent * self._config.train.validations)

    def _again(self) -> bool:
        """Begin another cycle where passes are limited and the last one still gained."""
        limited, best, before = self._config.train.cycle_epochs, self._best, self._before
        if limited is None or best is None or self._worse:
            return False
        if before is not None and best > (1 - MIN_CYCLE_GAIN) * before:
            return False
        if not self._budget.enough(**self._done()):
            return False
        self._begin_cycle(best)
        self._tell.note("what is held out still gained: another cycle begins")
        return True

    def _begin_cycle(self, before: float | None = None) -> None:
        self._budget.begin(**self._done())
        self._validated, self._before, self._cycle_began = 0, before, self._seconds()

    def restore(self, tensors: dict[str, torch.Tensor], facts: dict[str, Any]) -> None:
        """Go on from a checkpoint."""
        if differences := changes(facts, self._contents):
            raise ElmanError(
                f"{self._config.data.path}: not the conversations that {self._out} was trained "
                f"on: {differences}; name a copy of those (elman train PATH --resume {self._out}), "
                "or begin a new run"
            )
        try:
            self.trainer.load_state_dict(tensors, facts["trainer"])
        except (KeyError, IndexError, RuntimeError, TypeError, ValueError) as error:
            why = " ".join(str(error).split())
            raise ElmanError(f"{self._out / RESUME}: does not fit {CONFIG}: {why}") from None
        self._began -= facts["seconds"]
        self._best = facts["best"]
        self._validated, self._worse = facts["validated"], facts["worse"]
        share, epochs, self._before = facts.get("cycle", (0.0, 0.0, None))
        self._budget.begun = share, epochs
        self._cycle_began = facts.get("cycle_began", 0.0)

    def _step(self, spent: float) -> None:
        begin = time.monotonic()
        factor = rate(spent, self._config.train.warmup)
        metrics = self.trainer.step(factor)
        self._tell(
            "step",
            step=self.trainer.steps,
            spent=round(self._spent(), 5),
            loss=round(metrics.loss, 4),
            bits_per_byte=round(metrics.bits_per_byte, 4),
            grad_norm=round(metrics.grad_norm, 4),
            lr=self._config.train.lr * factor,
            tokens_per_second=round(metrics.steps / (time.monotonic() - begin)),
            seconds=round(self._seconds(), 2),
            left=round(self._left()),
            epochs=round(self.trainer.batches.epochs, 4),
        )

    def _left(self) -> float:
        """Estimate the seconds to the end of the cycle, if it goes on as so far."""
        spent = min(max(self._spent(), 1e-6), 1.0)
        return (self._seconds() - self._cycle_began) * (1 - spent) / spent

    def _checkpoint(self, *, finished: bool) -> None:
        """Score held-out conversations, keep the weights if they are the best so far, and save."""
        begin = self._seconds()
        self._validated = self._parts_of(self._spent())
        if self._data.dev is None:
            self._save_weights()
        else:
            found = bits_per_byte(
                NetworkDecoder(self.trainer.chatbot),
                self._data.dev,
                self._data.tokenizer,
                self._config.data.learn_from,
            )
            a_token = (self._seconds() - begin) / len(self._data.dev.ids)
            self._keeping = min(
                tokens_read(self._config, self._data) * a_token,
                MAX_REPLYING_SHARE * 60 * (self._config.train.minutes or 0),
            )
            best = self._best is None or found < self._best
            self._worse = 0 if best else self._worse + 1
            if best:
                self._best = found
                self._save_weights()
            self._tell(
                "validation",
                step=self.trainer.steps,
                bits_per_byte=round(found, 4),
                best=best,
                seconds=round(self._seconds(), 2),
            )
        if replies := self._samples(self.trainer.chatbot):
            self._tell("samples", step=self.trainer.steps, samples=replies)
        self._save(finished=finished)
        self._checked = self._seconds()
        self._budget.reserve = self._checked - begin + self._keeping

    def _save_weights(self) -> None:
        save_weights(self._out, self.trainer.chatbot, self._data.tokenizer)

    def _save(self, *, finished: bool) -> None:
        tensors, facts = self.trainer.state_dict()
        remembered = {
            "trainer": facts,
            "processes": self._world.size,
            "seconds": self._seconds(),
            "validated": self._validated,
            "best": self._best,
            "worse": self._worse,
            "cycle": (*self._budget.begun, self._before),
            "cycle_began": self._cycle_began,
            "corpus": self._data.train.digest,
            "contents": self._contents,
            "finished": finished,
        }
        write_tensors(self._out / RESUME, tensors, remembered)

    def _spent(self) -> float:
        return self._budget.spent(**self._done())

    def _done(self) -> dict[str, Any]:
        return {
            "seconds": self._seconds(),
            "epochs": self.trainer.batches.epochs,
            "steps": self.trainer.steps,
        }

    def _seconds(self) -> float:
        return time.monotonic() - self._began
