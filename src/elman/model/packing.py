"""Many short sequences laid end to end in a few lanes, each beginning with a reset."""

import heapq
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

SHORTEST_LANE = 64
"""Steps: shorter lanes would be more of them than a matrix product gains from."""


@dataclass(frozen=True)
class Packed:
    """N sequences in P lanes of T steps.

    Args:
        ids: (T, P) int64; 0 where no sequence is.
        keep: (T, P) bool, False at the first step of each sequence, so that none sees another.
        owner: (T, P) int64, the number of the sequence at each step; N where none is.
        places: for each sequence the flat indices (step * P + lane) of its steps.
    """

    ids: Tensor
    keep: Tensor
    owner: Tensor
    places: list[Tensor]


def pack(sequences: Sequence[np.ndarray]) -> Packed:
    """Lay out sequences of at least one id each; the longest first, each in the emptiest lane."""
    lengths = [len(sequence) for sequence in sequences]
    lanes = max(1, sum(lengths) // max(SHORTEST_LANE, *lengths))
    filled = [(0, lane) for lane in range(lanes)]
    begins: list[tuple[int, int]] = [(0, 0)] * len(sequences)
    for number in sorted(range(len(sequences)), key=lambda n: -lengths[n]):
        step, lane = heapq.heappop(filled)
        begins[number] = step, lane
        heapq.heappush(filled, (step + lengths[number], lane))
    steps = max(step for step, _ in filled)
    ids = np.zeros((steps, lanes), np.int64)
    keep = np.ones((steps, lanes), bool)
    owner = np.full((steps, lanes), len(sequences), np.int64)
    places = []
    for number, (step, lane) in enumerate(begins):
        span = slice(step, step + lengths[number])
        ids[span, lane] = sequences[number]
        keep[step, lane] = False
        owner[span, lane] = number
        places.append(torch.arange(span.start, span.stop) * lanes + lane)
    return Packed(torch.from_numpy(ids), torch.from_numpy(keep), torch.from_numpy(owner), places)
