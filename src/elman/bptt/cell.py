"""The contract of a recurrent cell: one time step forward, one time step backward."""

import math
from abc import ABC, abstractmethod
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

State = tuple[Tensor, ...]
"""The state of a recurrence, `h` first; each tensor is (batch, hidden_size)."""

Saved = Any
"""Whatever a cell's `step` hands to its own `step_backward`."""


class Cell(nn.Module, ABC):
    """One step of a recurrent network, with weights laid out and named as in torch.

    A step is split in two, so that everything that does not depend on the previous step is
    computed for all steps at once. With G = `gates`, I = `input_size`, H = `hidden_size`:

        gx_t = weight_ih x_t     + bias_ih       (batch, G*H), hoisted: one product for all t
        gh_t = weight_hh h_{t-1} + bias_hh       (batch, G*H), inside the time loop
        state_t = step(gx_t, gh_t, state_{t-1})  elementwise

    The two projections stay apart because a GRU puts its reset gate between them.

    To add a cell, write `step` alone: the backward pass is then autograd through it. Override
    `step_backward` to make it fast. Parameters beyond the four projections are allowed; their
    gradients come fourth from `step_backward`, in the order of `extra_parameters`.

    Args:
        input_size: I, the size of each x_t.
        hidden_size: H, the size of each state tensor.
        bias: without it, `bias_ih` and `bias_hh` are None.
    """

    gates: ClassVar[int]
    """How many blocks of `hidden_size` rows the stacked weights have."""
    states: ClassVar[int] = 1
    """How many tensors the state has."""
    recurrent: ClassVar[bool] = True
    """Whether h_{t-1} is projected; else gh is (batch, 0), and there are no weights for it."""

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        if input_size < 1 or hidden_size < 1:
            raise ValueError(
                f"input_size and hidden_size must be at least 1, got {input_size}, {hidden_size}"
            )
        self.input_size = input_size
        self.hidden_size = hidden_size
        rows = self.gates * hidden_size

        def parameter(*shape: int) -> nn.Parameter:
            return nn.Parameter(torch.empty(*shape, device=device, dtype=dtype))

        self.weight_ih = parameter(rows, input_size)
        self.weight_hh = parameter(rows, hidden_size) if self.recurrent else None
        self.bias_ih = parameter(rows) if bias else None
        self.bias_hh = parameter(rows) if bias and self.recurrent else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw every parameter from U(-1/sqrt(H), 1/sqrt(H)), as torch's own layers do."""
        bound = 1 / math.sqrt(self.hidden_size)
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -bound, bound)

    def initial_state(self, batch: int) -> State:
        """Make the state before any step: zeros, (batch, hidden_size) each."""
        return tuple(self.weight_ih.new_zeros(batch, self.hidden_size) for _ in range(self.states))

    @property
    def extra_parameters(self) -> tuple[nn.Parameter, ...]:
        """The parameters that `step` itself reads, in the order of registration."""
        projections = {"weight_ih", "weight_hh", "bias_ih", "bias_hh"}
        return tuple(p for name, p in self.named_parameters() if name not in projections)

    @property
    def derived_by_hand(self) -> bool:
        """Whether `step_backward` was written for this very `step`, not for a base class's."""
        definer = next(c for c in type(self).__mro__ if {"step", "step_backward"} & vars(c).keys())
        return "step_backward" in vars(definer) and definer is not Cell

    @abstractmethod
    def step(self, gx: Tensor, gh: Tensor, state: State) -> tuple[State, Saved]:
        """Run one step forward; the same arguments always give the same result.

        Args:
            gx: the projected input, (batch, gates * hidden_size). Not to be written to.
            gh: the projected hidden state, the same shape. Not to be written to.
            state: the state before the step.

        Returns:
            The state after the step, and what `step_backward` needs (None where the cell has none).
        """

    def step_backward(
        self, saved: Saved, dstate: State
    ) -> tuple[Tensor, Tensor, State, tuple[Tensor, ...]]:
        """Run one step backward: from dLoss/dstate_t to the gradients of all that `step` took.

        Args:
            saved: what `step` returned for it. For this default, which is autograd through `step`,
                the time loop saves `(gx, gh, state)` itself.
            dstate: the gradient of the state after the step, direct plus indirect part.

        Returns:
            dgx, dgh, the part of dstate_{t-1} that does not pass through gh, and the gradients
            of `extra_parameters`.
        """
        gx, gh, state = saved
        inputs = [tensor.detach().requires_grad_() for tensor in (gx, gh, *state)]
        with torch.enable_grad():
            after, _ = self.step(inputs[0], inputs[1], tuple(inputs[2:]))
        learned = [p for p in self.extra_parameters if p.requires_grad]
        grads = torch.autograd.grad(
            after, [*inputs, *learned], dstate, allow_unused=True, materialize_grads=True
        )
        end = 2 + self.states
        of_learned = iter(grads[end:])
        of_extra = tuple(
            next(of_learned) if p.requires_grad else torch.zeros_like(p)
            for p in self.extra_parameters
        )
        return grads[0], grads[1], grads[2:end], of_extra
