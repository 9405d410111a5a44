"""A decoder that asks the network itself, in PyTorch."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from elman.bptt import State
from elman.bptt.decode import Precision
from elman.data.characters import Characters
from elman.data.tokenizer import Tokenizer
from elman.errors import ElmanError
from elman.generate.bot import Bot
from elman.generate.decoder import Decoder, StatePart
from elman.model.chatbot import Chatbot
from elman.model.checkpoint import load_chatbot, weights_digest


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

    @property
    def state_spec(self) -> list[StatePart]:
        return [
            StatePart(part.name, part.size, str(part.dtype).removeprefix("torch."))
            for part in self._chatbot.state_spec
        ]

    @property
    def weights_digest(self) -> str:
        return weights_digest(self._chatbot)

    def to_arrays(self, state: State) -> list[np.ndarray]:
        return [tensor.numpy() for tensor in state]

    def from_arrays(self, arrays: Sequence[np.ndarray]) -> State:
        return tuple(map(torch.from_numpy, arrays))

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


@dataclass(frozen=True)
class NetworkBot(Bot):
    """A bot whose decoder asks the network: for what looks into it or trains it.

    Args:
        chatbot: in evaluation mode.
    """

    chatbot: Chatbot = field(kw_only=True)

    @classmethod
    def of(
        cls,
        chatbot: Chatbot,
        tokenizer: Tokenizer,
        config: dict[str, Any],
        path: Path,
        precision: Precision = "float32",
    ) -> "NetworkBot":
        """Make a bot of a chatbot."""
        decoder = NetworkDecoder(chatbot)
        return cls(decoder, tokenizer, config, path, precision, "torch", chatbot=chatbot)


def load_network_bot(
    folder: Path | str, precision: Precision = "float32", trust: Collection[str] = ()
) -> NetworkBot:
    """Load the bot of a run directory into torch.

    Args:
        folder, precision, trust: as `load_chatbot` takes them.

    Raises:
        ElmanError: as `load_chatbot` does.
    """
    return NetworkBot.of(*load_chatbot(folder, precision, trust), precision)


def in_torch(bot: Bot, precision: Precision = "float32", trust: Collection[str] = ()) -> NetworkBot:
    """Return a bot whose network can be looked into: itself, or one loaded from its folder.

    Raises:
        ElmanError: where it cannot be loaded, or its folder has other weights by now.
    """
    if isinstance(bot, NetworkBot):
        return bot
    found = load_network_bot(bot.path, precision, trust)
    if found.made_by != bot.made_by:
        raise ElmanError(f"{bot.path}: has other weights by now; start again")
    return found
