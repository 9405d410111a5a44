"""Texts that end a reply, found while it is said."""

from collections.abc import Sequence


class StopTexts:
    """Texts that end a reply, prepared once for all replies to a request.

    Args:
        texts: none of them empty.
    """

    def __init__(self, texts: Sequence[str]) -> None:
        self.texts = tuple(texts)
        self.borders = [_borders(text) for text in self.texts]


class StopMatcher:
    """Finds the first of some texts in a reply that comes in pieces.

    Each character costs the same, however long the texts are (Knuth, Morris and Pratt 1977): what
    is remembered of a text is how much of it the reply ends with.

    Args:
        stop: the texts.
    """

    def __init__(self, stop: StopTexts) -> None:
        self._stop = stop
        self._matched = [0] * len(stop.texts)
        self._held = ""
        self.found = False

    def feed(self, piece: str) -> str:
        """Take more of the reply; return what can be told now, nothing of a stop text with it."""
        starts = []
        for at, character in enumerate(piece):
            for number, text in enumerate(self._stop.texts):
                if self._advance(number, character) == len(text):
                    starts.append(len(self._held) + at + 1 - len(text))
                    self._matched[number] = 0
        whole = self._held + piece
        if starts:
            self.found, self._held = True, ""
            return whole[: min(starts)]
        told = len(whole) - max(self._matched, default=0)
        self._held = whole[told:]
        return whole[:told]

    def rest(self) -> str:
        """Return what was held back, at the end of the reply."""
        held, self._held = self._held, ""
        return held

    def _advance(self, number: int, character: str) -> int:
        """Return how much of a text the reply ends with, after one more character."""
        text, borders = self._stop.texts[number], self._stop.borders[number]
        matched = self._matched[number]
        while matched and text[matched] != character:
            matched = borders[matched - 1]
        self._matched[number] = matched + (text[matched] == character)
        return self._matched[number]


def _borders(text: str) -> list[int]:
    """Return for each beginning of a text the length of its longest proper border."""
    borders = [0] * len(text)
    border = 0
    for at in range(1, len(text)):
        while border and text[border] != text[at]:
            border = borders[border - 1]
        border += text[border] == text[at]
        borders[at] = border
    return borders
