"""The memory of messages: a recurrent network whose time steps are whole messages."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from elman.bptt import Full, State, Unfold
from elman.data.corpus import Corpus
from elman.data.layout import Layout
from elman.data.message_stream import MessageStream, MessageWindow
from elman.data.tokenizer import END, ROLES
from elman.model.blocks import RecurrentStack, StateSpec, ragged
from elman.model.chatbot import Batches, Chatbot, Loss
from elman.model.config import ModelConfig
from elman.model.ngrams import NGrams
from elman.model.packing import pack
from elman.model.pointer import Pointed, Pointer, TokenRecord

CHUNK = 4096
"""Messages that are scored at once: bounds memory."""


class MessagesChatbot(Chatbot):
    """An encoder reads each message; a conversation network takes one step for each message; a
    decoder makes the reply from its state (as in the HRED of Serban et al. 2016).

        v_n = encoder(m_n)[END]            each message on its own, all in parallel
        s_n = conversation(v_n, s_{n-1})   the only steps from message to message
        c_n = the output of that step      what is remembered when m_{n+1} is said
        m_{n+1} ~ decoder(tokens + W c_n)  each message on its own, all in parallel

    The output layer is tied to the embedding, which encoder and decoder share. With a pointer, the
    decoder can copy from a record of the last tokens, whose keys are made of the encoder's states;
    what the chatbot gives as logits is then log p of the mixture.

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
        self.pointer = Pointer(size, config.pointer) if config.pointer else None
        self.ngrams = NGrams(size, vocabulary_size, config.ngrams) if config.ngrams else None

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

    def encode(self, messages: Sequence[np.ndarray]) -> Tensor:
        """What the encoder makes of each message by itself, (messages, H)."""
        return self.heard(messages)[0]

    def heard(self, messages: Sequence[np.ndarray]) -> tuple[Tensor, list[Tensor]]:
        """The same; and for a pointer what it makes of each token of each message, (tokens, H):
        zeros where it no longer reads.
        """
        packed = pack([self._cut(message) for message in messages])
        hidden = self._run(self.encoder, self.embedding(packed.ids), packed.keep).flatten(0, 1)
        vectors = hidden[torch.stack([place[-1] for place in packed.places])]
        if self.pointer is None:
            return vectors, []
        heard = list(hidden[torch.cat(packed.places)].split([len(p) for p in packed.places]))
        for number, message in enumerate(messages):
            own = heard[number]
            if unread := len(message) - len(own):
                heard[number] = torch.cat([F.pad(own[:-1], (0, 0, 0, unread)), own[-1:]])
        return vectors, heard

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
        state, record = self.split(state)
        outputs, after = ragged(self.conversation, vectors, state[:parts], unfold)
        contexts = [
            torch.cat([before.unsqueeze(0), output])
            for before, output in zip(state[parts], outputs, strict=True)
        ]
        last = torch.stack([context[-1] for context in contexts])
        zeros = (torch.zeros_like(tensor) for tensor in state[parts + 1 :])
        return contexts, (*after, last, *zeros, *record)

    def _recorded(
        self,
        lanes: Sequence[Sequence[np.ndarray]],
        heard: Sequence[Tensor],
        record: State,
        kept: Sequence[int],
    ) -> tuple[TokenRecord, State]:
        """Write down what each lane has read.

        Args:
            lanes: messages.
            heard: of all of them, one lane after another, as `heard` gives it.
            record: the pointer's state before.
            kept: after how many messages of each lane to take its state.
        """
        assert self.pointer is not None
        sizes = [sum(map(len, lane)) for lane in lanes]
        hidden = nn.utils.rnn.pad_sequence(list(torch.cat(list(heard)).split(sizes)))
        lengths = [sum(map(len, lane[:count])) for lane, count in zip(lanes, kept, strict=True)]
        tokens = [torch.from_numpy(np.concatenate(lane).astype(np.int64)) for lane in lanes]
        ids = nn.utils.rnn.pad_sequence(tokens)
        return self.pointer.record(
            ids, hidden, record, lengths=torch.tensor(lengths, dtype=torch.long)
        )

    def _pointed(
        self,
        lanes: Sequence[Sequence[np.ndarray]],
        said: Sequence[Sequence[bool]],
        hidden: Tensor,
        seen: TokenRecord,
    ) -> tuple[Tensor, Pointed]:
        """What the vocabulary's logits of some messages are made of, and what is pointed at.

        Args:
            lanes: messages.
            said: which of each lane's are predicted.
            hidden: of these, as from `decode`.
            seen: of all.
        """
        assert self.pointer is not None
        ids = seen.ids[:, self.pointer.length :].t()
        steps = []
        for row, (lane, wanted) in enumerate(zip(lanes, said, strict=True)):
            begin = 0
            for message, own in zip(lane, wanted, strict=True):
                if own:
                    span = torch.arange(begin, begin + len(message) - 1)
                    steps.append(span * len(lanes) + row)
                begin += len(message)
        places = torch.cat(steps)
        queries = hidden.new_zeros(ids.numel(), hidden.shape[1]).index_copy(0, places, hidden)
        told, pointed = self.pointer.point(seen, queries.view(*ids.shape, -1)[:-1], ids[1:])
        return told.flatten(0, 1)[places], Pointed(*(each.flatten() for each in pointed)).at(places)

    def recall(self, context: Tensor) -> Tensor:
        """What the decoder hears of the context beside each token, (..., H)."""
        # Nothing at first, and learned slowly: at its full size it drowns the words (LOG.md).
        return F.linear(context, self.context.weight / self.context.in_features)

    @property
    def through_time(self) -> RecurrentStack:
        return self.conversation

    def steps_of(self, message: Sequence[int] | np.ndarray) -> int:
        return 1

    def carry(self, message: np.ndarray, state: State) -> State:
        lanes = len(state[0])
        vectors, heard = self.heard([message])
        after = self.remember([vectors] * lanes, state)[1]
        if self.pointer is None:
            return after
        own, record = self.split(after)
        lane = [[message]] * lanes
        return (*own, *self._recorded(lane, heard * lanes, record, [1] * lanes)[1])

    @property
    def output_layer(self) -> tuple[Tensor, Tensor]:
        return self.embedding.weight, self.output_bias

    def loss(self, batch: Any, state: State | None, unfold: Unfold) -> Loss:
        window: MessageWindow = batch
        state = self.begin_window(window, state)
        lanes = window.lanes
        # What is being said now is read only where it can be repeated.
        last = int(self.pointer is None)
        counts = [len(lane.messages) - last for lane in lanes]
        read = [m for lane, n in zip(lanes, counts, strict=True) for m in lane.messages[:n]]
        vectors = state[0].new_zeros(0, self.context.in_features)
        heard: list[Tensor] = []
        if read:
            vectors, heard = self.heard(read)
        own = [
            v[: len(lane.messages) - 1]
            for v, lane in zip(vectors.split(counts), lanes, strict=True)
        ]
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
        pointed = None
        if self.pointer is not None:
            messages = [lane.messages for lane in lanes]
            carried, record = self.split(carried)
            seen, record = self._recorded(messages, heard, record, [each.carry for each in lanes])
            carried = (*carried, *record)
            if said:
                hidden, pointed = self._pointed(
                    messages, [lane.counted for lane in lanes], hidden, seen
                )
        nats = self.nats(hidden, targets, pointed)
        steps = sum(map(len, read)) + len(targets)
        after = tuple(tensor.detach() for tensor in carried)
        return Loss(nats, targets, steps, after, self.copying(pointed))

    @torch.no_grad()
    def score(
        self, lanes: Sequence[Sequence[np.ndarray]], state: State
    ) -> tuple[list[Tensor], State]:
        messages = [message for lane in lanes for message in lane]
        sizes = [len(lane) for lane in lanes]
        vectors, heard = self._heard_all(messages)
        contexts, after = self.remember(list(vectors.split(sizes)), state)
        before = torch.cat([context[:-1] for context in contexts])
        parts = [
            self.decode(messages[n : n + CHUNK], before[n : n + CHUNK])
            for n in range(0, len(messages), CHUNK)
        ]
        hidden, targets = (torch.cat(each) for each in zip(*parts, strict=True))
        pointed = None
        if self.pointer is not None:
            after, record = self.split(after)
            seen, record = self._recorded(lanes, heard, record, sizes)
            after = (*after, *record)
            hidden, pointed = self._pointed(lanes, [[True] * n for n in sizes], hidden, seen)
        costs = self.costs(hidden, targets, pointed).split([len(each) - 1 for each in messages])
        return list(torch.stack([part.sum() for part in costs]).split(sizes)), after

    def _heard_all(self, messages: Sequence[np.ndarray]) -> tuple[Tensor, list[Tensor]]:
        """As `heard`, in parts."""
        parts = [self.heard(messages[n : n + CHUNK]) for n in range(0, len(messages), CHUNK)]
        return torch.cat([v for v, _ in parts]), [each for _, heard in parts for each in heard]

    @torch.no_grad()
    def absorb(self, lanes: Sequence[Sequence[np.ndarray]], state: State) -> State:
        vectors, heard = self._heard_all([message for lane in lanes for message in lane])
        sizes = [len(lane) for lane in lanes]
        after = self.remember(list(vectors.split(sizes)), state)[1]
        if self.pointer is None:
            return after
        after, record = self.split(after)
        return (*after, *self._recorded(lanes, heard, record, sizes)[1])

    def begin_reply(self, state: State) -> tuple[Tensor, State]:
        return self.step(torch.full((len(state[0]),), ROLES["bot"]), state)

    def step(self, token: Tensor, state: State) -> tuple[Tensor, State]:
        own, record = self.split(state)
        conversation, context, encoder, decoder, tokens = self._parts(own)
        x = self.embedding(token)
        # What the encoder reads of the bot's own message ends where `_cut` would.
        reads = tokens < self.longest - 1
        heard, read = self._steps("encoder")(x.unsqueeze(0), encoder)
        encoder = tuple(new.where(reads, old) for new, old in zip(read, encoder, strict=True))
        hidden, decoder = self._steps("decoder")((x + self.recall(context)).unsqueeze(0), decoder)
        own = (*conversation, context, *encoder, *decoder, tokens + 1)
        if self.pointer is None:
            return self._say(hidden[0]), own
        heard = heard[0].where(reads, heard.new_zeros(()))
        logits, record = self._mixed(token, heard, hidden[0], record)
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
        a = len(self.conversation.state_spec(""))
        b = a + 1 + len(self.encoder.state_spec(""))
        return state[:a], state[a], state[a + 1 : b], state[b:-1], state[-1]
