"""How people talk, and what of it a reply goes beyond: it runs on, repeats itself, or echoes.

Four habits of a reply are counted in words. A reply that goes further in one of them than 99 of 100
replies of people is ranked behind those that do not. What people do differs: who books a table is
answered with words of her own, and two friends are not. So it is counted in the conversations that
a bot learns from, and kept with it.
"""

import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from elman.data.corpus import Corpus, is_scored
from elman.data.tokenizer import Tokenizer

Tokens = tuple[int, ...]

HISTORY_MESSAGES = 10
"""Messages before a reply, of both sides, with which it is compared."""

COUNTED_REPLIES = 2000
"""Replies of people that are counted."""

PEOPLE_PERCENTILE = 99.0

GRAM_WORDS = 3
"""Words in a row that make a repetition within a reply."""

# Scripts without spaces: each character is a word.
_WORD = re.compile(r"[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff]|[^\W_](?:['\u2019]?[^\W_])*")


class History(NamedTuple):
    """What was said before a reply, as far as a reply is compared with it.

    Args:
        heard: messages of the other side, the last one first.
        said: own replies, the last one first; and others to the same message, where another one is
            wanted.
        asked: the message that is to be answered; None: it is not known, or nobody asked.
        whole: whether `heard` and `earlier` are all that the other side has ever said.
        earlier: messages of the other side before `heard`, the last one first.
    """

    heard: Sequence[str] = ()
    said: Sequence[Tokens] = ()
    asked: str | None = None
    whole: bool = False
    earlier: Sequence[str] = ()

    def also(self, *replies: Tokens) -> "History":
        """Return a history in which these are said, too."""
        return self._replace(said=[*self.said, *replies])


class Habits(NamedTuple):
    """Four counts of a reply, or the most of each that people have.

    Args:
        words: its words.
        repeats: its sequences of three words that stand in it before.
        echo: the most words in a row that the other side has said before.
        again: the most words in a row that whoever replies has said before.
    """

    words: int
    repeats: int
    echo: int
    again: int

    def beyond(self, limits: "Habits") -> int:
        """Return by how much these counts go beyond others, in all."""
        return sum(max(0, own - limit) for own, limit in zip(self, limits, strict=True))


PEOPLE = Habits(words=78, repeats=1, echo=4, again=4)
"""People's 99th percentiles in the built-in conversations, for a bot that keeps none of its own."""


def words_of(text: str) -> list[str]:
    """Return the words of a text in small letters, without punctuation."""
    return _WORD.findall(text.lower())


def habits(reply: str, heard: Iterable[str] = (), said: Iterable[str] = ()) -> Habits:
    """Count the habits of a reply, given what was said before by either side."""
    own = words_of(reply)
    grams = [tuple(own[n : n + GRAM_WORDS]) for n in range(len(own) - GRAM_WORDS + 1)]
    return Habits(
        len(own),
        len(grams) - len(set(grams)),
        _shared_run(own, heard),
        _shared_run(own, said),
    )


def habits_of(reply: Tokens, history: History, tokenizer: Tokenizer) -> Habits:
    """Count the habits of a reply that is given as tokens."""
    return habits(tokenizer.decode(reply), history.heard, map(tokenizer.decode, history.said))


def beyond(reply: Tokens, history: History, limits: Habits, tokenizer: Tokenizer) -> int:
    """Return by how much a reply goes beyond what people do, in words."""
    return habits_of(reply, history, tokenizer).beyond(limits)


def people_habits(corpus: Corpus, tokenizer: Tokenizer, learn_from: str) -> Habits | None:
    """Return people's 99th percentile of each habit; None where nobody replies.

    Args:
        corpus: what a bot learns from.
        tokenizer: its own.
        learn_from: whose messages are replies, "bot" or "all".
    """
    found: list[Habits] = []
    for index in np.random.default_rng(0).permutation(len(corpus)):
        messages = corpus.messages(int(index))
        for n in range(1, len(messages)):
            if is_scored(messages[n], learn_from):
                history = history_before(messages[: n + 1], tokenizer)
                reply = tuple(messages[n][1:-1].tolist())
                found.append(habits_of(reply, history, tokenizer))
        if len(found) >= COUNTED_REPLIES:
            break
    if not found:
        return None
    return Habits(
        *(int(np.percentile(each, PEOPLE_PERCENTILE)) for each in zip(*found, strict=True))
    )


def history_before(messages: Sequence[np.ndarray], tokenizer: Tokenizer) -> History:
    """Return what was said before the last of some messages of a conversation."""
    before = messages[-2 : -2 - HISTORY_MESSAGES : -1]
    own = [message[0] == messages[-1][0] for message in before]
    heard = [tokenizer.decode(each) for each, mine in zip(before, own, strict=True) if not mine]
    return History(
        heard,
        [tuple(each[1:-1].tolist()) for each, mine in zip(before, own, strict=True) if mine],
        heard[0] if own and not own[0] else None,
    )


def _shared_run(own: Sequence[str], others: Iterable[str]) -> int:
    """Return the most of these words in a row that stand in one of some texts."""
    spoken = "\n".join(f" {' '.join(words_of(text))} " for text in others)
    most = 0
    for begin in range(len(own)):
        while begin + most < len(own) and f" {' '.join(own[begin : begin + most + 1])} " in spoken:
            most += 1
    return most
