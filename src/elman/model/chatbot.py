"""The contract between a memory and everything that talks to it."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Literal, NamedTuple, Protocol, Self, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from elman.bptt import PackedLinear, State, Unfold, linear_cross_entropy
from elman.bptt.cross_entropy import cross_entropy_of_each
from elman.bptt.decode import Precision
from elman.data.characters import Characters
from elman.data.corpus import Corpus
from elman.data.layout import Batch, Layout
from elman.data.message_stream import MessageWindow
from elman.data.tokenizer import ROLES
from elman.errors import ElmanError
from elman.model.blocks import PackedStack, RecurrentStack, StateSpec
from elman.model.config import ModelConfig
from elman.model.counts import ContextCounts
from elman.model.ngrams import NGrams
from elman.model.pointer import Pointed, Pointer
from elman.model.unrolled import Unrolled

LOGIT_CHUNK_TOKENS = 512
"""Tokens whose logits exist at once while scoring."""


class Batches(Protocol):
    """Endless training batches, each meant for one memory; the trainer does not look inside."""

    @property
    def epochs(self) -> float:
        """How many times the corpus has been handed out."""

    def next(self) -> Batch:
        """Make the next batch, to be given to `Chatbot.loss`."""

    def state_dict(self) -> dict[str, Any]:
        """Return the position, as plain JSON."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a position."""


class Loss(NamedTuple):
    """The loss of one batch.

    Args:
        nats: the sum of -log p over the targets, a scalar with its gradient.
        targets: the ids of the tokens that count, (N,).
        steps: how many tokens the layers read, over all rows, whether they count or not.
        state: of every row after the batch, detached.
        pointer_nats: what teaches a pointer on its own, a scalar with its gradient: the sum of
            -log p over the targets that it could copy, were everything copied; 0 without one.
    """

    nats: Tensor
    targets: Tensor
    steps: int
    state: State
    pointer_nats: Tensor


class Chatbot(nn.Module, ABC):
    """A memory: a network that carries a conversation in a state of fixed size.

    A state is a tuple of (batch, size) tensors, as `state_spec` lists them. It is an argument and
    a result, never kept inside. A message is its tokens from its role to its END. Several
    conversations are read and said side by side: each is a row of the batch.
    """

    vocabulary_size: int
    characters: Characters | None = None
    """Holds replies to whole characters; None: they are free."""
    pointer: Pointer | None
    ngrams: NGrams | None
    ends_by_step: ClassVar[bool] = False
    """Whether `end_message` does nothing but say END by `step`."""
    step_unit: ClassVar[Literal["tokens", "messages"]] = "messages"
    """What one step of `through_time` reads. A token is predicted from the output of the step
    before it: that of the token before, or that of the message before.
    """

    def __init__(self, config: ModelConfig, vocabulary_size: int) -> None:
        super().__init__()
        self.vocabulary_size = vocabulary_size
        self._packed: dict[str, PackedStack] = {}
        self._packed_output: PackedLinear | None = None

    @classmethod
    def longest_learned(cls, config: ModelConfig) -> int | None:
        """Say how many tokens of a message are read in training; None: all."""
        return None

    def pack_weights(self, precision: Precision = "float32") -> Self:
        """Pack the weights that replies are made from: faster, and smaller in bfloat16 or int8.

        Learning, reading and scoring go on with the weights themselves. `costs_of`, which ranks
        replies, may take packed ones. Training forgets what was packed.
        """
        self._packed = {
            name: PackedStack(module, precision)
            for name, module in self.named_children()
            if isinstance(module, RecurrentStack)
        }
        self._packed_output = PackedLinear(*self.output_layer, precision)
        return self

    def train(self, mode: bool = True) -> Self:
        if mode:
            self._packed, self._packed_output = {}, None
        return super().train(mode)

    def _steps(self, name: str) -> "PackedStack | RecurrentStack":
        """Find the stack of a name, packed if it is: for making replies."""
        return self._packed.get(name) or cast(RecurrentStack, getattr(self, name))

    def _say(self, hidden: Tensor) -> Tensor:
        """Make logits of one step's hidden state, (batch, V) float32."""
        return (self._packed_output or self.logits)(hidden).float()

    def _mixed(
        self, token: Tensor, read: Tensor, hidden: Tensor, record: State
    ) -> tuple[Tensor, State]:
        """Predict what comes after a token, as `Pointer.say` does: log p of all, (batch, V)."""
        assert self.pointer is not None
        said, record = self.pointer.say(token, read, hidden, record, self._say)
        p = said.p if self.ngrams is None else self.ngrams.mix(*said)
        # Of what is next to impossible there is still a logarithm, which a bias can be added to.
        return p.clamp_(min=torch.finfo(p.dtype).tiny).log_(), record

    @property
    @abstractmethod
    def state_spec(self) -> list[StateSpec]:
        """What the state is made of: first that of `through_time`, last the pointer's record.

        Files and stores know only this.
        """

    def initial_state(self, batch: int) -> State:
        """Make the state of `batch` conversations in which nothing was said."""
        device = next(self.parameters()).device
        return tuple(
            torch.zeros(batch, spec.size, dtype=spec.dtype, device=device)
            for spec in self.state_spec
        )

    def of_any_size(self) -> list[str]:
        """Name the tensors whose size only a file knows: what was counted."""
        return [
            f"{place}.{name}"
            for place, part in self.named_modules()
            if isinstance(part, ContextCounts)
            for name, _ in part.named_buffers()
        ]

    def check_state(self, state: State, where: object) -> None:
        """Raise ElmanError where a record from outside holds what is no token."""
        _, record = self.split(state)
        if record and not torch.isin(record[0], torch.arange(self.vocabulary_size)).all():
            raise ElmanError(f"{where}: its record holds what is no token of this bot's")

    def split(self, state: State) -> tuple[State, State]:
        """Split a state into the layers' part and the pointer's record, which may be empty."""
        own = len(state) - (0 if self.pointer is None else len(self.pointer.state_spec("")))
        return state[:own], state[own:]

    def begin_window(self, window: MessageWindow, state: State | None) -> State:
        """Make the state that each row of a window begins with."""
        if state is None:
            return self.initial_state(len(window.rows))
        goes_on = torch.tensor([not row.fresh for row in window.rows]).unsqueeze(1)
        return tuple(tensor.where(goes_on, tensor.new_zeros(())) for tensor in state)

    @abstractmethod
    def batches(self, corpus: Corpus, layout: Layout) -> Batches:
        """Lay out training batches of a corpus for this memory."""

    @property
    @abstractmethod
    def through_time(self) -> RecurrentStack:
        """The layers that carry the state from step to step."""

    def steps_of(self, message: Sequence[int] | np.ndarray) -> int:
        """Count the steps that `through_time` takes for a message."""
        return len(message) if self.step_unit == "tokens" else 1

    @abstractmethod
    def unroll(self, conversations: Sequence[Sequence[np.ndarray]], state: State) -> Unrolled:
        """See conversations as what goes through time. The lens asks nothing else of a memory.

        Args:
            conversations: the messages of each, at least one, each from its role to its END.
            state: of each before its first message.
        """

    @abstractmethod
    def carry(self, message: np.ndarray, state: State) -> State:
        """Read one message in all rows: the state after it, with its gradient.

        Args:
            message: from its role to its END.
            state: of each row before.
        """

    def reader(self) -> Callable[[np.ndarray, State], State]:
        """Make a `carry` without gradient for many messages: what can be prepared once is."""
        return torch.no_grad()(self.carry)

    @property
    @abstractmethod
    def output_layer(self) -> tuple[Tensor, Tensor]:
        """The weight, (vocabulary_size, H), and bias that make logits of a hidden state."""

    def logits(self, hidden: Tensor) -> Tensor:
        """Make logits, (..., vocabulary_size), of hidden states, (..., H)."""
        return F.linear(hidden, *self.output_layer)

    def nats(self, hidden: Tensor, targets: Tensor, pointed: Pointed | None = None) -> Tensor:
        """Sum what `costs` gives: a scalar, with the gradient that is learned from."""
        weight, bias = self.output_layer
        if pointed is None:
            return linear_cross_entropy(hidden, weight, targets, bias)
        rest, each = cross_entropy_of_each(hidden, weight, targets, bias, pointed.odds)
        nats = rest - pointed.log_gate.sum()
        if self.ngrams is None:
            return nats
        # The net learns what it alone should say; what is paid is the price of the mixture.
        mixed = self.ngrams.costs(hidden, targets, pointed.key, each - pointed.log_gate)
        return mixed.sum() + (nats - nats.detach())

    def pointer_nats(self, pointed: Pointed | None) -> Tensor:
        """Make `Loss.pointer_nats` of what the pointer makes of the targets that count."""
        return torch.zeros(()) if pointed is None else -pointed.alone.sum()

    def costs(
        self,
        hidden: Tensor,
        targets: Tensor,
        pointed: Pointed | None = None,
        logits: Callable[[Tensor], Tensor] | None = None,
    ) -> Tensor:
        """Compute -log p in nats of each target, (N,) float64, without all logits at once.

        Args:
            hidden: the state from which each is predicted, (N, H).
            targets: ids, (N,).
            pointed: what a pointer makes of each, (N,) tensors.
            logits: what makes them; None: `self.logits`.
        """
        logits = logits or self.logits
        parts = zip(*(each.split(LOGIT_CHUNK_TOKENS) for each in (hidden, targets)), strict=True)
        nats = torch.cat([F.cross_entropy(logits(h), t, reduction="none") for h, t in parts])
        if pointed is not None:
            nats = -torch.logaddexp(-nats, pointed.odds) - pointed.log_gate
            if self.ngrams is not None:
                nats = self.ngrams.costs(hidden, targets, pointed.key, nats)
        return nats.double()

    def begin_from(self, other: "Chatbot") -> None:
        """Take over the weights of a chatbot of the same sizes; what that one lacks stays new."""
        own = self.state_dict()
        given = {name: each for name, each in other.state_dict().items() if name in own}
        self.load_state_dict(own | given)

    def count(self, ids: np.ndarray, counted: np.ndarray) -> None:
        """Count which token follows which, if this chatbot mixes counts in.

        Args:
            ids: whole messages that are to be learned, (T,).
            counted: which tokens are learned, (T,) bool.
        """
        if self.ngrams is not None:
            self.ngrams.count(ids, counted)

    @abstractmethod
    def loss(self, batch: Batch, state: State | None, unfold: Unfold) -> Loss:
        """Compute the loss of a batch from the state after the last one (None: the first batch)."""

    @abstractmethod
    def score(
        self, rows: Sequence[Sequence[np.ndarray]], state: State
    ) -> tuple[list[Tensor], State]:
        """Read messages, and say how likely they were. Without gradient.

        Args:
            rows: the messages of each row, at least one, each from its role to its END.
            state: of each row before them.

        Returns:
            For each row -log p in nats of each message's text and END, given its role and all
            before it, (messages,); and the state of each row after its last message.
        """

    def costs_of(self, messages: Sequence[np.ndarray], state: State, copied: bool = True) -> Tensor:
        """Score one message for each row, (rows,), as `score` does, where no state is wanted.

        A memory may take packed weights for it.

        Args:
            messages: one for each row.
            state: of each row before it.
            copied: whether the pointer's share counts; else the vocabulary's alone is told.
        """
        if not copied and self.pointer is not None:
            raise NotImplementedError("a memory with a pointer has its own costs_of")
        return torch.cat(self.score([[message] for message in messages], state)[0])

    def read(self, message: Sequence[int] | np.ndarray, state: State) -> State:
        """Read one whole message, for one row: the state after it."""
        return self.absorb([self.pieces(np.asarray(message))], state)

    def pieces(self, message: np.ndarray) -> list[np.ndarray]:
        """Split a message into parts that may be read at different times, one after the other.

        Of a message that would take too long only a part is read: the pieces are that part.
        """
        return [message]

    def absorb(self, rows: Sequence[Sequence[np.ndarray]], state: State) -> State:
        """Read messages without scoring them: the state of each row after its last piece.

        Args:
            rows: of each row the pieces of one or more messages, at least one.
            state: of each row before them.
        """
        return self.score(rows, state)[1]

    def begin_reply(self, state: State) -> tuple[Tensor, State]:
        """Make logits of the reply's first token, (batch, vocabulary_size), and the state."""
        return self.step(torch.full((len(state[0]),), ROLES["bot"]), state)

    @abstractmethod
    def step(self, token: Tensor, state: State) -> tuple[Tensor, State]:
        """Say a token, (batch,) int64: logits of the next, (batch, vocabulary_size), and state."""

    @abstractmethod
    def end_message(self, state: State) -> State:
        """Return the state after END has been said."""
