"""Places of a corpus in which a bot could reply: what it is compared with people in."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch

from elman.bptt import State
from elman.data.corpus import Corpus
from elman.model.chatbot import Chatbot
from elman.model.ranking import Tokens
from elman.model.scoring import by_length, counts

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


def draw_places(corpus: Corpus, learn_from: str, number: int, seed: int) -> list[ReplyPosition]:
    """Places in which the bot could reply, drawn by seed, in the corpus's order."""
    places = [
        ReplyPosition(index, position)
        for index in range(len(corpus))
        for position, message in enumerate(corpus.messages(index))
        if position > 0 and counts(message, learn_from)
    ]
    drawn = np.random.default_rng(seed).permutation(len(places))[:number]
    return [places[index] for index in sorted(drawn)]


def states_at(chatbot: Chatbot, corpus: Corpus, places: Sequence[ReplyPosition]) -> State:
    """The state before each place, (places, size) tensors.

    Each conversation is read once, from place to place, beside others.
    """
    positions: dict[int, list[int]] = {}
    for place in sorted(set(places), key=lambda each: each.position):
        positions.setdefault(place.conversation, []).append(place.position)
    conversations = list(positions)
    ends = [corpus.starts[index + 1] - corpus.starts[index] for index in conversations]
    rows: dict[ReplyPosition, int] = {}
    found = [chatbot.initial_state(0)]
    for group in by_length(np.array(ends)):
        reading = [conversations[n] for n in group]
        state = chatbot.initial_state(len(reading))
        for n in range(max(len(positions[index]) for index in reading)):
            going = [row for row, index in enumerate(reading) if len(positions[index]) > n]
            reading = [reading[row] for row in going]
            spans = [(index, [0, *positions[index]][n], positions[index][n]) for index in reading]
            lanes = [corpus.messages(index)[begin:end] for index, begin, end in spans]
            state = chatbot.absorb(lanes, tuple(tensor[going] for tensor in state))
            for index, _, end in spans:
                rows[ReplyPosition(index, end)] = len(rows)
            found.append(state)
    order = [rows[place] for place in places]
    return tuple(torch.cat(tensors)[order] for tensors in zip(*found, strict=True))


class HeldOut(NamedTuple):
    """Replies that people gave where the bot has not learned from.

    Args:
        state: before each of them, (replies, size) tensors.
        replies: without END.
    """

    state: State
    replies: list[Tokens]

    @classmethod
    def of(cls, chatbot: Chatbot, corpus: Corpus | None, learn_from: str) -> "HeldOut | None":
        """Some replies of a corpus, drawn by a fixed seed; None where it has none.

        Args:
            chatbot: in evaluation mode.
            corpus: conversations that it has not learned from, if there are any.
            learn_from: whose messages are replies, "bot" or "all".
        """
        if corpus is None:
            return None
        drawn = draw_places(corpus, learn_from, HELD_OUT_REPLIES, 0)
        places = [place for place in drawn if is_reply(place.message(corpus))]
        if not places:
            return None
        replies = [tuple(place.message(corpus)[1:-1].tolist()) for place in places]
        return cls(states_at(chatbot, corpus, places), replies)


def is_reply(message: np.ndarray) -> bool:
    """Whether a message is neither empty nor too long to be a reply that is said again."""
    return 2 < len(message) <= MAX_REPLY_TOKENS + 2
