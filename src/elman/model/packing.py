"""Messages laid end to end: as one run of tokens, or in a few rows side by side."""

import heapq
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

MIN_ROW_STEPS = 64
"""Steps: shorter rows would be more of them than a matrix product gains from."""


@dataclass(frozen=True)
class PackedSequences:
    """N sequences in P rows of T steps.

    Args:
        ids: (T, P) int64; 0 where no sequence is.
        keep: (T, P) bool, False at the first step of each sequence, so that none sees another.
        owner: (T, P) int64, the number of the sequence at each step; N where none is.
        indices: for each sequence the flat indices (step * P + row) of its steps.
    """

    ids: Tensor
    keep: Tensor
    owner: Tensor
    indices: list[Tensor]


def pack_sequences(sequences: Sequence[np.ndarray]) -> PackedSequences:
    """Lay out sequences of at least one id each; the longest first, each in the emptiest row."""
    lengths = [len(sequence) for sequence in sequences]
    rows = max(1, sum(lengths) // max(MIN_ROW_STEPS, *lengths))
    filled = [(0, row) for row in range(rows)]
    begins: list[tuple[int, int]] = [(0, 0)] * len(sequences)
    for number in sorted(range(len(sequences)), key=lambda n: -lengths[n]):
        step, row = heapq.heappop(filled)
        begins[number] = step, row
        heapq.heappush(filled, (step + lengths[number], row))
    steps = max(step for step, _ in filled)
    ids = np.zeros((steps, rows), np.int64)
    keep = np.ones((steps, rows), bool)
    owner = np.full((steps, rows), len(sequences), np.int64)
    indices = []
    for number, (step, row) in enumerate(begins):
        span = slice(step, step + lengths[number])
        ids[span, row] = sequences[number]
        keep[step, row] = False
        owner[span, row] = number
        indices.append(torch.arange(span.start, span.stop) * rows + row)
    return PackedSequences(
        torch.from_numpy(ids), torch.from_numpy(keep), torch.from_numpy(owner), indices
    )


def token_ids(messages: Sequence[np.ndarray]) -> Tensor:
    """Join the tokens of messages, one after another, (T,) int64."""
    return torch.from_numpy(np.concatenate(messages).astype(np.int64))


def owner_of_tokens(messages: Sequence[np.ndarray]) -> Tensor:
    """Number the message that each token belongs to, (T,) int64."""
    lengths = torch.tensor([len(message) for message in messages])
    return torch.arange(len(messages)).repeat_interleave(lengths)


def predicted_places(messages: Sequence[np.ndarray], wanted: Sequence[bool]) -> Tensor:
    """Find where the text and END of wanted messages lie among all tokens, (K,) int64."""
    counts = [
        np.r_[False, np.full(len(m) - 1, own)] for m, own in zip(messages, wanted, strict=True)
    ]
    return torch.from_numpy(np.concatenate(counts)).nonzero().squeeze(1)
