"""A conversation with a bot, whose memory is a state that can be kept, undone and inspected."""

import codecs
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from elman.bptt import State
from elman.data.conversation import named
from elman.data.tokenizer import END, ROLES
from elman.errors import ElmanError
from elman.model.checkpoint import Bot, load_state, save_state
from elman.model.decoding import Sampling, reply


@dataclass(frozen=True)
class Exchange:
    """One message of the user's and the bot's reply to it.

    Args:
        before: the state before the user's message.
        asked: the state after it: what the reply is made from.
        after: the state after the reply.
        said: the reply's tokens, without END.
        heard: the user's message, from its role to its END.
    """

    before: State
    asked: State
    after: State
    said: tuple[int, ...]
    heard: tuple[int, ...]


@dataclass(frozen=True)
class StateFacts:
    """Of a state: its size in bytes, the messages that it has read, its norm."""

    bytes: int
    messages: int
    norm: float


class Session:
    """Say something, get a reply, in time that does not grow with the conversation.

    Args:
        bot: who replies.
        sampling: how replies are chosen.
        speaker: who speaks with it, for a bot that knows people by their names.

    Raises:
        ElmanError: for a speaker, where the bot knows nobody by name.
    """

    def __init__(
        self, bot: Bot, sampling: Sampling | None = None, speaker: str | None = None
    ) -> None:
        if speaker is not None and not bot.knows_names:
            raise ElmanError("this bot knows nobody by name: leave out who is speaking")
        self._bot, self._speaker = bot, speaker
        self.sampling = sampling or Sampling()
        self._generator = self.sampling.generator()
        self._exchanges: list[Exchange] = []
        self._start: State = bot.chatbot.initial_state(1)
        self._start_messages = 0

    @property
    def state(self) -> State:
        """The memory of everything said so far, (1, size) tensors."""
        return self._exchanges[-1].after if self._exchanges else self._start

    @property
    def start(self) -> State:
        """The memory before the first of the turns."""
        return self._start

    @property
    def turns(self) -> list[np.ndarray]:
        """What was said here, both sides, each message from its role to its END."""
        return [
            np.array(message, np.uint16)
            for exchange in self._exchanges
            for message in (exchange.heard, (ROLES["bot"], *exchange.said, END))
        ]

    @property
    def facts(self) -> StateFacts:
        return StateFacts(
            bytes=sum(tensor.nbytes for tensor in self.state),
            messages=self._start_messages + 2 * len(self._exchanges),
            norm=float(torch.cat(self.state, dim=1).norm()),
        )

    def say(self, text: str) -> Iterator[str]:
        """Reply to a message, in pieces of text as they are made.

        A reply that is left before its end counts as said as far as it came.

        Raises:
            ElmanError: where there is nothing in the message.
        """
        if not text.strip():
            raise ElmanError("there is nothing in the message")
        if self._speaker is not None:
            text = named(self._speaker, text)
        ids = [ROLES["user"], *self._bot.tokenizer.encode(text.encode(errors="replace")), END]
        before = self.state
        return self._reply(before, self._bot.chatbot.read(ids, before), tuple(ids))

    def again(self) -> Iterator[str]:
        """Another reply to the last message.

        Raises:
            ElmanError: where nothing was said yet.
        """
        last = self._pop("answer again")
        return self._reply(last.before, last.asked, last.heard, last)

    def undo(self) -> None:
        """Forget the last message and its reply.

        Raises:
            ElmanError: where nothing was said yet.
        """
        self._pop("undo")

    def reset(self) -> None:
        """Forget everything."""
        self._exchanges.clear()
        self._start, self._start_messages = self._bot.chatbot.initial_state(1), 0

    def save(self, path: Path) -> None:
        """Keep the state in a file.

        Raises:
            ElmanError: where it cannot be written.
        """
        save_state(path, self._bot, self.state, {"messages": self.facts.messages})

    def load(self, path: Path) -> None:
        """Go on from a kept state; what was said here before is forgotten.

        Raises:
            ElmanError: where it is damaged or belongs to other weights; nothing is forgotten then.
        """
        state, facts = load_state(path, self._bot)
        self.reset()
        self._start, self._start_messages = state, int(facts.get("messages", 0))

    def _pop(self, what: str) -> Exchange:
        if not self._exchanges:
            raise ElmanError(f"there is nothing to {what} yet")
        return self._exchanges.pop()

    def _reply(
        self, before: State, asked: State, heard: tuple[int, ...], last: Exchange | None = None
    ) -> Iterator[str]:
        """Say a reply, and remember it; where it is left before it began, `last` stays said."""
        recent = self._exchanges[-1].said if self._exchanges else ()
        tokens = reply(self._bot.chatbot, asked, self.sampling, self._generator, recent)
        text = codecs.getincrementaldecoder("utf-8")("replace")
        said: list[int] = []
        state = asked
        finished = False
        try:
            for token, reached in tokens:
                state = reached
                if token == END:
                    finished = True
                    break
                said.append(token)
                if piece := text.decode(self._bot.tokenizer.decode_bytes([token])):
                    yield piece
            if rest := text.decode(b"", final=True):
                yield rest
        finally:
            if not finished and said:
                with torch.no_grad():
                    state = self._bot.chatbot.end_message(state)
            if said or last is None:
                self._exchanges.append(Exchange(before, asked, state, tuple(said), heard))
            else:
                self._exchanges.append(last)
