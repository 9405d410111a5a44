"""The loop of a training run: steps, validations and checkpoints, and what is done about faults."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from elman.bptt import State
from elman.data.corpus import scored
from elman.data.layout import Batch
from elman.errors import ElmanError
from elman.model.embeddings import begin_with
from elman.model.folder import CONFIG
from elman.train.canaries import write_canaries
from elman.train.checkpoints import (
    CHECKPOINTS,
    Checkpoint,
    checkpoint_path,
    read_last_checkpoint,
    remove_others,
    write_checkpoint,
)
from elman.train.config import Config
from elman.train.cycles import Cycles, Done
from elman.train.determinism import conditions, other_conditions
from elman.train.distributed import ALONE, World
from elman.train.faults import MAX_SKIPPED_STEPS, Faults, NotFiniteError
from elman.train.finishing import learn_to_reply
from elman.train.prepare import Data
from elman.train.resuming import changes, contents
from elman.train.runlog import LOG, RunLog, Tell, Watcher
from elman.train.schedule import rate
from elman.train.trainer import Trainer
from elman.train.validating import Validator


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
        self._validator = Validator(out, data, tell)
        self._cycles = Cycles(config.train, self._validator, self._done)
        self._faults = Faults(data.tokenizer, tell)
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
            begin_with(chatbot, self._data.learned.ids, self._config.train.seed)
        else:
            chatbot.begin_from(base.chatbot)
        ids = self._data.learned.ids
        chatbot.count(ids, scored(ids, self._config.data.learn_from))
        if self._world.size > 1:
            self.trainer.load_state_dict(*self.trainer.state_dict())  # in all processes
        self._cycles.begin()  # the learning rate starts here, whatever is spent
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
            seed, passes = self._config.data.canary_seed, self.trainer.batches.epochs
            write_canaries(self._out, self._data.canaries, seed, passes, self._tell.note)
            best = self._validator.best
            result = Result(reason, self.trainer.steps, self._seconds(), best)
            self._tell("end", **vars(result))
            return result
        finally:
            log.close()

    def _learn(self, stop: Callable[[], bool]) -> str:
        """Train in cycles as long as they gain; return why the last one ended."""
        self._tell(
            "start",
            parameters=sum(p.numel() for p in self.trainer.chatbot.parameters()),
            tokens=len(self._data.train.ids),
            conversations=len(self._data.train),
            held_out=len(self._data.dev or ()),
            config=self._config.model_dump(mode="json"),
        )
        if self._cycles.spent >= 1 and not self.trainer.steps:
            seconds = round(self._seconds())
            self._tell.note(
                f"nothing is learned: reading alone took {seconds:,} seconds; give it more "
                "--minutes"
            )
        while True:
            spent = self._cycles.spent
            if spent < 1:
                if stop():
                    return self._interrupted()
                self._step(spent)
            if spent >= 1 or (self._cycles.is_due and not self._faults.skipped):
                self._checkpoint(cycle_ended=spent >= 1)
                if self._ended is not None:
                    return self._ended

    def _interrupted(self) -> str:
        if self._faults.skipped or not self.trainer.is_finite():
            self._tell.note("the last checkpoint stays, which is of before what was skipped")
            return "interrupted"
        if self._validator.best is None:
            self._validator.keep(self.trainer.chatbot, self.trainer.steps)
        self._save()
        return "interrupted"

    def _checkpoint(self, *, cycle_ended: bool) -> None:
        """Validate, decide whether the run goes on, and save.

        What was decided is saved with it: whoever goes on from there does so in the same way.
        Where something is no number, the run goes back instead.
        """
        begin = self._seconds()
        trainer = self.trainer
        self._cycles.count_validation()
        if not (trainer.is_finite() and self._validator(trainer.chatbot, trainer.steps, begin)):
            self._go_back()
            return
        self._faults.skipped = 0
        self._cycles.reserve(begin)
        if cycle_ended:
            self._ended = None if self._cycles.again() else "finished"
            if self._ended is None:
                self._tell.note("what is held out still gained: another cycle begins")
        elif self._cycles.is_impatient:
            self._ended = "early stop"
        self._save()
        self._cycles.reserve(begin)

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
        self._faults.setbacks = facts.get("setbacks", 0)
        if changed := other_conditions(facts.get("conditions", {}), conditions()):
            self._tell.note(f"{changed}: the run does not end bit for bit as it would have")
        steps, keep = self.trainer.steps, self._config.train.keep_checkpoints
        validator.check_kept(self.trainer.chatbot, steps)
        remove_others(self._out, steps, keep=keep, best=validator.best_step)

    def _go_back(self) -> None:
        """Go on from the last checkpoint, at a lower learning rate."""
        size = self._data.tokenizer.vocabulary_size
        checkpoint = read_last_checkpoint(self._out, self._config, size, self._tell.note)
        last = checkpoint_path(self._out, checkpoint[1]["trainer"]["steps"])
        self._faults.go_back(self.trainer.steps, last.name)
        self._load(checkpoint)

    def _load(self, checkpoint: Checkpoint) -> None:
        tensors, facts = checkpoint
        try:
            self.trainer.load_state_dict(tensors, facts["trainer"])
        except (KeyError, IndexError, RuntimeError, TypeError, ValueError) as error:
            why = " ".join(str(error).split())
            raise ElmanError(f"{self._out / CHECKPOINTS}: does not fit {CONFIG}: {why}") from None
        self._ended = facts["ended"]
        self._validator.worse = facts["worse"]
        self._cycles.load_facts(facts)

    def _step(self, spent: float) -> None:
        begin = time.monotonic()
        factor = rate(spent, self._config.train.warmup) * self._faults.rate
        try:
            metrics = self.trainer.step(factor)
        except NotFiniteError as fault:
            self._faults.skip(self.trainer.chatbot, fault)
            if self._faults.skipped == MAX_SKIPPED_STEPS:
                self._go_back()
            return
        self._faults.skipped = 0
        self._tell(
            "step",
            step=self.trainer.steps,
            spent=round(self._cycles.spent, 5),
            loss=round(metrics.loss, 4),
            bits_per_byte=round(metrics.bits_per_byte, 4),
            grad_norm=round(metrics.grad_norm, 4),
            lr=self._config.train.lr * factor,
            tokens_per_second=round(metrics.steps / (time.monotonic() - begin)),
            seconds=round(self._seconds(), 2),
            left=round(self._cycles.seconds_left),
            epochs=round(self.trainer.batches.epochs, 4),
        )

    def _save(self) -> None:
        tensors, trained = self.trainer.state_dict()
        validator = self._validator
        facts = {
            "trainer": trained,
            "processes": self._world.size,
            "seconds": self._seconds(),
            "best": validator.best,
            "best_step": validator.best_step,
            "worse": validator.worse,
            **self._cycles.facts(),
            "corpus": self._data.train.digest,
            "contents": self._contents,
            "ended": self._ended,
            "setbacks": self._faults.setbacks,
            "conditions": conditions(),
        }
        keep = self._config.train.keep_checkpoints
        write_checkpoint(self._out, tensors, facts, keep=keep, best=validator.best_step)

    def _done(self) -> Done:
        return {
            "seconds": self._seconds(),
            "epochs": self.trainer.batches.epochs,
            "steps": self.trainer.steps,
        }

    def _seconds(self) -> float:
        return time.monotonic() - self._began
