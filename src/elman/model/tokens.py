"""The memory of tokens: a recurrent language model over the whole conversation."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from elman.bptt import State, Stepper, Unfold
from elman.data.corpus import Corpus
from elman.data.layout import Layout
from elman.data.message_stream import MessageStream, MessageWindow, counted_tokens
from elman.data.stream import Stream, Window
from elman.data.tokenizer import END, ROLES
from elman.model.blocks import RecurrentStack, StateSpec, ragged
from elman.model.chatbot import Batches, Chatbot, Loss
from elman.model.config import ModelConfig
from elman.model.ngrams import NGrams
from elman.model.pointer import Pointed, Pointer

PIECE = 64
"""Tokens of a message that are read without a break."""

MAX_READ_TOKENS = 8192
"""Tokens of a message that are read in a conversation: of a longer one its role and its end. To
read takes as long for each token, about a quarter of a millisecond with the base on two cores.
"""


class TokensChatbot(Chatbot):
    """One recurrent step for each token of each message; the state after the user's last message is
    what the reply is made from.

    The output layer is tied to the embedding (Press and Wolf 2017). With a pointer, the state holds
    a record of the last tokens too, which replies can copy from; what the chatbot gives as logits
    is then log p of the mixture.

    Args:
        config: sizes and cell.
        vocabulary_size: V.
    """

    ends_by_step = True

    def __init__(self, config: ModelConfig, vocabulary_size: int) -> None:
        super().__init__(config, vocabulary_size)
        size = config.hidden_size
        self.embedding = nn.Embedding(vocabulary_size, size)
        nn.init.normal_(self.embedding.weight, std=size**-0.5)
        self.stack = RecurrentStack(config.cell, config.layers, size, config.dropout, config.mlp)
        self.output_bias = nn.Parameter(torch.zeros(vocabulary_size))
        self.pointer = Pointer(size, config.pointer) if config.pointer else None
        self.ngrams = NGrams(size, vocabulary_size, config.ngrams) if config.ngrams else None

    @property
    def state_spec(self) -> list[StateSpec]:
        layers = self.stack.state_spec("tokens")
        return layers if self.pointer is None else layers + self.pointer.state_spec("tokens")

    def batches(self, corpus: Corpus, layout: Layout) -> Batches:
        return (
            MessageStream(corpus, layout) if layout.unit == "messages" else Stream(corpus, layout)
        )

    @property
    def through_time(self) -> RecurrentStack:
        return self.stack

    def steps_of(self, message: Sequence[int] | np.ndarray) -> int:
        return len(message)

    def carry(self, message: np.ndarray, state: State) -> State:
        return self._carry(message, state, None)

    def reader(self) -> Callable[[np.ndarray, State], State]:
        packed = None
        if self.embedding.weight.dtype == torch.float32:
            packed = [Stepper(block.cell) for block in self.stack.blocks]

        @torch.no_grad()
        def read(message: np.ndarray, state: State) -> State:
            return self._carry(message, state, packed)

        return read

    def _carry(self, message: np.ndarray, state: State, packed: Sequence[Stepper] | None) -> State:
        ids = torch.from_numpy(message.astype(np.int64))
        layers, record = self.split(state)
        hidden, layers = self.stack.shared(
            self.embedding(ids), layers, packed, outputs=self.pointer is not None
        )
        if self.pointer is not None and hidden is not None:
            every = ids.unsqueeze(1).expand(-1, len(state[0]))
            record = self.pointer.record(every, hidden, record)[1]
        return (*layers, *record)

    @property
    def output_layer(self) -> tuple[Tensor, Tensor]:
        return self.embedding.weight, self.output_bias

    def loss(self, batch: Any, state: State | None, unfold: Unfold) -> Loss:
        if isinstance(batch, MessageWindow):
            return self._loss_of_messages(batch, state, unfold)
        window: Window = batch
        if state is None:
            state = self.initial_state(window.inputs.shape[1])
        layers, record = self.split(state)
        hidden, layers = self.stack(
            self.embedding(window.inputs), layers, window.keep, window.cut, unfold
        )
        counts = window.weight > 0
        targets = window.targets[counts]
        pointed = None
        if self.pointer is not None:
            seen, record = self.pointer.record(window.inputs, hidden, record, window.keep)
            hidden, pointed = self.pointer.point(seen, hidden, window.targets)
            pointed = pointed.at(counts)
        nats = self.nats(hidden[counts], targets, pointed)
        after = tuple(tensor.detach() for tensor in (*layers, *record))
        return Loss(nats, targets, counts.numel(), after, self.copying(pointed))

    def _loss_of_messages(self, window: MessageWindow, state: State | None, unfold: Unfold) -> Loss:
        """Each lane's messages run in two parts: the next window begins with the state between."""
        state = self.begin_window(window, state)
        tokens = [
            torch.from_numpy(np.concatenate(lane.messages).astype(np.int64))
            for lane in window.lanes
        ]
        read = [sum(map(len, lane.messages[: lane.carry])) for lane in window.lanes]
        embedded = self._embed(tokens)
        layers, record = self.split(state)
        first, carried = ragged(
            self.stack, [x[:n] for x, n in zip(embedded, read, strict=True)], layers, unfold
        )
        second, _ = ragged(
            self.stack, [x[n:] for x, n in zip(embedded, read, strict=True)], carried, unfold
        )
        hidden = [torch.cat(both) for both in zip(first, second, strict=True)]
        predictions, pointed, record = self._pointed(tokens, hidden, record, read)
        # The token that counts is predicted one step before it.
        counts = torch.cat([torch.from_numpy(counted_tokens(lane)[1:]) for lane in window.lanes])
        targets = torch.cat([lane[1:] for lane in tokens])[counts]
        pointed = None if pointed is None else pointed.at(counts)
        nats = self.nats(predictions[counts], targets, pointed)
        after = tuple(tensor.detach() for tensor in (*carried, *record))
        return Loss(nats, targets, sum(map(len, tokens)), after, self.copying(pointed))

    def _pointed(
        self, tokens: Sequence[Tensor], hidden: Sequence[Tensor], record: State, read: Sequence[int]
    ) -> tuple[Tensor, Pointed | None, State]:
        """What each lane's tokens but its first are predicted from, one lane after another.

        Args:
            tokens: of each lane, (T_i,).
            hidden: of each lane, (T_i, H).
            record: the pointer's state before them.
            read: after how many tokens of each lane to take the pointer's state.

        Returns:
            What the vocabulary's logits are made of, (tokens, H); what the pointer makes of the
            same tokens; and its state.
        """
        if self.pointer is None:
            return torch.cat([lane[:-1] for lane in hidden]), None, record
        ids = nn.utils.rnn.pad_sequence(list(tokens))
        states = nn.utils.rnn.pad_sequence(list(hidden))
        seen, record = self.pointer.record(ids, states, record, lengths=torch.tensor(read))
        lengths = torch.tensor([len(lane) - 1 for lane in tokens])
        ends = torch.arange(len(ids) - 1).unsqueeze(1) < lengths  # of what is not padding
        told, pointed = self.pointer.point(seen, states[:-1], ids[1:])
        places = ends.t()
        flat = Pointed(*(each.t()[places] for each in pointed))
        return told.transpose(0, 1)[places], flat, record

    def _embed(self, tokens: Sequence[Tensor]) -> list[Tensor]:
        """The embeddings of each lane's ids."""
        return list(self.embedding(torch.cat(list(tokens))).split([len(ids) for ids in tokens]))

    @torch.no_grad()
    def score(
        self, lanes: Sequence[Sequence[np.ndarray]], state: State
    ) -> tuple[list[Tensor], State]:
        tokens = [torch.from_numpy(np.concatenate(lane).astype(np.int64)) for lane in lanes]
        layers, record = self.split(state)
        hidden, layers = ragged(self.stack, self._embed(tokens), layers)
        per_lane, record = self._token_costs(tokens, hidden, record)
        nats = [_per_message(costs, lane) for costs, lane in zip(per_lane, lanes, strict=True)]
        return nats, (*layers, *record)

    @torch.no_grad()
    def costs_of(self, messages: Sequence[np.ndarray], state: State) -> Tensor:
        # All in one run: what is computed after the end of a lane is not looked at.
        tokens = [torch.from_numpy(message.astype(np.int64)) for message in messages]
        layers, record = self.split(state)
        embedded = self.embedding(nn.utils.rnn.pad_sequence(tokens))
        together, _ = self._steps("stack")(embedded, layers)
        hidden = [together[: len(lane), row] for row, lane in enumerate(tokens)]
        output = self._packed_output or self.logits
        per_lane, _ = self._token_costs(tokens, hidden, record, output)
        return torch.stack([costs.sum() for costs in per_lane])

    def _token_costs(
        self,
        tokens: Sequence[Tensor],
        hidden: Sequence[Tensor],
        record: State,
        logits: Callable[[Tensor], Tensor] | None = None,
    ) -> tuple[Sequence[Tensor], State]:
        """-log p of each lane's tokens but its first, and the pointer's state after them."""
        predictions, pointed, record = self._pointed(
            tokens, hidden, record, [len(lane) for lane in tokens]
        )
        nats = self.costs(predictions, torch.cat([lane[1:] for lane in tokens]), pointed, logits)
        return nats.split([len(lane) - 1 for lane in tokens]), record

    def pieces(self, message: np.ndarray) -> list[np.ndarray]:
        if len(message) > MAX_READ_TOKENS:
            message = np.concatenate([message[:1], message[1 - MAX_READ_TOKENS :]])
        return np.split(message, range(PIECE, len(message), PIECE))

    @torch.no_grad()
    def absorb(self, lanes: Sequence[Sequence[np.ndarray]], state: State) -> State:
        tokens = [torch.from_numpy(np.concatenate(lane).astype(np.int64)) for lane in lanes]
        layers, record = self.split(state)
        hidden, layers = ragged(self.stack, self._embed(tokens), layers)
        if self.pointer is not None:
            ids = nn.utils.rnn.pad_sequence(tokens)
            lengths = torch.tensor([len(lane) for lane in tokens])
            states = nn.utils.rnn.pad_sequence(hidden)
            record = self.pointer.record(ids, states, record, lengths=lengths)[1]
        return (*layers, *record)

    def begin_reply(self, state: State) -> tuple[Tensor, State]:
        return self.step(torch.full((len(state[0]),), ROLES["bot"]), state)

    def step(self, token: Tensor, state: State) -> tuple[Tensor, State]:
        layers, record = self.split(state)
        hidden, layers = self._steps("stack")(self.embedding(token).unsqueeze(0), layers)
        if self.pointer is None:
            return self._say(hidden[0]), layers
        logits, record = self._mixed(token, hidden[0], hidden[0], record)
        return logits, (*layers, *record)

    def end_message(self, state: State) -> State:
        return self.step(torch.full((len(state[0]),), END), state)[1]


def _per_message(costs: Tensor, messages: Sequence[np.ndarray]) -> Tensor:
    """Sum the costs of a lane's tokens (all but its first) by message; a role costs nothing."""
    ends = torch.tensor([len(message) for message in messages]).cumsum(0)
    sums = torch.cat([costs.new_zeros(2), costs]).cumsum(0)
    # sums[e] is the cost of everything before token e; a message's role is token e_previous.
    begins = torch.cat([ends.new_zeros(1), ends[:-1]]) + 1
    return sums[ends] - sums[begins]
