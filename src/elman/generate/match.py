"""How well a reply belongs to what was said: two maps that were learned together.

A net's own likelihood says little of whether its reply makes sense here. A linear map of the state
after a message and one of the state after a reply alone are learned so that the real reply is
nearer than those to other messages (a dual encoder: Lowe et al. 2015, "The Ubuntu Dialogue
Corpus"). A bot's folder may hold such maps; replies that were drawn are then ranked by them too.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from elman.errors import ElmanError
from elman.generate.bot import Bot
from elman.generate.decoder import Decoder, State
from elman.generate.likelihood import Tokens, split
from elman.model.array_files import read_arrays, write_arrays
from elman.model.folder import MATCH as MATCH

MATCH_FORMAT = "1"

CROWD_SHARPNESS = 16.0
"""How much more the nearest states of a crowd count than the others."""


class LinearMap(NamedTuple):
    """A map of vectors to a few numbers.

    Args:
        centre: of the vectors, (S,).
        directions: (S, D).
    """

    centre: np.ndarray
    directions: np.ndarray

    def __call__(self, vectors: np.ndarray) -> np.ndarray:
        """Map vectors, (N, S), to (N, D) of length 1."""
        found = (vectors.astype(np.float32) - self.centre) @ self.directions
        unit: np.ndarray = found / np.linalg.norm(found, axis=1, keepdims=True).clip(1e-12)
        return unit


class Match(NamedTuple):
    """What tells how well replies belong.

    Args:
        asked: of the state after a message.
        answered: of the state after a reply alone.
        crowd: (C, D), states of many conversations, as `asked` maps them.
        weight: what a reply's score gains for each unit of cosine.
    """

    asked: LinearMap
    answered: LinearMap
    crowd: np.ndarray
    weight: float

    def gains(
        self,
        decoder: Decoder,
        state: State,
        replies: Sequence[Sequence[Tokens]],
        after: Sequence[np.ndarray],
    ) -> list[np.ndarray]:
        """Return what the score of each reply gains, in nats per square root of a token.

        Some replies are near to every state ("hubs"). How near a reply is to the states of a crowd
        is taken off, as mutual information takes off what is likely everywhere.

        Args:
            decoder: by whose states.
            state: (rows, size) arrays, after the messages to be answered.
            replies: some to each row, without END.
            after: (replies, S) for each row, the layers' numbers after each alone.

        Returns:
            (replies,) float32 for each row.
        """
        sizes = [len(own) for own in replies]
        wanted = np.repeat(self.asked(decoder.vectors(state)), sizes, axis=0)
        said = self.answered(np.concatenate(after))
        near = np.exp(CROWD_SHARPNESS * (said @ self.crowd.T)).mean(1)
        alike = (wanted * said).sum(1) - np.log(near) / CROWD_SHARPNESS
        return split(self.weight * alike, sizes)

    def save(self, bot: Bot) -> None:
        """Write it into a bot's folder, with the digests of what made it."""
        tensors = {
            "asked_centre": self.asked.centre,
            "asked_directions": self.asked.directions,
            "answered_centre": self.answered.centre,
            "answered_directions": self.answered.directions,
            "crowd": self.crowd,
            "weight": np.array([self.weight]),
        }
        facts = {"match": MATCH_FORMAT, **bot.made_by}
        write_arrays(
            bot.path / MATCH, {n: each.astype(np.float16) for n, each in tensors.items()}, facts
        )

    @classmethod
    def read(cls, bot: Bot) -> "Match | None":
        """Read what a bot's folder holds; None where there is none, or one of other weights: its
        maps are of other states.

        Raises:
            ElmanError: where it is damaged.
        """
        path = bot.path / MATCH
        if not path.exists():
            return None
        tensors, facts = read_arrays(path)
        if any(facts.get(name) != value for name, value in bot.made_by.items()):
            return None
        size = bot.decoder.vectors(bot.decoder.initial_state(1)).shape[1]
        if facts.get("match") != MATCH_FORMAT or not _is_match(tensors, size):
            raise ElmanError(f"{path}: damaged, or another version of Elman made it: delete it")
        found = {name: each.astype(np.float32) for name, each in tensors.items()}
        return cls(
            LinearMap(found["asked_centre"], found["asked_directions"]),
            LinearMap(found["answered_centre"], found["answered_directions"]),
            found["crowd"],
            float(found["weight"][0]),
        )


def _is_match(tensors: Mapping[str, np.ndarray], size: int) -> bool:
    """Tell whether tensors from outside belong together, and to states of that size."""
    crowd = tensors.get("crowd")
    if crowd is None or crowd.ndim != 2 or not crowd.size:
        return False
    sides = {f"{side}_centre": (size,) for side in ("asked", "answered")}
    maps = {f"{side}_directions": (size, crowd.shape[1]) for side in ("asked", "answered")}
    expected = sides | maps | {"crowd": crowd.shape, "weight": (1,)}
    return {name: each.shape for name, each in tensors.items()} == expected and all(
        each.dtype.kind == "f" for each in tensors.values()
    )
