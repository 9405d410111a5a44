"""The memory of messages: a recurrent network whose time steps are whole messages."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from elman.bptt import Full, State, Unfold
from elman.data.corpus import Corpus
from elman.data.message_stream import MessageStream, MessageWindow
from elman.data.order import Layout
from elman.data.tokenizer import END, ROLES
from elman.model.blocks import RecurrentStack, StateSpec, ragged
from elman.model.chatbot import Batches, Chatbot, Loss
from elman.model.config import ModelConfig
from elman.model.packing import pack

CHUNK = 4096
"""Messages that are scored at once: bounds memory."""


class MessagesChatbot(Chatbot):
    """An encoder reads each message; a conversation network takes one step for each message; a
    decoder makes the reply from its state (as in the HRED of Serban et al. 2016).

        v_n = encoder(m_n)[END]            each message on its own, all in parallel
        s_n = conversation(v_n, s_{n-1})   the only steps from message to message
        c_n = the output of that step      what is remembered when m_{n+1} is said
        m_{n+1} ~ decoder(tokens + W c_n)  each message on its own, all in parallel

    The output layer is tied to the embedding, which encoder and decoder share.

    Args:
        config: sizes and cells; of its `layers`, one is the encoder's, the others the decoder's.
        vocabulary_size: V.
    """

    def __init__(self, config: ModelConfig, vocabulary_size: int) -> None:
        super().__init__(config, vocabulary_size)
        self.longest = config.longest_message
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
        self.context = nn.Linear(size, size, bias=False)
        nn.init.zeros_(self.context.weight)
        self.output_bias = nn.Parameter(torch.zeros(vocabulary_size))

    @property
    def state_spec(self) -> list[StateSpec]:
        """Between messages, only the conversation's state and context are not zero."""
        dtype = self.embedding.weight.dtype
        return [
            *self.conversation.state_spec("conversation"),
            StateSpec("context", self.embedding.embedding_dim, dtype),
            *self.encoder.state_spec("encoder"),
            *self.decoder.state_spec("decoder"),
            StateSpec("encoder.tokens", 1, dtype),
        ]

    def batches(self, corpus: Corpus, layout: Layout) -> Batches:
        return MessageStream(corpus, layout)

    def encode(self, messages: Sequence[np.ndarray]) -> Tensor:
        """What the encoder makes of each message by itself, (messages, H)."""
        packed = pack([self._cut(message) for message in messages])
        hidden = self._run(self.encoder, self.embedding(packed.ids), packed.keep)
        return hidden.flatten(0, 1)[torch.stack([place[-1] for place in packed.places])]

    def _cut(self, message: np.ndarray) -> np.ndarray:
        """A message as far as the encoder reads it."""
        if len(message) <= self.longest:
            return message
        return np.append(message[: self.longest - 1], np.uint16(END))

    def decode(self, messages: Sequence[np.ndarray], context: Tensor) -> tuple[Tensor, Tensor]:
        """Hidden states from which the tokens of messages are predicted.

        Args:
            messages: N of them.
            context: what is remembered when each is said, (N, H).

        Returns:
            For all tokens but the roles, message after message: the hidden state from which each
            is predicted, (tokens, H), and its id, (tokens,).
        """
        packed = pack([message[:-1] for message in messages])
        remembered = F.pad(self.recall(context), (0, 0, 0, 1))  # the last row: nobody's steps
        x = self.embedding(packed.ids) + remembered[packed.owner]
        hidden = self._run(self.decoder, x, packed.keep).flatten(0, 1)[torch.cat(packed.places)]
        targets = np.concatenate([message[1:] for message in messages]).astype(np.int64)
        return hidden, torch.from_numpy(targets)

    def _run(self, stack: RecurrentStack, x: Tensor, keep: Tensor) -> Tensor:
        """Messages are short: within one, every step counts."""
        hidden: Tensor = stack(x, stack.initial_state(x.shape[1]), keep, None, Full())[0]
        return hidden

    def remember(
        self, vectors: list[Tensor], state: State, unfold: Unfold | None = None
    ) -> tuple[list[Tensor], State]:
        """Step from message to message.

        Args:
            vectors: for each lane its messages as `encode` made them, (K_i, H).
            state: of each lane before.
            unfold: how far back the gradient goes.

        Returns:
            For each lane what is remembered before its first message, and after each,
            (K_i + 1, H); and the state after the last.
        """
        parts = len(self.conversation.state_spec(""))
        outputs, after = ragged(self.conversation, vectors, state[:parts], unfold)
        contexts = [
            torch.cat([before.unsqueeze(0), output])
            for before, output in zip(state[parts], outputs, strict=True)
        ]
        last = torch.stack([context[-1] for context in contexts])
        return contexts, (*after, last, *(torch.zeros_like(t) for t in state[parts + 1 :]))

    def recall(self, context: Tensor) -> Tensor:
        """What the decoder hears of the context beside each token, (..., H)."""
        # Nothing at first, and learned slowly: at its full size it drowns the words (LOG.md).
        return F.linear(context, self.context.weight / self.context.in_features)

    @property
    def through_time(self) -> RecurrentStack:
        return self.conversation

    def steps_of(self, message: Sequence[int] | np.ndarray) -> int:
        return 1

    def inputs(self, message: np.ndarray) -> Tensor:
        return self.encode([message])

    def carry(self, inputs: Tensor, state: State) -> State:
        return self.remember([inputs] * len(state[0]), state)[1]

    @property
    def output_layer(self) -> tuple[Tensor, Tensor]:
        return self.embedding.weight, self.output_bias

    def loss(self, batch: Any, state: State | None, unfold: Unfold) -> Loss:
        window: MessageWindow = batch
        state = self.begin_window(window, state)
        lanes = window.lanes
        read = [message for lane in lanes for message in lane.messages[:-1]]
        counts = [len(lane.messages) - 1 for lane in lanes]
        vectors = self.encode(read) if read else state[0].new_zeros(0, self.context.in_features)
        own = vectors.split(counts)
        # In two parts: the next window begins with the state between them.
        first, carried = self.remember(
            [v[: lane.carry] for v, lane in zip(own, lanes, strict=True)], state, unfold
        )
        second, _ = self.remember(
            [v[lane.carry :] for v, lane in zip(own, lanes, strict=True)], carried, unfold
        )
        contexts = [torch.cat([a, b[1:]]) for a, b in zip(first, second, strict=True)]
        said = [
            (message, context[number])
            for lane, context in zip(lanes, contexts, strict=True)
            for number, message in enumerate(lane.messages)
            if lane.counted[number]
        ]
        if said:
            hidden, targets = self.decode([m for m, _ in said], torch.stack([c for _, c in said]))
        else:
            hidden, targets = vectors[:0], torch.zeros(0, dtype=torch.long)
        nats = self.nats(hidden, targets)
        steps = sum(map(len, read)) + len(targets)
        return Loss(nats, targets, steps, tuple(tensor.detach() for tensor in carried))

    @torch.no_grad()
    def score(
        self, lanes: Sequence[Sequence[np.ndarray]], state: State
    ) -> tuple[list[Tensor], State]:
        messages = [message for lane in lanes for message in lane]
        sizes = [len(lane) for lane in lanes]
        vectors = torch.cat(
            [self.encode(messages[n : n + CHUNK]) for n in range(0, len(messages), CHUNK)]
        )
        contexts, after = self.remember(list(vectors.split(sizes)), state)
        before = torch.cat([context[:-1] for context in contexts])
        nats = []
        for n in range(0, len(messages), CHUNK):
            some = messages[n : n + CHUNK]
            hidden, targets = self.decode(some, before[n : n + CHUNK])
            costs = self.costs(hidden, targets).split([len(message) - 1 for message in some])
            nats += [part.sum() for part in costs]
        return list(torch.stack(nats).split(sizes)), after

    @torch.no_grad()
    def absorb(self, lanes: Sequence[Sequence[np.ndarray]], state: State) -> State:
        vectors = self.encode([message for lane in lanes for message in lane])
        return self.remember(list(vectors.split([len(lane) for lane in lanes])), state)[1]

    def begin_reply(self, state: State) -> tuple[Tensor, State]:
        return self.step(torch.full((len(state[0]),), ROLES["bot"]), state)

    def step(self, token: Tensor, state: State) -> tuple[Tensor, State]:
        conversation, context, encoder, decoder, tokens = self._parts(state)
        x = self.embedding(token)
        # What the encoder reads of the bot's own message ends where `_cut` would.
        reads = tokens < self.longest - 1
        _, read = self._steps("encoder")(x.unsqueeze(0), encoder)
        encoder = tuple(new.where(reads, old) for new, old in zip(read, encoder, strict=True))
        hidden, decoder = self._steps("decoder")((x + self.recall(context)).unsqueeze(0), decoder)
        state = (*conversation, context, *encoder, *decoder, tokens + 1)
        return self._say(hidden[0]), state

    def end_message(self, state: State) -> State:
        _, _, encoder, _, _ = self._parts(state)
        end = self.embedding(torch.full((1, len(state[0])), END))
        vector, _ = self._steps("encoder")(end, encoder)
        return self.remember(list(vector.transpose(0, 1)), state)[1]

    def _parts(self, state: State) -> tuple[State, Tensor, State, State, Tensor]:
        """Conversation, context, encoder, decoder, and how many tokens the encoder has read."""
        a = len(self.conversation.state_spec(""))
        b = a + 1 + len(self.encoder.state_spec(""))
        return state[:a], state[a], state[a + 1 : b], state[b:-1], state[-1]
