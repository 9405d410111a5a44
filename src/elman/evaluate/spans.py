"""Runs of tokens that a bot says and that somebody said in what it learned from."""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from elman.data.corpus import Corpus
from elman.data.overlap import hashed
from elman.data.tokenizer import END, SPECIALS

MIN_SPAN_TOKENS = 8
"""Tokens in a row that count as repeated; fewer are often a common phrase."""

SCANNED_TOKENS = 1 << 18
"""Tokens of what was learned that are compared at once."""


class RepeatedSpan(NamedTuple):
    """The longest run of tokens of a text that stands in one message of some conversations.

    Args:
        begin, length: of the run in the text, in tokens.
        conversation, message: the numbers of where it stands first.
        times: how often it stands in the conversations.
    """

    begin: int
    length: int
    conversation: int
    message: int
    times: int


def longest_spans(texts: Sequence[Sequence[int]], corpus: Corpus) -> list[RepeatedSpan | None]:
    """Find for each text its longest run of at least 8 tokens that stands in a corpus.

    Args:
        texts: tokens, without roles and END.
        corpus: in whose messages they are looked for.

    Returns:
        A span for each text; None where no run is so long.
    """
    found: list[RepeatedSpan | None] = [None] * len(texts)
    said, ends, owner = _laid_out(texts)
    begins = _begins(ends, MIN_SPAN_TOKENS)
    wanted = hashed(_windows(said, begins, MIN_SPAN_TOKENS))
    places = np.fromiter(_places(corpus.ids, np.unique(wanted)), np.int64)
    length = MIN_SPAN_TOKENS
    while len(begins) and len(places):
        own = hashed(_windows(said, begins, length))
        theirs = hashed(_windows(corpus.ids, places, length))
        order = np.argsort(theirs, kind="stable")
        places, theirs = places[order], theirs[order]
        first = np.searchsorted(theirs, own, "left")
        times = np.searchsorted(theirs, own, "right") - first
        for begin, at, number in zip(
            begins[times > 0], first[times > 0], times[times > 0], strict=True
        ):
            text = int(owner[begin])
            longest = found[text]
            if longest is None or longest.length < length:
                where = _place(corpus, int(places[at]))
                found[text] = RepeatedSpan(int(begin - ends[text]), length, *where, int(number))
        begins = begins[times > 0]
        places = places[np.isin(theirs, own)]
        length += 1
        begins = begins[begins + length <= ends[owner[begins] + 1]]
        places = places[places + length <= len(corpus.ids)]
        places = places[corpus.ids[places + length - 1] >= SPECIALS]
    return found


def with_spans_of(texts: Sequence[Sequence[int]], own: Corpus, others: Corpus) -> list[bool]:
    """Tell of each text whether it has 8 tokens in a row of one corpus that no other has.

    Args:
        texts: tokens, without roles and END.
        own: in whose messages such a run must stand.
        others: in whose messages it must not.
    """
    said, ends, owner = _laid_out(texts)
    begins = _begins(ends, MIN_SPAN_TOKENS)
    runs = hashed(_windows(said, begins, MIN_SPAN_TOKENS))
    theirs = np.isin(runs, _known(own.ids, runs)) & ~np.isin(runs, _known(others.ids, runs))
    found = np.zeros(len(texts), bool)
    found[owner[begins[theirs]]] = True
    return [bool(each) for each in found]


def _laid_out(texts: Sequence[Sequence[int]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Lay texts one after another: their tokens, where each ends, and whose each token is."""
    said = np.concatenate([np.zeros(0, np.int64), *(np.asarray(t, np.int64) for t in texts)])
    ends = np.cumsum([0, *map(len, texts)])
    return said, ends, np.repeat(np.arange(len(texts)), np.diff(ends))


def _known(ids: np.ndarray, runs: np.ndarray) -> np.ndarray:
    """Return those of some runs, by their hashes, that stand in a message."""
    places = np.fromiter(_places(ids, np.unique(runs)), np.int64)
    return hashed(_windows(ids, places, MIN_SPAN_TOKENS))


def _begins(ends: np.ndarray, length: int) -> np.ndarray:
    """List where runs of a length begin that lie within one text."""
    runs = [np.arange(b, e - length + 1) for b, e in pairwise(ends)]
    return np.concatenate([np.zeros(0, np.int64), *runs])


def _windows(tokens: np.ndarray, begins: np.ndarray, length: int) -> np.ndarray:
    found: np.ndarray = tokens[begins[:, None] + np.arange(length)].astype(np.uint64)
    return found


def _places(ids: np.ndarray, wanted: np.ndarray) -> Iterator[int]:
    """Yield where runs of 8 tokens begin that are among some, by their hashes."""
    if not len(wanted):
        return
    for begin in range(0, len(ids) - MIN_SPAN_TOKENS + 1, SCANNED_TOKENS):
        some = ids[begin : begin + SCANNED_TOKENS + MIN_SPAN_TOKENS - 1]
        runs = np.lib.stride_tricks.sliding_window_view(some, MIN_SPAN_TOKENS)
        inside = (runs >= SPECIALS).all(1)
        known = np.isin(hashed(runs.astype(np.uint64)), wanted)
        yield from (begin + np.flatnonzero(inside & known)).tolist()


def _place(corpus: Corpus, at: int) -> tuple[int, int]:
    """Return the conversation and the message in which a token stands."""
    conversation = int(np.searchsorted(corpus.starts, at, "right")) - 1
    before = corpus.ids[corpus.starts[conversation] : at]
    return conversation, int((before == END).sum())
