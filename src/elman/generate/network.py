"""A decoder that asks the network itself, in PyTorch."""

from collections.abc import Sequence

import numpy as np
import torch

from elman.bptt import State
from elman.data.characters import Characters
from elman.generate.decoder import Decoder
from elman.model.chatbot import Chatbot
from elman.model.checkpoint import Bot


class NetworkDecoder(Decoder):
    """Let a chatbot read and reply.

    Args:
        chatbot: is put into evaluation mode.
    """

    def __init__(self, chatbot: Chatbot) -> None:
        self._chatbot = chatbot.eval()
        self.ends_by_step = chatbot.ends_by_step
        self.copies = chatbot.pointer is not None

    @property
    def vocabulary_size(self) -> int:
        return self._chatbot.vocabulary_size

    @property
    def characters(self) -> Characters | None:
        return self._chatbot.characters

    def initial_state(self, rows: int) -> State:
        return self._chatbot.initial_state(rows)

    def select(self, state: State, rows: Sequence[int]) -> State:
        return tuple(tensor[list(rows)] for tensor in state)

    def join(self, states: Sequence[State]) -> State:
        return tuple(map(torch.cat, zip(*states, strict=True)))

    def vectors(self, state: State) -> np.ndarray:
        # A pointer's record is words, and no summary of them.
        layers = self._chatbot.through_time.state_spec("")
        return torch.cat([tensor.float() for tensor in state[: len(layers)]], 1).numpy()

    def parts(self, message: np.ndarray) -> list[np.ndarray]:
        return self._chatbot.pieces(message)

    @torch.no_grad()
    def read(self, rows: Sequence[Sequence[np.ndarray]], state: State) -> State:
        return self._chatbot.absorb(rows, state)

    @torch.no_grad()
    def score(
        self, rows: Sequence[Sequence[np.ndarray]], state: State
    ) -> tuple[list[np.ndarray], State]:
        nats, state = self._chatbot.score(rows, state)
        return [own.numpy() for own in nats], state

    @torch.no_grad()
    def costs(self, messages: Sequence[np.ndarray], state: State) -> np.ndarray:
        return self._chatbot.costs_of(messages, state).numpy()

    @torch.no_grad()
    def costs_without_copies(self, messages: Sequence[np.ndarray], state: State) -> np.ndarray:
        return self._chatbot.costs_of(messages, state, copied=False).numpy()

    @torch.no_grad()
    def begin_reply(self, state: State) -> tuple[np.ndarray, State]:
        logits, state = self._chatbot.begin_reply(state)
        return logits.numpy(), state

    @torch.no_grad()
    def step(self, tokens: np.ndarray, state: State) -> tuple[np.ndarray, State]:
        logits, state = self._chatbot.step(torch.from_numpy(tokens), state)
        return logits.numpy(), state

    @torch.no_grad()
    def end_message(self, state: State) -> State:
        return self._chatbot.end_message(state)


def decoder_of(bot: Bot) -> Decoder:
    """Return what reads and replies for a bot."""
    return NetworkDecoder(bot.chatbot)
