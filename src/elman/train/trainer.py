"""One optimizer step: forward, backward through time, clip, update."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from enum import IntEnum
from math import isfinite, log
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils import clip_grads_with_norm_, get_total_norm

from elman.bptt import Full, State, Unfold
from elman.data.layout import Batch, Layout
from elman.data.tokenizer import Tokenizer
from elman.model import build
from elman.model.chatbot import Batches, Chatbot
from elman.train.config import Config
from elman.train.distributed import ALONE, World
from elman.train.faults import NotFiniteError, finite_rows
from elman.train.optim import check_moments, make_optimizer
from elman.train.prepare import Data


@dataclass(frozen=True)
class StepMetrics:
    """Measures of one optimizer step.

    Args:
        loss: mean -log p in nats of a token that is learned.
        bits_per_byte: that loss for each byte of text, in bits.
        grad_norm: of the whole gradient, before clipping.
        steps: time steps of all rows of the batch.
    """

    loss: float
    bits_per_byte: float
    grad_norm: float
    steps: int


class _Command(IntEnum):
    """Names what process 0 does next, and the others with it."""

    STEP = 0
    SAVE = 1
    LOAD = 2
    END = 3


class Trainer:
    """Carry the rows' state from batch to batch and the weights from step to step.

    Args:
        chatbot: what is trained.
        batches: its training batches.
        tokenizer: tells how many bytes a token is.
        optimizer: over the chatbot's parameters, each group at its highest learning rate.
        unfold: how far back the gradient goes within a batch.
        clip: largest norm of the whole gradient (Pascanu et al. 2013); 0: off.
        precision: of the products; weights, states and sums stay float32.
        pointer_loss_weight: how much `Loss.pointer_nats` weighs beside the loss itself.
        world: the processes that make each step together, each with its own rows of `batches`.
            Where process 0 steps, saves or loads, the others `follow`.
    """

    def __init__(
        self,
        chatbot: Chatbot,
        batches: Batches,
        tokenizer: Tokenizer,
        optimizer: torch.optim.Optimizer,
        *,
        unfold: Unfold | None = None,
        clip: float = 1.0,
        precision: torch.dtype = torch.float32,
        pointer_loss_weight: float = 0.0,
        world: World = ALONE,
    ) -> None:
        self.chatbot = chatbot
        self.batches = batches
        self.steps = 0
        self.look: Callable[[Batch, State | None, float], None] | None = None
        """Called before each update with the batch, the state before it, and the norm of its
        gradient. It may compute, but leaves weights, gradients and randomness as they are."""
        self._optimizer = optimizer
        self._unfold = unfold or Full()
        self._clip = clip
        self._precision = precision
        self._pointer_loss_weight = pointer_loss_weight
        self._token_bytes = torch.from_numpy(tokenizer.piece_bytes)
        self._world = world
        self._lr = [group["lr"] for group in optimizer.param_groups]
        self._state: State | None = None

    @classmethod
    def of(cls, config: Config, data: Data, world: World = ALONE) -> Self:
        """Make the trainer of a run, from a configuration with nothing left to choose."""
        train, tokenizer = config.train, data.tokenizer
        torch.manual_seed(train.seed)
        chatbot = build(config.model, tokenizer.vocabulary_size)
        chatbot.characters = tokenizer.characters
        if not world.leads:  # other rows, other dropout
            torch.manual_seed(_seed(train.seed, world.rank))
        layout = Layout(
            batch_size=train.batch_size,
            unfold=train.unfold,
            unit=train.unit,
            slide=train.slide,
            learn_from=config.data.learn_from,
            seed=train.seed,
            own_rows=None if world.size == 1 else world.own_rows(train.batch_size),
        )
        optimizer = make_optimizer(
            train.optimizer,
            chatbot,
            lr=train.lr,
            momentum=train.momentum,
            weight_decay=train.weight_decay,
        )
        return cls(
            chatbot,
            chatbot.batches(data.learned, layout),
            tokenizer,
            optimizer,
            clip=train.clip,
            precision=getattr(torch, train.precision),
            pointer_loss_weight=train.pointer_loss_weight,
            world=world,
        )

    def step(self, rate: float = 1.0) -> StepMetrics:
        """Learn from the next batch, with learning rates times `rate`.

        Raises:
            NotFiniteError: where the loss, its gradient or a state is no longer a number; the
                weights are left as they were. The batch was read, and the step counts. Rows whose
                state is no number begin anew.
        """
        self._lead(_Command.STEP, rate)
        self.chatbot.train()
        batch = self.batches.next()
        low = self._precision != torch.float32
        with torch.autocast("cpu", dtype=self._precision if low else torch.bfloat16, enabled=low):
            loss = self.chatbot.loss(batch, self._state, self._unfold)
        count = max(len(loss.targets), 1)
        self._optimizer.zero_grad()
        (loss.nats / count + self._pointer_loss_weight * loss.pointer_nats / count).backward()
        own_bytes = int(self._token_bytes[loss.targets].sum())
        finite = finite_rows(loss.state)
        bad_rows = (~finite).nonzero().flatten().tolist()
        nats, targets, text_bytes, steps, bad = self._world.sum_gradients(
            self.chatbot.parameters(),
            weight=len(loss.targets),
            numbers=(loss.nats.item(), len(loss.targets), own_bytes, loss.steps, len(bad_rows)),
        )
        gradients = [p.grad for p in self.chatbot.parameters() if p.grad is not None]
        norm = get_total_norm(gradients)
        mean_nats = nats / max(targets, 1)
        if not (isfinite(mean_nats) and torch.isfinite(norm)) or bad:  # alike in all processes
            before, fresh = self._state, self.chatbot.initial_state(len(finite))
            keep = finite.unsqueeze(1)
            self._state = tuple(
                torch.where(keep, *both) for both in zip(loss.state, fresh, strict=True)
            )
            self.steps += 1
            cut = "lower train.clip" if self._clip else "turn clipping on with --set train.clip=1"
            advice = f"lower train.lr, or {cut}"
            numbers = mean_nats, norm.item()
            raise NotFiniteError(self.steps, *numbers, bad_rows, batch, before, advice)
        if self.look is not None:
            self.look(batch, self._state, norm.item())
        if 0 < self._clip < norm:
            clip_grads_with_norm_(self.chatbot.parameters(), self._clip, norm)
        for group, lr in zip(self._optimizer.param_groups, self._lr, strict=True):
            group["lr"] = lr * rate
        self._optimizer.step()
        self._state = loss.state
        self.steps += 1
        return StepMetrics(
            loss=mean_nats,
            bits_per_byte=nats / log(2) / max(text_bytes, 1),
            grad_norm=norm.item(),
            steps=int(steps),
        )

    def is_finite(self) -> bool:
        """Tell whether every number that the next step depends on is one."""
        tensors, _ = self.state_dict()
        return all(bool(each.isfinite().all()) for each in tensors.values())

    def follow(self) -> None:
        """Do what process 0 does, until it dismisses."""
        while True:
            command, rate = self._world.broadcast_numbers(0, 0)
            match _Command(int(command)):
                case _Command.STEP:
                    with suppress(NotFiniteError):  # process 0 says what is done about it
                        self.step(rate)
                case _Command.SAVE:
                    self.state_dict()
                case _Command.LOAD:
                    facts = self._world.broadcast_json()
                    self.load_state_dict(self._world.broadcast_tensors({}), facts)
                case _Command.END:
                    return

    def dismiss(self) -> None:
        """Let the processes go that follow; this one goes on alone."""
        self._lead(_Command.END)
        self._world = ALONE

    def _lead(self, command: _Command, rate: float = 0.0) -> None:
        if self._world.size > 1 and self._world.leads:
            self._world.broadcast_numbers(command, rate)

    def state_dict(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Return everything that the next step depends on, as named tensors and as JSON.

        The states are those of all rows, in whichever process they are.
        """
        self._lead(_Command.SAVE)
        tensors = {f"model.{name}": tensor for name, tensor in self.chatbot.state_dict().items()}
        for index, values in self._optimizer.state_dict()["state"].items():
            for name, value in values.items():
                if value is not None:
                    tensors[f"optimizer.{index}.{name}"] = torch.as_tensor(value)
        for index, tensor in enumerate(self._world.gather_rows(self._state or ())):
            tensors[f"state.{index}"] = tensor
        (random,) = self._world.gather_rows((torch.get_rng_state().unsqueeze(0),))
        tensors |= {_rng_name(rank): state for rank, state in enumerate(random)}
        return tensors, {"steps": self.steps, "batches": self.batches.state_dict()}

    def load_state_dict(self, tensors: dict[str, Tensor], facts: dict[str, Any]) -> None:
        """Go on exactly from there; with another number of processes, but for dropout and rounding.

        Raises:
            KeyError, IndexError, RuntimeError, TypeError, ValueError: where it is of another
                network, optimizer or corpus.
        """
        weights: dict[str, Tensor] = {}
        moments: dict[int, dict[str, Tensor]] = {}
        carried: dict[int, Tensor] = {}
        for name, tensor in tensors.items():
            kind, _, rest = name.partition(".")
            if kind == "model":
                weights[rest] = tensor
            elif kind == "optimizer":
                index, _, key = rest.partition(".")
                moments.setdefault(int(index), {})[key] = tensor
            elif kind == "state":
                carried[int(rest)] = tensor
        self.chatbot.load_state_dict(weights)
        check_moments(self._optimizer, moments)
        optimizer = self._optimizer.state_dict()
        optimizer["state"] = moments
        self._optimizer.load_state_dict(optimizer)
        self.batches.load_state_dict(facts["batches"])
        state = tuple(carried[index] for index in sorted(carried))
        if state:
            rows = len(facts["batches"]["conversation"])
            if [part.shape for part in state] != [(rows, p.size) for p in self.chatbot.state_spec]:
                raise ValueError("the rows' states have other sizes")
            self.chatbot.check_state(state, "the rows' states")
            own = self._world.own_rows(rows)
            state = tuple(part[own.start : own.stop].clone() for part in state)
        self._state = state or None  # empty before the first step
        self.steps = facts["steps"]
        if (random := tensors.get(_rng_name(self._world.rank))) is not None:
            torch.set_rng_state(random)
        else:  # fewer processes wrote the checkpoint
            torch.manual_seed(_seed(torch.initial_seed(), self._world.rank, self.steps))
        if self._world.size > 1 and self._world.leads:
            self._lead(_Command.LOAD)
            self._world.broadcast_json(facts)
            self._world.broadcast_tensors(tensors)


def _rng_name(rank: int) -> str:
    return f"rng.{rank}" if rank else "rng"


def _seed(*numbers: int) -> int:
    """Mix numbers into one seed."""
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> 1)
