"""A bot's forward pass in numpy, a token at a time: slow, and the specification for a reader.

The two memories differ in what a token does. In that of tokens it is one step of the layers. In
that of messages it is one step of the encoder, which reads it, and one of the decoder, which says
what comes next; END hands what the encoder has made of the message to the conversation's layers.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np

from elman.data.tokenizer import END, SPECIALS
from elman.generate.token_draw import log_softmax
from elman.runtime.counts import Counts
from elman.runtime.decoder import ArrayDecoder, ArrayState, Found, Wanted
from elman.runtime.layers import Stack
from elman.runtime.pointer import point, record
from elman.runtime.weights import Weights


class ReferenceDecoder(ArrayDecoder):
    """Let a bot read and reply by numpy alone."""

    def __init__(self, weights: Weights) -> None:
        super().__init__(weights)
        kinds = {"tokens": TokensMemory, "messages": MessagesMemory}
        self._memory: Memory = kinds[weights.config.memory](weights)

    def run(self, rows: Sequence[np.ndarray], state: ArrayState, wanted: Wanted) -> Found:
        state = tuple(array.copy() for array in state)
        lengths = np.array([len(own) for own in rows])
        logits = np.zeros((len(rows), self.vocabulary_size), np.float32)
        nats = [np.zeros(length) for length in lengths]
        for t in range(lengths.max()):
            active = np.flatnonzero(lengths > t)
            going = [rows[row] for row in active.tolist()]
            tokens = np.array([own[t] for own in going], np.int64)
            heard, after = self._memory.read(tokens, tuple(array[active] for array in state))
            for array, new in zip(state, after, strict=True):
                array[active] = new
            if wanted == "logits":
                last = lengths[active] == t + 1
                if last.any():
                    logits[active[last]] = self._memory.logits(heard.rows(last))
            elif wanted != "state":
                says = np.array([self._is_priced(own, t + 1) for own in going])
                if says.any():
                    said = self._memory.logits(heard.rows(says), wanted == "nats")
                    log_p = log_softmax(said)
                    for row, own in zip(active[says].tolist(), log_p, strict=True):
                        nats[row][t + 1] = -own[rows[row][t + 1]]
        return Found(logits, nats, state)

    @staticmethod
    def _is_priced(tokens: np.ndarray, place: int) -> bool:
        return place < len(tokens) and bool(tokens[place] == END or tokens[place] >= SPECIALS)


class Heard:
    """What the next token is predicted from.

    Args:
        hidden: the layers' output, (B, H).
        record: the pointer's state, with the last token in it.
        oldest: the id that made place for that token, (B,); 0 without a pointer.
    """

    def __init__(self, hidden: np.ndarray, record: ArrayState, oldest: np.ndarray) -> None:
        self.hidden, self.record, self.oldest = hidden, record, oldest

    def rows(self, which: np.ndarray) -> "Heard":
        """Take some rows."""
        record = tuple(array[which] for array in self.record)
        return Heard(self.hidden[which], record, self.oldest[which])


class Memory(ABC):
    """What both memories share: the output, with the pointer and the counts."""

    def __init__(self, weights: Weights) -> None:
        # In float32, and no longer in the file.
        self.arrays = {name: np.array(array) for name, array in weights.arrays.items()}
        self.pointer = weights.config.pointer
        counted = weights.config.ngrams
        self.counts = Counts(self.arrays, weights.vocabulary_size, counted) if counted else None

    @abstractmethod
    def read(self, tokens: np.ndarray, state: ArrayState) -> tuple[Heard, ArrayState]:
        """Read one token in each row, (B,): what comes next is predicted from, and the state."""

    def write(
        self, tokens: np.ndarray, read: np.ndarray, hidden: np.ndarray, before: ArrayState
    ) -> tuple[Heard, ArrayState]:
        """Write a token into the pointer's record, if there is one.

        Args:
            tokens: (B,).
            read: what their keys are made of, (B, H).
            hidden: what the next is predicted from, (B, H).
            before: the record.
        """
        if not self.pointer:
            return Heard(hidden, (), np.zeros(len(hidden))), ()
        after = record(self.arrays, tokens, read, before)
        return Heard(hidden, after, before[0][:, 0]), after

    def logits(self, heard: Heard, mixed: bool = True) -> np.ndarray:
        """Return the logits of the next token, (B, V).

        Args:
            heard: what it is predicted from.
            mixed: whether the pointer's shares and the counts are mixed in, where there are some;
                then they are log p.
        """
        embedding, bias = self.arrays["embedding.weight"], self.arrays["output_bias"]
        if not self.pointer:
            plain: np.ndarray = heard.hidden @ embedding.T + bias
            return plain
        shares, gate, hidden = point(self.arrays, heard.hidden, heard.record, heard.oldest)
        logits: np.ndarray = hidden @ embedding.T + bias
        if not mixed:
            return logits
        p = np.exp(logits - logits.max(1, keepdims=True))
        p *= gate / p.sum(1, keepdims=True)
        ids = heard.record[0].astype(np.int64)
        np.add.at(p, (np.arange(len(p))[:, None], ids), shares.astype(p.dtype))
        if self.counts is not None:
            p = self.counts.mix(p, hidden, ids)
        found: np.ndarray = np.log(np.maximum(p, np.finfo(np.float32).tiny))
        return found.astype(np.float32)


class TokensMemory(Memory):
    """One recurrent step for each token of the whole conversation."""

    def __init__(self, weights: Weights) -> None:
        super().__init__(weights)
        self.stack = Stack(self.arrays, "stack", weights.stacks["stack"])

    def read(self, tokens: np.ndarray, state: ArrayState) -> tuple[Heard, ArrayState]:
        layers, before = state[: self.stack.states], state[self.stack.states :]
        hidden, layers = self.stack.step(self.arrays["embedding.weight"][tokens], layers)
        heard, after = self.write(tokens, hidden, hidden, before)
        return heard, (*layers, *after)


class MessagesMemory(Memory):
    """One recurrent step for each message; encoder and decoder begin anew with every message."""

    def __init__(self, weights: Weights) -> None:
        super().__init__(weights)
        self.longest = weights.config.max_message_tokens
        self.conversation, self.encoder, self.decoder = (
            Stack(self.arrays, name, shape) for name, shape in weights.stacks.items()
        )
        size = weights.config.hidden_size
        self.context = (self.arrays["context.weight"] / np.float32(size)).T

    def read(self, tokens: np.ndarray, state: ArrayState) -> tuple[Heard, ArrayState]:
        a = self.conversation.states
        b = a + 1 + self.encoder.states
        c = b + self.decoder.states
        conversation, context, encoder, decoder = state[:a], state[a], state[a + 1 : b], state[b:c]
        count, before, x = state[c], state[c + 1 :], self.arrays["embedding.weight"][tokens]
        ends = (tokens == END)[:, None]
        # Of a long message the encoder reads the beginning and END.
        reads = ends | (count < self.longest - 1)
        vector, read = self.encoder.step(x, encoder)
        encoder = tuple(np.where(reads, new, old) for new, old in zip(read, encoder, strict=True))
        hidden, decoder = self.decoder.step(x + context @ self.context, decoder)
        heard, after = self.write(tokens, np.where(reads, vector, 0), hidden, before)
        output, told = self.conversation.step(vector, conversation)
        conversation = tuple(
            np.where(ends, new, old) for new, old in zip(told, conversation, strict=True)
        )
        begun = (np.where(ends, 0, array) for array in (*encoder, *decoder, count + 1))
        state = (*conversation, np.where(ends, output, context), *begun, *after)
        return heard, tuple(array.astype(np.float32, copy=False) for array in state)
