"""One optimizer step: forward, backward through time, clip, update."""

from collections.abc import Callable
from dataclasses import dataclass
from math import log
from typing import Any, Self

import torch
from torch import Tensor
from torch.nn.utils import clip_grads_with_norm_, get_total_norm

from elman.bptt import Full, State, Unfold
from elman.data.layout import Batch, Layout
from elman.data.tokenizer import Tokenizer
from elman.model import build
from elman.model.chatbot import Batches, Chatbot
from elman.train.config import Config
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
        self._lr = [group["lr"] for group in optimizer.param_groups]
        self._state: State | None = None

    @classmethod
    def of(cls, config: Config, data: Data) -> Self:
        """Make the trainer of a run, from a configuration with nothing left to choose."""
        train, tokenizer = config.train, data.tokenizer
        torch.manual_seed(train.seed)
        chatbot = build(config.model, tokenizer.vocabulary_size)
        chatbot.characters = tokenizer.characters
        layout = Layout(
            batch_size=train.batch_size,
            unfold=train.unfold,
            unit=train.unit,
            slide=train.slide,
            learn_from=config.data.learn_from,
            seed=train.seed,
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
        )

    def step(self, rate: float = 1.0) -> StepMetrics:
        """Learn from the next batch, with learning rates times `rate`.

        Raises:
            NotFiniteError: where the loss, its gradient or a state is no longer a number; the
                weights are left as they were. The batch was read, and the step counts. Rows whose
                state is no number begin anew.
        """
        self.chatbot.train()
        batch = self.batches.next()
        low = self._precision != torch.float32
        with torch.autocast("cpu", dtype=self._precision if low else torch.bfloat16, enabled=low):
            loss = self.chatbot.loss(batch, self._state, self._unfold)
        count = max(len(loss.targets), 1)
        mean = loss.nats / count
        self._optimizer.zero_grad()
        (mean + self._pointer_loss_weight * loss.pointer_nats / count).backward()
        gradients = [p.grad for p in self.chatbot.parameters() if p.grad is not None]
        norm = get_total_norm(gradients)
        finite = finite_rows(loss.state)
        if not (torch.isfinite(mean) and torch.isfinite(norm) and finite.all()):
            before, fresh = self._state, self.chatbot.initial_state(len(finite))
            keep = finite.unsqueeze(1)
            self._state = tuple(
                torch.where(keep, *both) for both in zip(loss.state, fresh, strict=True)
            )
            self.steps += 1
            cut = "lower train.clip" if self._clip else "turn clipping on with --set train.clip=1"
            rows, advice = (~finite).nonzero().flatten().tolist(), f"lower train.lr, or {cut}"
            numbers = mean.item(), norm.item()
            raise NotFiniteError(self.steps, *numbers, rows, batch, before, advice)
        if self.look is not None:
            self.look(batch, self._state, norm.item())
        if 0 < self._clip < norm:
            clip_grads_with_norm_(self.chatbot.parameters(), self._clip, norm)
        for group, lr in zip(self._optimizer.param_groups, self._lr, strict=True):
            group["lr"] = lr * rate
        self._optimizer.step()
        self._state = loss.state
        self.steps += 1
        text_bytes = int(self._token_bytes[loss.targets].sum())
        return StepMetrics(
            loss=mean.item(),
            bits_per_byte=loss.nats.item() / log(2) / max(text_bytes, 1),
            grad_norm=norm.item(),
            steps=loss.steps,
        )

    def is_finite(self) -> bool:
        """Tell whether every number that the next step depends on is one."""
        tensors, _ = self.state_dict()
        return all(bool(each.isfinite().all()) for each in tensors.values())

    def state_dict(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Return everything that the next step depends on, as named tensors and as JSON."""
        tensors = {f"model.{name}": tensor for name, tensor in self.chatbot.state_dict().items()}
        for index, values in self._optimizer.state_dict()["state"].items():
            for name, value in values.items():
                if value is not None:
                    tensors[f"optimizer.{index}.{name}"] = torch.as_tensor(value)
        for index, tensor in enumerate(self._state or ()):
            tensors[f"state.{index}"] = tensor
        tensors["rng"] = torch.get_rng_state()
        return tensors, {"steps": self.steps, "batches": self.batches.state_dict()}

    def load_state_dict(self, tensors: dict[str, Tensor], facts: dict[str, Any]) -> None:
        """Go on exactly from there.

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
        self._state = state or None  # empty before the first step
        self.steps = facts["steps"]
        torch.set_rng_state(tensors["rng"])
