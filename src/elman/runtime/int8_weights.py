"""The int8 weights beside float32 ones: a quarter to read, so that a bot starts at once.

They are a copy, and can be made again. They name the file that they were made from. Where that is
another by now, or where they are damaged, the float32 weights are rounded instead.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np

from elman.data.tokenizer import Tokenizer
from elman.errors import ElmanError
from elman.model.array_files import CHECKSUM, opened, write_arrays
from elman.model.config import ModelConfig
from elman.model.folder import INT8_SCALE, INT8_WEIGHTS, WEIGHTS
from elman.runtime.weights import Weights, digest_of, load_weights, read_weights

MADE_FROM = "made_from"
"""Where the facts have the checksum of the float32 file."""


def round_rows(weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Round a float32 matrix, (N, K), to int8; return it and the factor of each row, (N,)."""
    least = np.finfo(np.float32).tiny
    scale = np.maximum(np.abs(weight).max(1), least) / np.float32(127)
    return np.rint(weight / scale[:, None]).astype(np.int8), scale


def write_int8(folder: Path, tokenizer: Tokenizer) -> None:
    """Write the int8 weights of a bot, whose cells are built in, beside its others."""
    weights = load_weights(folder)
    stored = dict(weights.stored)
    for name in weights.matrices():
        if name + INT8_SCALE not in stored:
            stored[name], stored[name + INT8_SCALE] = round_rows(weights.arrays[name])
    facts = {
        "tokenizer": tokenizer.digest,
        "weights": weights.digest(),
        MADE_FROM: _checksum_of_weights(folder),
        CHECKSUM: digest_of(stored),
    }
    write_arrays(folder / INT8_WEIGHTS, stored, facts)


def read_int8(folder: Path, model: ModelConfig, tokenizer: Tokenizer) -> Weights | None:
    """Read the int8 weights of a bot; None where there are none.

    Raises:
        ElmanError: where they are damaged, or were made from other weights.
    """
    path = folder / INT8_WEIGHTS
    if not path.exists():
        return None
    weights, facts = read_weights(path, model, tokenizer)
    if facts.get(CHECKSUM) != digest_of(weights.stored):
        raise ElmanError(f"{path}: damaged: its checksum does not fit what it holds")
    made_from, made_of = facts.get(MADE_FROM), facts.get("weights")
    if made_from != _checksum_of_weights(folder) or not isinstance(made_of, str):
        raise ElmanError(f"{path}: was made from other weights than {WEIGHTS}")
    return replace(weights, made_of=made_of)


def _checksum_of_weights(folder: Path) -> object:
    with opened(folder / WEIGHTS, "np") as (_, facts):
        return facts.get(CHECKSUM, "")
