"""Positions of a corpus at which a bot could reply: there it is compared with people."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from elman.data.corpus import Corpus, is_scored
from elman.data.tokenizer import Tokenizer
from elman.generate.decoder import Decoder, State
from elman.generate.penalties import History, Tokens, history_before
from elman.generate.scoring import walk

MAX_REPLY_TOKENS = 200
"""Tokens of a reply; longer ones are not kept."""

HELD_OUT_REPLIES = 200
"""Held-out replies with which a bot's own are compared."""


@dataclass(frozen=True)
class ReplyPosition:
    """A message of a corpus that answers another: its conversation, and its number in it."""

    conversation: int
    position: int

    def message(self, corpus: Corpus) -> np.ndarray:
        """What was really said there, from its role to its END."""
        return corpus.messages(self.conversation)[self.position]

    def history(self, corpus: Corpus, tokenizer: Tokenizer) -> History:
        """Return what was said before it."""
        messages = corpus.messages(self.conversation)[: self.position + 1]
        return history_before(messages, tokenizer)


def draw_positions(corpus: Corpus, learn_from: str, number: int, seed: int) -> list[ReplyPosition]:
    """Draw positions at which the bot could reply, by seed; they stay in the corpus's order."""
    every = [
        ReplyPosition(index, position)
        for index in range(len(corpus))
        for position, message in enumerate(corpus.messages(index))
        if position > 0 and is_scored(message, learn_from)
    ]
    drawn = np.random.default_rng(seed).permutation(len(every))[:number]
    return [every[index] for index in sorted(drawn)]


def states_at(decoder: Decoder, corpus: Corpus, positions: Sequence[ReplyPosition]) -> State:
    """Return the state before each position, a row for each."""
    last: dict[int, int] = {}
    for each in positions:
        last[each.conversation] = max(each.position, last.get(each.conversation, 0))
    wanted, rows = set(positions), dict[ReplyPosition, int]()
    found = [decoder.initial_state(0)]
    for step in walk(decoder, corpus, upto=last):
        here = [
            (row, position)
            for row, each in enumerate(zip(step.conversations, step.numbers, strict=True))
            if (position := ReplyPosition(*each)) in wanted
        ]
        if here:
            found.append(decoder.select(step.before, [row for row, _ in here]))
            rows |= {position: n for n, (_, position) in enumerate(here, len(rows))}
    return decoder.select(decoder.join(found), [rows[position] for position in positions])


class HeldOut(NamedTuple):
    """Replies that people gave where the bot has not learned from.

    Args:
        state: before each of them, (replies, size) arrays.
        replies: without END.
        histories: what was said before each.
    """

    state: State
    replies: list[Tokens]
    histories: list[History]

    @classmethod
    def of(
        cls, decoder: Decoder, tokenizer: Tokenizer, corpus: Corpus | None, learn_from: str
    ) -> "HeldOut | None":
        """Draw some replies of a corpus by a fixed seed; None where it has none.

        Args:
            decoder: of the bot.
            tokenizer: its own.
            corpus: conversations that it has not learned from, if there are any.
            learn_from: whose messages are replies, "bot" or "all".
        """
        if corpus is None:
            return None
        drawn = draw_positions(corpus, learn_from, HELD_OUT_REPLIES, 0)
        positions = [each for each in drawn if is_reply(each.message(corpus))]
        if not positions:
            return None
        replies = [tuple(each.message(corpus)[1:-1].tolist()) for each in positions]
        histories = [each.history(corpus, tokenizer) for each in positions]
        return cls(states_at(decoder, corpus, positions), replies, histories)

    def select(self, decoder: Decoder, rows: Sequence[int]) -> "HeldOut":
        """Return some of them."""
        return HeldOut(
            decoder.select(self.state, rows),
            [self.replies[row] for row in rows],
            [self.histories[row] for row in rows],
        )


def is_reply(message: np.ndarray) -> bool:
    """Whether a message is neither empty nor too long to be a reply that is said again."""
    return 2 < len(message) <= MAX_REPLY_TOKENS + 2


def overlap(one: Sequence[Any], other: Sequence[Any]) -> float:
    """Return F1 of what two sequences have in common, counted as often as it occurs in both."""
    rest = list(other)
    common = 0
    for each in one:
        if each in rest:
            rest.remove(each)
            common += 1
    return 2 * common / max(1, len(one) + len(other))


def in_common(tokenizer: Tokenizer, one: Tokens, other: Tokens) -> float:
    """Return the `overlap` of the words of two replies."""
    said, heard = (tokenizer.decode(tokens).lower().split() for tokens in (one, other))
    return overlap(said, heard)
