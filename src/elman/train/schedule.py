"""How far a run has come, and the learning rate there."""

from elman.train.config import TrainConfig


class Budget:
    """A budget in minutes, epochs or steps, as a share from 0 to 1.

    Args:
        config: has exactly one of `minutes`, `epochs` and `steps`.
    """

    def __init__(self, config: TrainConfig) -> None:
        self._config = config
        self.reserve = 0.0
        """Seconds at the end of a budget in minutes for the last validation and the last save."""

    def spent(self, *, seconds: float, epochs: float, steps: int) -> float:
        """The share that is spent; 1 or more: stop."""
        most = self._config.most_epochs
        return max(self._of_budget(seconds, epochs, steps), 0.0 if most is None else epochs / most)

    def _of_budget(self, seconds: float, epochs: float, steps: int) -> float:
        config = self._config
        if config.minutes is not None:
            return seconds / max(config.minutes * 60 - self.reserve, 1e-9)
        if config.epochs is not None:
            return epochs / config.epochs
        assert config.steps is not None
        return steps / config.steps


def rate(spent: float, warmup: float) -> float:
    """The learning rate's factor: up in a line over `warmup`, then down in a line to 0."""
    if spent < warmup:
        return (spent + 1e-3) / (warmup + 1e-3)
    return max(0.0, (1 - spent) / (1 - warmup))
