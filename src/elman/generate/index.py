"""Replies that were really given, found by the state of the conversation in which they were.

Where a bot must not invent, it says what somebody said. The state after a message is compared with
the states in which the known replies were given; the net then ranks the replies of the nearest as
it ranks its own (`elman.generate.rerank`).
"""

from dataclasses import dataclass
from math import inf
from typing import NamedTuple

import numpy as np

from elman.generate.decoder import Decoder, State
from elman.generate.likelihood import Likelihoods, Tokens, lengths_with_end, log_likelihoods, split
from elman.generate.rerank import Candidate, ranked

NEAREST_REPLIES = 16
"""Different replies that the net ranks."""

UNLIKE_SHARE, FARTHER_TIMES = 0.02, 2.0
"""An answer is not dared where the nearest known place is twice as far as it is for all but 2 % of
the held-out places: nothing like it was ever asked.
"""

SCORE_LOSS_PER_COSINE = 50.0
"""What a reply loses of its score for each unit of cosine by which its place is less like the state
than the nearest one. Without it the net's own taste decides, for replies that fit often (LOG.md).
"""


class NearReplies(NamedTuple):
    """Different replies of the positions nearest to a state, by number, and how much each one's
    position is like it: the cosine of the angle between them, falling.
    """

    replies: list[int]
    alike: np.ndarray


class Known(NamedTuple):
    """What could be answered, the best first, and how much the nearest known place is like it."""

    candidates: list[Candidate]
    alike: float


class Bound(NamedTuple):
    """What the score of an answer, and the likeness of the nearest known place, must reach."""

    score: float
    alike: float

    def reached(self, score: float, alike: float) -> bool:
        return score >= self.score and alike >= self.alike


@dataclass(frozen=True)
class ReplyIndex:
    """Known replies, and where they were given.

    Args:
        centre: of the states, (S,), which are all the numbers of a state side by side.
        directions: (S, D) of the centred states, what is kept of them.
        places: (N, D), of length 1, as float16 holds them: where replies were given.
        reply: (N,) int32, which of the different replies was given there.
        replies: different replies, R of them, without END.
        alone: (R,) float64, log p of each where nothing was said before, in nats.
        calibration: (3, C) of held-out places: the score of what is answered there, rising; whether
            it was right; and how much the nearest place is like it.
    """

    centre: np.ndarray
    directions: np.ndarray
    places: np.ndarray
    reply: np.ndarray
    replies: list[Tokens]
    alone: np.ndarray
    calibration: np.ndarray

    def nearest(
        self, decoder: Decoder, state: State, number: int = NEAREST_REPLIES
    ) -> list[NearReplies]:
        """Find the different replies of the positions nearest to each row of a state."""
        wanted = unit((decoder.vectors(state) - self.centre) @ self.directions)
        found = []
        for alike in wanted @ self.places.T:
            few = np.argpartition(-alike, min(8 * number, len(alike)) - 1)[: 8 * number]
            best = few[np.argsort(-alike[few], kind="stable")]
            first: dict[int, float] = {}
            for reply, like in zip(self.reply[best].tolist(), alike[best].tolist(), strict=True):
                first.setdefault(reply, like)
            likes = np.array(list(first.values())[:number])
            found.append(NearReplies(list(first)[:number], likes))
        return found

    def best(self, decoder: Decoder, state: State) -> list[Known]:
        """Tell for each row of a state what could be answered.

        All of a reply's likelihood without history is taken off: what counts among replies that
        were really given is which of them belongs here.
        """
        near = self.nearest(decoder, state)
        rows = [row for row, own in enumerate(near) for _ in own.replies]
        replies = [self.replies[n] for own in near for n in own.replies]
        given = log_likelihoods(decoder, replies, state, rows)
        found = []
        sizes = [len(each.replies) for each in near]
        for (numbers, alike), own in zip(near, split(given, sizes), strict=True):
            said = [self.replies[n] for n in numbers]
            likely = Likelihoods(own, self.alone[numbers], lengths_with_end(said))
            lost = SCORE_LOSS_PER_COSINE * (alike[0] - alike)
            found.append(Known(ranked(said, likely, 1.0, lost), float(alike[0])))
        return found

    def bound(self, wrong: float) -> Bound | None:
        """Return what an answer must reach so that at most that share of held-out ones was wrong.

        None where even the surest answers are wrong more often, or nothing could be held out.
        """
        scores, right, alike = self.calibration
        # Share of right ones among those from each score on.
        above = right[::-1].cumsum()[::-1] / np.arange(len(right), 0, -1)
        enough = np.flatnonzero(above >= 1 - wrong)
        if not len(enough):
            return None
        first = int(enough[0])
        farthest = 1 - float(np.quantile(alike, UNLIKE_SHARE))
        # Where all of them will do, the lowest is no bound: the next may be lower and as right.
        return Bound(float(scores[first]) if first else -inf, 1 - FARTHER_TIMES * farthest)

    def answered(self, bound: Bound) -> float:
        """Return the share of held-out positions at which an answer reaches a bound."""
        scores, _, alike = self.calibration
        return float(((scores >= bound.score) & (alike >= bound.alike)).mean())

    def doubts(self) -> str:
        """Say how often answers are wrong."""
        right = self.calibration[1]
        if not len(right):
            return "nothing is held out to count wrong answers on"
        surest = right[-max(1, len(right) // 10) :]
        return (
            f"of {len(right)} held-out answers {1 - float(right.mean()):.0%} were wrong, of the "
            f"surest tenth {1 - float(surest.mean()):.0%}"
        )


def unit(vectors: np.ndarray) -> np.ndarray:
    """Return vectors, (N, D), divided by their lengths; one of no length stays."""
    found: np.ndarray = vectors / np.linalg.norm(vectors, axis=1, keepdims=True).clip(1e-12)
    return found
