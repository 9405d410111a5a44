"""What is done about numbers that are none: a step is skipped, and after some the run goes back."""

import math
from typing import Any

import torch
from torch import Tensor

from elman.bptt import State
from elman.data.layout import Batch
from elman.data.tokenizer import Tokenizer
from elman.errors import ElmanError
from elman.model.chatbot import Chatbot
from elman.model.culprit import culprit
from elman.train.runlog import Tell

MAX_SKIPPED_STEPS = 3
"""Steps in a row that are skipped before the run goes back."""

SETBACK_RATE = 0.5
"""By what the learning rate is multiplied each time."""

MAX_SETBACKS = 4
"""How often a run goes back before it gives up."""


class NotFiniteError(ElmanError):
    """A step whose loss, gradient or state is no number, so that it was not made.

    Args:
        step: its number.
        loss, grad_norm: NaN or infinite; or numbers, where only a state is none.
        rows: whose state is none.
        batch: what was read.
        state: before it.
        advice: what may help.
    """

    def __init__(
        self,
        step: int,
        loss: float,
        grad_norm: float,
        rows: list[int],
        batch: Batch,
        state: State | None,
        advice: str,
    ) -> None:
        self.step, self.loss, self.grad_norm = step, loss, grad_norm
        self.batch, self.state, self.advice = batch, state, advice
        self.found = f"the loss is {loss:.3g} and the norm of its gradient {grad_norm:.3g}"
        if rows:
            self.found += (
                f", the state of row {', '.join(str(row + 1) for row in rows)} is no number"
            )
        super().__init__(f"step {step:,}: {self.found}; {advice}")


class Faults:
    """Count what went wrong in a run, and tell of it.

    Args:
        tokenizer: of the run.
        tell: told of every step that is skipped, and where the run goes back.
    """

    def __init__(self, tokenizer: Tokenizer, tell: Tell) -> None:
        self._tokenizer, self._tell = tokenizer, tell
        self.skipped = 0
        """Steps in a row, up to now."""
        self.setbacks = 0
        """How often the run went back."""
        self._seen: list[str] = []  # of each step that was skipped, in words
        self._advice = "lower train.lr"

    @property
    def rate(self) -> float:
        """The factor of the learning rate."""
        return float(SETBACK_RATE**self.setbacks)

    def skip(self, chatbot: Chatbot, fault: NotFiniteError) -> None:
        """Tell of a step that was skipped: its batch, and who made it so."""
        numbers = math.isfinite(fault.loss) and math.isfinite(fault.grad_norm)
        found = None if numbers else culprit(chatbot, fault.batch, fault.state)
        self.skipped += 1
        self._advice = fault.advice
        text = f"skipped: {fault.found}"
        facts: dict[str, Any] = {"skipped": self.skipped}
        facts |= {"loss": _json(fault.loss), "grad_norm": _json(fault.grad_norm)}
        if found is None or math.isfinite(found.conversation_norm):
            text += "" if numbers else "; no conversation that is read here is so alone"
        else:
            text += f"; most of it comes from {found.in_words(self._tokenizer)}"
            facts |= found.to_json(self._tokenizer)
        self._seen.append(f"step {fault.step:,} was {text}")
        self._tell("warning", step=fault.step, text=text, **facts)

    def go_back(self, step: int, checkpoint: str) -> None:
        """Lower the learning rate for a run that goes back.

        Args:
            step: at which it does.
            checkpoint: to which.

        Raises:
            ElmanError: where it did so too often; with a report.
        """
        seen = "; ".join(self._seen[-MAX_SKIPPED_STEPS:]) or "the weights are no longer numbers"
        if self.setbacks == MAX_SETBACKS:
            raise ElmanError(
                f"gave up at step {step:,}: the run went back {self.setbacks} times, at last to "
                f"{self.rate:g} of its learning rate, and still meets what is no number ({seen}); "
                f"{checkpoint} and the best weights are kept; begin a new run, and {self._advice}"
            )
        self.setbacks += 1
        why = f"{self.skipped} steps in a row were skipped" if self.skipped else seen
        self.skipped = 0
        self._tell(
            "warning",
            step=step,
            setbacks=self.setbacks,
            text=f"{why}: back to {checkpoint}, at {self.rate:g} of the learning rate",
        )


def finite_rows(state: State) -> Tensor:
    """Tell of each row whether its state is made of numbers, (batch,) bool."""
    return torch.stack([part.isfinite().all(1) for part in state]).all(0)


def _json(value: float) -> float | None:
    return value if math.isfinite(value) else None
