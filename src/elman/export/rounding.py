"""Weights in as few bits as a page has room for: int8 whose steps are as wide as need be.

A matrix is stored as int8 with a scale for each of its rows. Where the steps of a row are wider
than its largest number asks for, its codes are mostly small, and a Huffman code makes less than 8
bits of each. Uniform steps and such a code are within a quarter of a bit of the best there is for
normal numbers (Gish and Pierce 1968).
"""

from collections.abc import Mapping

import numpy as np

from elman.model.folder import INT8_SCALE

ROUNDED_SIZE = 4096
"""Numbers that a matrix has at least for it to be rounded further than it is stored."""

EMBEDDING = "embedding.weight"

EMBEDDING_SHARE = 0.45
"""Steps of the embedding beside those of other matrices, as they cost the base least (LOG.md)."""

MAX_COARSENESS = 0.7
"""Steps in root mean squares of a row. Wider ones leave less than 3 bits of a weight."""


def rounded(arrays: Mapping[str, np.ndarray], coarseness: float) -> dict[str, np.ndarray]:
    """Round matrices to int8 with scales.

    Args:
        arrays: a bot's, as stored: float matrices, or int8 ones with their scales.
        coarseness: steps in root mean squares of their row, or wider where 127 of them would not
            reach its largest number; 0: as fine as int8 can be.

    Returns:
        All of them, as a bot's folder names them.
    """
    found = dict(arrays)
    for name, array in arrays.items():
        if array.ndim != 2 or array.size < ROUNDED_SIZE or array.dtype.kind not in "fi":
            continue
        stored = arrays.get(name + INT8_SCALE)
        if stored is not None and not coarseness:
            continue
        matrix = array.astype(np.float32)
        if stored is not None:
            matrix *= stored[:, None]
        share = EMBEDDING_SHARE if name == EMBEDDING else 1.0
        size = np.sqrt((matrix**2).mean(1)) * np.float32(coarseness * share)
        largest = np.maximum(np.abs(matrix).max(1), np.finfo(np.float32).tiny)
        scale = np.maximum(size, largest / np.float32(127))
        found[name] = np.rint(matrix / scale[:, None]).astype(np.int8)
        found[name + INT8_SCALE] = scale
    return found


def code_bytes(arrays: Mapping[str, np.ndarray]) -> float:
    """Return the bytes that a Huffman code needs at least for the int8 matrices."""
    total = 0.0
    for array in arrays.values():
        if array.dtype == np.int8:
            counts = np.bincount(array.ravel().view(np.uint8), minlength=256)
            share = counts[counts > 0] / array.size
            total -= float((share * np.log2(share)).sum()) * array.size / 8
    return total
