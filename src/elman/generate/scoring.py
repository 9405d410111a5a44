"""Likelihoods of held-out conversations, message by message, each given its true history."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from math import log
from typing import NamedTuple

import numpy as np

from elman.data.corpus import Corpus, is_scored
from elman.data.tokenizer import Tokenizer
from elman.generate.decoder import Decoder, State

SCORED_ROWS = 64
"""Conversations that are scored side by side."""

READ_ROWS = 256
"""Conversations that are read side by side where nothing but their states is wanted."""

MAX_GROUP_TOKENS = 1 << 16
"""Of a group that is read side by side: what bounds its memory."""


def by_length(lengths: np.ndarray, rows: int = SCORED_ROWS) -> Iterator[list[int]]:
    """Group sequences, as indices; those of a group are of similar length.

    Args:
        lengths: in tokens.
        rows: sequences of a group, at most; fewer, where it would have over `MAX_GROUP_TOKENS`.
    """
    order = np.argsort(-lengths, kind="stable").tolist()
    begin = 0
    while begin < len(order):
        longest = max(1, int(lengths[order[begin]]))
        end = begin + max(1, min(rows, MAX_GROUP_TOKENS // longest))
        yield order[begin:end]
        begin = end


def message_nats(
    decoder: Decoder, corpus: Corpus, rows: int = SCORED_ROWS
) -> Iterator[tuple[int, list[np.ndarray], np.ndarray]]:
    """Score every conversation of a corpus, `rows` side by side.

    Yields:
        For each conversation its index, its messages, and -log p of each in nats given all before
        it, (messages,).
    """
    for group in by_length(np.diff(corpus.starts), rows):
        messages = [corpus.messages(index) for index in group]
        nats, _ = decoder.score(messages, decoder.initial_state(len(group)))
        yield from zip(group, messages, nats, strict=True)


def conversation_costs(
    decoder: Decoder, tokenizer: Tokenizer, corpus: Corpus, learn_from: str
) -> tuple[np.ndarray, np.ndarray]:
    """Sum the nats and the bytes of text of each conversation's messages that are learned.

    Returns:
        Two arrays, (conversations,) float64 and int64.
    """
    nats, text_bytes = np.zeros(len(corpus)), np.zeros(len(corpus), np.int64)
    for index, messages, costs in message_nats(decoder, corpus):
        for message, cost in zip(messages, costs, strict=True):
            if is_scored(message, learn_from):
                nats[index] += cost
                text_bytes[index] += int(tokenizer.piece_bytes[message].sum())
    return nats, text_bytes


class ReadStep(NamedTuple):
    """One message of each of several conversations, which are read side by side.

    Args:
        conversations: their indices in the corpus.
        numbers: of the message in each of them.
        messages: what is said there, one of each.
        before: the state before it, a row for each.
    """

    conversations: list[int]
    numbers: list[int]
    messages: list[np.ndarray]
    before: State


@dataclass
class _Reading:
    conversation: int
    messages: list[np.ndarray]
    number: int = 0


def walk(
    decoder: Decoder,
    corpus: Corpus,
    *,
    rows: int = READ_ROWS,
    upto: Mapping[int, int] | None = None,
) -> Iterator[ReadStep]:
    """Read a corpus message by message, with the state before each.

    Conversations go on each by itself, so that nearly to the end `rows` of them are read side by
    side. Messages of a step are of similar length.

    Args:
        decoder: who reads.
        corpus: what.
        rows: conversations side by side.
        upto: the number of the last message that is wanted of some conversations; None: all of all.
    """
    waiting = iter(range(len(corpus)) if upto is None else sorted(upto))
    reading: list[_Reading] = []
    state = decoder.initial_state(0)
    while True:
        new = [
            _Reading(n, corpus.messages(n)[: None if upto is None else upto[n] + 1])
            for n in islice(waiting, rows - len(reading))
        ]
        reading += new
        if not reading:
            return
        state = decoder.join([state, decoder.initial_state(len(new))])
        left: list[_Reading] = []
        states = [decoder.initial_state(0)]
        lengths = [len(each.messages[each.number]) for each in reading]
        for group in by_length(np.array(lengths), rows):
            some = [reading[row] for row in group]
            before = decoder.select(state, group)
            messages = [each.messages[each.number] for each in some]
            yield ReadStep(
                [each.conversation for each in some],
                [each.number for each in some],
                messages,
                before,
            )
            going = [n for n, each in enumerate(some) if each.number + 1 < len(each.messages)]
            if going:
                own = decoder.select(before, going)
                states.append(decoder.read([[messages[n]] for n in going], own))
            for n in going:
                some[n].number += 1
                left.append(some[n])
        reading = left
        state = decoder.join(states)


def bits_per_byte(decoder: Decoder, corpus: Corpus, tokenizer: Tokenizer, learn_from: str) -> float:
    """Return the bits for the text and END of each scored message, over the bytes of its text."""
    nats, text_bytes = conversation_costs(decoder, tokenizer, corpus, learn_from)
    return float(nats.sum()) / log(2) / max(int(text_bytes.sum()), 1)


def texts_of(corpus: Corpus, tokenizer: Tokenizer) -> Iterator[str]:
    """Yield what each message says."""
    for index in range(len(corpus)):
        for message in corpus.messages(index):
            yield tokenizer.decode(message)


def subset(corpus: Corpus, tokens: int) -> Corpus:
    """Return the first conversations of a corpus, up to about so many tokens; at least one."""
    count = max(1, int(np.searchsorted(corpus.starts, tokens, side="right")) - 1)
    if count >= len(corpus):
        return corpus
    return Corpus(corpus.ids[: corpus.starts[count]], corpus.starts[: count + 1])
