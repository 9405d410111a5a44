"""Count what words mean: those are alike that people use beside the same words.

Positive pointwise mutual information of words that stand at most five apart, cut to a few
dimensions by singular values (Levy, Goldberg and Dagan 2015, "Improving Distributional Similarity
with Lessons Learned from Word Embeddings"). Counted are the conversations of mixture.py and those
of talk/.
"""

import json
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from mixture import BROAD, CLEAN
from talk import conversations, is_measured

from elman.generate.stems import stems_of
from elman.generate.word_vectors import DIMENSIONS

WORDS = 12_000
"""The most frequent ones, which get a vector."""

WINDOW_WORDS = 5
"""How far apart two words may be to count as beside each other; one of d words counts 1/d."""

SMOOTHING = 0.75
"""Power of how often a word is beside others: else rare words are like all other rare ones."""

LEAST_INFORMATION = float(np.log(1.5))
"""Nats of pointwise mutual information that count as none."""

MESSAGES_AT_ONCE = 200_000
"""Whose words are counted in one array."""

MORE_DIMENSIONS, ROUNDS = 16, 4
"""Beyond those that are kept, by which the others become exact, and how often they are refined."""


def texts(mixture: Path) -> Iterator[str]:
    """Read every message once."""
    seen: set[int] = set()
    for part in (BROAD, CLEAN):
        with (mixture / f"{part}.jsonl").open(encoding="utf-8") as lines:
            for line in lines:
                for turn in json.loads(line)["turns"]:
                    if (key := hash(turn["text"])) not in seen:
                        seen.add(key)
                        yield turn["text"]
    for id_, turns in conversations():
        if not is_measured(id_):
            yield from (turn.text for turn in turns)


def word_vectors(mixture: Path) -> dict[int, np.ndarray]:
    """Count the vectors of stems, (DIMENSIONS,) int8 each.

    Args:
        mixture: the folder that mixture.py wrote.
    """
    messages = [stems for stems in map(stems_of, texts(mixture)) if stems]
    often = Counter(stem for stems in messages for stem in stems)
    known = [stem for stem, _ in often.most_common(WORDS)]
    beside = _beside(messages, {stem: n for n, stem in enumerate(known)})
    total = beside.sum(1).to_dense().double()
    smooth = total**SMOOTHING
    rows, columns = beside.indices()
    information = torch.log(beside.values() / total[rows] / (smooth[columns] / smooth.sum()))
    information -= LEAST_INFORMATION
    kept = information > 0
    torch.manual_seed(0)
    left, sizes, _ = torch.svd_lowrank(
        torch.sparse_coo_tensor(
            beside.indices()[:, kept],
            information[kept].float(),
            (len(known), len(known)),
            check_invariants=True,
        ).coalesce(),
        q=DIMENSIONS + MORE_DIMENSIONS,
        niter=ROUNDS,
    )
    found = (left * sizes.sqrt())[:, :DIMENSIONS]
    found = found / found.abs().amax(1, keepdim=True).clip(1e-9)
    return dict(zip(known, (found * 127).round().to(torch.int8).numpy(), strict=True))


def _beside(messages: list[list[int]], number: dict[int, int]) -> torch.Tensor:
    """Return how often words stand beside each other, sparse (WORDS, WORDS)."""
    size, left = (len(number), len(number)), iter(messages)
    counted = torch.sparse_coo_tensor(size=size, check_invariants=True)
    while some := list(islice(left, MESSAGES_AT_ONCE)):
        apart = [-1] * WINDOW_WORDS
        flat = np.array(
            [n for stems in some for n in [*(number.get(s, -1) for s in stems), *apart]]
        )
        for distance in range(1, WINDOW_WORDS + 1):
            pairs = np.stack([flat[:-distance], flat[distance:]])
            pairs = pairs[:, (pairs >= 0).all(0)]
            both = torch.from_numpy(np.concatenate([pairs, pairs[::-1]], 1))
            counts = torch.full((both.shape[1],), 1 / distance)
            more = torch.sparse_coo_tensor(both, counts, size, check_invariants=True)
            counted = (counted + more.coalesce()).coalesce()
    return counted
