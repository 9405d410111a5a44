"""The memory of messages: a recurrent network whose time steps are whole messages."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from elman.bptt import Full, State, Unfold
from elman.data.corpus import Corpus
from elman.data.layout import Batch, Layout
from elman.data.message_stream import MessageStream, MessageWindow
from elman.data.tokenizer import END
from elman.model.blocks import RecurrentStack, SlowLinear, StateSpec
from elman.model.chatbot import Batches, Chatbot, Loss
from elman.model.config import ModelConfig
from elman.model.ngrams import NGrams
from elman.model.packing import pack_sequences, token_ids
from elman.model.pointer import Pointer
from elman.model.ragged import point_messages, ragged, record_messages
from elman.model.unrolled import Unrolled

SCORED_CHUNK_MESSAGES = 4096
"""Messages that are encoded or scored at once: bounds memory."""


class MessagesChatbot(Chatbot):
    """An encoder reads each message; a conversation network takes one step for each message; a
    decoder makes the reply from its state (as in the HRED of Serban et al. 2016).

        v_n = encoder(m_n)[END]            each message on its own, all in parallel
        s_n = conversation(v_n, s_{n-1})   the only steps from message to message
        c_n = the output of that step      what is remembered when m_{n+1} is said
        m_{n+1} ~ decoder(tokens + W c_n)  each message on its own, all in parallel

    The output layer is tied to the embedding, which encoder and decoder share. With a pointer, the
    decoder can copy from a record of the last tokens, whose keys are made of the encoder's states;
    the logits are then log p of the mixture.

    Args:
        config: sizes and cells; of its `layers`, one is the encoder's, the others the decoder's.
        vocabulary_size: V.
    """

    def __init__(self, config: ModelConfig, vocabulary_size: int) -> None:
        super().__init__(config, vocabulary_size)
        self.longest = config.max_message_tokens
        size = config.hidden_size
        self.embedding = nn.Embedding(vocabulary_size, size)
        nn.init.normal_(self.embedding.weight, std=size**-0.5)
        self.encoder = RecurrentStack(config.encoder_cell or config.cell, 1, size, mlp=config.mlp)
        self.conversation = RecurrentStack(config.conversation_cell or config.cell, 1, size)
        self.decoder = RecurrentStack(
            config.decoder_cell or config.cell,
            max(1, config.layers - 1),
            size,
            config.dropout,
            config.mlp,
        )
        # Nothing at first, and learned slowly: at its full size it drowns the words (LOG.md).
        self.context = SlowLinear(size, size, bias=False)
        nn.init.zeros_(self.context.weight)
        self.output_bias = nn.Parameter(torch.zeros(vocabulary_size))
        self.pointer = Pointer(size, config.pointer) if config.pointer else None
        self.ngrams = NGrams(size, vocabulary_size, config.ngrams) if config.ngrams else None

    @classmethod
    def longest_learned(cls, config: ModelConfig) -> int | None:
        return config.max_message_tokens

    @property
    def state_spec(self) -> list[StateSpec]:
        """Between messages, only the conversation's state, context and record are not zero."""
        dtype = self.embedding.weight.dtype
        return [
            *self.conversation.state_spec("conversation"),
            StateSpec("context", self.embedding.embedding_dim, dtype),
            *self.encoder.state_spec("encoder"),
            *self.decoder.state_spec("decoder"),
            StateSpec("encoder.tokens", 1, dtype),
            *([] if self.pointer is None else self.pointer.state_spec("messages")),
        ]

    def batches(self, corpus: Corpus, layout: Layout) -> Batches:
        return MessageStream(corpus, layout)

    def encode(self, messages: Sequence[np.ndarray]) -> tuple[Tensor, list[Tensor]]:
        """Read each message by itself.

        Returns:
            One vector for each message, (messages, H). With a pointer, also the encoder's state
            after each token of each message, (tokens, H): zeros where it no longer reads.
        """
        packed = pack_sequences([self._cut(message) for message in messages])
        hidden = self._run(self.encoder, self.embedding(packed.ids), packed.keep).flatten(0, 1)
        vectors = hidden[torch.stack([own[-1] for own in packed.indices])]
        if self.pointer is None:
            return vectors, []
        states = list(hidden[torch.cat(packed.indices)].split(list(map(len, packed.indices))))
        for number, message in enumerate(messages):
            own = states[number]
            if unread := len(message) - len(own):
                states[number] = torch.cat([F.pad(own[:-1], (0, 0, 0, unread)), own[-1:]])
        return vectors, states

    def _cut(self, message: np.ndarray) -> np.ndarray:
        """Cut a message to what the encoder reads of it."""
        if len(message) <= self.longest:
            return message
        return np.append(message[: self.longest - 1], np.uint16(END))

    def decode(self, messages: Sequence[np.ndarray], context: Tensor) -> tuple[Tensor, Tensor]:
        """Make the hidden states that the tokens of messages are predicted from.

        Args:
            messages: N of them.
            context: what is remembered when each is said, (N, H).

        Returns:
            For all tokens but the roles, message after message: the hidden state from which each
            is predicted, (tokens, H), and its id, (tokens,).
        """
        packed = pack_sequences([message[:-1] for message in messages])
        remembered = F.pad(self.context(context), (0, 0, 0, 1))  # the last row: nobody's steps
        x = self.embedding(packed.ids) + remembered[packed.owner]
        hidden = self._run(self.decoder, x, packed.keep).flatten(0, 1)[torch.cat(packed.indices)]
        return hidden, token_ids([message[1:] for message in messages])

    def _run(self, stack: RecurrentStack, x: Tensor, keep: Tensor) -> Tensor:
        """Run a stack over packed messages; within one, the gradient goes over every step."""
        hidden: Tensor = stack(x, stack.initial_state(x.shape[1]), keep, None, Full())[0]
        return hidden

    def remember(
        self, vectors: list[Tensor], state: State, unfold: Unfold | None = None
    ) -> tuple[list[Tensor], State]:
        """Step from message to message.

        Args:
            vectors: of each row's messages, as `encode` made them, (K_i, H).
            state: of each row before.
            unfold: how far back the gradient goes.

        Returns:
            For each row what is remembered before its first message and after each, (K_i + 1, H);
            and the state after the last.
        """
        state, record = self.split(state)
        layers = self.conversation.own_state(state)
        parts = len(layers)
        outputs, after = ragged(self.conversation, vectors, layers, unfold)
        contexts = [
            torch.cat([before.unsqueeze(0), output])
            for before, output in zip(state[parts], outputs, strict=True)
        ]
        last = torch.stack([context[-1] for context in contexts])
        zeros = (torch.zeros_like(tensor) for tensor in state[parts + 1 :])
        return contexts, (*after, last, *zeros, *record)

    @property
    def through_time(self) -> RecurrentStack:
        return self.conversation

    def unroll(self, conversations: Sequence[Sequence[np.ndarray]], state: State) -> Unrolled:
        messages = [message for own in conversations for message in own]
        vectors, states = self.encode(messages)
        encoded = pack_sequences([self._cut(message) for message in messages]).owner
        sizes = [len(own) for own in conversations]
        numbers = torch.arange(len(messages))
        owners = {
            "embedding": [encoded],
            "encoder": [encoded],
            "conversation": [numbers],
            "context": [],
            "decoder": [],
        }
        first = state[len(self.conversation.own_state(state))]

        def predict(outputs: Sequence[Tensor], wanted: Sequence[Sequence[bool]]) -> Tensor:
            contexts = [
                torch.cat([before.unsqueeze(0), own[: len(said) - 1]])
                for before, own, said in zip(first, outputs, wanted, strict=True)
            ]
            spoken = numbers[[each for own in wanted for each in own]]
            said = [messages[n] for n in spoken.tolist()]
            hidden, _ = self.decode(said, torch.cat(contexts)[spoken])
            packed = pack_sequences([message[:-1] for message in said]).owner
            decoded = torch.cat([spoken, torch.tensor([len(messages)])])[packed]
            owners["embedding"].append(decoded)
            owners["decoder"].append(decoded)
            owners["context"].append(spoken)
            return hidden

        keys = None
        if self.pointer is not None:
            keys = list(torch.cat(states).split([sum(map(len, own)) for own in conversations]))
        return Unrolled(list(vectors.split(sizes)), predict, keys, owners)

    def carry(self, message: np.ndarray, state: State) -> State:
        rows = len(state[0])
        vectors, encoded = self.encode([message])
        after = self.remember([vectors] * rows, state)[1]
        if self.pointer is None:
            return after
        own, record = self.split(after)
        read = [[message]] * rows
        return (*own, *record_messages(self.pointer, read, encoded * rows, record)[1])

    @property
    def output_layer(self) -> tuple[Tensor, Tensor]:
        return self.embedding.weight, self.output_bias

    def loss(self, batch: Batch, state: State | None, unfold: Unfold) -> Loss:
        assert isinstance(batch, MessageWindow)
        window = batch
        state = self.begin_window(window, state)
        rows = window.rows
        # What is being said now is read only where it can be repeated.
        last = int(self.pointer is None)
        counts = [len(row.messages) - last for row in rows]
        read = [m for row, n in zip(rows, counts, strict=True) for m in row.messages[:n]]
        vectors = state[0].new_zeros(0, self.context.in_features)
        encoded: list[Tensor] = []
        if read:
            vectors, encoded = self.encode(read)
        own = [
            v[: len(row.messages) - 1] for v, row in zip(vectors.split(counts), rows, strict=True)
        ]
        # In two parts: the next window begins with the state between them.
        first, carried = self.remember(
            [v[: row.carry] for v, row in zip(own, rows, strict=True)], state, unfold
        )
        second, _ = self.remember(
            [v[row.carry :] for v, row in zip(own, rows, strict=True)], carried, unfold
        )
        contexts = [torch.cat([a, b[1:]]) for a, b in zip(first, second, strict=True)]
        said = [
            (message, context[number])
            for row, context in zip(rows, contexts, strict=True)
            for number, message in enumerate(row.messages)
            if row.loss_mask[number]
        ]
        if said:
            hidden, targets = self.decode([m for m, _ in said], torch.stack([c for _, c in said]))
        else:
            hidden, targets = vectors[:0], torch.zeros(0, dtype=torch.long)
        pointed = None
        if self.pointer is not None:
            messages, kept = [row.messages for row in rows], [row.carry for row in rows]
            carried, record = self.split(carried)
            seen, record = record_messages(self.pointer, messages, encoded, record, kept)
            carried = (*carried, *record)
            if said:
                counted = [row.loss_mask for row in rows]
                hidden, pointed = point_messages(self.pointer, messages, counted, hidden, seen)
        nats = self.nats(hidden, targets, pointed)
        steps = sum(map(len, read)) + len(targets)
        after = tuple(tensor.detach() for tensor in carried)
        return Loss(nats, targets, steps, after, self.pointer_nats(pointed))

    @torch.no_grad()
    def score(
        self, rows: Sequence[Sequence[np.ndarray]], state: State, copied: bool = True
    ) -> tuple[list[Tensor], State]:
        messages = [message for own in rows for message in own]
        sizes = [len(own) for own in rows]
        vectors, encoded = self._encode_all(messages)
        contexts, after = self.remember(list(vectors.split(sizes)), state)
        before = torch.cat([context[:-1] for context in contexts])
        parts = [self.decode(messages[span], before[span]) for span in _chunks(len(messages))]
        hidden, targets = (torch.cat(each) for each in zip(*parts, strict=True))
        pointed = None
        if self.pointer is not None:
            after, record = self.split(after)
            seen, record = record_messages(self.pointer, rows, encoded, record)
            after = (*after, *record)
            every = [[True] * n for n in sizes]
            hidden, pointed = point_messages(self.pointer, rows, every, hidden, seen)
        costs = self.costs(hidden, targets, pointed if copied else None)
        sums = [part.sum() for part in costs.split([len(each) - 1 for each in messages])]
        return list(torch.stack(sums).split(sizes)), after

    def costs_of(self, messages: Sequence[np.ndarray], state: State, copied: bool = True) -> Tensor:
        return torch.cat(self.score([[message] for message in messages], state, copied)[0])

    def _encode_all(self, messages: Sequence[np.ndarray]) -> tuple[Tensor, list[Tensor]]:
        """Encode in parts: bounds memory."""
        parts = [self.encode(messages[span]) for span in _chunks(len(messages))]
        return torch.cat([v for v, _ in parts]), [each for _, encoded in parts for each in encoded]

    @torch.no_grad()
    def absorb(self, rows: Sequence[Sequence[np.ndarray]], state: State) -> State:
        vectors, encoded = self._encode_all([message for own in rows for message in own])
        sizes = [len(own) for own in rows]
        after = self.remember(list(vectors.split(sizes)), state)[1]
        if self.pointer is None:
            return after
        after, record = self.split(after)
        return (*after, *record_messages(self.pointer, rows, encoded, record)[1])

    def step(self, token: Tensor, state: State) -> tuple[Tensor, State]:
        own, record = self.split(state)
        conversation, context, encoder, decoder, tokens = self._parts(own)
        x = self.embedding(token)
        # What the encoder reads of the bot's own message ends where `_cut` would.
        reads = tokens < self.longest - 1
        encoded, read = self._steps("encoder")(x.unsqueeze(0), encoder)
        encoder = tuple(new.where(reads, old) for new, old in zip(read, encoder, strict=True))
        hidden, decoder = self._steps("decoder")((x + self.context(context)).unsqueeze(0), decoder)
        own = (*conversation, context, *encoder, *decoder, tokens + 1)
        if self.pointer is None:
            return self._say(hidden[0]), own
        encoded = encoded[0].where(reads, encoded.new_zeros(()))
        logits, record = self._mixed(token, encoded, hidden[0], record)
        return logits, (*own, *record)

    def end_message(self, state: State) -> State:
        own, record = self.split(state)
        _, _, encoder, _, _ = self._parts(own)
        end = torch.full((1, len(state[0])), END)
        vector, _ = self._steps("encoder")(self.embedding(end), encoder)
        if self.pointer is not None:
            record = self.pointer.record(end, vector, record)[1]
        return self.remember(list(vector.transpose(0, 1)), (*own, *record))[1]

    def _parts(self, state: State) -> tuple[State, Tensor, State, State, Tensor]:
        """Conversation, context, encoder, decoder, and how many tokens the encoder has read."""
        a = len(self.conversation.own_state(state))
        b = a + 1 + len(self.encoder.state_spec(""))
        return state[:a], state[a], state[a + 1 : b], state[b:-1], state[-1]


def _chunks(count: int) -> list[slice]:
    """Split so many messages into spans that are scored at once."""
    begins = range(0, count, SCORED_CHUNK_MESSAGES)
    return [slice(begin, begin + SCORED_CHUNK_MESSAGES) for begin in begins]
