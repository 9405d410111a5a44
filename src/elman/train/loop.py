"""The loop of a training run: cycles of the learning rate, steps, validations and checkpoints."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from elman.bptt import State
from elman.data.corpus import scored
from elman.data.layout import Batch
from elman.errors import ElmanError
from elman.model.embeddings import MAX_NEIGHBOUR_TOKENS, begin_with
from elman.model.folder import CONFIG
from elman.model.ngrams import MAX_NGRAM_TOKENS
from elman.train.canaries import write_canaries
from elman.train.checkpoints import CHECKPOINTS, Checkpoint, write_checkpoint
from elman.train.config import Config
from elman.train.distributed import ALONE, World
from elman.train.finishing import learn_to_reply
from elman.train.prepare import Data
from elman.train.resuming import changes, contents
from elman.train.runlog import LOG, RunLog, Tell, Watcher
from elman.train.schedule import Budget, rate
from elman.train.trainer import Trainer
from elman.train.validating import Validator

MIN_CYCLE_GAIN = 0.01
"""The share of its bits per byte that a cycle must gain for another one to follow."""

MAX_VALIDATING_SHARE = 0.05
"""The share of a budget in minutes that validations take at most: in short ones there are fewer."""


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
        self._validator = Validator(out, data, tell)
        self._validated = 0  # validations of this cycle
        self._checked, self._cycle_began = 0.0, 0.0  # seconds
        self._before: float | None = None  # the best before this cycle; None in the first
        self._contents = contents(data.train, data.dev)
        self._ended: str | None = None
        self._world = world
        self.trainer = Trainer.of(config, data, world)

    def begin(self) -> None:
        """Start a new run from a base's weights, or from what counting tells of the tokens.

        From here on there is a bot to load, and a checkpoint to go on from.
        """
        chatbot, base = self.trainer.chatbot, self._data.base
        if base is None:
            self._tell("stage", text="counting which tokens stand together")
            few = self._data.learned.first_tokens(MAX_NEIGHBOUR_TOKENS)
            begin_with(chatbot, few, self._config.train.seed)
        else:
            chatbot.begin_from(base.chatbot)
        ids = self._data.learned.first_tokens(MAX_NGRAM_TOKENS)
        chatbot.count(ids, scored(ids, self._config.data.learn_from))
        if self._world.size > 1:
            self.trainer.load_state_dict(*self.trainer.state_dict())  # in all processes
        self._begin_cycle()  # the learning rate starts here, whatever is spent
        self._validator.keep(chatbot, 0)
        self._save()

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
        steps = self.trainer.steps
        log = RunLog(self._out / LOG, steps)
        if log.last_step > steps:
            self._tell.note(
                f"step {log.last_step:,} was reached, and the last whole checkpoint is of step "
                f"{steps:,}: what lies between is made again"
            )
        self._tell.observers.append(log)
        try:
            reason = self._ended or self._learn(stop)
            self.trainer.dismiss()
            if reason != "interrupted":
                learn_to_reply(self._config, self._out, self._data, self._tell)
            self._list_canaries()
            best = self._validator.best
            result = Result(reason, self.trainer.steps, self._seconds(), best)
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

    def _learn(self, stop: Callable[[], bool]) -> str:
        """Train in cycles as long as they gain; return why the last one ended."""
        self._tell(
            "start",
            parameters=sum(p.numel() for p in self.trainer.chatbot.parameters()),
            tokens=self._data.train.tokens,
            conversations=len(self._data.train),
            held_out=len(self._data.dev or ()),
            config=self._config.model_dump(mode="json"),
        )
        if self._spent() >= 1 and not self.trainer.steps:
            seconds = round(self._seconds())
            self._tell.note(
                f"nothing is learned: reading alone took {seconds:,} seconds; give it more "
                "--minutes"
            )
        while True:
            spent = self._spent()
            if spent < 1:
                if stop():
                    return self._interrupted()
                self._step(spent)
            if spent >= 1 or self._is_due():
                self._checkpoint(cycle_ended=spent >= 1)
                if self._ended is not None:
                    return self._ended

    def _interrupted(self) -> str:
        if self._validator.best is None:
            self._validator.keep(self.trainer.chatbot, self.trainer.steps)
        self._save()
        return "interrupted"

    def _checkpoint(self, *, cycle_ended: bool) -> None:
        """Validate, decide whether the run goes on, and save.

        What was decided is saved with it: whoever goes on from there does so in the same way.
        """
        begin = self._seconds()
        trainer = self.trainer
        self._validated = self._parts_of(self._spent())
        self._validator(trainer.chatbot, trainer.steps, begin)
        self._reserve(begin)
        if cycle_ended:
            self._ended = None if self._again() else "finished"
        elif self._impatient():
            self._ended = "early stop"
        self._save()
        self._reserve(begin)

    def _reserve(self, begin: float) -> None:
        """Keep time for another checkpoint like the one that began then, and for replies."""
        self._checked = self._seconds()
        self._budget.reserve = self._checked - begin + self._validator.replying_seconds

    def _impatient(self) -> bool:
        """Tell whether nothing has been gained for too long.

        A cycle of limited passes goes to its end: it is often in the last of them, at a low rate,
        that what is held out gains.
        """
        settings = self._config.train
        return settings.cycle_epochs is None and self._validator.worse >= settings.patience

    def _is_due(self) -> bool:
        """Tell whether held-out conversations are to be scored now, within a cycle."""
        spent = self._spent()
        if spent >= 1 or self._parts_of(spent) <= self._validated:
            return False
        waited = self._seconds() - self._checked
        validating = self._budget.reserve - self._validator.replying_seconds
        return self._config.train.minutes is None or waited > validating / MAX_VALIDATING_SHARE

    def _parts_of(self, spent: float) -> int:
        """Count the validations that are due once that share of a cycle is spent."""
        return int(spent * self._config.train.validations)

    def _again(self) -> bool:
        """Begin another cycle where passes are limited and the last one still gained."""
        limited, best, before = (
            self._config.train.cycle_epochs,
            self._validator.best,
            self._before,
        )
        if limited is None or best is None or self._validator.worse:
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

    def restore(self, checkpoint: Checkpoint) -> None:
        """Go on from a checkpoint."""
        facts = checkpoint[1]
        if differences := changes(facts, self._contents):
            raise ElmanError(
                f"{self._config.data.path}: not the conversations that {self._out} was trained "
                f"on: {differences}; name a copy of those (elman train PATH --resume {self._out}), "
                "or begin a new run"
            )
        self._load(checkpoint)
        self._began -= facts["seconds"]
        validator = self._validator
        validator.best, validator.best_step = facts["best"], facts.get("best_step")
        validator.check_kept(self.trainer.chatbot, self.trainer.steps)

    def _load(self, checkpoint: Checkpoint) -> None:
        tensors, facts = checkpoint
        try:
            self.trainer.load_state_dict(tensors, facts["trainer"])
        except (KeyError, IndexError, RuntimeError, TypeError, ValueError) as error:
            why = " ".join(str(error).split())
            raise ElmanError(f"{self._out / CHECKPOINTS}: does not fit {CONFIG}: {why}") from None
        self._ended = facts["ended"]
        self._validated, self._validator.worse = facts["validated"], facts["worse"]
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

    def _save(self) -> None:
        tensors, trained = self.trainer.state_dict()
        validator = self._validator
        facts = {
            "trainer": trained,
            "processes": self._world.size,
            "seconds": self._seconds(),
            "validated": self._validated,
            "best": validator.best,
            "best_step": validator.best_step,
            "worse": validator.worse,
            "cycle": (*self._budget.begun, self._before),
            "cycle_began": self._cycle_began,
            "corpus": self._data.train.digest,
            "contents": self._contents,
            "ended": self._ended,
        }
        keep = self._config.train.keep_checkpoints
        write_checkpoint(self._out, tensors, facts, keep=keep, best=validator.best_step)

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
