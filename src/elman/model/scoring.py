"""Likelihoods of held-out conversations, message by message, each given its true history."""

from collections.abc import Iterator
from itertools import islice
from math import log
from typing import NamedTuple

import numpy as np
import torch

from elman.bptt import State
from elman.data.corpus import Corpus, learned_roles
from elman.data.tokenizer import Tokenizer
from elman.model.chatbot import Chatbot

SCORED_LANES = 64

READ_LANES = 256
"""Conversations that are read side by side where nothing but their states is wanted."""

MAX_GROUP_TOKENS = 1 << 16
"""Of a group that is read side by side: what bounds its memory."""


def by_length(lengths: np.ndarray, lanes: int = SCORED_LANES) -> Iterator[list[int]]:
    """Groups of sequences, as indices; those of a group are of similar length.

    Args:
        lengths: in tokens.
        lanes: sequences of a group, at most; fewer, where it would have over `MAX_GROUP_TOKENS`.
    """
    order = np.argsort(-lengths, kind="stable").tolist()
    begin = 0
    while begin < len(order):
        longest = max(1, int(lengths[order[begin]]))
        end = begin + max(1, min(lanes, MAX_GROUP_TOKENS // longest))
        yield order[begin:end]
        begin = end


def message_nats(
    chatbot: Chatbot, corpus: Corpus, lanes: int = SCORED_LANES
) -> Iterator[tuple[int, list[np.ndarray], np.ndarray]]:
    """Read every conversation of a corpus, `lanes` side by side.

    Yields:
        For each conversation its index, its messages, and -log p of each in nats given all before
        it, (messages,).
    """
    chatbot.eval()
    for group in by_length(np.diff(corpus.starts), lanes):
        messages = [corpus.messages(index) for index in group]
        nats, _ = chatbot.score(messages, chatbot.initial_state(len(group)))
        for index, own, costs in zip(group, messages, nats, strict=True):
            yield index, own, costs.numpy()


class MessageStates(NamedTuple):
    """The same position in several conversations, which are read side by side.

    Args:
        number: of the message in each of them.
        conversations: their indices in the corpus.
        messages: what is said there, one of each.
        before: the state of each before it.
        nats: -log p of each message, given all before it, (conversations,).
        after: the state of each after it.
    """

    number: int
    conversations: list[int]
    messages: list[np.ndarray]
    before: State
    nats: np.ndarray
    after: State


def walk(chatbot: Chatbot, corpus: Corpus, lanes: int = SCORED_LANES) -> Iterator[MessageStates]:
    """Every message of a corpus with the states around it, `lanes` conversations side by side."""
    chatbot.eval()
    for group in by_length(np.diff(corpus.starts), lanes):
        conversations = [corpus.messages(index) for index in group]
        state, active = chatbot.initial_state(len(group)), list(range(len(group)))
        for number in range(max(map(len, conversations))):
            going = [place for place, row in enumerate(active) if len(conversations[row]) > number]
            state = tuple(tensor[going] for tensor in state)
            active = [active[place] for place in going]
            messages = [conversations[row][number] for row in active]
            nats, after = chatbot.score([[message] for message in messages], state)
            costs = np.array([float(each[0]) for each in nats])
            yield MessageStates(
                number, [group[row] for row in active], messages, state, costs, after
            )
            state = after


def states_before(
    chatbot: Chatbot, corpus: Corpus, lanes: int = READ_LANES
) -> Iterator[tuple[list[int], list[np.ndarray], State]]:
    """Every message of a corpus with the state before it. Conversations go on each by itself, so
    that nearly to the end `lanes` of them are read side by side.

    Yields:
        Of some conversations the number of a message, the message, and the state before it: (rows,
        size) tensors.
    """
    chatbot.eval()
    waiting = iter(range(len(corpus)))
    reading: list[tuple[list[np.ndarray], int]] = []  # messages, and how many of them are read
    state = chatbot.initial_state(0)
    while True:
        new = [(corpus.messages(n), 0) for n in islice(waiting, lanes - len(reading))]
        reading += new
        if not reading:
            return
        begun = chatbot.initial_state(len(new))
        state = tuple(torch.cat(parts) for parts in zip(state, begun, strict=True))
        left: list[tuple[list[np.ndarray], int]] = []
        states: list[State] = []
        for group in by_length(np.array([len(own[n]) for own, n in reading]), lanes):
            some = [reading[row] for row in group]
            before, messages = tuple(part[group] for part in state), [own[n] for own, n in some]
            yield [n for _, n in some], messages, before
            after = chatbot.absorb([[message] for message in messages], before)
            going = [row for row, (own, n) in enumerate(some) if n + 1 < len(own)]
            states.append(tuple(part[going] for part in after))
            left += [(some[row][0], some[row][1] + 1) for row in going]
        reading = left
        state = tuple(torch.cat(parts) for parts in zip(*states, strict=True))


def counts(message: np.ndarray, learn_from: str) -> bool:
    """Whether a message is one that the bot learns to say."""
    return int(message[0]) in learned_roles(learn_from)


def bits_per_byte(chatbot: Chatbot, corpus: Corpus, tokenizer: Tokenizer, learn_from: str) -> float:
    """Bits for the text and END of each counted message, over the bytes of its text."""
    nats, text_bytes = 0.0, 0
    for _, messages, costs in message_nats(chatbot, corpus):
        for message, cost in zip(messages, costs, strict=True):
            if counts(message, learn_from):
                nats += float(cost)
                text_bytes += int(tokenizer.piece_bytes[message].sum())
    return nats / log(2) / max(text_bytes, 1)


def subset(corpus: Corpus, tokens: int) -> Corpus:
    """The first conversations of a corpus, up to about so many tokens; at least one."""
    count = max(1, int(np.searchsorted(corpus.starts, tokens, side="right")) - 1)
    if count >= len(corpus):
        return corpus
    return Corpus(corpus.ids[: corpus.starts[count]], corpus.starts[: count + 1])
