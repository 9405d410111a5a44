"""Which languages are written in, guessed from a sample of messages."""

import random
from collections import Counter

SAMPLED_MESSAGES = 2_000
NO_LANGUAGE = "zxx"
MIN_CHARS = 24
"""Characters below which a message says too little about its language."""
MIN_MESSAGES = 10
"""Messages below which nothing is said."""
MIN_LANGUAGE_SHARE = 0.03
"""Share below which a language is more likely a mistake than there."""


class Languages:
    """Shows texts to a classifier, without keeping more than a sample of them."""

    def __init__(self) -> None:
        self._seen = 0
        self._sample: list[str] = []
        self._draw = random.Random(0)  # noqa: S311 (a sample, no secret)

    def watch(self, text: str) -> None:
        """Show a message, which may come into the sample (reservoir sampling, Vitter 1985)."""
        if len(text) < MIN_CHARS:
            return
        self._seen += 1
        if len(self._sample) < SAMPLED_MESSAGES:
            self._sample.append(text)
        elif (place := self._draw.randrange(self._seen)) < SAMPLED_MESSAGES:
            self._sample[place] = text

    def shares(self) -> dict[str, float]:
        """Return the share of messages in each language (ISO 639-1), the most frequent first."""
        if len(self._sample) < MIN_MESSAGES:
            return {}
        from py3langid import classify  # type: ignore[import-untyped,unused-ignore]

        found = Counter(classify(text[:1000])[0] for text in self._sample)
        total = found.total()
        return {
            code: round(number / total, 3)
            for code, number in found.most_common()
            if number >= MIN_LANGUAGE_SHARE * total and code != NO_LANGUAGE
        }
