"""How much of a message is read at once, and at all."""

import numpy as np

PIECE_TOKENS = 64
"""Tokens of a message that are read at once."""

MAX_READ_TOKENS = 8192
"""Tokens of a message that are read in a conversation; of a longer one, its role and its end.
Reading a token takes about a quarter of a millisecond with the base on two cores.
"""


def parts(message: np.ndarray) -> list[np.ndarray]:
    """Cut what is read of a message into parts that may be read at different times."""
    if len(message) > MAX_READ_TOKENS:
        message = np.concatenate([message[:1], message[1 - MAX_READ_TOKENS :]])
    return np.split(message, range(PIECE_TOKENS, len(message), PIECE_TOKENS))
