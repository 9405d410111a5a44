"""Where a run is in its cycles of the learning rate: when it validates, and when it ends."""

from collections.abc import Callable, Mapping
from typing import Any, TypedDict

from elman.train.config import TrainConfig
from elman.train.schedule import Budget
from elman.train.validating import Validator

MIN_CYCLE_GAIN = 0.01
"""The share of its bits per byte that a cycle must gain for another one to follow."""

MAX_VALIDATING_SHARE = 0.05
"""The share of a budget in minutes that validations take at most: in short ones there are fewer."""


class Done(TypedDict):
    """What a run has done in all."""

    seconds: float
    epochs: float
    steps: int


class Cycles:
    """Count the cycles of a run.

    Args:
        config: with the budget.
        validator: knows what was gained.
        done: says what the run has done.
    """

    def __init__(self, config: TrainConfig, validator: Validator, done: Callable[[], Done]) -> None:
        self._config, self._validator, self._done = config, validator, done
        self._budget = Budget(config)
        self._validated = 0  # validations of this cycle
        self._checked, self._began = 0.0, 0.0  # seconds: the last validation, and this cycle
        self._before: float | None = None  # the best before this cycle; None in the first

    def begin(self, before: float | None = None) -> None:
        """Begin a cycle; `before` is the best until now."""
        done = self._done()
        self._budget.begin(**done)
        self._validated, self._before, self._began = 0, before, done["seconds"]

    @property
    def spent(self) -> float:
        """The share of this cycle that is spent; 1 or more: it has ended."""
        return self._budget.spent(**self._done())

    @property
    def seconds_left(self) -> float:
        """About how long the cycle goes on, if it does as so far."""
        spent = min(max(self.spent, 1e-6), 1.0)
        return (self._done()["seconds"] - self._began) * (1 - spent) / spent

    @property
    def is_due(self) -> bool:
        """Whether held-out conversations are to be scored now, within a cycle."""
        spent = self.spent
        if spent >= 1 or self._parts_of(spent) <= self._validated:
            return False
        waited = self._done()["seconds"] - self._checked
        validating = self._budget.reserve - self._validator.replying_seconds
        return self._config.minutes is None or waited > validating / MAX_VALIDATING_SHARE

    def count_validation(self) -> None:
        """Count the validations that are due by now as made."""
        self._validated = self._parts_of(self.spent)

    def _parts_of(self, spent: float) -> int:
        return int(spent * self._config.validations)

    def reserve(self, began: float) -> None:
        """Keep time for another checkpoint like the one that began then, and for replies."""
        self._checked = self._done()["seconds"]
        self._budget.reserve = self._checked - began + self._validator.replying_seconds

    @property
    def is_impatient(self) -> bool:
        """Whether nothing has been gained for too long.

        A cycle of limited passes goes to its end: it is often in the last of them, at a low rate,
        that what is held out gains.
        """
        config = self._config
        return config.cycle_epochs is None and self._validator.worse >= config.patience

    def again(self) -> bool:
        """Begin another cycle where passes are limited and the last one still gained."""
        best, before = self._validator.best, self._before
        if self._config.cycle_epochs is None or best is None or self._validator.worse:
            return False
        if before is not None and best > (1 - MIN_CYCLE_GAIN) * before:
            return False
        if not self._budget.enough(**self._done()):
            return False
        self.begin(best)
        return True

    def facts(self) -> dict[str, Any]:
        """Return what a checkpoint remembers of all this."""
        return {
            "validated": self._validated,
            "cycle": (*self._budget.begun, self._before),
            "cycle_began": self._began,
        }

    def load_facts(self, facts: Mapping[str, Any]) -> None:
        """Go on from a checkpoint; a run with another budget has no cycle there."""
        self._validated = facts["validated"]
        share, epochs, self._before = facts.get("cycle", (0.0, 0.0, None))
        self._budget.begun = share, epochs
        self._began = facts.get("cycle_began", 0.0)
