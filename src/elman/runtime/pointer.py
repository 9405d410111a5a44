"""The pointer, one step at a time: what `elman.model.pointer.Pointer.say` computes, and why."""

import numpy as np

from elman.data.tokenizer import SPECIALS
from elman.model.config import KEY_SIZE
from elman.runtime.layers import Arrays, linear


def record(
    arrays: Arrays, tokens: np.ndarray, read: np.ndarray, state: tuple[np.ndarray, ...]
) -> tuple[np.ndarray, ...]:
    """Write down a token in each row.

    Args:
        arrays: the bot's.
        tokens: (B,).
        read: what their keys are made of, (B, H).
        state: ids, (B, L), keys, (B, L * D), and half of the next key, (B, D).

    Returns:
        The state after, oldest tokens first. Roles and END are written as 0, without a key.
    """
    ids, keys, before = state
    text = (tokens >= SPECIALS)[:, None]
    own = (before + linear(arrays, "pointer.itself", read)) * text
    return (
        np.concatenate([ids[:, 1:], (tokens[:, None] * text).astype(ids.dtype)], 1),
        np.concatenate([keys[:, KEY_SIZE:], own.astype(keys.dtype)], 1),
        linear(arrays, "pointer.before", read),
    )


def point(
    arrays: Arrays, hidden: np.ndarray, state: tuple[np.ndarray, ...], oldest: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Look at the record.

    Args:
        arrays: the bot's.
        hidden: what looks, (B, H).
        state: the record after the last token was written.
        oldest: the id that made place for that token, (B,).

    Returns:
        The share of each recorded token, (B, L), the sentinel's, (B, 1), and what the vocabulary's
        logits are made of, (B, H).
    """
    ids, keys = state[0], state[1].reshape(len(hidden), -1, KEY_SIZE)
    query = linear(arrays, "pointer.query", hidden) / np.float32(KEY_SIZE**0.5)
    scores = np.einsum("bld,bd->bl", keys, query)
    alike = ids != 0
    gains = linear(arrays, "pointer.follow", hidden).T[: ids.shape[1]]
    earlier = np.concatenate([oldest[:, None], ids], 1)
    for back, gain in enumerate(gains):
        # Whether the token `back + 1` before each is the one `back` before now.
        then = np.zeros_like(ids)
        then[:, back:] = earlier[:, : ids.shape[1] - back]
        alike = alike & (then == earlier[:, -back - 1, None]) & (then != 0)
        scores = scores + alike * gain[:, None]
    scores = np.where(ids == 0, -np.inf, scores)
    scores = np.concatenate([scores, linear(arrays, "pointer.sentinel", hidden)], 1)
    shares = np.exp(scores - scores.max(1, keepdims=True))
    shares /= shares.sum(1, keepdims=True)
    looked = np.einsum("bl,bld->bd", shares[:, :-1], keys)
    return shares[:, :-1], shares[:, -1:], hidden + linear(arrays, "pointer.tell", looked)
