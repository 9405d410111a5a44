"""The memory of tokens: a recurrent language model over the whole conversation."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from elman.bptt import State, Stepper, Unfold
from elman.data.corpus import Corpus
from elman.data.layout import Batch, Layout
from elman.data.message_stream import MessageStream, MessageWindow, token_loss_mask
from elman.data.stream import Stream, Window
from elman.data.tokenizer import END
from elman.model.blocks import RecurrentStack, StateSpec
from elman.model.chatbot import Batches, Chatbot, Loss
from elman.model.config import ModelConfig
from elman.model.ngrams import NGrams
from elman.model.packing import owner_of_tokens, predicted_places, token_ids
from elman.model.pointer import Pointed, Pointer
from elman.model.ragged import point_ragged, ragged, record_ragged
from elman.model.reading import parts
from elman.model.unrolled import Unrolled


class TokensChatbot(Chatbot):
    """A recurrent language model over the whole conversation, with one step for each token.

    The reply is made from the state after the user's last message. The output layer is tied to the
    embedding (Press and Wolf 2017). With a pointer, the state also holds a record of the last
    tokens, which replies can copy from; the logits are then log p of the mixture.

    Args:
        config: sizes and cell.
        vocabulary_size: V.
    """

    ends_by_step = True
    step_unit = "tokens"

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

    def unroll(self, conversations: Sequence[Sequence[np.ndarray]], state: State) -> Unrolled:
        tokens = [token_ids(own) for own in conversations]
        owner = owner_of_tokens([message for own in conversations for message in own])

        def predict(outputs: Sequence[Tensor], wanted: Sequence[Sequence[bool]]) -> Tensor:
            # A token is predicted from the step before it.
            return torch.cat(
                [
                    hidden[predicted_places(own, said) - 1]
                    for hidden, own, said in zip(outputs, conversations, wanted, strict=True)
                ]
            )

        owners = {"embedding": [owner], "stack": [owner]}
        return Unrolled(self._embed(tokens), predict, None, owners)

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

    def loss(self, batch: Batch, state: State | None, unfold: Unfold) -> Loss:
        if isinstance(batch, MessageWindow):
            return self._loss_of_messages(batch, state, unfold)
        assert isinstance(batch, Window)
        window = batch
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
        return Loss(nats, targets, counts.numel(), after, self.pointer_nats(pointed))

    def _loss_of_messages(self, window: MessageWindow, state: State | None, unfold: Unfold) -> Loss:
        """Run each row in two parts: the next window begins with the state between them."""
        state = self.begin_window(window, state)
        tokens = [token_ids(row.messages) for row in window.rows]
        read = [sum(map(len, row.messages[: row.carry])) for row in window.rows]
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
        counts = torch.cat([torch.from_numpy(token_loss_mask(row)[1:]) for row in window.rows])
        targets = torch.cat([own[1:] for own in tokens])[counts]
        pointed = None if pointed is None else pointed.at(counts)
        nats = self.nats(predictions[counts], targets, pointed)
        after = tuple(tensor.detach() for tensor in (*carried, *record))
        return Loss(nats, targets, sum(map(len, tokens)), after, self.pointer_nats(pointed))

    def _pointed(
        self, tokens: Sequence[Tensor], hidden: Sequence[Tensor], record: State, read: Sequence[int]
    ) -> tuple[Tensor, Pointed | None, State]:
        """Predict each row's tokens but its first, with the pointer's help where there is one.

        Args:
            tokens: of each row, (T_i,).
            hidden: the layers' output after each, (T_i, H).
            record: the pointer's state before them.
            read: after how many tokens of each row to take the pointer's state.

        Returns:
            What the vocabulary's logits are made of, one row after another, (tokens, H); what the
            pointer makes of the same tokens; and its state.
        """
        predictions = torch.cat([own[:-1] for own in hidden])
        if self.pointer is None:
            return predictions, None, record
        seen, record = record_ragged(self.pointer, tokens, hidden, record, read)
        steps = [torch.arange(len(own) - 1) for own in tokens]
        return *point_ragged(self.pointer, seen, predictions, steps), record

    def _embed(self, tokens: Sequence[Tensor]) -> list[Tensor]:
        """Look up the embeddings of each row's ids."""
        return list(self.embedding(torch.cat(list(tokens))).split([len(ids) for ids in tokens]))

    @torch.no_grad()
    def score(
        self, rows: Sequence[Sequence[np.ndarray]], state: State
    ) -> tuple[list[Tensor], State]:
        tokens = [token_ids(own) for own in rows]
        layers, record = self.split(state)
        hidden, layers = ragged(self.stack, self._embed(tokens), layers)
        per_row, record = self._token_costs(tokens, hidden, record)
        nats = [_per_message(costs, own) for costs, own in zip(per_row, rows, strict=True)]
        return nats, (*layers, *record)

    @torch.no_grad()
    def costs_of(self, messages: Sequence[np.ndarray], state: State, copied: bool = True) -> Tensor:
        # All in one run: what is computed after the end of a row is not looked at.
        tokens = [torch.from_numpy(message.astype(np.int64)) for message in messages]
        layers, record = self.split(state)
        embedded = self.embedding(nn.utils.rnn.pad_sequence(tokens))
        together, _ = self._steps("stack")(embedded, layers)
        hidden = [together[: len(own), row] for row, own in enumerate(tokens)]
        output = self._packed_output or self.logits
        per_row, _ = self._token_costs(tokens, hidden, record, output, copied)
        return torch.stack([costs.sum() for costs in per_row])

    def _token_costs(
        self,
        tokens: Sequence[Tensor],
        hidden: Sequence[Tensor],
        record: State,
        logits: Callable[[Tensor], Tensor] | None = None,
        copied: bool = True,
    ) -> tuple[Sequence[Tensor], State]:
        """-log p of each row's tokens but its first, and the pointer's state after them."""
        predictions, pointed, record = self._pointed(
            tokens, hidden, record, [len(own) for own in tokens]
        )
        targets = torch.cat([own[1:] for own in tokens])
        nats = self.costs(predictions, targets, pointed if copied else None, logits)
        return nats.split([len(own) - 1 for own in tokens]), record

    def pieces(self, message: np.ndarray) -> list[np.ndarray]:
        return parts(message)

    @torch.no_grad()
    def absorb(self, rows: Sequence[Sequence[np.ndarray]], state: State) -> State:
        tokens = [token_ids(own) for own in rows]
        layers, record = self.split(state)
        hidden, layers = ragged(self.stack, self._embed(tokens), layers)
        if self.pointer is not None:
            record = record_ragged(self.pointer, tokens, hidden, record)[1]
        return (*layers, *record)

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
    """Sum the costs of a row's tokens but its first by message. A role costs nothing."""
    ends = torch.tensor([len(message) for message in messages]).cumsum(0)
    sums = torch.cat([costs.new_zeros(2), costs]).cumsum(0)
    # sums[e] is the cost of everything before token e; a message's role is token e_previous.
    begins = torch.cat([ends.new_zeros(1), ends[:-1]]) + 1
    return sums[ends] - sums[begins]
