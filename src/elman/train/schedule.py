"""How far a run has come, and the learning rate there."""

from elman.train.config import TrainConfig

MIN_CYCLE_SHARE = 0.1
"""The share of a budget that must be left for another cycle."""


class Budget:
    """Count a budget in minutes, epochs or steps as a share from 0 to 1.

    Where passes are limited (`cycle_epochs`), a cycle of the learning rate ends after so many. The
    next one is as long, or has what is left of the budget.
    """

    def __init__(self, config: TrainConfig) -> None:
        self._config = config
        self.begun = 0.0, 0.0
        """The share and the epochs that were spent before this cycle."""
        self.reserve = 0.0
        """Seconds at the end of a budget in minutes for the last validation and the last save."""

    def spent(self, *, seconds: float, epochs: float, steps: int) -> float:
        """Return the share of this cycle that is spent; 1 or more: stop."""
        share, before = self.begun
        if share >= 1:
            return 1.0
        spent = (self._of_budget(seconds, epochs, steps) - share) / (1 - share)
        most = self._config.cycle_epochs
        return spent if most is None else max(spent, (epochs - before) / most)

    def enough(self, *, seconds: float, epochs: float, steps: int) -> bool:
        """Tell whether another cycle is worth it."""
        return self._of_budget(seconds, epochs, steps) <= 1 - MIN_CYCLE_SHARE

    def begin(self, *, seconds: float, epochs: float, steps: int) -> None:
        """Begin a cycle, at a share of 0."""
        self.begun = self._of_budget(seconds, epochs, steps), epochs

    def _of_budget(self, seconds: float, epochs: float, steps: int) -> float:
        config = self._config
        if config.minutes is not None:
            return seconds / max(config.minutes * 60 - self.reserve, 1e-9)
        if config.epochs is not None:
            return epochs / config.epochs
        assert config.steps is not None
        return steps / config.steps


def rate(spent: float, warmup: float) -> float:
    """Return the learning rate's factor: up in a line over `warmup`, then down in a line to 0.

    Both arguments are shares of the cycle.
    """
    if spent < warmup:
        return (spent + 1e-3) / (warmup + 1e-3)
    return max(0.0, (1 - spent) / (1 - warmup))
