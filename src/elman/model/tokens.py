"""The memory of tokens: a recurrent language model over the whole conversation."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from elman.bptt import State, Unfold
from elman.data.corpus import Corpus
from elman.data.message_stream import MessageStream, MessageWindow, counted_tokens
from elman.data.order import Layout
from elman.data.stream import Stream, Window
from elman.data.tokenizer import END, ROLES
from elman.model.blocks import RecurrentStack, StateSpec, ragged
from elman.model.chatbot import Batches, Chatbot, Loss
from elman.model.config import ModelConfig

PIECE = 64
"""Tokens of a message that are read without a break."""


class TokensChatbot(Chatbot):
    """One recurrent step for each token of each message; the state after the user's last message is
    what the reply is made from.

    The output layer is tied to the embedding (Press and Wolf 2017).

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

    @property
    def state_spec(self) -> list[StateSpec]:
        return self.stack.state_spec("tokens")

    def batches(self, corpus: Corpus, layout: Layout) -> Batches:
        return (
            MessageStream(corpus, layout) if layout.unit == "messages" else Stream(corpus, layout)
        )

    @property
    def through_time(self) -> RecurrentStack:
        return self.stack

    def steps_of(self, message: Sequence[int] | np.ndarray) -> int:
        return len(message)

    def inputs(self, message: np.ndarray) -> Tensor:
        embedded: Tensor = self.embedding(torch.from_numpy(message.astype(np.int64)))
        return embedded

    def carry(self, inputs: Tensor, state: State) -> State:
        return self.stack.after(inputs, state)

    @property
    def output_layer(self) -> tuple[Tensor, Tensor]:
        return self.embedding.weight, self.output_bias

    def loss(self, batch: Any, state: State | None, unfold: Unfold) -> Loss:
        if isinstance(batch, MessageWindow):
            return self._loss_of_messages(batch, state, unfold)
        window: Window = batch
        if state is None:
            state = self.initial_state(window.inputs.shape[1])
        hidden, state = self.stack(
            self.embedding(window.inputs), state, window.keep, window.cut, unfold
        )
        counts = window.weight > 0
        targets = window.targets[counts]
        nats = self.nats(hidden[counts], targets)
        return Loss(nats, targets, counts.numel(), tuple(tensor.detach() for tensor in state))

    def _loss_of_messages(self, window: MessageWindow, state: State | None, unfold: Unfold) -> Loss:
        """Each lane's messages run in two parts: the next window begins with the state between."""
        state = self.begin_window(window, state)
        tokens = [
            torch.from_numpy(np.concatenate(lane.messages).astype(np.int64))
            for lane in window.lanes
        ]
        read = [sum(map(len, lane.messages[: lane.carry])) for lane in window.lanes]
        embedded = self._embed(tokens)
        first, carried = ragged(
            self.stack, [x[:n] for x, n in zip(embedded, read, strict=True)], state, unfold
        )
        second, _ = ragged(
            self.stack, [x[n:] for x, n in zip(embedded, read, strict=True)], carried, unfold
        )
        counts = torch.cat([torch.from_numpy(counted_tokens(lane)) for lane in window.lanes])
        hidden = torch.cat([part for both in zip(first, second, strict=True) for part in both])
        # The token that counts is predicted one step before it.
        at = counts.nonzero().squeeze(1)
        targets = torch.cat(tokens)[at]
        nats = self.nats(hidden[at - 1], targets)
        return Loss(nats, targets, len(counts), tuple(tensor.detach() for tensor in carried))

    def _embed(self, tokens: Sequence[Tensor]) -> list[Tensor]:
        """The embeddings of each lane's ids."""
        return list(self.embedding(torch.cat(list(tokens))).split([len(ids) for ids in tokens]))

    @torch.no_grad()
    def score(
        self, lanes: Sequence[Sequence[np.ndarray]], state: State
    ) -> tuple[list[Tensor], State]:
        tokens = [torch.from_numpy(np.concatenate(lane).astype(np.int64)) for lane in lanes]
        hidden, state = ragged(self.stack, self._embed(tokens), state)
        predictions = torch.cat([lane[:-1] for lane in hidden])
        targets = torch.cat([lane[1:] for lane in tokens])
        per_lane = self.costs(predictions, targets).split([len(lane) - 1 for lane in tokens])
        return [
            _per_message(costs, lane) for costs, lane in zip(per_lane, lanes, strict=True)
        ], state

    def pieces(self, message: np.ndarray) -> list[np.ndarray]:
        return np.split(message, range(PIECE, len(message), PIECE))

    @torch.no_grad()
    def absorb(self, lanes: Sequence[Sequence[np.ndarray]], state: State) -> State:
        tokens = [torch.from_numpy(np.concatenate(lane).astype(np.int64)) for lane in lanes]
        return ragged(self.stack, self._embed(tokens), state)[1]

    def begin_reply(self, state: State) -> tuple[Tensor, State]:
        return self.step(torch.full((len(state[0]),), ROLES["bot"]), state)

    def step(self, token: Tensor, state: State) -> tuple[Tensor, State]:
        hidden, state = self._steps("stack")(self.embedding(token).unsqueeze(0), state)
        return self._say(hidden[0]), state

    def end_message(self, state: State) -> State:
        return self.step(torch.full((len(state[0]),), END), state)[1]


def _per_message(costs: Tensor, messages: Sequence[np.ndarray]) -> Tensor:
    """Sum the costs of a lane's tokens (all but its first) by message; a role costs nothing."""
    ends = torch.tensor([len(message) for message in messages]).cumsum(0)
    sums = torch.cat([costs.new_zeros(2), costs]).cumsum(0)
    # sums[e] is the cost of everything before token e; a message's role is token e_previous.
    begins = torch.cat([ends.new_zeros(1), ends[:-1]]) + 1
    return sums[ends] - sums[begins]
