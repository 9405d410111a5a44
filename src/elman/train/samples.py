"""What the bot says in a few places, again and again while it learns."""

from typing import Any

import numpy as np

from elman.data.corpus import Corpus, is_scored
from elman.data.tokenizer import Tokenizer
from elman.generate.drawing import reply_batch
from elman.generate.network import NetworkDecoder
from elman.generate.sampling import SamplingParams
from elman.model.chatbot import Chatbot

SAMPLED_REPLIES = 3
MAX_SAMPLE_TOKENS = 40
"""Tokens of a reply."""
SAMPLE_HISTORY_MESSAGES = 8
"""Messages before a place that are read, at most."""
SAMPLED_CONVERSATIONS = 200
"""Conversations of which places are taken."""


class Samples:
    """Say replies at the same places each time, from the same randomness.

    The places are in conversations spread over a corpus.
    """

    def __init__(self, corpus: Corpus, tokenizer: Tokenizer, learn_from: str) -> None:
        self._tokenizer = tokenizer
        self._places: list[list[np.ndarray]] = []
        every = np.linspace(0, len(corpus) - 1, min(SAMPLED_CONVERSATIONS, len(corpus))).astype(int)
        found = [place for index in every if (place := _place(corpus.messages(index), learn_from))]
        for number in sorted({*np.linspace(0, len(found) - 1, SAMPLED_REPLIES).astype(int)}):
            self._places += found[number : number + 1]

    def __call__(self, chatbot: Chatbot) -> list[dict[str, Any]]:
        """Return for each place what was heard, what the person said, and what the bot says."""
        if not self._places:
            return []
        decoder = NetworkDecoder(chatbot)
        heard = [place[:-1] for place in self._places]
        state = decoder.read(heard, decoder.initial_state(len(heard)))
        said = reply_batch(decoder, state, SamplingParams(max_tokens=MAX_SAMPLE_TOKENS, seed=0))
        return [
            {
                "heard": [self._text(message) for message in place[-3:-1]],
                "person": self._text(place[-1]),
                "bot": self._tokenizer.decode(reply.tokens),
            }
            for place, reply in zip(self._places, said, strict=True)
        ]

    def _text(self, message: np.ndarray) -> str:
        return self._tokenizer.decode(message[1:-1].tolist())


def _place(messages: list[np.ndarray], learn_from: str) -> list[np.ndarray] | None:
    """Return the messages up to the last one that is learned, if any was said before it."""
    for end in range(min(len(messages), SAMPLE_HISTORY_MESSAGES + 1), 1, -1):
        if is_scored(messages[end - 1], learn_from):
            return messages[:end]
    return None
