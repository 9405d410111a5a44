"""Private data in messages: finds it, counts it and puts a placeholder in its place.

What is looked for, and who decides whether it is one:

- e-mail addresses: their shape;
- phone numbers: shapes that people write, checked by `phonenumbers` (Google's libphonenumber);
- payment cards: 12 to 19 digits, the first ones a card scheme's, the last one right (Luhn);
- bank accounts: IBANs, whose remainder by 97 is checked by `stdnum`;
- IP addresses by `ipaddress`. What begins with two numbers below ten ("1.2.3.4", "2.6.28.12") is
  a version, as is what follows "v" or "version"; those of home networks ("192.168.0.1") are
  everybody's. Both stay;
- URLs that are a key to something: with a password, a parameter named token, key, signature and so
  on, or a long random part. All other URLs stay;
- keys and passwords: the detectors of `detect-secrets`, long random strings, and what follows
  "password:" or "password is" in several languages.

What none of these know stays: names, postal addresses, addresses spelled out ("ann at home dot
com"), passwords that nobody calls one.
"""

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import chain

from elman.data.conversation import Message
from elman.data.redact.credentials import LONG, credentials
from elman.data.redact.numbers import numbers
from elman.data.redact.span import Span

KINDS = ("email", "phone", "card", "iban", "ip", "url", "secret")

PLACEHOLDERS = {kind: f"[{kind}]" for kind in KINDS}
"""What stands in a text instead of private data. Never taken for private data itself."""

_PLACEHOLDER = re.compile("|".join(map(re.escape, PLACEHOLDERS.values())))

# Texts without any of these, nearly all of them, are read no further.
_MARK = re.compile(r"[\d@:=\uff1a]")

_EMAIL = re.compile(
    r"(?<![\w.+%-])[\w.+%'-]{1,64}@(?:[\w-]{1,63}\.){1,8}(?:[^\W\d_]{2,24}|xn--[\w-]{2,59})(?![\w@])"
)


class Redactor:
    """Finds private data; made once, used for every message."""

    def find(self, text: str) -> list[Span]:
        """Return all private data of a text, in order, none overlapping."""
        if not (_MARK.search(text) or LONG.search(text) or "PRIVATE KEY" in text):
            return []
        found: list[Span] = []
        waiting = _outside((match.span() for match in _PLACEHOLDER.finditer(text)), len(text))
        # What is left between finds is looked at by itself once more, so that a redacted text
        # has nothing in it that would be found in another round.
        while waiting:
            start, end = waiting.pop()
            spans = _merged(_spans(text[start:end]))
            found += [Span(kind, start + a, start + b) for kind, a, b in spans]
            if spans:
                left = _outside(((a, b) for _, a, b in spans), end - start)
                waiting += [(start + a, start + b) for a, b in left]
        return sorted(found, key=lambda span: span.start)

    def redact(self, text: str) -> str:
        """Put a placeholder such as "[email]" in the place of each find of a text."""
        pieces, at = [], 0
        for kind, start, end in self.find(text):
            pieces += [text[at:start], PLACEHOLDERS[kind]]
            at = end
        return "".join([*pieces, text[at:]]) if pieces else text

    def name(self, author: str) -> str:
        """Return a person's name, with a placeholder where it is a number or an address.

        Six digits of a digest keep such people apart.
        """
        hidden = self.redact(author)
        if hidden == author:
            return author
        digest = hashlib.sha256(author.encode(errors="replace")).hexdigest()
        return f"{hidden} {digest[:6]}"

    def message(self, message: Message) -> Message:
        """Return the message without what is private in it or in the name above it."""
        return message._replace(author=self.name(message.author), text=self.redact(message.text))

    def count(self, text: str, into: Counter[str] | None = None) -> Counter[str]:
        """Count how often each kind is in a text, added to `into` if given."""
        counts: Counter[str] = Counter() if into is None else into
        for span in self.find(text):
            counts[span.kind] += 1
        return counts


def _outside(spans: Iterable[tuple[int, int]], length: int) -> list[tuple[int, int]]:
    """Return the parts of a text outside of some spans of it."""
    edges = [0, *chain.from_iterable(spans), length]
    return [(a, b) for a, b in zip(edges[::2], edges[1::2], strict=True) if a < b]


def _merged(spans: Iterable[Span]) -> list[Span]:
    """Overlapping spans become one, of the kind of the longest."""
    merged: list[Span] = []
    longest = 0
    for span in sorted(spans, key=lambda span: (span.start, -span.end)):
        length = span.end - span.start
        if not merged or span.start >= merged[-1].end:
            merged.append(span)
            longest = length
            continue
        before = merged[-1]
        kind = span.kind if length > longest else before.kind
        longest = max(longest, length)
        merged[-1] = Span(kind, before.start, max(before.end, span.end))
    return merged


def _spans(text: str) -> Iterator[Span]:
    """Yield all finds, which may overlap."""
    if "@" in text:
        yield from (Span("email", *match.span()) for match in _EMAIL.finditer(text))
    yield from numbers(text)
    yield from credentials(text)
