"""Which tokens may come next, so that a text is made of whole characters that can be shown."""

from collections.abc import Sequence
from functools import cache

import numpy as np

_STEPS = {
    "between": "09-0A:between 20-7E:between C2:C2 C3-DF:one E0:E0 E1:two E2:E2 E3-EC:two ED:ED "
    "EE:two EF:EF F0:F0 F1-F3:three F4:F4",
    "one": "80-BF:between",
    "two": "80-BF:one",
    "three": "80-BF:two",
    "E0": "A0-BF:one",
    "ED": "80-9F:one",
    "F0": "90-BF:two",
    "F4": "80-8F:two",
    "C2": "A0-BF:between",
    "E2": "80:E280 81:E281 82-BF:one",
    "E280": "80-A9:between AF-BF:between",
    "E281": "80-A5:between AA-BF:between",
    "EF": "80-BE:one BF:EFBF",
    "EFBF": "80-BC:between BE-BF:between",
}
"""For each state, which bytes may come and the state after them.

A state is named by how many bytes are missing, or by the bytes before it where not all that have
the right form may follow: E0, ED, F0 and F4 (The Unicode Standard, table 3-7, "Well-Formed UTF-8
Byte Sequences"); C2, E2 and EF because of characters that a terminal would act on or could not
show: controls other than tab and newline, U+202A to U+202E, U+2066 to U+2069, and U+FFFD itself.
"""

BETWEEN, BROKEN = 0, len(_STEPS)
"""The state between characters, and that of a text that is not to be said."""

MAX_UNFINISHED_BYTES = 3
"""The longest beginning of a character."""


@cache
def _byte_steps() -> np.ndarray:
    """Return the state after each byte, (states and `BROKEN`, 256)."""
    names = list(_STEPS)
    steps = np.full((BROKEN + 1, 256), BROKEN, np.uint8)
    for state, ranges in enumerate(_STEPS.values()):
        for each in ranges.split():
            span, after = each.split(":")
            first, _, last = span.partition("-")
            steps[state, int(first, 16) : int(last or first, 16) + 1] = names.index(after)
    return steps


@cache
def _missing_bytes() -> np.ndarray:
    """Count the bytes that each state's character lacks at least, (states and `BROKEN`,)."""
    steps = _byte_steps()
    missing = np.full(BROKEN + 1, len(steps))
    missing[BETWEEN] = 0
    for _ in range(MAX_UNFINISHED_BYTES):
        missing[BETWEEN + 1 :] = 1 + missing[steps[BETWEEN + 1 :]].min(1)
    return missing


class Characters:
    """The whole characters of a vocabulary, as an automaton over its tokens.

    Args:
        spelled: the bytes of each id, END being 0; no bytes for ids that are not text.
    """

    def __init__(self, spelled: Sequence[bytes]) -> None:
        self._spelled = spelled
        self._ends_whole = [piece[-1:].isascii() and piece != b"" for piece in spelled]
        lengths = np.array([len(piece) for piece in spelled])
        packed = np.zeros((len(spelled), lengths.max(initial=0)), np.uint8)
        packed[np.arange(packed.shape[1]) < lengths[:, None]] = np.frombuffer(
            b"".join(spelled), np.uint8
        )
        after = np.arange(BROKEN)[:, None].repeat(len(spelled), 1).astype(np.uint8)
        for at, column in enumerate(packed.T):
            after = np.where(at < lengths, _byte_steps()[after, column], after)
        self._after = after
        self._refused: dict[tuple[int, int], np.ndarray] = {}

    def state(self, said: Sequence[int]) -> int:
        """Return the state after some tokens: that of the last character, if it is not whole.

        After a byte that belongs to no character the text begins anew, as in Python's decoder.
        """
        if said and self._ends_whole[said[-1]]:
            return BETWEEN
        tail = b"".join(self._spelled[token] for token in said[-MAX_UNFINISHED_BYTES:])
        steps, state = _byte_steps(), BETWEEN
        for byte in tail[-MAX_UNFINISHED_BYTES:]:
            state = int(steps[state, byte])
            if state == BROKEN:
                state = int(steps[BETWEEN, byte]) % BROKEN
        return state

    def are_whole(self, said: Sequence[int]) -> bool:
        """Say whether a text ends between characters."""
        return self.state(said) == BETWEEN

    def beginning(self, said: Sequence[int], longest: int) -> Sequence[int]:
        """Return the first tokens of a text, at most so many, up to the end of a character."""
        end = min(longest, len(said))
        while not self.are_whole(said[:end]):
            end -= 1
        return said[:end]

    def refuse(
        self, logits: np.ndarray, said: Sequence[Sequence[int]], left: Sequence[int]
    ) -> None:
        """Set what must not come next to -inf; there is always something else.

        A character that was begun is finished, in the tokens that are left if these suffice. The
        first character of all must fit into them, so that something is said.

        Args:
            logits: (lanes, vocabulary_size), changed in place.
            said: of each lane.
            left: tokens that may still be said in each lane.
        """
        for row, (own, rest) in enumerate(zip(said, left, strict=True)):
            state = self.state(own)
            limit = MAX_UNFINISHED_BYTES + 1 if own and state == BETWEEN else rest
            np.copyto(logits[row], -np.inf, where=self._refused_after(state, limit))

    def fits(self, said: Sequence[int], token: int, left: int) -> bool:
        """Say whether a character that begins with a token can be finished in the tokens left."""
        state = self.state(said)
        return state != BETWEEN or bool(_missing_bytes()[self._after[state, token]] < left)

    def _refused_after(self, state: int, left: int) -> np.ndarray:
        """Say which tokens must not follow a state, (vocabulary_size,) bool."""
        missing = _missing_bytes()
        limit = min(max(1, left, int(missing[state])), MAX_UNFINISHED_BYTES + 1)
        if (state, limit) not in self._refused:
            found = missing[self._after[state]] >= limit
            if state != BETWEEN:
                found[0] = True
            self._refused[state, limit] = found
        return self._refused[state, limit]
